"""DeleteObjects: up to 1,000 objects in one request, with an answer for each that could not be deleted.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Final

from runtime.driver import DeleteFailure
from runtime.drivers import _xml
from runtime.drivers.s3.errors import ServiceError, error_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.drivers.s3.requests import Requests

_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def writable(path: str) -> bool:
    """Whether XML 1.0 can carry the name; the others are deleted one by one."""
    return _UNWRITABLE.search(path) is None


async def delete_many(requests: Requests, paths: Sequence[str]) -> list[DeleteFailure]:
    """Delete *paths*, all of them `writable`, in one request.

    Raises:
        ServiceError: The request as a whole was refused.
    """
    objects = "".join(f"<Object><Key>{_xml.escape(path)}</Key></Object>" for path in paths)
    body = f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>{objects}</Delete>'.encode()
    # AWS wants this or a newer checksum, most compatible servers know only this one; it is no security measure
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    headers = {"content-md5": b64encode(digest).decode(), "content-type": "application/xml"}
    answer = await requests.send("POST", query=[("delete", "")], headers=headers, body=(body,))
    code, message, request_id = error_fields(answer.body)
    if code:
        raise ServiceError(answer.status, code, message, request_id=request_id)
    if not answer.body:
        return []
    return [
        DeleteFailure(
            error.findtext("{*}Key") or "",
            ServiceError(None, error.findtext("{*}Code") or "", error.findtext("{*}Message") or ""),
        )
        for error in _xml.parse(answer.body).iterchildren("{*}Error")
    ]
