"""What every part of the suite stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SHORT = 0.15
"""Seconds that entries live which are waited for."""

LATE_SECONDS = 0.05
"""How much later than its expiry an entry may go at most; asserted with what else the machine is doing in mind."""


class Suite:
    """Base of the suite's parts."""

    pytestmark: ClassVar[list[pytest.MarkDecorator]] = [pytest.mark.anyio]

    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> str:
        """Stores run on asyncio only."""
        return "asyncio"


async def together(count: int, action: Callable[[int], Awaitable[object]]) -> list[object]:
    """What *action* gave for 0 to *count* - 1, all begun at once, in that order."""
    results: dict[int, object] = {}

    async def run(index: int) -> None:
        results[index] = await action(index)

    async with anyio.create_task_group() as tasks:
        for index in range(count):
            tasks.start_soon(run, index)
    return [results[index] for index in range(count)]
