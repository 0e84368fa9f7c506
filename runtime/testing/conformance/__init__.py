"""The conformance suite: what every driver must do, as tests that a driver's author subclasses.

A driver's test is a class with one fixture::

    import pytest
    from runtime.config import NamedStorageConfig, StorageMemoryConfig
    from runtime.drivers.memory import driver_class
    from runtime.store import BlobStore
    from runtime.testing.conformance import BlobStoreConformance


    class TestMemory(BlobStoreConformance):
        @pytest.fixture
        async def store(self):
            backend = NamedStorageConfig(name="memory", driver="memory", memory=StorageMemoryConfig())
            async with BlobStore(backend, driver_class(backend)) as store:
                yield store

**What the fixture must give:** an opened `BlobStore` on an *empty bucket*, anew for every test. A bucket of its own
for every test is simplest; on a bucket that tests use one after the other, ``yield await emptied(store)``. The
driver's class must be constructible from a `NamedStorageConfig` alone, as the suite opens second stores on the same
bucket, and on a missing one: the second fixture, ``missing_bucket_store``, is derived from the settings of ``store``
(``bucket``, ``container`` or ``root_dir`` gets another name; where there is none of these nothing can be missing, and
the tests demand a healthy store instead). Override it where that does not do.

Nothing is skipped: where a driver does not declare a capability, the test demands that the option is *refused*.

Which test proves which promise of the data plane is written down in ``tests/sentences.py``, and checked.

**Weakening is loud.** Replacing a conformance test is a TypeError, unless it is excused with a vendor's reason::

    class TestStrangeServer(BlobStoreConformance):
        test_longest_path_is_kept = excused("test_longest_path_is_kept", reason="posix backend: names of 255 bytes")

The test still runs. An excuse is strict: when the vendor mends it, the excused test fails until the excuse is gone.

Needs pytest and anyio's own pytest plugin (installed with anyio, in mode ``auto`` or not); no other plugin.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from runtime.testing.conformance.atomicity import Atomicity
from runtime.testing.conformance.bounds import Bounds
from runtime.testing.conformance.capabilities import Truth
from runtime.testing.conformance.conditions import Conditions
from runtime.testing.conformance.copying import Copying
from runtime.testing.conformance.deleting import Deleting
from runtime.testing.conformance.errors import Errors
from runtime.testing.conformance.files import Files
from runtime.testing.conformance.integrity import Integrity
from runtime.testing.conformance.interruptions import Interruptions
from runtime.testing.conformance.lifecycle import Lifecycle
from runtime.testing.conformance.listing import Listing
from runtime.testing.conformance.options import Options
from runtime.testing.conformance.paths import Paths
from runtime.testing.conformance.patience import Patience
from runtime.testing.conformance.presigning import Presigning
from runtime.testing.conformance.reading import Reading
from runtime.testing.conformance.streaming import Streaming
from runtime.testing.conformance.support import emptied
from runtime.testing.conformance.sweeping import Sweeping
from runtime.testing.conformance.syncing import Syncing
from runtime.testing.conformance.updating import Updating
from runtime.testing.conformance.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BlobStoreConformance", "conformance_tests", "emptied", "excused"]


class BlobStoreConformance(
    Reading,
    Streaming,
    Writing,
    Bounds,
    Atomicity,
    Interruptions,
    Options,
    Integrity,
    Conditions,
    Updating,
    Files,
    Syncing,
    Sweeping,
    Listing,
    Copying,
    Deleting,
    Paths,
    Presigning,
    Errors,
    Truth,
    Patience,
    Lifecycle,
):
    """All conformance tests; subclass it with a fixture ``store``, see `runtime.testing.conformance`.

    Attributes:
        server_verifies_signatures: Set to False where the server (an emulator) takes any signature; then the tests
            demand that it does, so that the excuse can not outlive its reason.
        signature_reason: Which server, and how that is known; required with the above.
        creates_missing_bucket: Set to True where an upload makes a missing bucket.
        keeps_objects_in_this_process: Set to True where objects are in the memory of this process.
        storage_class: A storage class to upload with, where ``capabilities.storage_class``.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.server_verifies_signatures and not cls.signature_reason:
            raise TypeError(f"{cls.__name__} sets server_verifies_signatures = False without a signature_reason")
        marks = vars(cls).get("pytestmark", [])
        if {"skip", "skipif", "xfail"} & {mark.name for mark in (marks if isinstance(marks, list) else [marks])}:
            raise TypeError(f"{cls.__name__} excuses the whole suite; excuse single tests, each with its reason")
        for name in conformance_tests():
            member = inspect.getattr_static(cls, name)
            if member is not inspect.getattr_static(BlobStoreConformance, name) and not _has_a_reason(member):
                raise TypeError(
                    f"{cls.__name__}.{name} replaces a conformance test; use excused({name!r}, reason=...) with the "
                    "vendor's reason, or mend the driver"
                )


def _has_a_reason(member: object) -> bool:
    marks = getattr(member, "pytestmark", [])
    return any(
        mark.name == "xfail" and mark.kwargs.get("reason", "").strip() and mark.kwargs.get("run", True)
        for mark in marks
    )


def conformance_tests() -> tuple[str, ...]:
    """The names of all conformance tests, sorted."""
    return tuple(sorted(name for name in dir(BlobStoreConformance) if name.startswith("test_")))


def excused(test: str, *, reason: str) -> Callable[..., Any]:
    """The conformance test *test*, expected to fail for a vendor's *reason*.

    Args:
        test: Its name.
        reason: What the service or the emulator can not do, and where that is written or how it was seen.
    """
    if not reason.strip():
        raise TypeError(f"{test} needs the vendor's reason")
    original: Callable[..., Any] = getattr(BlobStoreConformance, test)

    @functools.wraps(original)
    async def run(*args: Any, **fixtures: Any) -> None:
        await original(*args, **fixtures)

    run.pytestmark = [pytest.mark.xfail(reason=reason, strict=True).mark]  # type: ignore[attr-defined] # as pytest does
    return run
