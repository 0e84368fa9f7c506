"""Writing objects: one request for small ones, a resumable session for those that are sent in parts.

Google takes parts of a session one after the other, in multiples of 256 KiB, and wants to know with the last
one that it is the last. So the end of each part is held back and goes with the next one. Both kinds carry the
checksum of the whole object, which Google checks before the object is visible.

Source:
    https://cloud.google.com/storage/docs/performing-resumable-uploads
    https://cloud.google.com/storage/docs/data-validation
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from runtime.drivers._http import Request, ServiceError
from runtime.drivers.gcs.wire import CHECKSUM_FIELDS, FIELDS, resource_of
from runtime.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.driver import Bytes
    from runtime.drivers._http import HttpClient, Reply
    from runtime.models import UploadOptions

QUANTUM: Final = 256 * 1024
_INCOMPLETE: Final = 308
_GONE: Final = {200, 204, 404, 410, 499}  # 499: the service's answer to a session that was cancelled


async def upload_whole(
    http: HttpClient, url: str, query: dict[str, str], path: str, data: Bytes, options: UploadOptions
) -> dict[str, Any]:
    """Write one object with one request; gives its resource."""
    resource = resource_of(path, options)
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
        sent: Bytes that the service has.
        held: The end of what was given, not sent yet.
    """

    url: str = field(repr=False)
    query: str = field(repr=False)
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
        return cls(base, text)

    async def send(self, http: HttpClient, data: Sequence[Bytes]) -> None:
        """Send the next part but for its end."""
        body = (self.held, *data)
        total = sum(map(len, body))
        ready = total - (total % QUANTUM or QUANTUM)  # the last bytes of all go with their number
        if ready:
            await self._put(http, _until(body, ready))
        self.held = b"".join(_from(body, ready))

    async def finish(self, http: HttpClient, size: int, checksum: str | None) -> dict[str, Any]:
        """Send what was held back, with the checksum of everything; gives the object's resource.

        Args:
            http: The driver's client.
            size: Bytes of the whole.
            checksum: ``algorithm:base64``, or None.
        """
        algorithm, _, value = (checksum or "").partition(":")
        told = {"x-goog-hash": f"{algorithm}={value}"} if algorithm in CHECKSUM_FIELDS else {}
        reply = await self._put(http, (self.held,), str(size), told)
        if reply.status == _INCOMPLETE:
            raise ServiceError(reply.status, "uploadIncomplete", kind=StorageUnavailableError)
        return _resource(reply)

    async def cancel(self, http: HttpClient) -> None:
        """Throw the session and what it holds away."""
        await http.read(self._request("DELETE", {}, ()), _GONE)

    async def _put(
        self, http: HttpClient, body: tuple[Bytes, ...], total: str = "*", told: Mapping[str, str] | None = None
    ) -> Reply:
        """Send bytes until the service has them all; it may keep only a part of them and says how much."""
        first = self.sent
        end = first + sum(map(len, body))
        while True:
            headers = {"content-range": f"bytes {self.sent}-{end - 1}/{total}", **(told or {})}
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


def _until(body: tuple[Bytes, ...], end: int) -> tuple[Bytes, ...]:
    """The first *end* bytes of *body*."""
    some: list[Bytes] = []
    for buffer in body:
        if end > 0:
            some.append(memoryview(buffer)[:end] if end < len(buffer) else buffer)
        end -= len(buffer)
    return tuple(some)


def _resource(reply: Reply) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads(reply.body)
    return resource
