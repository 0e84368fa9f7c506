from __future__ import annotations

import inspect
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

import runtime
from runtime.config import VERBS, NamedStorageConfig, StorageConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import ConfigError, NotFoundError, PermissionDeniedError, StorageError
from runtime.grants import NEEDS, Access, access_to
from runtime.loading import load_config
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.driver import Driver
    from runtime.models import FileInfo

pytestmark = pytest.mark.anyio

APART = {"live_settings", "close", "describe", "get_url", "health_check", "open", "write_stream"}
"""What needs no grant; `write_stream` is `upload`."""


class Watched(MemoryDriver):
    """Counts what reaches the service."""

    calls = 0

    def __getattribute__(self, name: str) -> Any:
        if name in {"head", "get", "content", "put", "list_objects", "delete", "delete_batch", "copy", "presign"}:
            object.__getattribute__(self, "count")()
        return object.__getattribute__(self, name)

    def count(self) -> None:
        self.calls += 1


class Denying(MemoryDriver):
    """A service that refuses, as its IAM may know better."""

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return PermissionDeniedError if isinstance(error, LookupError) else super().error_type(error)

    async def head(self, path: str) -> FileInfo:
        raise LookupError(path)

    async def put(self, path: str, data: Any, options: Any) -> FileInfo:
        del data, options
        raise LookupError(path)


def driver_class(name: str) -> type[Driver]:
    found: type[Driver] = import_module(f"runtime.drivers.{name}").driver_class
    return found


def backend(access: dict[str, list[str]], identity: str | None, **more: Any) -> NamedStorageConfig:
    grants = [{"to": to, "access": verbs} for to, verbs in access.items()]
    found = {"name": "avatars", "driver": "memory", "expect": {"grants": grants}, "identity": identity, **more}
    return NamedStorageConfig.model_validate(found)


def operations(store: BlobStore) -> dict[str, Callable[[], Awaitable[object]]]:
    """Every public operation, called so that nothing but its grant is wrong."""

    async def chunks() -> None:
        [_ async for _ in store.stream("a")]

    async def names() -> None:
        [_ async for _ in store.list()]

    async def written() -> None:
        async with store.open_writer("a") as file:
            await file.write(b"x")

    async def read() -> None:
        async with store.open_reader("a") as file:
            await file.read()

    return {
        "copy": lambda: store.copy("a", "b"),
        "copy_batch": lambda: store.copy_batch([("a", "b")]),
        "delete": lambda: store.delete("a"),
        "delete_batch": lambda: store.delete_batch(["a"]),
        "download": lambda: store.download("a"),
        "download_to": lambda: store.download_to("a", "never-written"),
        "exists": lambda: store.exists("a"),
        "get_presigned_url": lambda: store.get_presigned_url("a"),
        "info": lambda: store.info("a"),
        "list": names,
        "list_page": store.list_page,
        "move": lambda: store.move("a", "b"),
        "open_reader": read,
        "open_writer": written,
        "presign": lambda: store.presign("a"),
        "stream": chunks,
        "sweep": store.sweep,
        "update": lambda: store.update("a", lambda old: old or b"x"),
        "upload": lambda: store.upload("a", b"x"),
        "upload_from": lambda: store.upload_from(__file__, "a"),
    }


def test_every_operation_says_what_it_needs() -> None:
    public = {
        name
        for name, member in inspect.getmembers(BlobStore, inspect.isfunction)
        if not name.startswith("_") and name not in APART
    }

    assert public == set(NEEDS)
    assert {verb for needs in NEEDS.values() for verb in needs} == set(VERBS) - {"admin"}


@pytest.mark.parametrize("verbs", [["read"], ["write"], ["list"], ["delete"], ["read", "write"], ["presign", "read"]])
async def test_what_is_not_granted_is_refused_before_anything_is_asked(verbs: list[str]) -> None:
    entry = backend({"role/app": verbs}, "role/app")
    driver = Watched(entry)
    async with BlobStore(entry, driver) as store:
        for operation, call in operations(store).items():
            if set(NEEDS[operation]) <= set(verbs):
                continue
            with pytest.raises(PermissionDeniedError) as caught:
                await call()
            assert (caught.value.operation, caught.value.backend) == (operation, "avatars")
            assert driver.calls == 0


async def test_what_is_granted_reaches_the_service() -> None:
    for verbs in (["read", "list", "write", "delete", "presign"], ["admin"]):
        entry = backend({"role/app": verbs}, "role/app")
        async with BlobStore(entry, MemoryDriver(entry)) as store:
            await store.upload("a", b"1")
            assert await store.download("a") == b"1"
            assert [info.path async for info in store.list()] == ["a"]
            await store.move("a", "b")
            await store.delete("b")


async def test_message_names_grant_backend_what_it_allows_and_where_to_change_it() -> None:
    entry = backend({"role/analytics": ["list", "read"], "role/app": ["admin"]}, "role/analytics")
    async with BlobStore(entry, MemoryDriver(entry)) as store:
        with pytest.raises(PermissionDeniedError) as caught:
            await store.upload("a", b"1")
        assert caught.value.message == (
            "grant 'role/analytics' on backend 'avatars' allows read, list; upload needs write"
        )
        assert caught.value.hint is not None
        assert "storage.backends.avatars.grants" in caught.value.hint
        assert "LEX_STORAGE__BACKENDS__AVATARS__IDENTITY" in caught.value.hint
        assert caught.value.path == "a"
        assert not caught.value.retryable


@pytest.mark.parametrize(
    "entry",
    [
        NamedStorageConfig(name="a", driver="memory"),
        NamedStorageConfig(name="a", driver="memory", identity="role/app"),
        backend({"role/app": ["read"]}, None),
        backend({}, "role/app"),
    ],
)
async def test_nothing_is_refused_where_nothing_is_known(entry: NamedStorageConfig) -> None:
    assert access_to(entry, MemoryDriver(entry)) is None
    async with BlobStore(entry, MemoryDriver(entry)) as store:
        await store.upload("a", b"1")
        await store.delete("a")


def test_url_can_do_no_more_than_its_signer() -> None:
    access = Access("avatars", MemoryDriver, "role/app", ["read", "presign"])

    access.demand_signature("presign", "GET")
    access.demand_signature("presign", "HEAD")
    for method, verb in {"PUT": "write", "POST": "write", "DELETE": "delete"}.items():
        with pytest.raises(PermissionDeniedError, match=f"presign of a {method} needs presign and {verb}"):
            access.demand_signature("presign", method)


async def test_signing_is_refused_by_its_method() -> None:
    config = {
        "backends": [
            {
                "name": "avatars",
                "driver": "s3",
                "s3": {"bucket": "avatars", "region": "eu-west-1", "access_key": "k", "secret_key": "s"},
                "expect": {"grants": [{"to": "role/app", "access": ["read", "presign"]}]},
                "identity": "role/app",
            }
        ]
    }
    async with runtime.open_storage(config) as storage:
        assert "X-Amz-Signature" in await storage["avatars"].get_presigned_url("a")
        with pytest.raises(PermissionDeniedError, match="get_presigned_url of a PUT needs presign and write"):
            await storage["avatars"].get_presigned_url("a", timedelta(hours=1), "PUT")
        with pytest.raises(PermissionDeniedError, match="presign of a DELETE needs presign and delete"):
            await storage["avatars"].presign("a", method="DELETE")


def test_identity_of_all_backends_is_that_of_each_with_grants() -> None:
    config = StorageConfig(
        identity="role/app",
        backends=(
            backend({"role/app": ["read"]}, None, name="one"),
            backend({"role/other": ["read"]}, "role/other", name="two"),
            backend({}, None, name="three"),
            backend({"role/other": ["read"]}, None, name="four"),
        ),
    )
    found = {entry.name: entry for entry in config.named_backends()}

    assert {name: entry.identity for name, entry in found.items()} == {
        "one": "role/app",
        "two": "role/other",
        "three": None,
        "four": "role/app",
    }
    access = access_to(found["four"], MemoryDriver(found["four"]))
    assert access is not None
    assert str(access.refusal("info")).startswith("backend 'four' has no grant to 'role/app'; info needs read")


def test_identity_without_a_grant_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(
            {"backends": [backend({"role/app": ["read"]}, None).document() | {"identity": "role/ap"}]}, environ={}
        )
    (problem,) = caught.value.problems
    assert problem.path.endswith("backends.avatars.identity")
    assert "did you mean 'role/app'" in problem.message


def test_identity_is_overridden_by_its_variable_and_an_empty_one_takes_it_away() -> None:
    config = {"backends": [backend({"role/app": ["read"], "role/job": ["write"]}, "role/app").document()]}
    variable = "LEX_STORAGE__BACKENDS__AVATARS__IDENTITY"

    assert load_config(config, environ={variable: "role/job"}).backends[0].identity == "role/job"
    assert load_config(config, environ={variable: ""}).backends[0].identity is None
    assert load_config(config, environ={"LEX_STORAGE__IDENTITY": "role/job"}).identity == "role/job"


@pytest.mark.parametrize(
    ("driver", "verbs", "operation", "told"),
    [
        ("s3", ["read"], "exists", "answers 403 instead of 404"),
        ("gcs", ["read"], "download", "answers 403 instead of 404"),
        ("s3", ["read", "list"], "exists", None),
        ("azure", ["read"], "exists", None),
        ("r2", ["read"], "exists", None),
        ("gcs", ["write"], "upload", "takes delete too"),
        ("gcs", ["write", "delete"], "upload", None),
        ("s3", ["write"], "upload", None),
    ],
)
def test_refusal_of_the_service_is_explained(driver: str, verbs: list[str], operation: str, told: str | None) -> None:
    hint = Access("avatars", driver_class(driver), "role/app", verbs).hint(operation)

    assert hint is None if told is None else told in (hint or "")


async def test_explanation_is_the_hint_of_the_error() -> None:
    entry = backend({"role/app": ["read"]}, "role/app")
    driver = Denying(entry)
    driver.hides_missing = True  # type: ignore[misc] # as S3's
    async with BlobStore(entry, driver) as store:
        with pytest.raises(PermissionDeniedError, match="may simply not be there"):
            await store.exists("a")


async def test_missing_object_is_missing_where_list_is_granted() -> None:
    entry = backend({"role/app": ["read", "list"]}, "role/app")
    async with BlobStore(entry, MemoryDriver(entry)) as store:
        assert not await store.exists("a")
        with pytest.raises(NotFoundError):
            await store.download("a")


def test_update_needs_delete_where_replacing_is_deleting() -> None:
    assert "update" in Access("a", driver_class("gcs"), "me", ["read", "write"]).refused
    assert "update" not in Access("a", driver_class("s3"), "me", ["read", "write"]).refused
    assert "update" not in Access("a", driver_class("gcs"), "me", ["read", "write", "delete"]).refused
