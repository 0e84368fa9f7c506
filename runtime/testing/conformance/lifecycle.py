"""Opening, closing, health, and what else a backend is."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING, Any

import anyio

from runtime.health import HealthStatus
from runtime.protocols import BlobStoreProtocol
from runtime.store import BlobStore
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.watching import Watched, through

if TYPE_CHECKING:
    from collections.abc import Mapping


class SlowDriver(Watched):
    """A driver whose service does not answer."""

    async def check(self) -> Mapping[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError


class Lifecycle(Suite):
    """`open`, `close`, `health_check`."""

    async def test_store_is_a_blob_store_of_the_protocol(self, store: BlobStore) -> None:
        assert isinstance(store, BlobStoreProtocol)

    async def test_health_of_a_usable_backend_is_healthy(self, store: BlobStore) -> None:
        health = await store.health_check()
        assert health.status is HealthStatus.HEALTHY, f"{health.message} {health.error}"
        assert health.component == store.name
        assert health.duration_ms > 0
        assert health.checked_at is not None
        assert health.checked_at.tzinfo is not None
        assert (health.details or {})["driver"] == store.backend.driver

    async def test_health_of_a_missing_bucket_is_unhealthy_and_says_why(
        self, store: BlobStore, missing_bucket_store: BlobStore | None
    ) -> None:
        if missing_bucket_store is None:
            assert (await store.health_check()).is_healthy(), "a store without a bucket's name has its bucket"
            return
        health = await missing_bucket_store.health_check()
        assert health.status is HealthStatus.UNHEALTHY
        assert health.error, "an unhealthy answer says what is wrong"
        assert health.message

    async def test_health_check_is_not_kept_waiting_longer_than_its_timeout(self, store: BlobStore) -> None:
        slow = await through(store, SlowDriver(store.driver))
        with anyio.fail_after(5):
            health = await slow.health_check(timeout=0.05)
        assert health.status is HealthStatus.UNHEALTHY
        assert "0.05" in (health.message or "")

    async def test_health_check_writes_nothing(self, store: BlobStore) -> None:
        await store.health_check()
        assert (await store.list_page()).objects == ()

    async def test_closing_twice_is_no_error(self, store: BlobStore) -> None:
        backend = store.backend
        other = await BlobStore(backend, type(store.driver)(backend)).open()
        await other.exists("any")
        await other.close()
        await other.close()
        assert await store.exists("any") is False, "another store of the same backend is not closed with it"

    async def test_closed_backend_leaves_no_session_socket_or_file_open(self, store: BlobStore) -> None:
        backend = store.backend
        await store.upload("kept", b"content" * 1000)
        gc.collect()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            other = await BlobStore(backend, type(store.driver)(backend)).open()
            await other.upload("opened", b"x")
            assert await other.download("opened") == b"x"
            assert await other.exists("opened")
            await other.close()
            del other
            gc.collect()
        left = [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
        assert not left, f"close left open: {left}"

    async def test_backend_can_be_opened_again_after_close(self, store: BlobStore) -> None:
        backend = store.backend
        other = BlobStore(backend, type(store.driver)(backend))
        for number in range(2):
            async with other:
                await other.upload(f"again-{number}", b"x")
                assert await other.download(f"again-{number}") == b"x"

    async def test_description_tells_backend_and_driver(self, store: BlobStore) -> None:
        facts = await store.describe()
        assert (facts["backend"], facts["driver"]) == (store.name, store.backend.driver)

    async def test_get_url_is_the_same_for_a_missing_object(self, store: BlobStore) -> None:
        before = await store.get_url("some/object.txt")
        await store.upload("some/object.txt", b"x")
        assert await store.get_url("some/object.txt") == before
        assert before.endswith("some/object.txt")

    async def test_capabilities_are_consistent(self, store: BlobStore) -> None:
        has = store.capabilities
        assert 1 <= has.min_part_size <= has.max_part_size
        assert has.max_parts >= 1000
        assert has.presign <= {"GET", "PUT", "POST", "HEAD", "DELETE"}
