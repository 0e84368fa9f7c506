"""``tandem purge``: empty one bucket of a stack for good; and what keeps `destroy` from beginning in vain."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from infra.cli.options import Json, Root, StackName, read_stack
from runtime.errors import ConfigError, NotFoundError, Problem, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.backend import BackendSpec
    from infra.stack import Stack
    from runtime.purging import Contents

ENOUGH: Final = 1000
"""Objects that are counted before a bucket is called full."""


def purge(
    backend: Annotated[str, typer.Argument(help="The backend to empty.", metavar="BACKEND")],
    stack: StackName,
    *,
    sure: Annotated[
        str | None,
        typer.Option("--yes-delete-everything", metavar="BACKEND", help="Do not ask: the backend's name once more."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is in it.")] = False,
    as_json: Json = False,
    cwd: Root = None,
) -> None:
    """Delete everything in a backend's bucket: objects, former versions, unfinished uploads. The bucket stays.

    It can not be undone, but for what the service itself still keeps (soft delete). It asks for the backend's name;
    each run is noted in the stack's audit file, at its begin and at its end. An interrupted one is finished by another.
    """
    selected = read_stack(stack, cwd)
    _demand_ours(selected, backend)
    found = _run(selected, backend, _count)
    where = _bucket(selected, backend)
    if dry_run:
        _tell(
            as_json,
            {"backend": backend, "bucket": where, "dry_run": True, **asdict(found)},
            f"{backend}: {_words(found)}",
        )
        return
    if not as_json:
        typer.echo(f"{backend} ({where}) of stack {selected.name}: {_words(found)}", err=True)
    _demand_name(backend, sure)
    removed = _emptied(selected, backend, where, found, quiet=as_json)
    _tell(as_json, {"backend": backend, "bucket": where, "removed": asdict(removed)}, f"removed {_words(removed)}")


def refuse_full(stack: Stack) -> list[str]:
    """Raise when a bucket holds objects that `destroy` would not delete; give what could not be looked at.

    Raises:
        ConfigError: with what is in each, and what to do about it.
    """
    from infra.emit import contract_path

    if not contract_path(stack).is_file():
        return []  # nothing was provisioned, or it is gone already
    problems, unseen = [], []
    for spec in _keeping(stack):
        try:
            found = _run(stack, spec.name, _sample)
        except NotFoundError:
            continue  # the bucket is gone
        except StorageError as exc:
            unseen.append(f"{spec.name} was not looked into: {exc}")
            continue
        if found:
            problems.append(Problem(f"storage.backends.{spec.name}", f"its bucket holds {_words(found)}"))
    if problems:
        names = [problem.path.rpartition(".")[2] for problem in problems]
        raise ConfigError(
            f"{len(names)} bucket{'s' if len(names) > 1 else ''} of stack {stack.name!r} would not be deleted; "
            "nothing was",
            problems=problems,
            hint="; ".join(f"tandem purge -s {stack.name} {name}" for name in names)
            + " deletes what is in it, for good",
        )
    return unseen


def _keeping(stack: Stack) -> list[BackendSpec]:
    """The backends whose buckets `destroy` deletes only when they are empty."""
    from infra.spec import load_spec

    try:
        spec = load_spec(stack)
    except ConfigError:
        return []  # what was made is in the state; a spec that is wrong by now must not keep it there
    ours = [each for each in spec.backends if each.provider and not each.existing and not each.take_over]
    return [each for each in ours if not each.force_destroy]


def _demand_ours(stack: Stack, backend: str) -> None:
    from infra.spec import load_spec

    for each in load_spec(stack).backends:
        if each.name == backend and each.existing:
            raise ConfigError(
                f"{backend!r} uses the bucket {each.existing!r} by reference: it is not this stack's to empty",
                hint="`tandem rm -r` removes objects of it",
            )
        if each.read_fallback == backend:
            raise ConfigError(
                f"{each.name!r} still reads from {backend!r}",
                hint=f"finish `tandem migrate {backend} {each.name} -s {stack.name}`, and remove its read_fallback",
            )


def _demand_name(backend: str, sure: str | None) -> None:
    if sure is not None:
        if sure != backend:
            raise ConfigError(
                f"--yes-delete-everything says {sure!r}, and the backend is {backend!r}; nothing was deleted"
            )
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            "everything in it would be deleted, and nobody is there to be asked",
            hint=f"give --yes-delete-everything {backend} to agree beforehand",
        )
    if typer.prompt("Type the backend's name to delete all of it", err=True) != backend:
        typer.echo("That is another name; nothing was deleted.", err=True)
        raise typer.Exit(1)


def _emptied(stack: Stack, backend: str, where: str, found: Contents, *, quiet: bool) -> Contents:
    from infra.audit import audit
    from runtime.purging import Contents as Counted

    so_far = Counted()

    def progress(done: Contents) -> None:
        nonlocal so_far
        so_far = done
        if not quiet:
            typer.echo(f"removed {_words(done)}", err=True)

    async def work(store: Any) -> Contents:
        from runtime import purging

        return await purging.purge(store, progress)

    audit(stack, "purge begun", backend=backend, bucket=where, found=asdict(found))
    try:
        removed: Contents = _run(stack, backend, work)
    except BaseException as exc:
        audit(
            stack, "purge interrupted", backend=backend, bucket=where, removed=asdict(so_far), error=type(exc).__name__
        )
        raise
    audit(stack, "purge ended", backend=backend, bucket=where, removed=asdict(removed))
    return removed


async def _count(store: Any) -> Contents:
    from runtime import purging

    return await purging.contents(store)


async def _sample(store: Any) -> Contents:
    from runtime import purging

    return await purging.contents(store, most=ENOUGH)


def _run(stack: Stack, backend: str, work: Callable[[Any], Any]) -> Any:
    """Do something with one backend, opened as an application would open it."""
    import anyio

    async def opened() -> Any:
        import runtime
        from infra.emit import contract_path

        config = runtime.load_config(contract_path(stack)).only([backend])
        config = config.model_copy(
            update={"backends": tuple(b.model_copy(update={"identity": None}) for b in config.backends)}
        )
        async with runtime.open_storage(config) as storage:
            return await work(storage[backend])

    return anyio.run(opened)


def _bucket(stack: Stack, backend: str) -> str:
    import runtime
    from infra.emit import contract_path

    settings = runtime.load_config(contract_path(stack)).backend(backend).settings
    return str(
        next((value for key in ("bucket", "container", "root_dir") if (value := getattr(settings, key, None))), "")
    )


def _words(found: Contents) -> str:
    from runtime.cli.output import human_size

    least = "" if found.complete else "at least "
    parts = [f"{least}{found.objects} objects ({human_size(found.size)})"]
    if found.versions:
        parts.append(f"{found.versions} former versions ({human_size(found.versions_size)})")
    if found.uploads:
        parts.append(f"{found.uploads} unfinished uploads")
    return ", ".join(parts)


def _tell(as_json: bool, document: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(document, indent=2) if as_json else text)
