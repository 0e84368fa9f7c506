"""The SDK's own client, made when it is first used: loading it costs a second that most applications never need."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Mapping


class RawClient:
    """aioboto3's S3 client, lazily.

    ``await raw.get_bucket_cors(Bucket=…)`` calls an operation; ``client = await raw`` gives the client itself,
    for paginators, waiters and the rest.

    Args:
        make: Makes the client's async context manager.
    """

    def __init__(self, make: Callable[[], Awaitable[Any]]) -> None:
        self._make = make
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._lock = asyncio.Lock()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._open().__await__()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._client is not None:
            return getattr(self._client, name)

        async def call(**arguments: Any) -> Any:
            return await getattr(await self._open(), name)(**arguments)

        call.__name__ = name
        return call

    async def _open(self) -> Any:
        async with self._lock:
            if self._client is None:
                self._client = await self._stack.enter_async_context(await self._make())
            return self._client

    async def close(self) -> None:
        """Close the client, when one was made."""
        await self._stack.aclose()
        self._client = None


async def make_client(settings: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """The context manager of an aioboto3 client.

    Args:
        settings: Arguments of ``Session.client``.
        config: Arguments of ``botocore.config.Config``.
    """
    import aioboto3  # noqa: PLC0415 - see the module's docstring
    from botocore.config import Config  # noqa: PLC0415

    return aioboto3.Session().client("s3", config=Config(**config), **settings)
