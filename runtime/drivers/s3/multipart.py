"""Multipart uploads: parts are sent, then one request makes the whole object visible.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import anyio

from runtime.drivers import _xml
from runtime.drivers.s3 import checksum as s3_checksum
from runtime.drivers.s3.errors import ServiceError, error_fields
from runtime.drivers.s3.headers import condition_headers, info_from_headers, write_headers, written
from runtime.errors import PreconditionFailedError
from runtime.multipart import CLEAN_UP_SECONDS, LINGER_SECONDS, START_SECONDS, note_on, to_the_end

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from runtime.driver import Bytes
    from runtime.drivers._wire.answer import Answer
    from runtime.drivers.s3.requests import Requests
    from runtime.models import FileInfo, UploadOptions

MIB: Final = 1024 * 1024
COPY_PART: Final = 512 * MIB
COPIES_AT_ONCE: Final = 8
_SETTLE_SECONDS: Final = 2.0
_ATTRIBUTES: Final[tuple[str, ...]] = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
)


def field(answer: Answer, name: str) -> str:
    """The text of an element of the answer.

    Raises:
        ServiceError: The answer is an error although its status says 200, or it has no such element.
    """
    code, message, request_id = error_fields(answer.body)
    if code:
        raise ServiceError(answer.status, code, message, request_id=request_id)
    text: Any = _xml.parse(answer.body).findtext(f"{{*}}{name}")
    if not text:
        raise ServiceError(answer.status, "MalformedAnswer", f"the answer has no {name}")
    return str(text)


def _part(number: int, token: str) -> str:
    etag, _, checksum = token.partition(" ")
    told = s3_checksum.element(checksum) if checksum else ""
    return f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{_xml.escape(etag)}&quot;</ETag>{told}</Part>"


async def _settled(sending: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer to a part. When the caller is cancelled, the part may arrive first, for a short while.

    A part that arrives after its upload was aborted stays in the bucket: on AWS, it says, and on versitygw (run). One
    that was sent is answered soon; one that is still being sent is cut off, and less than its length is no part.

    Source:
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
    """
    task = asyncio.ensure_future(sending)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with anyio.move_on_after(_SETTLE_SECONDS, shield=True):
            await asyncio.wait({task})
        raise
    finally:
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            task.exception()  # nobody asks any more


class Multipart:
    """The multipart calls of one bucket.

    Args:
        requests: What sends them.
        encryption: Headers that ask for encryption, on the call that begins an upload.
        checksum: The algorithm of the checksum that every upload has; None for none.
        tags: Whether the service has object tags.

    Attributes:
        copy_part: Bytes of one part of a copy.
    """

    def __init__(self, requests: Requests, encryption: Mapping[str, str], checksum: str | None, *, tags: bool) -> None:
        self._requests = requests
        self._has_tags = tags
        self.copy_part = COPY_PART
        self._encryption = encryption
        self._checksum = frozenset() if checksum is None else frozenset({checksum})
        self._announced = s3_checksum.announced(checksum)

    async def start(self, path: str, options: UploadOptions) -> str:
        """Begin an upload and give its id."""
        return await self._begin(path, {**write_headers(options), **self._encryption, **self._announced})

    async def _begin(self, path: str, headers: Mapping[str, str]) -> str:
        return field(await self._requests.send("POST", path, query=[("uploads", "")], headers=headers), "UploadId")

    async def put(self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None) -> str:
        """Send one part and give its etag, with its checksum behind a space where it has one."""
        query = [("partNumber", str(number)), ("uploadId", upload_id)]
        headers = s3_checksum.sent(checksum, self._checksum)
        answer = await _settled(self._requests.send("PUT", path, query=query, headers=headers, body=data))
        etag = answer.headers["etag"].strip('"')
        return f"{etag} {checksum}" if headers else etag

    async def complete(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        """Make the object visible when the conditions in *options* hold."""
        whole = s3_checksum.sent(options.checksum, self._checksum)
        if whole:
            whole["x-amz-checksum-type"] = "FULL_OBJECT"
        try:
            etag, version = await self._complete(path, upload_id, parts, {**condition_headers(options), **whole})
        except ServiceError as exc:
            # The answer to an earlier attempt was lost; when that one worked, the upload is gone and the object here.
            if exc.attempt == 1 or not (exc.status == 404 or exc.kind is PreconditionFailedError):  # noqa: PLR2004 - HTTP's number
                raise
            found = info_from_headers(path, (await self._requests.send("HEAD", path)).headers)
            if found.size != size or not (found.etag or "").endswith(f"-{len(parts)}"):
                raise
            etag, version = found.etag, found.version
        return written(path, size, options, etag, version, kept=bool(whole))

    async def _complete(
        self, path: str, upload_id: str, parts: Sequence[str], headers: Mapping[str, str]
    ) -> tuple[str | None, str | None]:
        listed = "".join(_part(number, token) for number, token in enumerate(parts, start=1))
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</CompleteMultipartUpload>'
        answer = await self._requests.send(
            "POST",
            path,
            query=[("uploadId", upload_id)],
            headers={"content-type": "application/xml", **headers},
            body=(body.encode(),),
        )
        return field(answer, "ETag"), answer.headers.get("x-amz-version-id")

    async def abort(self, path: str, upload_id: str) -> None:
        """Throw the parts away."""
        try:
            await self._requests.send("DELETE", path, query=[("uploadId", upload_id)])
        except ServiceError as exc:
            if exc.code != "NoSuchUpload":
                raise

    async def copy(self, source: str, copy_source: str, destination: str, conditions: UploadOptions) -> None:
        """Copy an object part by part, with its attributes and tags: a large one, or one on conditions.

        The commit of an upload in parts takes conditions on every server that has conditions; CopyObject has them on
        AWS only, under other names on R2, and elsewhere they are dropped.

        Args:
            source: Path to copy.
            copy_source: The same as the header ``x-amz-copy-source`` names it.
            destination: Path to write.
            conditions: What has to be true of what is there.
        """
        head = (await self._requests.send("HEAD", source)).headers
        headers: dict[str, str] = {name: head[name] for name in _ATTRIBUTES if name in head}
        headers |= {name: value for name, value in head.items() if name.startswith("x-amz-meta-")}
        if self._has_tags and (tags := await self._tags(source)):  # HEAD need not tell their count
            headers["x-amz-tagging"] = tags
        size = int(head["content-length"])
        if size == 0:  # there is no part of nothing
            headers |= {**self._encryption, **condition_headers(conditions)}
            await self._requests.send("PUT", destination, headers=headers)
            return
        begun: list[str] = []

        async def begin() -> None:
            begun.append(await self._begin(destination, {**headers, **self._encryption}))

        try:
            await to_the_end(begin, START_SECONDS)
            parts = await self._copied(copy_source, destination, begun[0], size, head["etag"])
            await self._complete(destination, begun[0], parts, condition_headers(conditions))
        except BaseException as exc:
            if begun:
                note = note_on(exc, f"parts of the unfinished copy to {destination!r} may be left in the bucket")
                await to_the_end(lambda: self._give_up(destination, begun[0]), CLEAN_UP_SECONDS, note)
            if isinstance(exc, BaseExceptionGroup):  # the others were cancelled because of the first
                raise exc.exceptions[0] from exc
            raise

    async def _copied(self, copy_source: str, destination: str, upload_id: str, size: int, etag: str) -> list[str]:
        """Copy all parts, and give their etags."""
        limit = asyncio.Semaphore(COPIES_AT_ONCE)

        async def part(number: int, start: int) -> str:
            async with limit:
                answer = await self._requests.send(
                    "PUT",
                    destination,
                    query=[("partNumber", str(number)), ("uploadId", upload_id)],
                    headers={
                        "x-amz-copy-source": copy_source,
                        "x-amz-copy-source-if-match": etag,
                        "x-amz-copy-source-range": f"bytes={start}-{min(start + self.copy_part, size) - 1}",
                    },
                )
                return field(answer, "ETag").strip('"')

        async with asyncio.TaskGroup() as group:
            starts = enumerate(range(0, size, self.copy_part), start=1)
            tasks = [group.create_task(part(number, start)) for number, start in starts]
        return [task.result() for task in tasks]

    async def _give_up(self, path: str, upload_id: str) -> None:
        """Abort, and once more what a late part may have brought back."""
        await self.abort(path, upload_id)
        await asyncio.sleep(LINGER_SECONDS)
        await self.abort(path, upload_id)

    async def _tags(self, path: str) -> str:
        answer = await self._requests.send("GET", path, query=[("tagging", "")])
        pairs = [
            (tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "")
            for tag in _xml.parse(answer.body).iter("{*}Tag")
        ]
        return urlencode(pairs)
