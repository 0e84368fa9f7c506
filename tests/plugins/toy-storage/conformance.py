"""The tests of toy-storage: Tandem's whole suite on the driver, opened by its name as an application would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import runtime
from runtime.testing.conformance import BlobStoreConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestToy(BlobStoreConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[runtime.BlobStore]:
        # only here the test touches the plug-in itself, which is on the path of its own process only
        from toy_storage.driver import make_box  # noqa: PLC0415 - only where it is installed

        name = f"box-{uuid4().hex[:8]}"
        make_box(name, "brick")
        settings = {"bucket": name, "secret_key": "brick"}
        config: dict[str, Any] = {"backends": [{"name": "box", "driver": "toy", "toy": settings}]}
        async with runtime.open_storage(config) as storage:
            yield storage["box"]


del BlobStoreConformance  # a base: nothing to collect
