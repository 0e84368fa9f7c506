"""What every part of the suite stands on: fixtures, and the answers that only a driver's author knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import pytest

from runtime.store import BlobStore
from runtime.testing.conformance.support import Response, send_http
from runtime.testing.conformance.watching import through

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUCKET_FIELDS = ("bucket", "container", "root_dir")
"""Settings that name where objects live, in our drivers and in most others."""


class Suite:
    """Base of the suite's parts; `BlobStoreConformance` documents what a subclass may set.

    Attributes:
        server_verifies_signatures: Whether the server checks presigned URLs.
        signature_reason: Why it does not, when it does not.
        creates_missing_bucket: Whether an upload makes a bucket that is missing.
        keeps_objects_in_this_process: Whether the memory of this process is where objects are.
        storage_class: A storage class that the service knows; used where ``capabilities.storage_class``.
    """

    pytestmark: ClassVar[list[pytest.MarkDecorator]] = [pytest.mark.anyio]

    server_verifies_signatures: ClassVar[bool] = True
    signature_reason: ClassVar[str] = ""
    creates_missing_bucket: ClassVar[bool] = False
    keeps_objects_in_this_process: ClassVar[bool] = False
    storage_class: ClassVar[str] = "STANDARD"

    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> str:
        """The SDKs of the clouds run on asyncio only."""
        return "asyncio"

    @pytest.fixture
    async def parts(self, store: BlobStore) -> AsyncIterator[BlobStore]:
        """The store again, with parts as small as the service allows."""
        small = await through(store)
        yield small
        await small.close()

    @pytest.fixture
    async def missing_bucket_store(self, store: BlobStore) -> AsyncIterator[BlobStore | None]:
        """An opened store on a bucket that is not there, made from the settings of ``store``.

        None where the settings name no bucket, as nothing can be missing then. Override it where the name
        of a missing bucket has to be made another way.
        """
        settings = store.backend.settings
        name = next((field for field in BUCKET_FIELDS if _get(settings, field)), None)
        if name is None:
            yield None
            return
        missing = f"{_get(settings, name)}-missing"[-63:].lstrip("-.") if name != "root_dir" else _beside(settings)
        if isinstance(settings, Mapping):
            update: dict[str, object] = {"plugin": {**settings, name: missing}}
        else:
            update = {store.backend.driver: settings.model_copy(update={name: missing})}
        backend = store.backend.model_copy(update=update)
        async with BlobStore(backend, type(store.driver)(backend)) as other:
            yield other

    async def http(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Response:
        """Send one plain HTTP request; override it where the server is in this process."""
        return await send_http(method, url, headers=headers, content=content)

    async def leftovers(self, store: BlobStore) -> list[str]:  # noqa: ARG002 - for those who can ask
        """What unfinished uploads left in the bucket, as the service tells it beside its listing.

        The suite also watches every multipart upload from outside; override this where the service, or the
        disk, can be asked.
        """
        return []


def _get(settings: object, name: str) -> str | None:
    value = settings.get(name) if isinstance(settings, Mapping) else getattr(settings, name, None)
    return str(value) if value else None


def _beside(settings: object) -> str:
    return f"{_get(settings, 'root_dir')}-missing"
