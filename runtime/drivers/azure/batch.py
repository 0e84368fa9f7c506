"""Deleting up to 256 blobs with one request.

Source:
    https://learn.microsoft.com/rest/api/storageservices/blob-batch
"""

from __future__ import annotations

from email.parser import BytesParser
from typing import TYPE_CHECKING, Final

from runtime.drivers._http import ServiceError
from runtime.drivers.azure.errors import read_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.drivers._http import Request

MAX_REQUESTS: Final = 256
BOUNDARY: Final = "batch_tandem"


def body_of(requests: Sequence[Request]) -> bytes:
    """Authorised requests as the parts of one body, numbered by their place."""
    lines: list[str] = []
    for number, request in enumerate(requests):
        lines += [
            f"--{BOUNDARY}",
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            f"Content-ID: {number}",
            "",
            f"{request.method} {request.target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in request.headers.items()),
            "Content-Length: 0",
            "",
            "",
        ]
    lines += [f"--{BOUNDARY}--", ""]
    return "\r\n".join(lines).encode()


def refusals_of(content_type: str, body: bytes, count: int) -> dict[int, ServiceError]:
    """What was refused, by the place of the request; an answer that leaves one out counts as refused.

    Raises:
        ServiceError: the batch as a whole was refused.
    """
    answers: dict[int, ServiceError | None] = {}
    message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = message.get_payload() if message.is_multipart() else []
    for part in parts:
        if isinstance(part, str):
            continue
        status, headers, text = _answer(part.get_payload(decode=True))
        number = part.get("Content-ID")
        error = None if status < 300 else read_error(status, headers, text)  # noqa: PLR2004 - the success statuses
        if number is None:  # the service answers so when it refuses all of them
            raise error or ServiceError(status)
        answers[int(number)] = error
    lost = ServiceError(500, "NoAnswerInBatch")
    return {n: error for n in range(count) if (error := answers.get(n, lost)) is not None}


def _answer(payload: object) -> tuple[int, Mapping[str, str], bytes]:
    text = payload if isinstance(payload, bytes) else b""
    line, _, rest = text.partition(b"\r\n")
    headers = BytesParser().parsebytes(rest)
    status = line.split(b" ")[1] if b" " in line else b"500"
    return int(status), dict(headers.items()), rest
