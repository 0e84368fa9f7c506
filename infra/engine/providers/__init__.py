"""Stand-ins for Pulumi's cloud providers, whose resources live on emulators of this machine.

One module per package, found by its name, each with a `provider_class`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from infra.engine.providers.base import StandIn

SDKS: Final = {
    "aws": "pulumi-aws",
    "azure-native": "pulumi-azure-native",
    "cloudflare": "pulumi-cloudflare",
    "gcp": "pulumi-gcp",
}
"""Pulumi package -> distribution whose version the stand-in answers with."""


def stand_in(package: str) -> StandIn:
    """A new, unconfigured stand-in for a Pulumi package.

    Args:
        package: First part of a type token: ``aws``, ``azure-native``, …

    Raises:
        ConfigError: there is none for it.
    """
    if package not in SDKS:
        raise ConfigError(
            f"there is no stand-in for the provider {package!r}; there are {', '.join(sorted(SDKS))}",
            hint="use the pulumi CLI with the real provider for it",
        )
    module = import_module(f"infra.engine.providers.{package.removesuffix('-native')}")
    return cast("StandIn", module.provider_class())
