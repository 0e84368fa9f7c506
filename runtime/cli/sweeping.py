"""``tandem sweep``: abort multipart uploads that nobody will finish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.exits import exit_code
from runtime.cli.options import ConfigFile, Json, StackName, complete_backends, parse_expiry
from runtime.cli.output import one_line, print_error, print_json, say
from runtime.cli.session import load, opened, run
from runtime.errors import StorageError

if TYPE_CHECKING:
    from runtime.models import UnfinishedUpload


def sweep(
    backends: Annotated[
        list[str] | None,
        typer.Argument(help="The backends; all when left out.", autocompletion=complete_backends, metavar="BACKEND..."),
    ] = None,
    *,
    older_than: Annotated[
        Any, typer.Option(parser=parse_expiry, metavar="DURATION", help="Only uploads that began at least so long ago.")
    ] = "1d",
    prefix: Annotated[str, typer.Option(help="Only uploads whose path starts with this.", show_default=False)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List them, and abort none.")] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Abort multipart uploads that were never finished, and list them.

    Programs that are killed leave them behind; their parts cost money, and no listing shows them. Azure and Google
    Cloud remove them by themselves after a week.
    """
    found: list[tuple[str, UnfinishedUpload]] = []
    failed: list[tuple[str, StorageError]] = []

    async def work() -> None:
        names = backends or [backend.name for backend in load(config, stack).config.named_backends()]
        async with opened(config, stack, *names) as storage:
            for name in names:
                try:
                    swept = await storage[name].sweep(prefix=prefix, older_than=older_than, dry_run=dry_run)
                except StorageError as exc:  # the others are swept nevertheless
                    failed.append((name, exc))
                else:
                    found.extend((name, upload) for upload in swept)

    run(work)
    if as_json:
        print_json({"dry_run": dry_run, "uploads": [{"backend": name, "upload": upload} for name, upload in found]})
    for name, upload in () if as_json else found:
        what = "would abort" if dry_run else "aborted"
        path = one_line(upload.path) or "(path unknown)"
        say(f"{what} {name}:{path} {one_line(upload.upload_id)} of {upload.started_at:%Y-%m-%d %H:%M}")
    for _, error in failed:
        print_error(str(error))
    if failed:
        raise typer.Exit(exit_code(failed[0][1]))
