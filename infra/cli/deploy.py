"""``tandem preview``, ``up`` and ``destroy``: run a stack's program and say what happened."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.options import AcceptBreaking, Apps, Engine, EngineName, Json, Root, StackName, Yes, read_stack
from infra.engine import Action
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.changes import Change
    from infra.engine import Engine as EngineProtocol
    from infra.engine import Result, Step
    from infra.stack import Stack
    from runtime.proving import Proof

Prove = Annotated[
    bool, typer.Option("--prove", help="Then write, read, list, describe and delete an object on every backend.")
]


Refresh = Annotated[bool, typer.Option("--refresh", help="Look at everything first, and show what was changed there.")]


def preview(
    stack: StackName,
    engine: Engine = EngineName.AUTO,
    refresh: Refresh = False,
    app: Apps = None,
    as_json: Json = False,
    cwd: Root = None,
) -> None:
    """Show what `up` would do, to the cloud and to the contract. Nothing is created, changed or written.

    A security rule that fails, or an exemption that has expired, is an error here as in `up`. What somebody changed
    behind the stack's back is part of the plan on emulators; in a cloud, where a look at everything takes its time,
    --refresh shows it.
    """
    from infra.agreement import settled
    from infra.apps import refuse_unmet
    from infra.cli import output
    from infra.cli.gate import gate
    from infra.pending import pending

    selected = read_stack(stack, cwd)
    policy = gate(selected, as_json=as_json)
    refuse_unmet(selected, app or ())
    runner = _engine(engine, selected)
    drift = output.changes(_drift(runner, selected)) if refresh else []
    with settled():
        plan = runner.preview(selected)
    found = pending(selected)
    if as_json:
        more = {"drift": [asdict(step) for step in drift], "policy": policy.document()}
        typer.echo(json.dumps(_report(selected, plan, found) | more, indent=2))
        return
    for step in drift:
        output.out.print("changed behind the stack's back:", output.step_line(step))
    for step in output.changes(plan.steps):
        output.out.print(output.step_line(step))
    output.print_contract(found)
    output.out.print(f"[bold]{selected.name}[/]: {output.summary(plan.steps)}")


def up(
    stack: StackName,
    engine: Engine = EngineName.AUTO,
    prove: Prove = False,
    yes: Yes = False,
    accept_breaking: AcceptBreaking = False,
    app: Apps = None,
    as_json: Json = False,
    cwd: Root = None,
) -> None:
    """Make the cloud what the spec says and write the storage config that applications read.

    Safe to repeat: what is there already is left alone, what was lost is made again. Emulators that the stack
    lives on are started when they do not run. Deleting or replacing anything is asked first. What would break
    applications that run with the contract of before (another driver, bucket, region or prefix, a backend or a
    grant that is gone) is refused without --accept-breaking, or TANDEM_ACCEPT_BREAKING=1 in the environment. What an
    application given by --app still requires is refused in any case.
    What fails a security rule (`tandem check`) is refused before anything is started; only emulators in profile
    dev get what would be refused elsewhere.
    """
    from infra.agreement import accepted, refuse_breaking, settled
    from infra.apps import refuse_unmet
    from infra.cli import output
    from infra.cli.gate import gate
    from infra.pending import pending

    selected = read_stack(stack, cwd)
    policy = gate(selected, as_json=as_json)
    refuse_unmet(selected, app or ())
    quiet = as_json
    _start_emulators(selected, quiet=quiet)
    found = pending(selected)
    refuse_breaking(selected, found, accepted=accept_breaking or accepted())
    if not quiet:
        output.print_contract(found)
    runner = _engine(engine, selected)
    runner.prepare(selected)
    with settled():
        plan = runner.preview(selected)
        _confirm(plan, asks_always=not _lives_on_emulators(selected), yes=yes)
        result = runner.up(selected, on_step=None if quiet else _progress())
    proofs = _proofs(selected) if prove else []
    if as_json:
        report = _report(selected, result, found, proofs) | {"policy": policy.document()}
        typer.echo(json.dumps(report, indent=2))
    else:
        _print_result(selected, result, proofs)
    if not all(proof.ok for proof in proofs):
        raise typer.Exit(1)


def destroy(
    stack: StackName, engine: Engine = EngineName.AUTO, yes: Yes = False, as_json: Json = False, cwd: Root = None
) -> None:
    """Delete everything that the stack made, and the storage config that describes it.

    Protected resources and buckets that hold objects are refused, with what to do about it.
    """
    from infra.cli import output
    from infra.cli.purging import refuse_full
    from infra.emit import contract_path

    selected = read_stack(stack, cwd)
    for remark in refuse_full(selected):
        output.err.print(remark, style="dim")
    if not yes:
        _ask(f"Delete everything that stack {selected.name!r} made?")
    result = _engine(engine, selected).destroy(selected, on_step=None if as_json else _progress())
    contract_path(selected).unlink(missing_ok=True)
    if as_json:
        typer.echo(json.dumps(_report(selected, result), indent=2))
        return
    output.out.print(f"[bold]{selected.name}[/]: {output.summary(result.steps)}")
    if _lives_on_emulators(selected):
        output.out.print(f"Its emulators still run; stop them with: tandem emulators down -s {selected.name}")


def _lives_on_emulators(stack: Stack) -> bool:
    return bool(stack.config.get("tandem:emulators"))


def _engine(name: EngineName, stack: Stack) -> EngineProtocol:
    if name is EngineName.PULUMI or (name is EngineName.AUTO and not _lives_on_emulators(stack)):
        from infra.engine.automation import PulumiEngine

        return PulumiEngine()
    from infra.engine.embedded import EmbeddedEngine

    return EmbeddedEngine()


def _drift(runner: EngineProtocol, stack: Stack) -> Sequence[Step]:
    """What is not any more as the last `up` left it; the embedded engine's own plan tells that in any case."""
    from infra.engine.automation import PulumiEngine

    return runner.drift(stack).steps if isinstance(runner, PulumiEngine) else ()


def _start_emulators(stack: Stack, *, quiet: bool) -> None:
    if not _lives_on_emulators(stack):
        return
    from infra import emulators
    from infra.cli import output

    emulators.up(stack, on_event=(lambda _: None) if quiet else lambda text: output.err.print(text, style="dim"))


def _confirm(plan: Result, *, asks_always: bool, yes: bool) -> None:
    """Ask before anything is lost; on a real cloud, before anything is changed."""
    from infra.cli import output

    pending = output.changes(plan.steps)
    losing = [step for step in pending if step.action in {Action.DELETE, Action.REPLACE}]
    if yes or not (losing or (asks_always and pending)):
        return
    for step in pending:
        output.err.print(output.step_line(step))
    what = f"{len(losing)} deleted or replaced" if losing else f"{len(pending)} changed"
    _ask(f"Go on? {what}.")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Nobody is there to answer", hint="give --yes to agree beforehand")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _progress() -> Callable[[Step], None]:
    from infra.cli import output

    def show(step: Step) -> None:
        if step.action is not Action.SAME:
            output.out.print(output.step_line(step))

    return show


def _proofs(stack: Stack) -> list[Proof]:
    """Open what was just provisioned as an application would, and use every backend once."""
    import anyio

    return anyio.run(_prove_all, stack)


async def _prove_all(stack: Stack) -> list[Proof]:
    import runtime
    from infra.emit import contract_path
    from runtime.proving import prove

    proofs: list[Proof] = []
    async with runtime.open_storage(contract_path(stack)) as storage:
        for store in storage.values():
            proofs += [proof async for proof in prove(store)]
    return proofs


def _print_result(stack: Stack, result: Result, proofs: Sequence[Proof]) -> None:
    from infra.cli import output
    from infra.emit import contract_path

    path = _short(contract_path(stack))
    output.print_unheld(result)
    output.out.print(f"\n[bold]{stack.name}[/]: {output.summary(result.steps)} in {result.duration:.1f} s\n")
    output.out.print(output.backends_table(result.outputs["storage"]["storage"]["backends"]))
    if proofs:
        output.out.print("\nproved through `import runtime`:")
        output.out.print(output.proof_table(proofs))
        for proof in proofs:
            if not proof.ok:
                output.err.print(f"[red]{proof.backend}[/] {proof.step}: {proof.detail}")
    output.out.print(f"\nconfig    {path}")
    output.out.print(
        f"next      tandem ls -s {stack.name} <backend>:     list objects\n"
        f"          tandem doctor -s {stack.name}            check every backend\n"
        f"          LEX_STORAGE_CONFIG={path} python app.py     open it in an application"
    )


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _report(
    stack: Stack, result: Result, contract: Sequence[Change] = (), proofs: Sequence[Proof] = ()
) -> dict[str, Any]:
    """The machine's view of a run."""
    from infra.cli import output
    from infra.emit import contract_path

    return {
        "stack": stack.name,
        "config": str(contract_path(stack)),
        "summary": {action.value: sum(step.action is action for step in result.steps) for action in Action},
        "steps": [asdict(step) for step in output.changes(result.steps)],
        "contract": {
            "breaking": sum(change.breaking for change in contract),
            "changes": [asdict(change) for change in contract],
        },
        "unheld": {urn: list(properties) for urn, properties in result.unheld.items()},
        "duration_seconds": round(result.duration, 3),
        "proofs": [asdict(proof) for proof in proofs],
    }
