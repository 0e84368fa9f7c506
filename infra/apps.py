"""What applications require of a stack: their declarations against the contract that the spec stands for, offline.

``--app PATH`` of ``tandem check``, ``preview`` and ``up``: a backend, capability or grant that an application still
requires can not be removed or renamed unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infra.emit import document
from infra.endpoints import placeholders
from infra.spec import context_of, load_spec
from runtime.errors import ConfigError, Problem
from runtime.requires import Requires

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra.stack import Stack

RULE = "APP-01"
"""Id of an unmet requirement where security rules have theirs."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """One thing that an application requires and the stack does not give.

    Attributes:
        app: The file that declares it.
        problem: What it is.
    """

    app: str
    problem: Problem

    def __str__(self) -> str:
        return f"{self.app}: {self.problem}"


def unmet(stack: Stack, apps: Sequence[Path]) -> list[Unmet]:
    """What *apps* require and the contract of *stack* would not give; without cloud, credentials or emulators.

    Raises:
        ConfigError: the spec or a declaration is wrong, or an application declares nothing.
    """
    if not apps:
        return []
    spec = load_spec(stack)
    storage = document(spec, replace(context_of(stack, spec), endpoints=placeholders(stack))).storage
    declared = [Requires.read(app) for app in apps]
    return [Unmet(requires.source, problem) for requires in declared for problem in requires.unmet(storage)]


def refuse_unmet(stack: Stack, apps: Sequence[Path]) -> None:
    """Stop before anything is changed where an application requires what the stack would not give.

    Raises:
        ConfigError: as for `unmet`, or with everything that is missing.
    """
    if not (found := unmet(stack, apps)):
        return
    raise ConfigError(
        "applications require what this stack would not give; nothing was changed",
        source=stack.source,
        problems=[
            Problem(f"{each.app}: {each.problem.path}", each.problem.message, each.problem.allowed) for each in found
        ],
        hint="give it to them, or change and deploy the applications first, and then what they require",
    )
