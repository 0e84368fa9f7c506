"""The tests of toy-storage: Tandem's whole suite on the driver, opened by its name as an application would."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import runtime
from runtime.testing.conformance import BlobStoreConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestToy(BlobStoreConformance):
    keeps_objects_in_this_process = True

    @pytest.fixture
    async def store(self) -> AsyncIterator[runtime.BlobStore]:
        toys = import_module("toy_storage.driver")  # only here the test touches the plug-in itself
        name = f"box-{uuid4().hex[:8]}"
        toys.make_box(name, "brick")
        settings = {"bucket": name, "secret_key": "brick"}
        config: dict[str, Any] = {"backends": [{"name": "box", "driver": "toy", "toy": settings}]}
        async with runtime.open_storage(config) as storage:
            yield storage["box"]


del BlobStoreConformance  # a base: nothing to collect
