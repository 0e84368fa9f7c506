"""``tandem sync``: make one place hold what another one holds."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.exits import exit_code
from runtime.cli.options import (
    Address,
    ConfigFile,
    Json,
    Place,
    StackName,
    StandardStream,
    complete_addresses,
    parse_place,
)
from runtime.cli.output import human_size, one_line, print_error, print_json, say
from runtime.cli.session import opened, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.store import BlobStore
    from runtime.sync import Step, SyncResult


class Comparison(StrEnum):
    """``--compare``: when two objects count as the same."""

    modified = "modified"
    size = "size"
    etag = "etag"
    checksum = "checksum"


def sync(  # noqa: PLR0913 - each is an option of the command
    source: Annotated[
        Any,
        typer.Argument(
            help="The folder or prefix to copy from.",
            parser=parse_place,
            autocompletion=complete_addresses,
            metavar="SOURCE",
        ),
    ],
    destination: Annotated[
        Any,
        typer.Argument(
            help="The folder or prefix to copy to.",
            parser=parse_place,
            autocompletion=complete_addresses,
            metavar="DESTINATION",
        ),
    ],
    *,
    prune: Annotated[bool, typer.Option("--prune", help="Remove from DESTINATION what SOURCE does not have.")] = False,
    max_delete: Annotated[
        int | None,
        typer.Option(min=0, help="Do nothing at all if --prune would remove more objects.", show_default=False),
    ] = None,
    compare: Annotated[
        Comparison,
        typer.Option(
            help="When a file is the same and not copied: its copy is as large and not older; as large; "
            "has the same etag; has the same bytes."
        ),
    ] = Comparison.modified,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Objects copied at once.")] = 8,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Make a folder or backend like another: copy what is missing or differs, and with --prune remove the rest.

    SOURCE and DESTINATION are each a folder of this machine or BACKEND:PREFIX. Nothing is removed before everything
    was copied, and nothing if a copy failed. Run it again to go on where it was interrupted.
    """
    for place in (source, destination):
        if isinstance(place, StandardStream):
            raise typer.BadParameter("- is a single stream; sync needs folders")

    async def work() -> SyncResult:
        from runtime import sync as syncing  # noqa: PLC0415 - keeps anyio out of `tandem --help`

        names = [place.backend for place in (source, destination) if isinstance(place, Address)]
        async with opened(config, stack, *names) as storage:
            return await syncing.sync(
                _opened(source, storage),
                _opened(destination, storage),
                prune=prune,
                dry_run=dry_run,
                max_delete=max_delete,
                compare=compare.value,
                concurrency=jobs,
                on_step=None if as_json else _told,
            )

    result = run(work)
    if as_json:
        print_json(_document(result, dry_run=dry_run))
    elif dry_run:
        for step in result.plan:
            say(f"would {step.action} {one_line(step.path)} ({step.reason}, {human_size(step.size)})")
    for step, error in result.failed:
        print_error(f"{one_line(step.path)}: {error}")
    if result.failed:
        raise typer.Exit(exit_code(result.failed[0][1]))


def _opened(place: Place, storage: Mapping[str, BlobStore]) -> Any:
    if isinstance(place, Address):
        return (storage[place.backend], place.path)
    return place.path if not isinstance(place, StandardStream) else None


def _told(step: Step, error: Exception | None) -> None:
    if error is None:
        done = "copied" if step.action == "copy" else "removed"
        say(f"{done} {one_line(step.path)} ({step.reason}, {human_size(step.size)})")


def _document(result: SyncResult, *, dry_run: bool) -> Mapping[str, Any]:
    return {
        "dry_run": dry_run,
        "plan": result.plan,
        "unchanged": result.unchanged,
        "done": result.done,
        "failed": [{"path": step.path, "action": step.action, "error": str(error)} for step, error in result.failed],
    }
