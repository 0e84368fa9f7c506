"""Apache OpenDAL's Python bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import opendal

from tests.bench.client import CHUNK, PART, PARTS_IN_FLIGHT, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class OpenDAL(Client):
    distribution = "opendal"
    module = "opendal"

    async def open(self) -> None:
        self._operator: Any = opendal.AsyncOperator(
            "s3",
            bucket=self.site.bucket,
            endpoint=self.site.url,
            region=self.site.region,
            access_key_id=self.site.access_key,
            secret_access_key=self.site.secret_key,
        )

    async def put(self, path: str, data: bytes) -> None:
        await self._operator.write(path, data)

    async def get(self, path: str) -> int:
        return len(await self._operator.read(path))

    async def info(self, path: str) -> int:
        size: int = (await self._operator.stat(path)).content_length
        return size

    async def count(self, prefix: str) -> int:
        found = 0
        async for _ in await self._operator.list(prefix):
            found += 1
        return found

    async def delete(self, path: str) -> None:
        await self._operator.delete(path)

    async def presign(self, path: str) -> str:
        url: str = (await self._operator.presign_read(path, 3600)).url
        return url

    async def upload(self, path: str, pieces: AsyncIterator[bytes]) -> None:
        async with await self._operator.open(path, "wb", chunk=PART, concurrent=PARTS_IN_FLIGHT) as file:
            async for piece in pieces:
                await file.write(piece)

    async def stream(self, path: str) -> int:
        total = 0
        async with await self._operator.open(path, "rb") as file:
            while chunk := await file.read(CHUNK):
                total += len(chunk)
        return total


client = OpenDAL
