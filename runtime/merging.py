"""Two listings as one: in order, no path twice, a page of each in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from runtime.models import FileInfo, ObjectPage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Lister: TypeAlias = Callable[..., Awaitable[ObjectPage]]

Items: TypeAlias = dict[str, FileInfo | None]
"""Paths and what was listed of them; None for a prefix."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What one listing told.

    Attributes:
        items: Its objects and prefixes.
        known_to: The last path up to which it told everything; None when it told all.
    """

    items: Items
    known_to: str | None


async def merged_page(
    new: Lister, old: Lister, prefix: str, *, delimiter: str, start_after: str, cursor: str | None, limit: int
) -> ObjectPage:
    """One page of what two backends hold together.

    Its cursor is the last path or prefix of the page, so either side can go on from there, whatever changed meanwhile.

    Args:
        new: Lists the backend whose objects count where both have one.
        old: Lists the other one.
        prefix: As for `runtime.driver.Driver.list_objects`, like the rest.
        delimiter: As above.
        start_after: As above.
        cursor: As above.
        limit: As above.
    """
    asked: dict[str, Any] = {
        "delimiter": delimiter,
        "start_after": max(start_after, cursor or ""),
        "limit": limit,
    }
    first, second = await _side(new, prefix, asked), await _side(old, prefix, asked)
    ends = [side.known_to for side in (first, second) if side.known_to is not None]
    items = second.items | first.items
    known = sorted(name for name in items if not ends or name <= min(ends))
    names = known[:limit]
    more = bool(ends) or len(known) > limit
    return ObjectPage(
        tuple(info for name in names if (info := items[name]) is not None),
        tuple(name for name in names if items[name] is None),
        cursor=(names[-1] if names else min(ends)) if more else None,
    )


async def _side(lister: Lister, prefix: str, asked: dict[str, Any]) -> _Side:
    cursor = None
    while True:
        page = await lister(prefix, cursor=cursor, **asked)
        items: Items = {info.path: info for info in page.objects} | dict.fromkeys(page.prefixes)
        if items or page.cursor is None:
            return _Side(items, max(items) if page.cursor is not None else None)
        cursor = page.cursor
