from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import pytest

import runtime
from runtime.errors import ConfigError, NotSupportedError, QuotaExceededError, UnknownBackendError
from runtime.events import Events, FileUploaded
from runtime.testing import Clock, fake_storage
from runtime.testing.fakes import START

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing import FakeStorage

CONTRACT = """
storage:
  service: {max_file_size_mb: 1}
  default_driver: s3
  backends:
    - name: avatars
      driver: s3
      primary: true
      s3: {bucket: shop-avatars, region: eu-west-1, access_key: "${KEY}", secret_key: "${file:nowhere}"}
    - {name: media, driver: r2, r2: {bucket: "${BUCKET}"}, expect: {public: true}}
  kv:
    - {name: sessions, driver: redis, redis: {url: "${SESSIONS_URL}"}}
"""


@pytest.fixture
def contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "storage.yaml").write_text(CONTRACT)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fake(contract: None, fake_storage: FakeStorage) -> FakeStorage:  # noqa: ARG001 - first the contract
    return fake_storage


async def application() -> None:
    async with runtime.open_storage() as storage:
        await storage["avatars"].upload("u/1.jpg", b"12345")
        await storage["media"].upload("m", "text", public=True)
        await storage.kv["sessions"].set("u1", {"cart": [1]}, ttl=timedelta(hours=1))


def test_every_store_of_the_contract_is_there_without_its_secrets(fake: FakeStorage) -> None:
    assert list(fake) == ["avatars", "media"]
    assert list(fake.kv) == ["sessions"]
    assert fake.primary is fake["avatars"]
    assert fake.kv.primary is fake.kv["sessions"]


def test_what_the_application_did_can_be_asked_after_it_ended(fake: FakeStorage) -> None:
    anyio.run(application)
    fake["avatars"].assert_exists("u/1.jpg")
    fake["avatars"].assert_content("u/1.jpg", b"12345")
    fake["avatars"].assert_missing("u/2.jpg")
    fake["avatars"].assert_count(1)
    fake["avatars"].assert_count(1, "u/")
    fake["avatars"].assert_count(0, "v/")
    fake["media"].assert_content("m", "text")
    fake.kv["sessions"].assert_exists("u1")
    fake.kv["sessions"].assert_content("u1", {"cart": [1]})
    fake.kv["sessions"].assert_count(1)
    fake.kv["sessions"].assert_missing("u1", "elsewhere")


def test_a_wrong_assertion_tells_what_is_there(fake: FakeStorage) -> None:
    anyio.run(application)
    with pytest.raises(AssertionError, match=r"avatars has nothing at 'u/2.jpg'; it has 'u/1.jpg'"):
        fake["avatars"].assert_exists("u/2.jpg")
    with pytest.raises(AssertionError, match=r"avatars has an object at 'u/1.jpg'"):
        fake["avatars"].assert_missing("u/1.jpg")
    with pytest.raises(AssertionError, match=r"avatars has 1 objects, not 2: 'u/1.jpg'"):
        fake["avatars"].assert_count(2)
    with pytest.raises(AssertionError, match=r"avatars/u/1.jpg holds b'12345', not b'1'"):
        fake["avatars"].assert_content("u/1.jpg", b"1")
    with pytest.raises(AssertionError, match=r"sessions has nothing at 'u2'; it has 'u1'"):
        fake.kv["sessions"].assert_exists("u2")
    with pytest.raises(AssertionError, match=r"sessions has 1 entries, not 0"):
        fake.kv["sessions"].assert_count(0)
    with pytest.raises(AssertionError, match=r"sessions/u1 holds \{'cart': \[1\]\}, not 1"):
        fake.kv["sessions"].assert_content("u1", 1)
    with pytest.raises(AssertionError, match=r"sessions has an entry at 'u1'"):
        fake.kv["sessions"].assert_missing("u1")


def test_time_passes_when_a_test_says_so(fake: FakeStorage) -> None:
    anyio.run(application)
    info = anyio.run(fake["avatars"].info, "u/1.jpg")
    assert info.last_modified == START
    fake.clock.advance(minutes=59, seconds=59.999)
    fake.kv["sessions"].assert_exists("u1")
    fake.clock.advance(seconds=0.001)
    fake.kv["sessions"].assert_missing("u1")
    fake.clock.set(datetime(2030, 5, 6, tzinfo=UTC))
    anyio.run(application)
    assert anyio.run(fake["avatars"].info, "u/1.jpg").last_modified == datetime(2030, 5, 6, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        fake.clock.set(datetime(2030, 5, 6))  # noqa: DTZ001 - that is the test


async def test_urls_look_signed_until_a_time_of_the_clock(fake: FakeStorage) -> None:
    url = await fake["avatars"].get_presigned_url("u/ü.jpg", expires_in=timedelta(hours=1), method="PUT")
    expires = int((START + timedelta(hours=1)).timestamp())
    assert url == f"https://avatars.fake.invalid/u/%C3%BC.jpg?method=PUT&expires={expires}&signature=fake"
    request = await fake["avatars"].presign("a", method="PUT", content_type="image/png")
    assert request.headers == {"content-type": "image/png"}


async def test_limits_and_what_was_provisioned_are_kept(fake: FakeStorage) -> None:
    with pytest.raises(QuotaExceededError):
        await fake["avatars"].upload("a", b"x" * (1024 * 1024 + 1))
    with pytest.raises(NotSupportedError):
        await fake["avatars"].upload("a", b"x", public=True)


async def test_services_are_injected_as_ever(fake: FakeStorage) -> None:
    def service(store: runtime.BlobStoreProtocol) -> runtime.BlobStoreProtocol:
        return store

    assert fake.inject(service) is fake["avatars"]
    with pytest.raises(UnknownBackendError):
        fake["avatar"]


async def test_hooks_of_the_application_are_called(fake: FakeStorage) -> None:
    events, seen = Events(), []
    events.on(FileUploaded)(lambda event: seen.append(event.path))
    for _ in range(2):
        async with runtime.open_storage(hooks=[events]) as storage:
            await storage.primary.upload("a", b"x")
    assert seen == ["a", "a"]
    fake["avatars"].assert_count(1)


async def test_an_application_with_a_config_of_its_own_needs_it_for_the_fake_too(fake: FakeStorage) -> None:
    own = {"backends": [{"name": "other", "driver": "memory"}]}
    with pytest.raises(ConfigError, match="stores that the fake does not have: other"):
        runtime.open_storage(own)
    with fake_storage(own) as mine:
        async with runtime.open_storage(own) as storage:
            assert storage is mine
    async with runtime.open_storage() as storage:
        assert storage is fake


def test_an_application_that_is_not_async_gets_it_too(fake: FakeStorage) -> None:
    with runtime.open_storage_sync() as storage:
        storage["avatars"].upload("u/1.jpg", b"12345")
        storage.kv["sessions"].set("u1", 1, ttl=60)
        assert storage.kv.primary.incr("u1") == 2
    fake["avatars"].assert_content("u/1.jpg", b"12345")
    fake.kv["sessions"].assert_content("u1", 2)
    fake.clock.advance(minutes=2)
    fake.kv["sessions"].assert_missing("u1")


def test_after_the_block_storage_is_real_again() -> None:
    with fake_storage({"default_driver": "s3"}, clock=Clock()) as fake:
        assert list(fake) == ["default"]
        assert runtime.open_storage() is fake
    assert runtime.open_storage({"default_driver": "memory"}) is not fake


def test_a_config_that_is_wrong_is_told() -> None:
    with (
        pytest.raises(ConfigError, match=r"service\.max_file_size_mb"),
        fake_storage({"service": {"max_file_size_mb": -1}}),
    ):
        pass
