"""How a stack is run: one interface, two engines.

`infra.engine.embedded` runs the program in this process against emulators; `infra.engine.automation` drives the
Pulumi CLI. Both give the same steps, and the program that they run writes the same file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.stack import Stack


class Action(StrEnum):
    """What happens to one resource."""

    CREATE = "create"
    IMPORT = "import"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Step:
    """One resource of a plan or of a run.

    Attributes:
        action: What happens to it.
        urn: Pulumi's name of the resource, unique in the stack.
        type: Pulumi's type token: ``aws:s3/bucket:Bucket``.
        name: The resource's name in the program.
        changed: Paths of the properties that differ, for an update or a replacement.
        note: Why, when that is not obvious: ``was deleted outside of this stack``.
    """

    action: Action
    urn: str
    type: str
    name: str
    changed: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did, or what a preview would do.

    Attributes:
        steps: Every resource once, in the order in which it was handled.
        outputs: The stack's outputs; in a preview those that are known already.
        duration: Seconds.
        unheld: By URN, the properties that the emulator can not hold and that live in the state only, each with the
            reason: ``jurisdiction: the emulator keeps everything on this machine``.
    """

    steps: tuple[Step, ...]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    duration: float = 0.0
    unheld: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Engine(Protocol):
    """Runs a stack's program. Every method raises `runtime.errors.StorageError` for what a user can mend."""

    def prepare(self, stack: Stack) -> None:
        """Have a stack that is new known to the engine, with nothing in it, so that `preview` and `up` can follow."""
        ...

    def preview(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """What `up` would do; nothing is created, changed or written."""
        ...

    def up(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """Make the cloud what the spec says; the program writes the contract when everything is there."""
        ...

    def destroy(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """Delete everything that the stack holds, in reverse order."""
        ...
