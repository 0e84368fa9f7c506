"""What was measured, as tables: rows of cases, columns of clients, every cell with all its rounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS = "tandem"


@dataclass(frozen=True, slots=True)
class Row:
    """One case.

    Attributes:
        key: Its name for programs.
        title: Its name for people.
        unit: Unit of the figures: ``op/s``, ``µs/op``, ``ms``, ``MiB``.
        figures: The figures of every round, by client; empty for a client that has no such call.
    """

    key: str
    title: str
    unit: str
    figures: dict[str, list[float]] = field(default_factory=dict)

    def middle(self, client: str) -> float | None:
        """The median of *client*'s rounds."""
        values = self.figures.get(client)
        return median(values) if values else None

    def times(self, other: str, client: str = OURS) -> float | None:
        """*client*'s figure as a multiple of *other*'s: the median of what it was in each round.

        A round is over in seconds, so both met the same weather in it; medians of whole runs need not.
        """
        mine, theirs = self.figures.get(client, ()), self.figures.get(other, ())
        return median(a / b for a, b in zip(mine, theirs, strict=True)) if mine and theirs else None


@dataclass(frozen=True, slots=True)
class Table:
    """Cases that belong together.

    Attributes:
        key: Its name for programs.
        title: Its name for people.
        note: How the figures are to be read.
        rows: The cases.
    """

    key: str
    title: str
    note: str
    rows: Sequence[Row]

    def row(self, key: str) -> Row | None:
        """The row called *key*; None when it was not measured."""
        return next((row for row in self.rows if row.key == key), None)


def plain(value: float) -> str:
    """A figure with three digits that count, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(values: Sequence[float]) -> str:
    """Median, least and most."""
    if not values:
        return "-"
    middle = f"**{plain(median(values))}**"
    return middle if len(values) == 1 else f"{middle} ({plain(min(values))}-{plain(max(values))})"
