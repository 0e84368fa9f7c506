"""The promise of `update` at full size: 32 workers, 50 increments each, and not one lost.

Two servers answer a few hundred requests a second, of which most lose the race: at full size, minutes, only with
``TANDEM_FULL_COUNTERS=1``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import pytest

from runtime.registry import DriverRegistry
from tests.places import PLACES, place

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

WORKERS, INCREMENTS = 32, 50
SLOW = set() if os.environ.get("TANDEM_FULL_COUNTERS") == "1" else {"azurite", "ministack"}
HONEST = [kind for kind in PLACES if kind != "gofakes3"]
"""gofakes3 takes every write, whatever its condition."""


@pytest.mark.parametrize("kind", HONEST)
async def test_32_workers_with_50_increments_each_end_at_exactly_1600(
    kind: str, server: ServerFactory, tmp_path: Path
) -> None:
    workers, increments = (8, 10) if kind in SLOW else (WORKERS, INCREMENTS)
    async with DriverRegistry().build(place(server, kind, tmp_path)) as store:
        assert store.capabilities.if_match

        async def count() -> None:
            for _ in range(increments):
                await store.update("counter", lambda old: str(int(old or b"0") + 1), attempts=10_000)

        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(count)
        assert int(await store.download("counter")) == workers * increments
