"""``tandem emulators``: the servers on this machine that stand in for the clouds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from infra.cli.options import Json, Root, StackName, read_stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.emulators import ServerState

emulators = typer.Typer(
    help="Start, stop and look at the servers that stand in for the clouds. They listen on 127.0.0.1 only.",
    no_args_is_help=True,
)


@emulators.command()
def up(stack: StackName, as_json: Json = False, cwd: Root = None) -> None:
    """Start the servers that the stack needs and that do not run.

    They keep running when this command ends. What has to be installed is installed once, below .tandem/cache.
    """
    from infra import emulators as servers
    from infra.cli import output

    report = (lambda _: None) if as_json else lambda text: output.err.print(text, style="dim")
    _show(servers.up(read_stack(stack, cwd), on_event=report), as_json=as_json)


@emulators.command()
def down(stack: StackName, as_json: Json = False, cwd: Root = None) -> None:
    """Stop the stack's servers. What they held in memory is gone; the next `tandem up` provisions it again."""
    from infra import emulators as servers

    _show(servers.down(read_stack(stack, cwd)), as_json=as_json)


@emulators.command()
def status(stack: StackName, as_json: Json = False, cwd: Root = None) -> None:
    """Say which servers the stack needs and how they are. Exit code 1 when one of them does not run."""
    from infra import emulators as servers

    states = servers.status(read_stack(stack, cwd))
    _show(states, as_json=as_json)
    if any(state.status != "running" for state in states):
        raise typer.Exit(1)


def _show(states: Sequence[ServerState], *, as_json: bool) -> None:
    from rich.table import Table

    from infra.cli import output

    if as_json:
        typer.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    if not states:
        output.out.print("this stack lives on no emulators (its file has no tandem:emulators)")
        return
    table = Table("server", "stands in for", "status", "address", "pid", "up", box=None, pad_edge=False)
    for state in states:
        uptime = f"{state.uptime_seconds:.0f} s" if state.uptime_seconds is not None else ""
        shown = state.status if state.message is None else f"{state.status}: {state.message}"
        table.add_row(state.server, ", ".join(state.providers), shown, state.url or "", str(state.pid or ""), uptime)
    output.out.print(table)
