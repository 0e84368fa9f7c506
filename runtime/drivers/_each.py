"""Removes many things where a service takes one at a time, several at once, and tells which could not be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from runtime.driver import DeleteFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

AT_ONCE: Final = 16


async def each_removed(
    things: Iterable[T], remove: Callable[[T], Awaitable[object]], path: Callable[[T], str]
) -> list[DeleteFailure]:
    """Call *remove* for each of *things*; *path* names the one that could not be removed."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(thing: T) -> DeleteFailure | None:
        async with slots:
            try:
                await remove(thing)
            except Exception as exc:  # noqa: BLE001 - handed on: the portable type classifies it for this path
                return DeleteFailure(path(thing), exc)
        return None

    results = await asyncio.gather(*map(one, things))
    return [failure for failure in results if failure is not None]
