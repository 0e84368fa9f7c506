"""Bringing a backend over to another one while an application reads, writes and deletes: on real servers."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import runtime
from runtime.config import NamedStorageConfig, StorageConfig, StorageMemoryConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import (
    ChecksumMismatchError,
    ConfigError,
    NotFoundError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from runtime.fallback import FallbackDriver
from runtime.migration import Outcome, driver_of, migrate
from runtime.placeholder import hold
from runtime.registry import DriverRegistry
from runtime.testing.gcs_front import GCSFront
from runtime.testing.serving import serving
from tests.places import place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runtime.driver import ByteRange, ObjectReader
    from runtime.models import FileInfo, UploadOptions
    from runtime.store import BlobStore
    from runtime.testing.fixtures import ServerFactory

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
WORKERS = 6


class Application:
    """One task of an application with paths of its own; after every step it knows what has to be there."""

    def __init__(self, store: BlobStore, name: str, known: dict[str, bytes]) -> None:
        self.store = store
        self.name = name
        self.known = known
        self.steps = 0
        self.chance = random.Random(name)  # noqa: S311 - the same order in every run

    async def live(self, until: anyio.Event) -> None:
        while not until.is_set():
            path = self.chance.choice([*sorted(self.known), f"{self.name}/{self.chance.randrange(12)}"])
            await self.chance.choice([self.read, self.read, self.write, self.update, self.delete, self.list])(path)
            self.steps += 1

    async def read(self, path: str) -> None:
        if path not in self.known:
            assert not await self.store.exists(path), f"{path} came back"
            with pytest.raises(NotFoundError):
                await self.store.download(path)
            return
        expected = self.known[path]
        assert await self.store.download(path) == expected, f"{path} is stale"
        assert await self.store.download(path, range=(1, 4)) == expected[1:4]
        assert (await self.store.info(path)).size == len(expected)
        assert b"".join([piece async for piece in self.store.stream(path)]) == expected

    async def write(self, path: str) -> None:
        content = self.chance.randbytes(self.chance.choice([1, 100, 5000]))
        await self.store.upload(path, content)
        self.known[path] = content

    async def update(self, path: str) -> None:
        await self.store.update(path, lambda found: (found or b"")[-5000:] + b"+")
        self.known[path] = self.known.get(path, b"")[-5000:] + b"+"

    async def delete(self, path: str) -> None:
        await self.store.delete(path)
        self.known.pop(path, None)

    async def list(self, _path: str) -> None:
        found = [info.path async for info in self.store.list(f"{self.name}/")]
        assert found == sorted(self.known), "a listing is not what is there"


@pytest.mark.parametrize("new", ["versitygw-auto", "fake-gcs-server", "local", "azurite"])
async def test_application_never_sees_a_miss_or_a_stale_object(new: str, server: ServerFactory, tmp_path: Path) -> None:
    """MiniStack to R2, GCS, a directory and Azure; the copy is interrupted twice and goes on."""
    target = place(server, new, tmp_path, "media", read_fallback="media-old")
    with ExitStack() as fronts:
        if target.driver == "gcs":  # fake-gcs-server alone deletes whatever generation there is, so new objects too
            front = GCSFront(server(new).url, keys={}, public=[target.settings.bucket])
            url = fronts.enter_context(serving(front))
            target = target.model_copy(update={"gcs": target.settings.model_copy(update={"endpoint_url": url})})
        await move_while_an_application_lives(place(server, "ministack", tmp_path, "media-old"), target)


async def move_while_an_application_lives(source: NamedStorageConfig, target: NamedStorageConfig) -> None:
    config = StorageConfig(backends=(source, target))
    async with runtime.open_storage(config) as storage:
        store, old = storage["media"], storage["media-old"]
        known: dict[str, dict[str, bytes]] = {f"w{number}": {} for number in range(WORKERS)}
        for name, objects in known.items():
            for number in range(8):
                path, content = f"{name}/{number}", random.Random(f"{name}{number}").randbytes(3000)  # noqa: S311 - content
                await old.upload(path, content, content_type="text/x-test", metadata={"number": str(number)})
                objects[path] = content
        untouched = {f"u/{number}": b"%d" % number * 500 for number in range(30)}
        for path, content in untouched.items():
            await old.upload(path, content, content_type="text/x-test", metadata={"path": path.replace("/", "-")})
        large = random.Random(7).randbytes(9 * MIB)  # noqa: S311 - content
        await old.upload("u/large", large, cache_control="no-cache")

        applications = [Application(store, name, objects) for name, objects in known.items()]
        ended = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for application in applications:
                tasks.start_soon(application.live, ended)
            for seconds in (0.15, 0.4):
                with anyio.move_on_after(seconds):
                    await migrate(store, concurrency=4)
            result = await migrate(store, concurrency=4, verify="checksum")
            ended.set()
        assert min(application.steps for application in applications) > 3
        assert (result.failed, result.missing) == ([], 0)
        for path in result.placeholders:  # of what was deleted: R2 has no conditional delete
            assert not await store.exists(path)
            await driver_of(store).new.delete(path)
        assert (await migrate(store)).complete
        assert (await migrate(store)).outcomes[Outcome.COPIED] == 0

    # what an application with the fallback taken away finds
    alone = config.backends[1].model_copy(update={"read_fallback": None})
    async with runtime.open_storage(StorageConfig(backends=(alone,))) as storage:
        expected = {path: content for objects in known.values() for path, content in objects.items()}
        expected |= {**untouched, "u/large": large}
        found = {info.path: await storage.primary.download(info) async for info in storage.primary.list()}
        assert found == expected
        info = await storage.primary.info("u/7")
        assert (info.content_type, info.metadata) == ("text/x-test", {"path": "u-7"})
        assert (await storage.primary.info("u/large")).cache_control == "no-cache"


def entry(name: str, fallback: str | None = None) -> NamedStorageConfig:
    return NamedStorageConfig(name=name, driver="memory", memory=StorageMemoryConfig(), read_fallback=fallback)


class Old(MemoryDriver):
    """Something happens whenever an object begins to be read here."""

    happens: Any = None

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        reader = await super().get(path, byte_range)
        if self.happens is not None:
            await self.happens(path)
        return reader


@pytest.fixture
async def storage() -> AsyncIterator[runtime.Storage]:
    registry = DriverRegistry({"memory": lambda backend: (Old if backend.name == "old" else MemoryDriver)(backend)})
    config = StorageConfig(backends=(entry("new", "old"), entry("old")))
    async with runtime.open_storage(config, registry=registry) as storage:
        yield storage


def on_reading(storage: runtime.Storage, happens: Any) -> None:
    driver = storage["old"].driver
    assert isinstance(driver, Old)
    driver.happens = happens


def alone(store: BlobStore) -> MemoryDriver:
    driver = driver_of(store).new
    assert isinstance(driver, MemoryDriver)
    return driver


async def test_run_tells_what_it_did(storage: runtime.Storage) -> None:
    new, old = storage["new"], storage["old"]
    for number in range(5):
        await old.upload(f"a{number}", b"x" * number)
    await new.upload("a0", b"newer")
    would = await migrate(new, dry_run=True)
    assert (would.missing, would.missing_size, would.sample) == (4, 10, ["a1", "a2", "a3", "a4"])
    assert not would.complete
    assert list(alone(new).raw) == ["a0"]
    told: list[tuple[str, Outcome, int]] = []
    result = await migrate(new, on_step=lambda *step: told.append(step))
    assert sorted(told) == [(f"a{number}", Outcome.COPIED, number) for number in range(1, 5)]
    assert (result.outcomes[Outcome.COPIED], result.outcomes[Outcome.THERE], result.size) == (4, 1, 10)
    assert result.complete
    assert await new.download("a0") == b"newer"


async def test_object_deleted_while_it_is_copied_stays_deleted(storage: runtime.Storage) -> None:
    new = storage["new"]
    await storage["old"].upload("a", b"content")

    async def delete(path: str) -> None:
        await new.delete(path)

    on_reading(storage, delete)
    result = await migrate(new)
    assert result.outcomes[Outcome.OVERTAKEN] == 1
    assert result.complete
    assert not await new.exists("a")
    assert not alone(new).raw


async def test_object_written_while_it_is_copied_stays_as_written(storage: runtime.Storage) -> None:
    new = storage["new"]
    await storage["old"].upload("a", b"content")

    async def write(path: str) -> None:
        await new.upload(path, b"written")

    on_reading(storage, write)
    result = await migrate(new)
    assert result.outcomes[Outcome.OVERTAKEN] == 1
    assert result.complete
    assert await new.download("a") == b"written"


async def test_object_that_can_not_be_read_is_told_and_the_others_are_copied(storage: runtime.Storage) -> None:
    new = storage["new"]
    for path in ("a", "b", "c"):
        await storage["old"].upload(path, b"content")

    async def fail(path: str) -> None:
        if path == "b":
            raise StorageUnavailableError("no answer", retryable=False)

    on_reading(storage, fail)
    result = await migrate(new)
    ((path, error),) = result.failed
    assert path == "b"
    assert isinstance(error, StorageUnavailableError)
    assert error.backend == "old"
    assert (result.outcomes[Outcome.COPIED], result.missing, result.sample) == (2, 1, ["b"])
    assert sorted(alone(new).raw) == ["a", "c"], "the placeholder of the failed one is gone"
    on_reading(storage, None)
    assert (await migrate(new)).complete


async def test_placeholders_of_killed_runs_are_taken_over_or_removed(storage: runtime.Storage) -> None:
    new = storage["new"]
    await storage["old"].upload("a", b"content")
    await hold(alone(new), "a")
    await hold(alone(new), "deleted")
    result = await migrate(new)
    assert result.complete
    assert alone(new).raw == {"a": b"content"}


async def test_placeholders_that_a_service_can_not_remove_safely_are_told(storage: runtime.Storage) -> None:
    new = storage["new"]
    alone(new).capabilities = replace(MemoryDriver.capabilities, delete_if_match=False)
    await hold(alone(new), "deleted")
    result = await migrate(new)
    assert result.placeholders == ["deleted"]
    assert not result.complete


async def test_copy_that_does_not_hold_what_was_sent_is_taken_back(storage: runtime.Storage) -> None:
    class Corrupting(MemoryDriver):
        async def put(self, path: str, data: Any, options: UploadOptions) -> FileInfo:
            wrong = bytes(data).replace(b"content", b"CONTENT")
            return await super().put(path, wrong, options)

    driver = FallbackDriver(storage["new"].backend, Corrupting(entry("new")), storage["old"].driver)
    await storage["old"].upload("a", b"content")
    async with type(storage["new"])(storage["new"].backend, driver) as new:
        result = await migrate(new, verify="checksum")
        ((path, error),) = result.failed
        assert path == "a"
        assert isinstance(error, ChecksumMismatchError)
        assert result.missing == 1
        assert await new.download("a") == b"content", "read from the old backend"


async def test_two_runs_at_once_do_not_harm_each_other(storage: runtime.Storage) -> None:
    new = storage["new"]
    for number in range(40):
        await storage["old"].upload(f"{number}", b"x" * number)

    async def pause(_path: str) -> None:
        await anyio.sleep(0.001)

    on_reading(storage, pause)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(migrate, new)
    result = await migrate(new)
    assert result.complete
    assert alone(new).raw == {str(number): b"x" * number for number in range(40)}


async def test_object_replaced_in_the_old_backend_while_it_is_copied_is_told(storage: runtime.Storage) -> None:
    """Nobody should write there any more; when somebody does, nothing half is copied."""
    new = storage["new"]
    await storage["old"].upload("a", b"content")

    async def fail(_path: str) -> None:
        raise PreconditionFailedError("the object was replaced while it was read")

    on_reading(storage, fail)
    result = await migrate(new)
    assert [path for path, _ in result.failed] == ["a"]
    assert result.missing == 1


async def test_backend_without_a_fallback_is_refused(storage: runtime.Storage) -> None:
    with pytest.raises(ConfigError, match="falls back to no other one"):
        await migrate(storage["old"])
