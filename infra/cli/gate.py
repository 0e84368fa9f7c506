"""The gate of ``tandem preview`` and ``tandem up``: the spec and the security rules, before anything is made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from infra.policy import Report
    from infra.stack import Stack


def gate(stack: Stack, *, as_json: bool) -> Report:
    """The verdict on a stack that may be made; what is exempt is shown, every time.

    Raises:
        ConfigError: the spec is wrong.
        PolicyError: a rule fails, or an exemption has expired.
        typer.Exit: the same, told as a JSON document.
    """
    from infra.policy import PolicyError, enforce

    try:
        report = enforce(stack)
    except PolicyError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"stack": stack.name, "policy": error.report.document()}, indent=2))
        raise typer.Exit(1) from error
    if not as_json:
        _show(report)
    return report


def _show(report: Report) -> None:
    """What is not kept, and why that is meant."""
    from rich.text import Text

    from infra.cli import output
    from infra.policy import Status

    for verdict in report.verdicts:
        if verdict.status in {Status.EXEMPT, Status.TOLERATED}:
            line = f"{verdict.status.value}: {verdict.rule} {verdict.backend or 'stack'}: {verdict.note}"
            output.err.print(Text(line, style="yellow"))
    for needless in report.needless:
        output.err.print(f"the exemption of {needless} is not needed any more")
