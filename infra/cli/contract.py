"""``tandem config render``, ``diff`` and ``types``: the contract from the spec, without any deployment.

They join the group ``config`` of `runtime.cli`, which knows of contracts and nothing of specs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import Json, Root, StackName, read_stack
from runtime.cli.configuration import config_commands

if TYPE_CHECKING:
    from infra.stack import Stack
    from runtime.config import StorageDocument

LONGEST = 80
"""Characters of a value in a line; ``--json`` has all of it."""

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file, not to standard output.", dir_okay=False)
]


@config_commands.command()
def render(stack: StackName, as_json: Json = False, cwd: Root = None) -> None:
    """Compute the contract of a stack and its policy verdict: offline, without credentials or a deployment.

    Prints what `tandem up` would write. A stack on emulators needs them running: their addresses are part of it.
    Exit code 1 when a security rule fails.
    """
    from infra.cli.check import print_report
    from infra.policy import check

    selected = read_stack(stack, cwd)
    report = check(selected)
    contract = _contract(selected)
    if as_json:
        typer.echo(json.dumps({"contract": contract.to_dict(), "policy": report.document()}, indent=2))
    else:
        typer.echo(contract.to_yaml(), nl=False)
        print_report(report, errors=True)
    if report.failed:
        raise typer.Exit(1)


@config_commands.command()
def diff(stack: StackName, as_json: Json = False, cwd: Root = None) -> None:
    """Show what the spec changes in the contract that was written last, and what of it breaks applications.

    Each difference is added, removed, changed-safe or changed-breaking. Exit code 1 when one of them breaks an
    application that runs with the old contract.
    """
    from infra.changes import changes
    from infra.cli import output
    from runtime.validation import read_yaml

    selected = read_stack(stack, cwd)
    old = (read_yaml(selected.contract) or {}).get("storage") or {} if selected.contract.is_file() else {}
    found = changes(old, _contract(selected).to_dict()["storage"])
    if as_json:
        typer.echo(json.dumps({"stack": stack, "changes": [asdict(change) for change in found]}, indent=2))
    else:
        for change in found:
            mark = "  breaking" if change.breaking else ""
            typer.echo(f"{change.kind.value:17}{change.path}: {_short(change.before)} -> {_short(change.after)}{mark}")
        breaking = sum(change.breaking for change in found)
        output.err.print(f"[bold]{stack}[/]: {len(found)} differences, {breaking} breaking")
    if any(change.breaking for change in found):
        raise typer.Exit(1)


@config_commands.command()
def types(stack: StackName, output: Output = None, cwd: Root = None) -> None:
    """Write a Python module with the names of the backends as types, and a typed attribute for each.

    A backend that is renamed in the stack's file then fails the application's type check.
    """
    from infra.emit import write
    from infra.spec import load_spec
    from infra.typed import module

    selected = read_stack(stack, cwd)
    text = module(selected, load_spec(selected))
    if output is None:
        typer.echo(text, nl=False)
    else:
        write(output, text)


def _contract(stack: Stack) -> StorageDocument:
    from infra.emit import document
    from infra.endpoints import endpoints
    from infra.spec import context_of, load_spec

    spec = load_spec(stack)
    return document(spec, replace(context_of(stack, spec), endpoints=endpoints(stack)))


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
