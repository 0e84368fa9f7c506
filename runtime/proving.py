"""Proof that a backend works: one object written, described, listed, read, fetched by URL and deleted.

`tandem up --prove` runs it on every backend that it has just provisioned; `tandem doctor --write` on any.
"""

from __future__ import annotations

import secrets
import urllib.request
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING

import anyio.to_thread

from runtime.errors import StorageError
from runtime.grants import ungranted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runtime.store import BlobStore

CONTENT_TYPE = "text/plain; charset=utf-8"
FETCH_TIMEOUT_SECONDS = 10.0
SIGNED_FOR = timedelta(minutes=1)
"""Short, as a config may say how long signatures live at most."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One step on one backend.

    Attributes:
        backend: Name of the backend.
        step: ``write``, ``info``, ``list``, ``read``, ``url`` or ``delete``.
        ok: Whether the step did what it promises.
        detail: What was seen, or what went wrong.
        duration_ms: How long it took, in milliseconds.
        tried: Whether it was done at all; not where the grant is known not to allow it.
    """

    backend: str
    step: str
    ok: bool
    detail: str
    duration_ms: float
    tried: bool = True


async def prove(store: BlobStore) -> AsyncIterator[Proof]:
    """Write, describe, list, read, fetch and delete one small object of a fresh name.

    A step that fails is reported and ends the proof; the object is deleted in any case. Where the contract's grant is
    known not to allow one of them nothing is tried, as the object would stay.

    Args:
        store: An opened backend.

    Yields:
        One `Proof` per step, as it is done.
    """
    if lacking := ungranted(store, "upload", "info", "list", "download", "delete"):
        detail = f"not tried: its grant does not allow {lacking}"
        yield Proof(store.name, "write", ok=True, detail=detail, duration_ms=0.0, tried=False)
        return
    path = f"tandem-proof/{secrets.token_hex(8)}.txt"
    content = secrets.token_hex(64).encode()
    steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("write", lambda: _write(store, path, content)),
        ("info", lambda: _info(store, path, content)),
        ("list", lambda: _list(store, path)),
        ("read", lambda: _read(store, path, content)),
    ]
    if "GET" in store.capabilities.presign and not ungranted(store, "presign"):
        steps.append(("url", lambda: _fetch(store, path, content)))
    for name, step in steps:
        proof = await _proof(store.name, name, step)
        yield proof
        if not proof.ok:
            break
    yield await _proof(store.name, "delete", lambda: _delete(store, path))


async def _proof(backend: str, name: str, step: Callable[[], Awaitable[str]]) -> Proof:
    start = perf_counter()
    try:
        detail, ok = await step(), True
    except (StorageError, OSError, _DisprovedError) as exc:
        detail, ok = f"{type(exc).__name__}: {exc}", False
    return Proof(backend, name, ok, detail, (perf_counter() - start) * 1000)


class _DisprovedError(Exception):
    """A step gave an answer, and it is wrong."""


async def _write(store: BlobStore, path: str, content: bytes) -> str:
    info = await store.upload(path, content, content_type=CONTENT_TYPE)
    return f"{info.size} bytes"


async def _info(store: BlobStore, path: str, content: bytes) -> str:
    info = await store.info(path)
    if (info.size, info.content_type) != (len(content), CONTENT_TYPE):
        raise _DisprovedError(f"wrote {len(content)} bytes of {CONTENT_TYPE}, found {info.size} of {info.content_type}")
    return info.content_type


async def _list(store: BlobStore, path: str) -> str:
    found = [info.path async for info in store.list(path)]
    if found != [path]:
        raise _DisprovedError(f"expected exactly {path}, found {len(found)} objects")
    return f"{len(found)} object"


async def _read(store: BlobStore, path: str, content: bytes) -> str:
    if await store.download(path) != content:
        raise _DisprovedError("the bytes read are not the bytes written")
    return f"{len(content)} bytes, equal"


async def _fetch(store: BlobStore, path: str, content: bytes) -> str:
    url = await store.get_presigned_url(path, SIGNED_FOR)
    if await anyio.to_thread.run_sync(_http_get, url) != content:
        raise _DisprovedError("the presigned URL gives other bytes")
    return "presigned GET by plain HTTP, equal"


def _http_get(url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise _DisprovedError("the presigned URL is not an HTTP URL")
    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_SECONDS) as response:  # noqa: S310 - checked above
        body: bytes = response.read()
        return body


async def _delete(store: BlobStore, path: str) -> str:
    await store.delete(path)
    if await store.exists(path):
        raise _DisprovedError("the object is still there after its delete")
    return "gone"
