"""s3fs, the S3 of fsspec, by its async methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import s3fs

from tests.bench.client import CHUNK, Client, NotOffered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class S3FS(Client):
    distribution = "s3fs"
    module = "s3fs"

    async def open(self) -> None:
        self._fs: Any = s3fs.S3FileSystem(
            asynchronous=True,
            skip_instance_cache=True,
            use_listings_cache=False,
            endpoint_url=self.site.url,
            key=self.site.access_key,
            secret=self.site.secret_key,
            client_kwargs={"region_name": self.site.region},
            config_kwargs={"s3": {"addressing_style": "path"}, "max_pool_connections": 64},
        )
        self._session = await self._fs.set_session()

    async def close(self) -> None:
        await self._session.close()

    def _at(self, path: str) -> str:
        return f"{self.site.bucket}/{path}"

    async def put(self, path: str, data: bytes) -> None:
        await self._fs._pipe_file(self._at(path), data)

    async def get(self, path: str) -> int:
        return len(await self._fs._cat_file(self._at(path)))

    async def info(self, path: str) -> int:
        size: int = (await self._fs._info(self._at(path)))["size"]
        return size

    async def count(self, prefix: str) -> int:
        return len(await self._fs._find(self._at(prefix)))

    async def delete(self, path: str) -> None:
        await self._fs._rm_file(self._at(path))

    async def presign(self, path: str) -> str:
        url: str = await self._fs._url(self._at(path))
        return url

    async def delete_batch(self, paths: Sequence[str]) -> None:
        await self._fs._bulk_delete([self._at(path) for path in paths])

    async def upload(self, path: str, pieces: AsyncIterator[bytes]) -> None:
        raise NotOffered(f"no asynchronous writer for {path} from {type(pieces).__name__}")

    async def stream(self, path: str) -> int:
        total = 0
        file = await self._fs.open_async(self._at(path), "rb")
        while chunk := await file.read(CHUNK):
            total += len(chunk)
        return total


client = S3FS
