"""``tandem ls``, ``stat``, ``cat`` and ``url``: look at objects, change nothing."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runtime.cli.options import (
    Address,
    ConfigFile,
    Json,
    ObjectAddress,
    StackName,
    complete_addresses,
    parse_address,
    parse_expiry,
    parse_range,
)
from runtime.cli.output import facts, one_line, print_json, say, to_json
from runtime.cli.session import load, opened, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from runtime.models import FileInfo
    from runtime.store import BlobStore

CHUNK_BYTES = 1024 * 1024
PAGE = 1000


def ls(
    address: Annotated[
        Address | None,
        typer.Argument(
            help="What to list: every object whose path starts with it. Without it, the backends.",
            parser=parse_address,
            autocompletion=complete_addresses,
            metavar="BACKEND:PREFIX",
            show_default=False,
        ),
    ] = None,
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="List everything below the prefix, one object a line.")
    ] = False,
    delimiter: Annotated[str, typer.Option(help="Without -r: what ends the names of folders.")] = "/",
    limit: Annotated[int | None, typer.Option(min=1, help="Most lines to print.", show_default=False)] = None,
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Print size in bytes and time of the last change, too.")
    ] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """List objects; without an address, the backends.

    PREFIX is the start of a path, not only a folder: avatars:u finds u/1.jpg and us.txt. Without -r, all objects in a
    folder are one line, the folder's name with a / at its end.
    """
    if address is None:
        _list_backends(config, stack, as_json=as_json)
        return

    async def list_objects() -> None:
        async with opened(config, stack, address.backend) as storage:
            entries = _entries(storage[address.backend], address.path, "" if recursive else delimiter, limit)
            async with aclosing(entries):
                await (_print_array(entries) if as_json else _print_lines(entries, long=long))

    run(list_objects)


def _list_backends(config: ConfigFile, stack: StackName, *, as_json: bool) -> None:
    loaded = load(config, stack).config
    primary = loaded.primary.name
    rows = [{"name": b.name, "driver": b.driver, "primary": b.name == primary} for b in loaded.named_backends()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        say(f"{row['name']}:  {row['driver']}{'  primary' if row['primary'] else ''}")


async def _entries(
    store: BlobStore, prefix: str, delimiter: str, limit: int | None
) -> AsyncGenerator[FileInfo | str, None]:
    """Objects and rolled-up prefixes, in one order, as they come."""
    cursor: str | None = None
    while True:
        page = await store.list_page(
            prefix, delimiter=delimiter, cursor=cursor, limit=PAGE if limit is None else min(limit, PAGE)
        )
        merged: Iterable[FileInfo | str] = sorted(
            [*page.objects, *page.prefixes], key=lambda entry: _name(entry).encode("utf-8", "surrogatepass")
        )
        for entry in merged:
            yield entry
        if limit is not None:
            limit -= len(page.objects) + len(page.prefixes)
        if page.cursor is None or limit == 0:
            return
        cursor = page.cursor


def _name(entry: FileInfo | str) -> str:
    return entry if isinstance(entry, str) else entry.path


async def _print_lines(entries: AsyncIterator[FileInfo | str], *, long: bool) -> None:
    async for entry in entries:
        if not long:
            say(one_line(_name(entry)))
        elif isinstance(entry, str):
            say(f"{'-':>14}  {'-':<20}  {one_line(entry)}")
        else:
            say(f"{entry.size:>14}  {entry.last_modified:%Y-%m-%dT%H:%M:%SZ}  {one_line(entry.path)}")


async def _print_array(entries: AsyncIterator[FileInfo | str]) -> None:
    """A JSON array, written as the listing comes: a million objects need no more memory than ten."""
    separator = "[\n  "
    async for entry in entries:
        sys.stdout.write(separator + to_json({"prefix": entry} if isinstance(entry, str) else facts(entry)))
        separator = ",\n  "
    say("[]" if separator.startswith("[") else "\n]")


def stat(address: ObjectAddress, *, as_json: Json = False, config: ConfigFile = None, stack: StackName = None) -> None:
    """Show all that the service knows of one object."""

    async def describe() -> FileInfo:
        async with opened(config, stack, address.backend) as storage:
            return await storage[address.backend].info(address.path)

    known = facts(run(describe))
    if as_json:
        print_json({"backend": address.backend, **known})
        return
    for name, value in known.items():
        for line in _lines(name, value):
            say(line)


def _lines(name: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name + '.' + key:<20} {one_line(str(item))}" for key, item in value.items()]
    return [f"{name:<20} {one_line(str(value))}"]


def cat(
    address: ObjectAddress,
    *,
    byte_range: Annotated[
        Any,
        typer.Option("--range", parser=parse_range, metavar="FIRST-LAST", help="Only these bytes, as in 0-99 or 100-."),
    ] = None,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Write an object's bytes to standard output, as they arrive."""

    async def copy() -> None:
        output = sys.stdout.buffer
        async with opened(config, stack, address.backend) as storage:
            chunks = storage[address.backend].stream(address.path, CHUNK_BYTES, range=byte_range)
            async with aclosing(chunks):
                async for chunk in chunks:
                    output.write(chunk)
                    output.flush()

    run(copy)


def url(
    address: ObjectAddress,
    *,
    expires: Annotated[
        Any, typer.Option(parser=parse_expiry, metavar="DURATION", help="How long it is valid, as in 15m, 1h, 7d.")
    ] = "1h",
    method: Annotated[str, typer.Option(help="What the URL allows: GET, or PUT to upload.")] = "GET",
    content_type: Annotated[
        str | None, typer.Option(help="The MIME type that a PUT has to send.", show_default=False)
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Print the plain URL instead; it grants nothing.")
    ] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Print a presigned URL of one object. Whoever has it can use it until it expires: treat it as a secret.

    Headers that a PUT has to send are printed on standard error, or are part of the JSON document.
    """

    async def sign() -> dict[str, Any]:
        async with opened(config, stack, address.backend) as storage:
            store = storage[address.backend]
            if unsigned:
                return {"url": await store.get_url(address.path)}
            request = await store.presign(
                address.path, method=method.upper(), expires_in=expires, content_type=content_type
            )
            return {
                "url": request.url,
                "method": request.method,
                "headers": dict(request.headers),
                "fields": None if request.fields is None else dict(request.fields),
                "expires_at": request.expires_at,
            }

    signed = run(sign)
    if as_json:
        print_json({name: value for name, value in signed.items() if value is not None})
        return
    say(signed["url"])
    for name, value in signed.get("headers", {}).items():
        typer.echo(f"send with it: {name}: {value}", err=True)
