"""The conformance suite of key-value stores: what every store must do, as tests that its author subclasses.

::

    class TestMemory(KVConformance):
        @pytest.fixture
        async def kv(self):
            async with InMemoryKVStorage() as store:
                yield store

**What the fixture must give:** an empty store, anew for every test. Expiry is tested against the store's real clock,
with lengths of a fraction of a second. Nothing is skipped, and replacing a test is a TypeError.

Needs pytest and anyio's own pytest plugin (installed with anyio, in mode ``auto`` or not); no other plugin.
"""

from __future__ import annotations

from typing import Any

from runtime.testing.kv_conformance.atomicity import Atomicity
from runtime.testing.kv_conformance.expiry import Expiry
from runtime.testing.kv_conformance.lifecycle import Lifecycle
from runtime.testing.kv_conformance.listing import Listing
from runtime.testing.kv_conformance.names import Names
from runtime.testing.kv_conformance.records import Records
from runtime.testing.kv_conformance.values import Values

__all__ = ["KVConformance", "kv_conformance_tests"]


class KVConformance(Records, Values, Names, Expiry, Listing, Atomicity, Lifecycle):
    """All conformance tests; subclass it with a fixture ``kv``, see `runtime.testing.kv_conformance`."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for name in kv_conformance_tests():
            if getattr(cls, name) is not getattr(KVConformance, name):
                raise TypeError(f"{cls.__name__}.{name} replaces a conformance test; mend the store instead")


def kv_conformance_tests() -> tuple[str, ...]:
    """The names of all conformance tests, sorted."""
    return tuple(sorted(name for name in dir(KVConformance) if name.startswith("test_")))
