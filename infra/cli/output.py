"""What the infrastructure commands print: plans, progress, results and proofs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.changes import summary as summary_of
from infra.engine import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from infra.changes import Change
    from infra.engine import Result, Step
    from runtime.proving import Proof

STYLES = {
    Action.CREATE: ("+", "green"),
    Action.IMPORT: ("=", "cyan"),
    Action.UPDATE: ("~", "yellow"),
    Action.REPLACE: ("±", "magenta"),
    Action.DELETE: ("-", "red"),
    Action.SAME: (" ", "dim"),
}

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def step_line(step: Step) -> Text:
    """One line for one resource: what happens to it, what it is, and which properties change."""
    sign, style = STYLES[step.action]
    line = Text(f"{sign} {step.action.value:8}", style=style)
    line.append(f"{step.type}  ", style="default")
    line.append(step.name, style="bold")
    if step.changed:
        line.append(f"  [{', '.join(step.changed)}]", style="yellow")
    if step.note:
        line.append(f"  {step.note}", style="dim")
    return line


def print_contract(found: Sequence[Change]) -> None:
    """How the contract differs from the one that was written last; nothing when it does not."""
    if not found:
        return
    out.print(f"\n[bold]contract[/]: {summary_of(found)}")
    for change in found:
        out.print(Text(f"  {change.line()}", style="red" if change.breaking else "default"))


def changes(steps: Iterable[Step]) -> list[Step]:
    """The steps that do something."""
    return [step for step in steps if step.action is not Action.SAME]


def summary(steps: Sequence[Step]) -> str:
    """``5 to create, 1 to delete, 12 unchanged``; ``no changes (17 unchanged)``."""
    counts = {action: sum(step.action is action for step in steps) for action in Action}
    parts = [f"{counts[action]} {action.value}" for action in Action if counts[action] and action is not Action.SAME]
    same = f"{counts[Action.SAME]} unchanged"
    return f"{', '.join(parts)}, {same}" if parts else f"no changes ({same})"


def print_unheld(result: Result) -> None:
    """Say what an emulator could not hold, so that nobody believes it was tested."""
    if not result.unheld:
        return
    out.print("\n[yellow]kept in state only[/], the emulator can not hold it:")
    for urn, told in sorted(result.unheld.items()):
        reasons: dict[str, list[str]] = {}
        for entry in told:
            path, _, reason = entry.partition(": ")
            reasons.setdefault(reason, []).append(path)
        name = urn.rpartition("::")[2]
        for reason, paths in reasons.items():
            out.print(Text(f"  {name}: {', '.join(paths)} ({reason})", style="dim"))


def backends_table(backends: Sequence[Mapping[str, Any]]) -> Table:
    """One row per backend of the contract: what it is called, and where it lives."""
    table = Table("backend", "driver", "where", "", box=None, pad_edge=False, header_style="bold")
    for backend in backends:
        settings = backend.get(backend["driver"]) or {}
        place = next((settings[key] for key in ("bucket", "container", "root_dir") if key in settings), "this process")
        table.add_row(backend["name"], backend["driver"], place, "primary" if backend.get("primary") else "")
    return table


def proof_table(proofs: Sequence[Proof]) -> Table:
    """One row per backend, one column per step."""
    steps = ["write", "info", "list", "read", "url", "delete"]
    table = Table("backend", *steps, box=None, pad_edge=False, header_style="bold")
    for backend in dict.fromkeys(proof.backend for proof in proofs):
        found = {proof.step: proof for proof in proofs if proof.backend == backend}
        table.add_row(backend, *(_cell(found.get(step)) for step in steps))
    return table


def _cell(proof: Proof | None) -> Text:
    if proof is None:
        return Text("-", style="dim")
    if not proof.tried:
        return Text("not granted", style="dim")
    if proof.ok:
        return Text(f"ok {proof.duration_ms:.0f} ms", style="green")
    return Text("FAILED", style="bold red")
