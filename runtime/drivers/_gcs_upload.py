"""Writing objects: one request for small ones, a resumable session for those that are sent in parts.

Google takes parts of a session one after the other, in multiples of 256 KiB, and wants to know with the last
one that it is the last. So the end of each part is held back and goes with the next one. Both kinds carry the
CRC32C of the whole object, which Google checks before the object is visible.

Source:
    https://cloud.google.com/storage/docs/performing-resumable-uploads
    https://cloud.google.com/storage/docs/data-validation
"""

from __future__ import annotations

import asyncio
import json
import secrets
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import md5
from typing import TYPE_CHECKING, Any, Final

import google_crc32c

from runtime.drivers._gcs_wire import FIELDS, resource_of
from runtime.drivers._http import Request, ServiceError
from runtime.errors import ChecksumMismatchError, StorageUnavailableError

if TYPE_CHECKING:
    from runtime.driver import Bytes
    from runtime.drivers._http import HttpClient, Reply
    from runtime.models import UploadOptions

QUANTUM: Final = 256 * 1024
_INCOMPLETE: Final = 308
_GONE: Final = {200, 204, 404, 410, 499}  # 499: the service's answer to a session that was cancelled
_THREADED: Final = 1024 * 1024  # hashing more than this is done in a thread


class Sums:
    """Checksums of an object while it passes by."""

    def __init__(self, announced: str | None) -> None:
        self._announced = announced
        self._crc = google_crc32c.Checksum()
        self._md5 = md5(usedforsecurity=False) if (announced or "").startswith("md5:") else None

    async def add(self, data: Bytes) -> None:
        """The next bytes."""
        if len(data) > _THREADED:
            await asyncio.to_thread(self._add, data)
        else:
            self._add(data)

    def _add(self, data: Bytes) -> None:
        self._crc.update(data if isinstance(data, bytes) else bytes(data))
        if self._md5 is not None:
            self._md5.update(data)

    @property
    def crc32c(self) -> str:
        """CRC32C as Google writes it."""
        return b64encode(self._crc.digest()).decode()

    def check(self) -> None:
        """Refuse bytes that are not the ones that were announced."""
        found = f"crc32c:{self.crc32c}"
        if self._md5 is not None:
            found = f"md5:{b64encode(self._md5.digest()).decode()}"
        if self._announced is not None and self._announced != found:
            raise ServiceError(400, "checksumMismatch", kind=ChecksumMismatchError)


async def upload_whole(
    http: HttpClient, url: str, query: dict[str, str], path: str, data: Bytes, options: UploadOptions
) -> dict[str, Any]:
    """Write one object with one request; gives its resource."""
    sums = Sums(options.checksum)
    await sums.add(data)
    sums.check()
    resource = {**resource_of(path, options), "crc32c": sums.crc32c}
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n{json.dumps(resource)}\r\n"
        f"--{boundary}\r\ncontent-type: {resource['contentType']}\r\n\r\n"
    )
    request = Request(
        "POST",
        url,
        {"uploadType": "multipart", "fields": FIELDS, **query},
        {"content-type": f"multipart/related; boundary={boundary}"},
        (head.encode(), data, f"\r\n--{boundary}--".encode()),
        repeatable="ifGenerationMatch" not in query,
    )
    return _resource(await http.read(request))


@dataclass(slots=True)
class Session:
    """One resumable upload.

    Attributes:
        url: Address of the session; whoever knows it can write to it, so it is in no repr.
        query: Its query, as text.
        sums: Checksums so far.
        sent: Bytes that the service has.
        held: The end of what was given, not sent yet.
    """

    url: str = field(repr=False)
    query: str = field(repr=False)
    sums: Sums = field(repr=False)
    sent: int = 0
    held: bytes = field(default=b"", repr=False)

    @classmethod
    async def start(
        cls, http: HttpClient, url: str, query: dict[str, str], path: str, options: UploadOptions
    ) -> Session:
        """Open a session."""
        resource = resource_of(path, options)
        request = Request(
            "POST",
            url,
            {"uploadType": "resumable", "name": path, "fields": FIELDS, **query},
            {"content-type": "application/json; charset=utf-8", "x-upload-content-type": resource["contentType"]},
            (json.dumps(resource).encode(),),
        )
        reply = await http.read(request, {200, 201})
        base, _, text = reply.headers["location"].partition("?")
        return cls(base, text, Sums(options.checksum))

    async def send(self, http: HttpClient, data: Bytes) -> None:
        """Send the next part but for its end."""
        await self.sums.add(data)
        total = len(self.held) + len(data)
        rest = total % QUANTUM or QUANTUM
        cut = len(data) - rest
        if cut <= 0:
            self.held += bytes(data)
            return
        view = memoryview(data)
        await self._put(http, (self.held, view[:cut]), "*")
        self.held = bytes(view[cut:])

    async def finish(self, http: HttpClient, size: int) -> dict[str, Any]:
        """Send what was held back, with the checksum of everything; gives the object's resource."""
        self.sums.check()
        reply = await self._put(http, (self.held,), str(size))
        if reply.status == _INCOMPLETE:
            raise ServiceError(reply.status, "uploadIncomplete", kind=StorageUnavailableError)
        return _resource(reply)

    async def cancel(self, http: HttpClient) -> None:
        """Throw the session and what it holds away."""
        await http.read(self._request("DELETE", {}, ()), _GONE)

    async def _put(self, http: HttpClient, body: tuple[Bytes, ...], total: str) -> Reply:
        """Send bytes until the service has them all; it may keep only a part of them and says how much."""
        first = self.sent
        end = first + sum(map(len, body))
        while True:
            headers = {"content-range": f"bytes {self.sent}-{end - 1}/{total}"}
            if total != "*":
                headers["x-goog-hash"] = f"crc32c={self.sums.crc32c}"
            request = self._request("PUT", headers, _from(body, self.sent - first))
            reply = await http.read(request, {200, 201, _INCOMPLETE})
            kept = _persisted(reply) if reply.status == _INCOMPLETE else end
            if kept >= end:
                self.sent = end
                return reply
            if kept <= self.sent:
                raise ServiceError(reply.status, "uploadStalled", kind=StorageUnavailableError)
            self.sent = kept

    def _request(self, method: str, headers: dict[str, str], body: tuple[Bytes, ...]) -> Request:
        # may be repeated: the service ignores bytes that it has already, and a finished session answers again
        return Request(method, self.url, {}, headers, body, self.query)


def _persisted(reply: Reply) -> int:
    """Bytes that the service has, by ``Range: bytes=0-1048575``; without the header it has none."""
    last = reply.headers.get("range", "").rpartition("-")[2]
    return int(last) + 1 if last else 0


def _from(body: tuple[Bytes, ...], offset: int) -> tuple[Bytes, ...]:
    """*body* without its first *offset* bytes."""
    rest: list[Bytes] = []
    for buffer in body:
        if offset < len(buffer):
            rest.append(memoryview(buffer)[offset:] if offset else buffer)
        offset = max(offset - len(buffer), 0)
    return tuple(rest)


def _resource(reply: Reply) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads(reply.body)
    return resource
