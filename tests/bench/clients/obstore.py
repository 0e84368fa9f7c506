"""obstore: Python bindings of the Rust crate object_store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import LocalStore, MemoryStore, S3Store

from tests.bench.client import CHUNK, PART, PARTS_IN_FLIGHT, Client, NotOffered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

HOUR = timedelta(hours=1)


class Obstore(Client):
    distribution = "obstore"
    module = "obstore"
    sites = frozenset({"s3", "local", "memory"})

    async def open(self) -> None:
        self._store: Any = self._made()

    def _made(self) -> Any:
        if self.site.kind == "local":
            return LocalStore(self.site.directory)
        if self.site.kind == "memory":
            return MemoryStore()
        return S3Store(
            self.site.bucket,
            endpoint=self.site.url,
            region=self.site.region,
            access_key_id=self.site.access_key,
            secret_access_key=self.site.secret_key,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    async def put(self, path: str, data: bytes) -> None:
        await obstore.put_async(self._store, path, data)

    async def get(self, path: str) -> int:
        return len(await (await obstore.get_async(self._store, path)).bytes_async())

    async def info(self, path: str) -> int:
        return (await obstore.head_async(self._store, path))["size"]

    async def count(self, prefix: str) -> int:
        found = 0
        async for page in obstore.list(self._store, prefix, chunk_size=1000):
            for _ in page:
                found += 1
        return found

    async def delete(self, path: str) -> None:
        await obstore.delete_async(self._store, path)

    async def presign(self, path: str) -> str:
        return await obstore.sign_async(self._store, "GET", path, HOUR)

    def presign_now(self, path: str) -> str:
        return obstore.sign(self._store, "GET", path, HOUR)

    async def delete_batch(self, paths: Sequence[str]) -> None:
        if self.site.kind != "s3":
            raise NotOffered(self.site.kind)
        await obstore.delete_async(self._store, paths)

    async def upload(self, path: str, pieces: AsyncIterator[bytes]) -> None:
        await obstore.put_async(self._store, path, pieces, chunk_size=PART, max_concurrency=PARTS_IN_FLIGHT)

    async def stream(self, path: str) -> int:
        total = 0
        async for chunk in (await obstore.get_async(self._store, path)).stream(min_chunk_size=CHUNK):
            total += len(chunk)
        return total


client = Obstore
