from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.kv import LocalStorage
from runtime.testing.kv_conformance import KVConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class TestLocal(KVConformance):
    @pytest.fixture
    async def kv(self, tmp_path: Path) -> AsyncIterator[LocalStorage]:
        async with LocalStorage(tmp_path / "kv") as store:
            yield store
        await store.disconnect()
