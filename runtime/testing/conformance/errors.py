"""Errors: of the right kind, with everything that a reader needs and nothing that is secret."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from runtime.config import is_secret
from runtime.errors import NotFoundError, PermissionDeniedError, StorageError, StorageUnavailableError
from runtime.store import BlobStore
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.watching import Watched, through

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.config import NamedStorageConfig
    from runtime.models import FileInfo


MARK = "bWFya2VkLXNlY3JldC1vZi1hLXRlc3QtbWFya2VkLXNlY3JldA=="
"""A secret that no server knows; base64, as Azure's keys are."""


class BuggyDriver(Watched):
    """A driver with a bug."""

    async def head(self, path: str) -> FileInfo:
        raise ZeroDivisionError(path)


class Errors(Suite):
    """What is raised when something is wrong."""

    async def test_missing_object_is_named_with_backend_and_operation(self, store: BlobStore) -> None:
        async def first_chunk() -> bytes:
            return await anext(store.stream("no/such/object"))

        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "download": lambda: store.download("no/such/object"),
            "stream": first_chunk,
            "info": lambda: store.info("no/such/object"),
            "copy": lambda: store.copy("no/such/object", "elsewhere"),
            "move": lambda: store.move("no/such/object", "elsewhere"),
        }
        for operation, call in calls.items():
            with pytest.raises(NotFoundError) as caught:
                await call()
            error = caught.value
            assert (error.backend, error.operation, error.path) == (store.name, operation, "no/such/object")
            assert store.name in str(error), operation
            assert "no/such/object" in str(error), operation
            assert not error.retryable, f"{operation}: a missing object does not come by waiting"

    async def test_missing_object_is_also_the_builtin_file_not_found_error(self, store: BlobStore) -> None:
        with pytest.raises(FileNotFoundError):
            await store.download("missing")

    async def test_cause_of_a_translated_error_is_kept(self, store: BlobStore) -> None:
        with pytest.raises(NotFoundError) as caught:
            await store.info("missing")
        cause = caught.value.__cause__
        assert cause is None or not isinstance(cause, StorageError), "the cause is the vendor's own error"

    async def test_bug_in_a_driver_is_not_dressed_up_as_an_answer(self, store: BlobStore) -> None:
        broken = await through(store, BuggyDriver(store.driver))
        with pytest.raises(ZeroDivisionError):
            await broken.info("any")
        with pytest.raises(ZeroDivisionError):
            await broken.exists("any")

    async def test_closed_store_refuses_and_says_what_to_do(self, store: BlobStore) -> None:
        closed = await through(store)
        await closed.close()
        with pytest.raises(StorageUnavailableError, match="open"):
            await closed.download("any")
        with pytest.raises(StorageUnavailableError, match="open"):
            await closed.upload("any", b"x")

    async def test_secrets_are_in_no_error_and_no_repr(self, store: BlobStore) -> None:
        backend = _with_secrets(store.backend, dict.fromkeys(_secret_fields(store.backend), MARK))
        driver = type(store.driver)(backend)
        shown = [repr(backend), str(backend), repr(driver)]
        async with BlobStore(backend, driver) as other:
            shown.append(repr(other))
            with suppress(StorageError):  # whether the server minds a wrong secret is another test's business
                await other.upload("any", b"x")
            try:
                await other.download("missing")
            except StorageError as error:
                shown += [str(error), repr(error), *getattr(error, "__notes__", ())]
            health = await other.health_check()
            shown += [str(health), repr(health)]
        assert not [text for text in shown if MARK in text], "a secret is shown"

    async def test_wrong_credentials_are_refused_as_permission_denied(self, store: BlobStore) -> None:
        secret = _secret_fields(store.backend)
        field = next((name for name in ("secret_key", "account_key") if name in secret), None)
        if field is None:
            assert not secret
            return
        backend = _with_secrets(store.backend, {field: "d3JvbmctY3JlZGVudGlhbHMtb2YtYS10ZXN0LXdyb25nCg=="})
        await store.upload("guarded", b"content")
        async with BlobStore(backend, type(store.driver)(backend)) as other:
            if not self.server_verifies_signatures:
                assert await other.download("guarded") == b"content", "set server_verifies_signatures = True"
                return
            with pytest.raises(PermissionDeniedError):
                await other.download("guarded")
            with pytest.raises(PermissionDeniedError):
                await other.upload("guarded", b"evil")
        assert await store.download("guarded") == b"content"

    async def test_missing_bucket_is_not_found_and_not_an_empty_bucket(
        self, store: BlobStore, missing_bucket_store: BlobStore | None
    ) -> None:
        if missing_bucket_store is None:
            assert await store.list_page() is not None, "a store without a bucket's name always has its bucket"
            return
        for call in (missing_bucket_store.download, missing_bucket_store.info):
            with pytest.raises(NotFoundError):
                await call("any")
        with pytest.raises(NotFoundError):
            [_ async for _ in missing_bucket_store.list()]
        assert not await missing_bucket_store.exists("any")

    async def test_upload_to_a_missing_bucket_raises_or_makes_it(
        self, store: BlobStore, missing_bucket_store: BlobStore | None
    ) -> None:
        if missing_bucket_store is None:
            assert (await store.health_check()).is_healthy()
            return
        if self.creates_missing_bucket:
            await missing_bucket_store.upload("first", b"content")
            assert await missing_bucket_store.download("first") == b"content"
            return
        with pytest.raises(NotFoundError):
            await missing_bucket_store.upload("first", b"content")
        with pytest.raises(NotFoundError):
            await (await through(missing_bucket_store)).upload("large", iter([b"x" * 20_000_000]))


def _secret_fields(backend: NamedStorageConfig) -> list[str]:
    """The settings that hold a secret, of a driver of ours (a model) or from elsewhere (a mapping)."""
    if isinstance(backend.settings, Mapping):
        return [name for name in backend.settings if is_secret(name)]
    return [name for name, value in vars(backend.settings).items() if isinstance(value, SecretStr)]


def _with_secrets(backend: NamedStorageConfig, secrets: Mapping[str, str]) -> NamedStorageConfig:
    """The same backend with other secrets."""
    if isinstance(backend.settings, Mapping):
        return backend.model_copy(update={"plugin": {**backend.settings, **secrets}})
    changed = backend.settings.model_copy(update={name: SecretStr(value) for name, value in secrets.items()})
    return backend.model_copy(update={backend.driver: changed})
