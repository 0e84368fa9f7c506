"""aiobotocore: botocore on aiohttp, which aioboto3 and s3fs are made of."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from tests.bench.client import CHUNK, PART, PARTS_IN_FLIGHT, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Aiobotocore(Client):
    distribution = "aiobotocore"
    module = "aiobotocore.session"

    async def open(self) -> None:
        self._stack = AsyncExitStack()
        made = get_session().create_client(
            "s3",
            endpoint_url=self.site.url,
            region_name=self.site.region,
            aws_access_key_id=self.site.access_key,
            aws_secret_access_key=self.site.secret_key,
            config=AioConfig(s3={"addressing_style": "path"}, max_pool_connections=64),
        )
        self._client: Any = await self._stack.enter_async_context(made)

    async def close(self) -> None:
        await self._stack.aclose()

    async def put(self, path: str, data: bytes) -> None:
        await self._client.put_object(Bucket=self.site.bucket, Key=path, Body=data)

    async def get(self, path: str) -> int:
        answer = await self._client.get_object(Bucket=self.site.bucket, Key=path)
        async with answer["Body"] as body:
            return len(await body.read())

    async def info(self, path: str) -> int:
        size: int = (await self._client.head_object(Bucket=self.site.bucket, Key=path))["ContentLength"]
        return size

    async def count(self, prefix: str) -> int:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.site.bucket, Prefix=prefix)
        found = 0
        async for page in pages:
            for _ in page.get("Contents", ()):
                found += 1
        return found

    async def delete(self, path: str) -> None:
        await self._client.delete_object(Bucket=self.site.bucket, Key=path)

    async def presign(self, path: str) -> str:
        wanted = {"Bucket": self.site.bucket, "Key": path}
        url: str = await self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=3600)
        return url

    async def delete_batch(self, paths: Sequence[str]) -> None:
        wanted = {"Objects": [{"Key": path} for path in paths], "Quiet": True}
        await self._client.delete_objects(Bucket=self.site.bucket, Delete=wanted)

    async def upload(self, path: str, pieces: AsyncIterator[bytes]) -> None:
        place = {"Bucket": self.site.bucket, "Key": path}
        upload = (await self._client.create_multipart_upload(**place))["UploadId"]
        slots = asyncio.Semaphore(PARTS_IN_FLIGHT)

        async def put(number: int, data: bytes) -> dict[str, Any]:
            try:
                answer = await self._client.upload_part(**place, UploadId=upload, PartNumber=number, Body=data)
            finally:
                slots.release()
            return {"PartNumber": number, "ETag": answer["ETag"]}

        tasks: list[asyncio.Task[dict[str, Any]]] = []
        async with asyncio.TaskGroup() as group:
            async for part in _parts(pieces):
                await slots.acquire()
                tasks.append(group.create_task(put(len(tasks) + 1, part)))
        done = {"Parts": [task.result() for task in tasks]}
        await self._client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=done)

    async def stream(self, path: str) -> int:
        total = 0
        answer = await self._client.get_object(Bucket=self.site.bucket, Key=path)
        async with answer["Body"] as body:
            async for chunk in body.content.iter_chunked(CHUNK):
                total += len(chunk)
        return total


async def _parts(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PART:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


client = Aiobotocore
