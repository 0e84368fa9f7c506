"""``tandem rm``: remove objects."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.exits import FAILED
from runtime.cli.options import Address, ConfigFile, Json, StackName, Yes, complete_addresses, parse_address
from runtime.cli.output import human_size, one_line, print_error, print_json, say
from runtime.cli.session import opened, run
from runtime.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.models import DeleteResult, FileInfo
    from runtime.store import BlobStore


def rm(
    address: Annotated[
        Address,
        typer.Argument(
            help="The object, or with -r the folder.",
            parser=parse_address,
            autocompletion=complete_addresses,
            metavar="BACKEND:PATH",
        ),
    ],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Remove everything below PATH/; with an empty PATH, everything.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Remove one object, or everything below a folder.

    A missing object is an error (exit code 3). Before -r removes anything, it says how much there is and asks; where
    nobody can be asked, it needs --yes.
    """

    async def remove() -> Sequence[DeleteResult]:
        async with opened(config, stack, address.backend) as storage:
            store = storage[address.backend]
            objects = await _below(store, address) if recursive else [await store.info(address.path)]
            if dry_run:
                _print_plan(objects, as_json=as_json)
                return ()
            if recursive and not yes:
                _ask(objects, address)
            return await store.delete_batch(objects)

    results = run(remove)
    if not dry_run:
        _print_results(results, as_json=as_json)
    if any(result.error for result in results):
        raise typer.Exit(FAILED)


async def _below(store: BlobStore, address: Address) -> list[FileInfo]:
    folder = f"{address.path.rstrip('/')}/" if address.path else ""
    objects = [info async for info in store.list(folder)]
    if not objects:
        raise NotFoundError("no object is below it", backend=address.backend, path=folder)
    return objects


def _ask(objects: Sequence[FileInfo], address: Address) -> None:
    size = human_size(sum(info.size for info in objects))
    question = f"Remove {len(objects)} objects ({size}) below {address}?"
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody can be asked here: add --yes, or --dry-run to see which")
    typer.confirm(question, abort=True, err=True)


def _print_plan(objects: Sequence[FileInfo], *, as_json: bool) -> None:
    if as_json:
        print_json({"would_remove": [{"path": info.path, "size": info.size} for info in objects]})
        return
    for info in objects:
        say(f"would remove {one_line(info.path)} ({human_size(info.size)})")


def _print_results(results: Sequence[DeleteResult], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "removed": [result.path for result in results if result.error is None],
                "failed": [{"path": result.path, "error": str(result.error)} for result in results if result.error],
            }
        )
        return
    for result in results:
        if result.error:
            print_error(str(result.error))
        else:
            say(f"removed {one_line(result.path)}")
