"""What breaks applications is agreed to, or not done.

`tandem up` asks before it starts anything. The program asks too (``infra/__main__.py``), before it registers anything,
so that a plain ``pulumi up`` does not break applications unasked either.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Final

import pulumi

from infra.changes import summary
from infra.pending import pending
from runtime.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra.changes import Change
    from infra.stack import Stack

ACCEPT: Final = "TANDEM_ACCEPT_BREAKING"
"""Environment variable: ``1`` accepts what breaks applications, as ``--accept-breaking`` does."""

_SETTLED: Final = Event()
"""Set while somebody runs the program who has asked already; the program may be in another thread."""


def refuse_breaking(stack: Stack, found: Sequence[Change], *, accepted: bool) -> None:
    """Stop where an application that runs with the contract of before would break, unless that was accepted.

    Raises:
        ConfigError: with every breaking change; nothing was changed.
    """
    breaking = [change for change in found if change.breaking]
    if accepted or not breaking:
        return
    count = "one change" if len(breaking) == 1 else f"{len(breaking)} changes"
    raise ConfigError(
        f"{count} of the contract would break applications that run with the old one; nothing was changed",
        source=stack.source,
        problems=[Problem(change.path, change.words()) for change in breaking],
        hint="deploy what no longer needs the old contract first, then give --accept-breaking, "
        f"or {ACCEPT}=1 to a plain `pulumi up`; --yes is not enough",
    )


def accepted() -> bool:
    """Whether the environment accepts what breaks applications.

    Raises:
        ConfigError: the variable is neither yes nor no.
    """
    found = os.environ.get(ACCEPT, "")
    if found not in {"", "0", "1"}:
        raise ConfigError(
            "is neither yes nor no", source="environment", problems=[Problem(ACCEPT, repr(found), "1, 0")]
        )
    return found == "1"


def agree(stack: Stack) -> None:
    """Ask, as the program does before it registers anything.

    A preview tells how the contract changes and refuses nothing. A run that changes something refuses what breaks
    applications, unless the environment accepts it (`ACCEPT`); what was accepted is told.

    Raises:
        ConfigError: as for `refuse_breaking`, `accepted` and `infra.pending.pending`.
    """
    if _SETTLED.is_set():
        return
    found, may = pending(stack), accepted()
    preview = pulumi.runtime.is_dry_run()
    if not preview:
        refuse_breaking(stack, found, accepted=may)
    breaking = [change for change in found if change.breaking]
    told = found if preview else breaking
    if told:
        lines = [f"contract: {summary(told)}", *(change.line() for change in told)]
        if breaking and not may:
            lines.append(f"`pulumi up` refuses this without {ACCEPT}=1")
        (pulumi.warn if breaking else pulumi.info)("\n  ".join(lines))


@contextmanager
def settled() -> Iterator[None]:
    """Let programs that run meanwhile ask nothing: whoever runs them has asked and told."""
    outer = _SETTLED.is_set()
    _SETTLED.set()
    try:
        yield
    finally:
        if not outer:
            _SETTLED.clear()
