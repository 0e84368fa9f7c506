"""``tandem cp``: copy objects from and to files, standard streams and other backends."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.exits import exit_code
from runtime.cli.options import (
    Address,
    ConfigFile,
    Json,
    LocalFile,
    Place,
    StackName,
    StandardStream,
    complete_addresses,
    parse_pair,
    parse_place,
)
from runtime.cli.output import human_size, one_line, print_error, print_json, say
from runtime.cli.session import opened, run
from runtime.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from runtime.cli.transfer import Copier, Job
    from runtime.store import BlobStore


def cp(  # noqa: PLR0913 - each is an option of the command
    source: Annotated[
        Any,
        typer.Argument(
            help="What to copy: BACKEND:PATH, a file, or - for standard input.",
            parser=parse_place,
            autocompletion=complete_addresses,
            metavar="SOURCE",
        ),
    ],
    destination: Annotated[
        Any,
        typer.Argument(
            help="Where to: BACKEND:PATH, a file, or - for standard output. If it ends with / or is a folder, the "
            "copy keeps the name of the source.",
            parser=parse_place,
            autocompletion=complete_addresses,
            metavar="DESTINATION",
        ),
    ],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Copy everything below SOURCE, to below DESTINATION.")
    ] = False,
    content_type: Annotated[
        str | None,
        typer.Option(help="MIME type; by default that of the source, or guessed from the name.", show_default=False),
    ] = None,
    metadata: Annotated[
        list[Any] | None,
        typer.Option(
            "--metadata", "-m", parser=parse_pair, metavar="NAME=VALUE", help="Metadata of the copy; may be repeated."
        ),
    ] = None,
    cache_control: Annotated[
        str | None, typer.Option(help="Cache-Control of the copy, as in 'public, max-age=3600'.", show_default=False)
    ] = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="Replace nothing: what exists already is an error.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Objects copied at once, with -r.")] = 4,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Copy between this machine and a backend, or from backend to backend.

    Inside one backend the bytes do not pass through here; between two they are streamed, and type, metadata and
    cache headers are kept. A download becomes visible when it is complete. With -r every object is tried; those
    that fail are listed at the end.

    A file whose name looks like backend:path is written ./backend:path.
    """
    options: dict[str, Any] = {
        "content_type": content_type,
        "metadata": dict(metadata) if metadata else None,
        "cache_control": cache_control,
    }
    _check(source, destination, recursive=recursive, options=options)

    async def copy() -> _Outcome:
        from runtime.cli.transfer import Copier  # noqa: PLC0415 - keeps anyio out of `tandem --help`
        from runtime.models import UploadOptions  # noqa: PLC0415 - as above

        names = [place.backend for place in (source, destination) if isinstance(place, Address)]
        async with opened(config, stack, *names) as storage:
            with _progress(shown=sys.stderr.isatty() and not as_json) as advance:
                copier = Copier(storage, UploadOptions(**options, if_not_exists=if_not_exists), advance)
                outcome = _Outcome(quiet=as_json or isinstance(destination, StandardStream))
                if recursive:
                    await _copy_all(copier, _jobs(storage, source, destination), jobs, outcome)
                else:
                    job = _job(source, destination)
                    outcome.done(job, await copier.copy(job))
                return outcome

    run(copy).finish(as_json=as_json)


def _check(source: Place, destination: Place, *, recursive: bool, options: Mapping[str, Any]) -> None:
    if not isinstance(source, Address) and not isinstance(destination, Address):
        raise typer.BadParameter(
            f"neither {source} nor {destination} is a backend's; write BACKEND:PATH, as in avatars:u/1.jpg"
        )
    if recursive and StandardStream in {type(source), type(destination)}:
        raise typer.BadParameter("-r needs folders; - is a single stream")
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given and not isinstance(destination, Address):
        raise typer.BadParameter(f"{', '.join(given)}: a file has no such property")


def _job(source: Place, destination: Place) -> Job:
    """The one copy that is asked for, under the source's name where the destination is a folder."""
    from runtime.cli.transfer import Job  # noqa: PLC0415 - as above

    name = "" if isinstance(source, StandardStream) else PurePath(source.path).name
    target: Address | Path | StandardStream
    if isinstance(destination, Address):
        target = destination
        if not destination.path or destination.path.endswith("/"):
            target = Address(destination.backend, destination.path + _needed(name, destination))
    elif isinstance(destination, LocalFile):
        folder = destination.folder or destination.path.is_dir()
        target = destination.path / _needed(name, destination) if folder else destination.path
    else:
        target = destination
    return Job(source.path if isinstance(source, LocalFile) else source, target)


def _needed(name: str, folder: Place) -> str:
    if not name:
        raise typer.BadParameter(f"{folder} is a folder, and the source has no name: write the whole path")
    return name


async def _jobs(stores: Mapping[str, BlobStore], source: Place, destination: Place) -> AsyncIterator[Job | _Refused]:
    """Every copy that ``-r`` means, one after the other as the source is listed."""
    from runtime.cli.transfer import Job  # noqa: PLC0415 - as above
    from runtime.folders import file_below  # noqa: PLC0415 - as above

    count = 0
    if isinstance(source, Address):
        folder = f"{source.path.rstrip('/')}/" if source.path else ""
        async for info in stores[source.backend].list(folder):
            count += 1
            origin = Address(source.backend, info.path)
            try:
                target = (
                    _under(destination, info.path.removeprefix(folder))
                    if isinstance(destination, Address)
                    else file_below(Path(str(destination)), info.path, folder)  # a folder: `_check` saw to it
                )
            except StorageError as exc:
                yield _Refused(origin, exc)
            else:
                yield Job(origin, target, info.size, info)
    elif isinstance(source, LocalFile) and isinstance(destination, Address):
        for file in _files(source.path):
            count += 1
            yield Job(file, _under(destination, file.relative_to(source.path).as_posix()), file.stat().st_size)
    if not count:
        raise NotFoundError("nothing is below it", path=str(source))


def _under(folder: Address, name: str) -> Address:
    return Address(folder.backend, f"{folder.path.rstrip('/')}/{name}" if folder.path else name)


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below *folder* in a fixed order; links to folders are not followed, as they may lead round."""
    if not folder.is_dir():
        raise NotADirectoryError(None, "is not a folder; -r copies folders", str(folder))

    def refuse(error: OSError) -> None:
        raise error

    for directory, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(directory, name)).is_file())


class _Refused:
    """An object that can not be copied at all, and why."""

    def __init__(self, source: Address, error: StorageError) -> None:
        self.source = source
        self.error = error


class _Outcome:
    """What was copied and what was not."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._copied: list[dict[str, Any]] = []
        self._failed: list[tuple[str, Exception]] = []

    def done(self, job: Job, size: int) -> None:
        self._copied.append({"source": str(job.source), "destination": str(job.destination), "size": size})
        if not self._quiet:
            say(f"{one_line(str(job.source))} -> {one_line(str(job.destination))} ({human_size(size)})")

    def failed(self, source: object, error: Exception) -> None:
        self._failed.append((str(source), error))

    def finish(self, *, as_json: bool) -> None:
        """Say what failed, and end the program accordingly: with the first failure's exit code."""
        if as_json:
            failed = [{"source": source, "error": str(error)} for source, error in self._failed]
            print_json({"copied": self._copied, "failed": failed})
        for source, error in self._failed:
            print_error(f"{one_line(source)}: {error}")
        if self._failed:
            raise typer.Exit(exit_code(self._failed[0][1]))


async def _copy_all(copier: Copier, found: AsyncIterator[Job | _Refused], at_once: int, outcome: _Outcome) -> None:
    import anyio  # noqa: PLC0415 - as above

    slots = anyio.Semaphore(at_once)

    async def copy(job: Job) -> None:
        try:
            outcome.done(job, await copier.copy(job))
        except BrokenPipeError:
            raise
        except (StorageError, OSError) as exc:
            outcome.failed(job.source, exc)
        finally:
            slots.release()

    async with anyio.create_task_group() as tasks:
        async for job in found:
            if isinstance(job, _Refused):
                outcome.failed(job.source, job.error)
                continue
            await slots.acquire()
            tasks.start_soon(copy, job)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int], None] | None]:
    """A line on the terminal that counts the bytes; nothing where nobody looks."""
    if not shown:
        with nullcontext():
            yield None
        return
    from rich.progress import (  # noqa: PLC0415 - as above
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    from runtime.cli.output import err  # noqa: PLC0415 - as above

    with Progress(
        SpinnerColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn(), console=err(), transient=True
    ) as progress:
        task = progress.add_task("copy", total=None)
        yield lambda count: progress.advance(task, count)
