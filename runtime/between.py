"""One object from one backend to another: streamed, in one version, with what it says of itself.

Type, metadata and cache headers are kept; tags and storage classes, which services have each their own of, are not.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from runtime.models import UploadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runtime.models import FileInfo
    from runtime.paths import ObjectPath
    from runtime.store import BlobStore

MIB: Final = 1024 * 1024


async def carry(
    source: BlobStore,
    path: ObjectPath,
    target: BlobStore,
    destination: str,
    options: UploadOptions | None = None,
    advance: Callable[[int], object] | None = None,
) -> tuple[FileInfo, FileInfo]:
    """Stream one object from one backend to another.

    Args:
        source: Where from.
        path: Which object.
        target: Where to.
        destination: Under which path.
        options: What is asked of the new object; what is not said is kept.
        advance: Told the bytes of every piece that was read.

    Returns:
        The object that was read, and the one that was written.

    Raises:
        PreconditionFailedError: also when the object was replaced before it was read.
    """
    info = await source.info(path)
    stream = source.stream(path, MIB, if_match=info.etag)
    async with aclosing(stream):
        made = await target.upload(
            destination, counted(stream, advance), kept(options or UploadOptions(), info), size=info.size
        )
    return info, made


def counted(stream: AsyncIterator[bytes], advance: Callable[[int], object] | None) -> AsyncIterator[bytes]:
    """The pieces of *stream*, which the caller closes; *advance* is told the bytes of every piece that was taken."""
    return stream if advance is None else _counted(stream, advance)


async def _counted(stream: AsyncIterator[bytes], advance: Callable[[int], object]) -> AsyncIterator[bytes]:
    async for piece in stream:
        yield piece
        advance(len(piece))


def kept(options: UploadOptions, info: FileInfo) -> UploadOptions:
    """What the source has, under what the caller asks for."""
    return replace(
        options,
        content_type=options.content_type or info.content_type,
        metadata=options.metadata or info.metadata or None,
        cache_control=options.cache_control or info.cache_control,
        content_disposition=options.content_disposition or info.content_disposition,
        content_encoding=options.content_encoding or info.content_encoding,
    )
