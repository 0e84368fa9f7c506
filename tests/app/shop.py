"""An application of fifty lines: two services, two named blob stores, one key-value store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import runtime
from runtime import BlobStoreProtocol, Named
from runtime.kv import KVStoreProtocol  # noqa: TC001 - annotations are what it is injected by


class AvatarService:
    def __init__(
        self,
        avatars: Annotated[BlobStoreProtocol, Named("avatars")],
        uploads: Annotated[BlobStoreProtocol, Named("uploads")],
    ) -> None:
        self.avatars = avatars
        self.uploads = uploads

    async def accept(self, user: str, image: bytes) -> str:
        await self.uploads.upload(f"incoming/{user}", image)
        info = await self.avatars.upload(f"{user}.jpg", image, content_type="image/jpeg")
        await self.uploads.delete(f"incoming/{user}")
        return info.path


class SessionService:
    def __init__(self, sessions: Annotated[KVStoreProtocol, Named("sessions")]) -> None:
        self.sessions = sessions

    async def visit(self, user: str) -> int:
        await self.sessions.set(user, {"user": user}, ttl=timedelta(hours=1), namespace="session")
        return await self.sessions.incr("visits")


async def main(user: str, image: bytes) -> tuple[str, int]:
    async with runtime.open_storage() as storage:
        avatar = await storage.inject(AvatarService).accept(user, image)
        return avatar, await storage.inject(SessionService).visit(user)


if __name__ == "__main__":
    path, visits = asyncio.run(main("u1", b"\xff\xd8 a face"))
    print(f"stored {path}, visit {visits}")  # noqa: T201 - this is the application's output
