"""From a command's options to opened backends, and back to the shell."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from runtime.cli.output import print_warning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runtime.loading import LoadedConfig
    from runtime.registry import Storage

T = TypeVar("T")


def load(config: Path | None, stack: str | None) -> LoadedConfig:
    """The storage config that the options name, else the one that an application would find here."""
    from runtime.loading import read_config, stack_file  # noqa: PLC0415 - keeps pydantic out of `tandem --help`

    if config and stack:
        raise typer.BadParameter("--config and --stack name two configs; give one of them")
    loaded = read_config(stack_file(stack, Path()) if stack else config)
    for note in loaded.notes:
        print_warning(note)
    return loaded


@asynccontextmanager
async def opened(config: Path | None, stack: str | None, *backends: str) -> AsyncIterator[Storage]:
    """The named *backends* and what they fall back to: what a command does not need can not keep it from working."""
    from runtime.registry import Storage  # noqa: PLC0415 - as above

    async with Storage(load(config, stack).config.only(backends)) as storage:
        yield storage


def run(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run one command's coroutine; an error of one of its tasks is raised without the group around it."""
    import anyio  # noqa: PLC0415 - keeps it out of `tandem --help`

    try:
        return anyio.run(function, *args)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
