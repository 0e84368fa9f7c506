"""``tandem check``: the security rules over everything that a stack would make, before anything exists."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from infra.cli.options import Apps, Json, Root, read_stack
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.apps import Unmet
    from infra.policy import Report, Verdict

Stack = Annotated[
    str | None,
    typer.Option("--stack", "-s", help="The stack: NAME in stacks/Pulumi.NAME.yaml.", envvar="LEX_STORAGE_STACK"),
]
Sarif = Annotated[
    Path | None, typer.Option("--sarif", help="Write the verdict to this file too, as SARIF 2.1.0.", dir_okay=False)
]
Rules = Annotated[bool, typer.Option("--rules", help="List the rules and leave.")]

_WIDTH = 10
"""Of the column with what became of a rule: ``tolerated`` is the longest."""


def check(
    stack: Stack = None,
    sarif: Sarif = None,
    rules: Rules = False,
    app: Apps = None,
    as_json: Json = False,
    cwd: Root = None,
) -> None:
    """Judge a stack by the security rules: offline, without credentials, before anything is made.

    A rule that is not to be kept is exempted under tandem:storage in the stack's file, for one backend, with a
    reason and a last day: exemptions: [{rule: AZ-05, backend: reports, reason: "…", expires: "2027-06-30"}].
    What applications given by --app require of their storage (`tool.tandem.requires` in pyproject.toml) is
    compared too. Exit code 1 when a rule fails, an exemption has expired or a requirement is not met, 2 when the spec
    or a declaration is wrong.
    """
    if rules:
        _list_rules(as_json=as_json)
        return
    if stack is None:
        raise ConfigError("which stack?", hint="name it: tandem check -s prod")
    from infra.apps import unmet
    from infra.policy import check as judge

    selected = read_stack(stack, cwd)
    report, missing = judge(selected), unmet(selected, app or ())
    if sarif is not None:
        from infra.emit import write
        from infra.sarif import sarif as document

        write(sarif, json.dumps(document(report, selected.file, missing), indent=2) + "\n")
    if as_json:
        found = [{"app": each.app, **asdict(each.problem)} for each in missing]
        typer.echo(json.dumps({**report.document(), "unmet_requirements": found}, indent=2))
    else:
        print_report(report)
        _print_unmet(missing)
    if report.failed or missing:
        raise typer.Exit(1)


def print_report(report: Report, *, errors: bool = False) -> None:
    """What failed, what is exempt, and how many rules hold; with *errors* on standard error."""
    from infra.cli import output
    from infra.policy import Status

    console = output.err if errors else output.out
    for verdict in report.verdicts:
        if verdict.status is not Status.PASSED:
            for line in _lines(verdict):
                console.print(line)
    for each in report.weaker:
        where = f"{each.backend}: {each.key}" if each.backend else each.key
        console.print(f"{'weaker':{_WIDTH}}{where} is {each.found}; profile {report.profile} has {each.default}")
    for needless in report.needless:
        console.print(f"{'note':{_WIDTH}}the exemption of {needless} is not needed any more")
    counts = ", ".join(f"{count} {status}" for status, count in sorted(report.counts().items()))
    console.print(f"[bold]{report.stack}[/] ({report.profile}): {counts}")


def _print_unmet(missing: Sequence[Unmet]) -> None:
    from infra.apps import RULE
    from infra.cli import output

    for each in missing:
        output.out.print(f"[red]{'failed':{_WIDTH}}[/]{RULE:7} {escape(str(each))}")


def _lines(verdict: Verdict) -> list[str]:
    from infra.policy import Status
    from infra.rules import RULES

    colour = "red" if verdict.status is Status.FAILED else "yellow"
    title = next(rule.title for rule in RULES if rule.id == verdict.rule)
    head = f"[{colour}]{verdict.status.value:{_WIDTH}}[/]{verdict.rule:7} {verdict.backend or 'stack'}: {title}"
    told = [*map(str, verdict.broken), *([verdict.note] if verdict.note else [])]
    return [head, *(escape(f"{'':{_WIDTH + 7}} {line}") for line in told)]


def _list_rules(*, as_json: bool) -> None:
    from infra.cli import output
    from infra.profiles import PROFILES
    from infra.rules import OPT_IN, RULES

    if as_json:
        found = [
            {"id": rule.id, "title": rule.title, "sources": rule.sources, "profiles": sorted(rule.profiles)}
            for rule in RULES
        ]
        typer.echo(json.dumps({"rules": found, "opt_in": OPT_IN}, indent=2))
        return
    for rule in RULES:
        profiles = "" if len(rule.profiles) == len(PROFILES) else f" (only in {', '.join(sorted(rule.profiles))})"
        output.out.print(f"{rule.id:7} {rule.title}{profiles}\n        [dim]{', '.join(rule.sources)}[/]")
    output.out.print("\nNot asked for by default:")
    for sources, reason in OPT_IN.items():
        output.out.print(f"  {sources}\n        [dim]{reason}[/]")
