"""``tandem migrate``: bring everything of one backend over to another, while applications go on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.exits import exit_code
from runtime.cli.options import ConfigFile, Json, StackName, complete_backends
from runtime.cli.output import human_size, one_line, print_error, print_json, say
from runtime.cli.session import opened, run
from runtime.errors import ConfigError, Problem, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.migration import Migrated, Outcome


class Verification(StrEnum):
    """``--verify``: how a copy is checked."""

    size = "size"
    checksum = "checksum"


def migrate(  # noqa: PLR0913 - each is an option of the command
    old: Annotated[str, typer.Argument(help="The backend to leave.", autocompletion=complete_backends, metavar="OLD")],
    new: Annotated[
        str,
        typer.Argument(help="The backend with `read_fallback: OLD`.", autocompletion=complete_backends, metavar="NEW"),
    ],
    *,
    cut_over: Annotated[
        bool, typer.Option("--cut-over", help="Afterwards say whether OLD can be given up for good, and how.")
    ] = False,
    app: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --cut-over: folder or pyproject.toml of an application. One that requires OLD is in the way."
        ),
    ] = None,
    no_app: Annotated[
        bool, typer.Option("--no-app", help="With --cut-over: there is no application that says what it requires.")
    ] = False,
    verify: Annotated[
        Verification,
        typer.Option(help="How a copy is checked: by its size, or by reading it again and comparing SHA-256."),
    ] = Verification.size,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is missing, and copy nothing.")] = False,
    concurrency: Annotated[int, typer.Option("--concurrency", "-j", min=1, max=64, help="Objects copied at once.")] = 8,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Copy every object of OLD that NEW does not have, while applications read and write; then cut over.

    Before: give NEW `read_fallback: OLD` in the stack's file, `tandem up`, and deploy the applications. From then on
    they use NEW and find there whatever OLD has. What they write or delete while objects are copied is neither undone
    nor lost. Run it again to go on where it was interrupted. Nothing is removed from OLD.
    """
    apps = _apps(app, cut_over=cut_over, no_app=no_app)

    async def work() -> Migrated:
        from runtime import migration  # noqa: PLC0415 - keeps anyio out of `tandem --help`

        async with opened(config, stack, new) as storage:
            _demand_fallback(storage, old, new)
            return await migration.migrate(
                storage[new],
                dry_run=dry_run,
                verify=verify.value,
                concurrency=concurrency,
                on_step=None if as_json else _told,
            )

    blocked = list(_requiring(apps, old)) if cut_over else []
    result = run(work)
    done = result.complete and not dry_run
    if as_json:
        print_json(_document(result, dry_run=dry_run, blocked=blocked, cut_over=cut_over and done and not blocked))
    else:
        _print(result, old, new, dry_run=dry_run)
    for path, error in result.failed:
        print_error(f"{one_line(path)}: {error}")
    if result.failed:
        raise typer.Exit(exit_code(result.failed[0][1]))
    if cut_over and not dry_run:
        _demand_ready(result, blocked, old)
        if not as_json:
            _say_how(old, new, stack)


def _apps(given: Sequence[Path] | None, *, cut_over: bool, no_app: bool) -> list[Path]:
    if cut_over and not given and not no_app:
        raise typer.BadParameter("--cut-over needs --app PATH for each application, or --no-app")
    if given and no_app:
        raise typer.BadParameter("--app and --no-app contradict each other")
    return list(given or ())


def _requiring(apps: Sequence[Path], backend: str) -> Iterator[Problem]:
    """The applications that declare that they need *backend*."""
    from runtime.requires import Requires  # noqa: PLC0415 - keeps pydantic out of `tandem --help`

    for app in apps:
        requires = Requires.read(app)
        if backend in requires.backends:
            yield Problem(f"{requires.source}: tool.tandem.requires.{backend}", "the application needs the old backend")


def _demand_fallback(storage: Mapping[str, Any], old: str, new: str) -> None:
    found = storage[new].backend.read_fallback
    if found != old:
        is_now = "falls back to no backend" if found is None else f"falls back to {found!r}"
        raise ConfigError(
            f"{new!r} {is_now}, not to {old!r}",
            backend=new,
            hint=f"write `read_fallback: {old}` under storage.backends.{new} in the stack's file, run `tandem up`, and "
            "deploy the applications with the new config; then run this again",
        )


def _demand_ready(result: Migrated, blocked: Sequence[Problem], old: str) -> None:
    problems = list(blocked)
    if result.missing:
        named = ", ".join(map(one_line, result.sample))
        problems.append(Problem("", f"{result.missing} objects are not in the new backend yet: {named}"))
    if result.placeholders:
        named = ", ".join(map(one_line, result.placeholders))
        what = "placeholders of a run that was killed are left, and this service can not remove them safely"
        problems.append(Problem("", f"{len(result.placeholders)} {what}: {named}; remove them with `tandem rm`"))
    if problems:
        raise ConfigError(f"{old!r} can not be left yet", problems=problems, hint="nothing was changed")


def _told(path: str, outcome: Outcome, size: int) -> None:
    say(f"{outcome.value} {one_line(path)} ({human_size(size)})")


def _print(result: Migrated, old: str, new: str, *, dry_run: bool) -> None:
    if dry_run:
        say(f"{result.missing} objects of {old} ({human_size(result.missing_size)}) are not in {new} yet")
        return
    counts = ", ".join(f"{count} {outcome.value}" for outcome, count in result.outcomes.items() if count)
    say(f"{old} -> {new}: {counts or 'nothing to do'}, {human_size(result.size)} copied, {result.missing} missing")


def _say_how(old: str, new: str, stack: str | None) -> None:
    name = stack or "<stack>"
    say(
        f"everything of {old} is in {new}. To cut over:\n"
        f"  1. in Pulumi.{name}.yaml remove `read_fallback: {old}` from storage.backends.{new}\n"
        f"  2. tandem up -s {name} --accept-breaking, and deploy the applications\n"
        f"  3. when the last presigned URL of {old} has expired: tandem purge -s {name} {old},\n"
        f"     remove storage.backends.{old}, and run tandem up -s {name} --accept-breaking again"
    )


def _document(result: Migrated, *, dry_run: bool, blocked: Sequence[Problem], cut_over: bool) -> Mapping[str, Any]:
    return {
        "dry_run": dry_run,
        "outcomes": {outcome.value: count for outcome, count in result.outcomes.items()},
        "bytes": result.size,
        "missing": result.missing,
        "missing_bytes": result.missing_size,
        "sample": result.sample,
        "placeholders": result.placeholders,
        "blocked": [str(problem) for problem in blocked],
        "may_cut_over": cut_over,
        "failed": [
            {"path": path, "error": str(error), "retryable": isinstance(error, StorageError) and error.retryable}
            for path, error in result.failed
        ],
    }
