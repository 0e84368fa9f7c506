"""What the driver has to reach, each as one sentence that a run proves or refutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.bench.client import MIB, PART, PARTS_IN_FLIGHT
from tests.bench.tables import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.bench.tables import Table

Find: TypeAlias = Callable[[str, str], "Row | None"]
"""Gives the row of a table, by both keys."""

_SMALL: Final = ("put", "get", "info", "list", "presign", "delete")
_MEMORY_MIB: Final = PART * PARTS_IN_FLIGHT // MIB + 16


@dataclass(frozen=True, slots=True)
class Target:
    """One demand.

    Attributes:
        sentence: What is demanded.
        table: Key of the table that proves it.
        case: Key of the row.
        bound: The figure to reach.
        against: Whom our figure is divided by: a client, or ``/case`` for our own figure in another row; None for
            the figure itself.
        most: Whether *bound* is the most that is allowed, not the least.
    """

    sentence: str
    table: str
    case: str
    bound: float
    against: str | None
    most: bool = False

    def found(self, find: Find) -> float | None:
        """What was measured; None when it was not."""
        row = find(self.table, self.case)
        if row is None:
            return None
        if self.against is None:
            return row.middle(OURS)
        if not self.against.startswith("/"):
            return row.times(self.against)
        ours, other = row.middle(OURS), find(self.table, self.against[1:])
        theirs = other.middle(OURS) if other else None
        return ours / theirs if ours and theirs else None

    def met(self, value: float) -> bool:
        """Whether *value* is what is demanded."""
        return value <= self.bound if self.most else value >= self.bound


def _targets() -> Iterator[Target]:
    for case in ("put", "get", "info", "delete"):
        yield Target(f"{case}: as fast as obstore", "s3", case, 1.0, "obstore")
    yield Target("presign: twice as fast as obstore's awaited call", "s3", "presign", 2.0, "obstore")
    yield Target("list: as fast as obstore", "s3", "list", 1.0, "obstore")
    yield Target("upload a stream: as fast as obstore", "s3", "upload", 1.0, "obstore")
    yield Target("download a stream: as fast as aiobotocore", "s3", "stream", 1.0, "aiobotocore")
    for case in (*_SMALL, "upload", "stream"):
        yield Target(f"{case}: processor time of obstore", "s3-cpu", case, 1.1, "obstore", most=True)
    for case in (*_SMALL, "delete-singly"):
        yield Target(f"{case}: four times as fast as aiobotocore", "s3", case, 4.0, "aiobotocore")
    yield Target("delete 1,000 a request: against one at a time", "s3", "delete-batch", 20.0, "/delete-singly")
    yield Target(
        "slow network, parallel download to a file: against one stream", "slow", "download-to", 4.0, "/stream-once"
    )
    for case in ("upload", "stream"):
        yield Target(f"{case}: peak memory in MiB", "peak", case, _MEMORY_MIB, None, most=True)


TARGETS: Final = tuple(_targets())


def finder(tables: Sequence[Table]) -> Find:
    """Looks rows up in *tables*."""
    by_key: Mapping[str, Table] = {table.key: table for table in tables}

    def find(table: str, case: str) -> Row | None:
        return by_key[table].row(case) if table in by_key else None

    return find
