"""Arguments and options that several commands share, and how they are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from runtime.durations import ALLOWED, parse_duration
from runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

_ADDRESS = re.compile(r"(?P<backend>[a-z](?:[_-]?[a-z0-9])*):(?P<path>.*)", re.DOTALL)
_RANGE = re.compile(r"(?P<start>\d+)-(?P<last>\d*)")

T = TypeVar("T")


class Address(NamedTuple):
    """``backend:path``."""

    backend: str
    path: str

    def __str__(self) -> str:
        return f"{self.backend}:{self.path}"


class LocalFile(NamedTuple):
    """A path on this machine, and whether it was written as a folder: with a slash at its end."""

    path: Path
    folder: bool = False

    def __str__(self) -> str:
        return str(self.path)


class StandardStream:
    """``-``: standard input or output, whichever is meant."""

    def __str__(self) -> str:
        return "-"


Place = Address | LocalFile | StandardStream


def parse_address(text: str) -> Address:
    """*text* as ``backend:path``; the path may be empty."""
    match = _ADDRESS.fullmatch(text)
    if not match:
        raise typer.BadParameter(f"{text!r} is not backend:path, as in avatars:u/1.jpg")
    return Address(match["backend"], match["path"])


def parse_place(text: str) -> Place:
    """*text* as ``backend:path``, ``-`` or a path on this machine (``./a:b`` where its name holds a colon)."""
    if text == "-":
        return StandardStream()
    match = _ADDRESS.fullmatch(text)
    if match:
        return Address(match["backend"], match["path"])
    return LocalFile(Path(text), folder=text.endswith("/"))


def parse_range(text: str) -> tuple[int, int | None]:
    """*text* as HTTP writes ranges, ``0-99`` or ``100-``, as the first byte and the one after the last."""
    match = _RANGE.fullmatch(text)
    if not match or (match["last"] and int(match["last"]) < int(match["start"])):
        raise typer.BadParameter(f"{text!r} is not a range; allowed: FIRST-LAST or FIRST-, in bytes, as in 0-99")
    return int(match["start"]), int(match["last"]) + 1 if match["last"] else None


def parse_expiry(text: str) -> timedelta:
    """*text* as a duration."""
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise typer.BadParameter(f"{text!r} is not a duration; allowed: {ALLOWED}") from exc


def parse_pair(text: str) -> tuple[str, str]:
    """*text* as ``NAME=VALUE``."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def complete_addresses(incomplete: str) -> list[str]:
    """Where addresses begin, for the shell's completion: ``avatars:``."""
    return [f"{name}:" for name in complete_backends(incomplete)]


def complete_backends(incomplete: str) -> list[str]:
    """Names of the backends, for the shell's completion, from the config that its environment leads to."""
    from runtime.loading import read_config  # noqa: PLC0415 - keeps pydantic out of `tandem --help`

    try:
        backends = read_config().config.named_backends()
    except StorageError:
        return []  # a shell's completion has nowhere to tell it; the command itself will
    return [backend.name for backend in backends if backend.name.startswith(incomplete)]


def _address_argument(help_text: str, parser: Callable[[str], Any] = parse_address) -> Any:
    return typer.Argument(help=help_text, parser=parser, autocompletion=complete_addresses, metavar="BACKEND:PATH")


ObjectAddress = Annotated[Address, _address_argument("The object, as in avatars:u/1.jpg.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="The storage config to read.", rich_help_panel="Config")
]
StackName = Annotated[
    str | None,
    typer.Option("--stack", "-s", help="Read stacks/storage.NAME.yaml.", metavar="NAME", rich_help_panel="Config"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
