"""``tandem drift``: spec, contract, stack and live buckets side by side."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import Apps, Json, Root, StackName, read_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from infra.stack import Stack
    from runtime.drift import Finding


class Between(StrEnum):
    """What is compared."""

    FILE = "file"
    """The contract's file with its own fingerprint."""
    APP = "app"
    """What applications require, with the spec."""
    SPEC = "spec"
    """The spec with the contract's file."""
    STACK = "stack"
    """The contract's file with the stack's output."""
    LIVE = "live"
    """The contract's file with the live buckets."""


Only = Annotated[list[Between] | None, typer.Option("--only", help="Compare nothing else; may be given several times.")]
Write = Annotated[bool, typer.Option("--write", help="Also use presigned URLs of a scratch object on every backend.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit code 6 when nothing differs but something could not be compared.")
]

TITLES = {
    Between.FILE: "the contract's file",
    Between.APP: "applications and spec",
    Between.SPEC: "spec and contract",
    Between.STACK: "contract and stack output",
    Between.LIVE: "contract and live buckets",
}


def drift(
    stack: StackName,
    only: Only = None,
    app: Apps = None,
    write: Write = False,
    strict: Strict = False,
    as_json: Json = False,
    cwd: Root = None,
) -> None:
    """Show where spec, contract, stack and live buckets have come apart, with what to do about each difference.

    Four comparisons: spec with the contract's file, the file with the stack's output, the file with the live buckets
    (by the credentials of whoever runs this; `tandem doctor` is the same with the application's), and what
    applications given by --app require. What could not be looked at is told, and is no difference. Exit code 1 when
    something differs, 2 when the spec is wrong, 6 with --strict when something could not be compared.
    """
    from infra.cli import output
    from runtime.cli.exits import of_drift
    from runtime.cli.output import print_drift
    from runtime.drift import counted

    selected = read_stack(stack, cwd)
    found = compare(selected, only or list(Between), app or (), write=write)
    findings = [finding for each in found.values() for finding in each]
    if as_json:
        typer.echo(json.dumps(_document(selected.name, found), indent=2))
    else:
        for way, each in found.items():
            output.out.print(f"[bold]{TITLES[way]}[/]: {counted(each)}")
            print_drift(each)
    if code := of_drift(findings, strict=strict):
        raise typer.Exit(code)


def _document(stack: str, found: Mapping[Between, list[Finding]]) -> dict[str, Any]:
    """For a machine: every finding with the comparison that it is of."""
    from runtime.drift import apart

    told: dict[str, list[dict[str, Any]]] = {"differences": [], "unknown": []}
    for way, findings in found.items():
        for kind, each in zip(told, apart(findings), strict=True):
            told[kind] += [{"between": way.value, **finding.document()} for finding in each]
    return {"stack": stack, "compared": [*found], **told}


def compare(
    stack: Stack, ways: list[Between], apps: list[Path] | tuple[()] = (), *, write: bool = False
) -> dict[Between, list[Finding]]:
    """What each of *ways* finds; without a contract, what needs none."""
    from infra import drifting

    offline: dict[Between, Callable[[], list[Finding]]] = {
        Between.FILE: lambda: drifting.of_file(stack),
        Between.APP: lambda: drifting.of_apps(stack, apps),
        Between.SPEC: lambda: drifting.of_spec(stack),
        Between.STACK: lambda: drifting.of_stack(stack),
        Between.LIVE: lambda: _live(stack, write=write),
    }
    missing = not stack.contract.is_file()
    if missing:
        offline = {way: offline[way] for way in (Between.FILE, Between.APP)}
    return {
        way: look()
        for way, look in offline.items()
        if way in ways or (missing and way is Between.FILE)
        if way is not Between.APP or apps
    }


def _live(stack: Stack, *, write: bool) -> list[Finding]:
    from functools import partial

    import anyio

    import runtime
    from infra.drifting import of_file
    from runtime.drift import Drift, Finding
    from runtime.errors import ConfigError

    try:
        found = anyio.run(partial(runtime.verify, stack.contract, write=write))
    except ConfigError as exc:
        if of_file(stack):  # somebody edited it; the other comparisons show what it was
            drift, fix = Drift.BREAKING, f"run `tandem up -s {stack.name}`"
        else:  # secrets that it refers to are not here
            drift, fix = Drift.UNKNOWN, f'run eval "$(tandem env -s {stack.name})" first'
        return [Finding("", problem.path, problem.allowed, problem.message, drift, fix) for problem in exc.problems]
    return [finding for finding in found.findings if finding.path != "fingerprint"]  # `file` tells it
