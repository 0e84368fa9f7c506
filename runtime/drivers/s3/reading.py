"""How an object is asked for and read: one request, resumed where its connection breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.driver import ByteRange
from runtime.drivers._wire.reading import Trimmed, WireReader
from runtime.drivers.s3.errors import ServiceError
from runtime.drivers.s3.headers import info_from_headers
from runtime.errors import PreconditionFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.driver import ObjectReader
    from runtime.drivers._wire.answer import Answer
    from runtime.drivers.s3.requests import Requests

_PARTIAL = 206


def range_header(wanted: ByteRange) -> str:
    """A range as HTTP writes it: both ends are inside."""
    return f"bytes={wanted.start}-{'' if wanted.end is None else wanted.end - 1}"


async def open_object(requests: Requests, path: str, wanted: ByteRange | None, asks: Mapping[str, str]) -> ObjectReader:
    """Begin to read an object, or the part of it that is *wanted*.

    Args:
        requests: What sends requests.
        path: Which object.
        wanted: What of it; None for all.
        asks: Headers that ask for its checksum.
    """
    headers = asks if wanted is None else {**asks, "range": range_header(wanted)}
    answer = await requests.begin("GET", path, headers=headers)
    try:
        info = info_from_headers(path, answer.headers)
    except BaseException:
        answer.close()
        raise
    partial = answer.status == _PARTIAL
    begin, end = wanted if wanted is not None and partial else ByteRange(0)

    async def rest(done: int) -> Answer:
        start = begin + done
        conditions = {"range": range_header(ByteRange(start, end))}
        if info.etag is not None:
            conditions["if-match"] = answer.headers["etag"]
        again = await requests.begin("GET", path, headers=conditions)
        told = again.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
        if again.headers.get("etag") != answer.headers.get("etag"):
            again.close()
            raise ServiceError(
                None, "PreconditionFailed", "it was replaced while it was read", kind=PreconditionFailedError
            )
        if (again.status != _PARTIAL or told != str(start)) and start:
            again.close()
            raise ServiceError(again.status, "InvalidRange", "the server can not resume")
        return again

    reader = WireReader(info, answer, rest)
    return reader if wanted is None or partial else Trimmed(reader, wanted)


def trimmed(answer: Answer, wanted: ByteRange | None) -> bytes:
    """The bytes of a whole answer, cut to what was *wanted* where the server sent all of the object."""
    if wanted is None or answer.status == _PARTIAL:
        return answer.body
    return answer.body[wanted.start : wanted.end]
