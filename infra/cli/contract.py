"""``tandem config render``, ``diff`` and ``types``: the contract from the spec, without any deployment.

They join the group ``config`` of `runtime.cli`, which knows of contracts and nothing of specs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.options import Json, Root, StackName, read_stack
from runtime.cli.configuration import config_commands

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
    from infra.pending import contract as contract_of
    from infra.policy import check

    selected = read_stack(stack, cwd)
    report = check(selected)
    contract = contract_of(selected)
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
    from infra.changes import summary
    from infra.cli import output
    from infra.pending import pending

    found = pending(read_stack(stack, cwd))
    if as_json:
        typer.echo(json.dumps({"stack": stack, "changes": [asdict(change) for change in found]}, indent=2))
    else:
        for change in found:
            typer.echo(change.line())
        output.err.print(f"[bold]{stack}[/]: {summary(found)}")
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
