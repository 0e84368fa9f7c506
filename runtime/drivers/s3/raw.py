"""The SDK's own client, made when it is first used: loading it costs a second that most applications never need."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal

from runtime.drivers.s3.requests import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Generator

    from runtime.config import NamedStorageConfig, StorageR2Config, StorageS3Config
    from runtime.drivers.s3.address import Address


class RawClient:
    """aioboto3's S3 client, lazily.

    ``await raw.get_bucket_cors(Bucket=…)`` calls an operation; ``client = await raw`` gives the client itself,
    for paginators, waiters and the rest.

    Args:
        backend: The entry of the contract.
        address: Where the bucket is.
    """

    def __init__(self, backend: NamedStorageConfig, address: Address) -> None:
        self._backend = backend
        self._address = address
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
                self._client = await self._stack.enter_async_context(_make(self._backend, self._address))
            return self._client

    async def close(self) -> None:
        """Close the client, when one was made."""
        await self._stack.aclose()
        self._client = None


def _make(backend: NamedStorageConfig, address: Address) -> Any:
    """The async context manager of an aioboto3 client."""
    settings: StorageS3Config | StorageR2Config = backend.settings
    import aioboto3  # noqa: PLC0415 - see the module's docstring
    from botocore.config import Config  # noqa: PLC0415 - as above

    keys: dict[str, str] = {}
    if settings.access_key is not None and settings.secret_key is not None:
        keys["aws_access_key_id"] = settings.access_key.get_secret_value()
        keys["aws_secret_access_key"] = settings.secret_key.get_secret_value()
    # R2 and compatibles refuse what is new
    checksums: Literal["when_required", "when_supported"] = "when_required" if address.custom else "when_supported"
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "virtual" if address.virtual else "path"},
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=backend.limits.attempt_timeout,
        retries={"mode": "standard", "total_max_attempts": backend.retry.attempts},
        ignore_configured_endpoint_urls=True,  # type: ignore[call-arg] # botocore has it, its stubs do not
    )
    return aioboto3.Session().client(
        "s3", config=config, endpoint_url=settings.endpoint_url, region_name=settings.region, **keys
    )
