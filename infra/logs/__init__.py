"""Access logs: whether a backend has one, and the places of the stack that they go to.

A place is a resource of the stack, made once for all backends that log there, and no backend: no application sees it.
It is where the backends are, as the clouds ask for and as residency does, and it is never its own log. Its names have
dots, which names of backends can not have.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

from pydantic import AfterValidator, BeforeValidator, StrictBool

from infra.backend import Model
from infra.fields import Days, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi

COMPONENT: Final = "tandem:storage:Logs"
"""Type of the places."""

KEPT: Final[Mapping[str, timedelta]] = {
    "dev": timedelta(days=7),
    "standard": timedelta(days=90),
    "regulated": timedelta(days=365),
}
"""How long each profile keeps logs: long enough to look into what was found late."""

_WORKSPACE: Final = re.compile(
    r"/subscriptions/[0-9a-fA-F-]{36}/resource[gG]roups/[^/]+/providers/Microsoft\.OperationalInsights/workspaces/[\w-]+"
)
_NAME: Final = re.compile(r"logs\.(aws|azure|gcp)\.[a-z0-9.:-]+")


def _workspace(value: str) -> str:
    if not _WORKSPACE.fullmatch(value):
        allowed = "/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.OperationalInsights/workspaces/<name>"
        raise wrong(f"found {value!r}", allowed)
    return value


class Logging(Model):
    """The access logs of a stack.

    Attributes:
        enabled: Whether backends are logged that do not say themselves; by default outside profile dev.
        keep: Age at which logs are deleted; 90d, in profile regulated 365d.
        workspace: Resource id of a Log Analytics workspace that takes Azure's logs; without it the program makes a
            storage account for them.
    """

    enabled: StrictBool | None = None
    keep: Days | None = None
    workspace: Annotated[str, AfterValidator(_workspace)] | None = None

    def on(self, profile: str) -> bool:
        """Whether backends that say nothing are logged."""
        return profile != "dev" if self.enabled is None else self.enabled

    def days(self, profile: str) -> int:
        """How long logs are kept."""
        return (self.keep or KEPT.get(profile, KEPT["standard"])).days


class Place(Protocol):
    """Where logs go: a component of the stack."""

    resources: list[pulumi.CustomResource]


def switch(value: Any) -> Any:
    """``logging: false`` for ``logging: {enabled: false}``; a validator."""
    if isinstance(value, bool):
        return {"enabled": value}
    if not isinstance(value, dict | Logging):
        raise wrong(f"found {value!r}", "true, false, or a mapping with enabled, keep and workspace")
    return value


LoggingSpec = Annotated[Logging, BeforeValidator(switch)]
"""The stack's key ``logging``: a mapping, or true or false."""


def name(provider: str, *where: str) -> str:
    """The name of a place: ``logs.aws.eu-west-1``."""
    return ".".join(("logs", provider, *where)).lower()


def provider_of(place: str) -> str | None:
    """The provider of a place by its name; None for a backend's name."""
    found = _NAME.fullmatch(place)
    return found[1] if found else None
