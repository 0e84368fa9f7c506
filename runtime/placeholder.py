"""A small object that keeps a path of a backend with `read_fallback` until its object arrives from the old backend.

Whoever brings an object over (a conditional write, ``tandem migrate``) first writes one of these, on the condition
that nothing is there, and then the object on the condition that it still is there. An application that writes or
deletes meanwhile removes it, so what is brought over late can neither undo a write nor bring a deleted object back.
Readers take it for no object; one that a killed program left changes nothing and is taken over by the next one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from runtime.errors import AlreadyExistsError, NotFoundError, PreconditionFailedError
from runtime.models import UploadOptions
from runtime.operation import kind_of

if TYPE_CHECKING:
    from runtime.driver import Driver
    from runtime.errors import StorageError
    from runtime.models import FileInfo, ObjectPage

CONTENT_TYPE: Final = "application/vnd.tandem.placeholder"

SIZE: Final = 211
"""Bytes of every placeholder: few objects have as many, and only those are looked at closer in a listing."""

ATTEMPTS: Final = 20
"""How often to try, when others write to the same path."""

_TEXT: Final = b"tandem: this path belongs to an object that is being brought over from another backend. "


def content() -> bytes:
    """What a new placeholder holds; no two are equal, so their etags differ on every service."""
    return (_TEXT + uuid4().hex.encode()).ljust(SIZE)


def is_placeholder(info: FileInfo) -> bool:
    """Whether an object is one. A listing may not tell content types: ask for the object where it could be."""
    return info.size == SIZE and info.content_type == CONTENT_TYPE


def holds_placeholder(data: bytes) -> bool:
    """Whether these are the bytes of one."""
    return len(data) == SIZE and data.startswith(_TEXT)


def is_a(error: Exception, driver: Driver, *kinds: type[StorageError]) -> bool:
    """Whether an error of *driver* is of one of these kinds."""
    kind = kind_of(error, driver)
    return kind is not None and issubclass(kind, kinds)


async def head_or_none(driver: Driver, path: str) -> FileInfo | None:
    """What is at a path; None for nothing."""
    try:
        return await driver.head(path)
    except Exception as exc:
        if not is_a(exc, driver, NotFoundError):
            raise
        return None


async def without_placeholders(driver: Driver, page: ObjectPage) -> ObjectPage:
    """A page of *driver*'s listing without placeholders; those of their size are asked for one by one."""
    hidden = set()
    for info in page.objects:
        if info.size == SIZE:
            found = await head_or_none(driver, info.path)
            if found is None or is_placeholder(found):
                hidden.add(info.path)
    return replace(page, objects=tuple(info for info in page.objects if info.path not in hidden)) if hidden else page


async def hold(driver: Driver, path: str) -> str | None:
    """Put a placeholder of one's own at a path, also over one of somebody else, who then can not finish.

    Returns:
        Its etag; None when an object is there.
    """
    options = UploadOptions(content_type=CONTENT_TYPE, if_not_exists=True)
    for _ in range(ATTEMPTS):
        try:
            return (await driver.put(path, content(), options)).etag
        except Exception as exc:
            if not is_a(exc, driver, AlreadyExistsError, PreconditionFailedError, NotFoundError):
                raise
        found = await head_or_none(driver, path)
        if found is not None and not is_placeholder(found):
            return None
        etag = found.etag if found is not None else None
        options = UploadOptions(content_type=CONTENT_TYPE, if_not_exists=etag is None, if_match=etag)
    raise PreconditionFailedError(f"other writers were faster {ATTEMPTS} times", path=path, retryable=True)


async def release(driver: Driver, path: str, etag: str) -> None:
    """Remove one's own placeholder, unless somebody was there already; where a service can not do that, it stays."""
    if not driver.capabilities.delete_if_match:
        return
    try:
        await driver.delete(path, if_match=etag)
    except Exception as exc:
        if not is_a(exc, driver, PreconditionFailedError, NotFoundError):
            raise
