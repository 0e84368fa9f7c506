"""Drift without asking a bucket: the spec against the contract's file, and the file against the stack's output.

Together with `runtime.verifying` (contract against live bucket) these are the three ways in which infrastructure and
application come apart; ``tandem drift`` shows all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.apps import unmet
from infra.changes import changes
from infra.endpoints import state_directory
from infra.pending import pending, written
from runtime.config import fingerprint
from runtime.drift import Drift, Finding
from runtime.errors import StorageError
from runtime.validation import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from infra.changes import Change
    from infra.stack import Stack


def of_file(stack: Stack) -> list[Finding]:
    """That there is no contract, or that somebody edited it."""
    if not stack.contract.is_file():
        name = str(stack.contract.relative_to(stack.root))
        return [Finding("", name, "the contract that `up` writes", None, Drift.BREAKING, _up(stack))]
    document = read_yaml(stack.contract)
    stated = document.get("fingerprint") if isinstance(document, dict) else None
    if stated is None or stated == (actual := fingerprint(document)):
        return []
    fix = f"the file was edited by hand: change {stack.source} instead, and {_up(stack)}"
    return [Finding("", "fingerprint", stated, actual, Drift.BREAKING, fix)]


def of_apps(stack: Stack, apps: Sequence[Path]) -> list[Finding]:
    """What applications require and the spec does not give."""
    fix = f"give it in {stack.source}, or change and deploy the application"
    return [
        Finding("", f"{each.app}: {each.problem.path}", each.problem.allowed, each.problem.message, Drift.BREAKING, fix)
        for each in unmet(stack, apps)
    ]


def of_spec(stack: Stack) -> list[Finding]:
    """What the spec stands for and the contract's file does not say.

    Raises:
        ConfigError: the spec or the file is wrong, or the stack's emulators do not run.
    """
    return [_finding(change, change.after, change.before, _up(stack)) for change in pending(stack)]


def of_stack(stack: Stack) -> list[Finding]:
    """What was deployed last and the contract's file does not say; the file may be older, or of another deployment."""
    try:
        output = outputs(stack).get("storage")
    except StorageError as exc:  # no pulumi command, no login, a state that can not be read
        return [Finding("", "storage", "a stack output", None, Drift.UNKNOWN, str(exc))]
    if not output:
        return [Finding("", "storage", "a stack output", None, Drift.BREAKING, f"it was never deployed: {_up(stack)}")]
    fix = f"the file is not what was deployed last: {_up(stack)} writes it anew"
    return [_finding(change, change.before, change.after, fix) for change in changes(output["storage"], written(stack))]


def outputs(stack: Stack) -> Mapping[str, Any]:
    """The stack's outputs, from whichever engine ran it last: the embedded one's state, or Pulumi's."""
    from infra.engine.automation import PulumiEngine  # noqa: PLC0415 - the one that is not asked is not loaded
    from infra.engine.state import StateFile  # noqa: PLC0415 - as above

    if not stack.emulators:
        return PulumiEngine().outputs(stack)
    state = StateFile(stack)
    if state.contents.outputs or not (state_directory(stack) / "pulumi").is_dir():
        return state.contents.outputs
    return PulumiEngine().outputs(stack)


def _up(stack: Stack) -> str:
    return f"run `tandem up -s {stack.name}`"


def _finding(change: Change, expected: Any, found: Any, fix: str) -> Finding:
    parts = change.path.split(".")
    backend = parts[1] if parts[0] in {"backends", "kv"} and len(parts) > 1 else ""
    drift = Drift.BREAKING if change.breaking else Drift.SAFE
    return Finding(backend, change.path, expected, found, drift, fix)
