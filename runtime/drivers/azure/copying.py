"""Copying a blob inside its container, with everything that belongs to it.

Copy Blob takes content, headers and metadata over by itself; the tier and the tags only when they are sent again.

Source:
    https://learn.microsoft.com/rest/api/storageservices/copy-blob
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from runtime.drivers._dates import http_date
from runtime.drivers._http import Request, ServiceError
from runtime.drivers.azure import wire
from runtime.errors import StorageUnavailableError
from runtime.multipart import CLEAN_UP_SECONDS, note_on, to_the_end

if TYPE_CHECKING:
    from runtime.drivers._http import HttpClient, Reply
    from runtime.models import FileInfo, UploadOptions

_POLL_SECONDS: Final = 0.5


async def copy_blob(
    http: HttpClient, source: str, readable_source: str, target: str, path: str, conditions: UploadOptions
) -> FileInfo:
    """Copy the blob at *source* to *target*.

    Args:
        http: The driver's client.
        source: URL of the source.
        readable_source: The same as the service may read it: with a shared access signature, where that is used.
        target: URL of the destination.
        path: Path of the destination.
        conditions: What has to be true of it.
    """
    found = await http.read(Request("HEAD", source))
    headers = {"x-ms-copy-source": readable_source, "x-ms-source-if-match": found.headers["etag"]}
    headers |= wire.condition_headers(conditions)
    tier = found.headers.get("x-ms-access-tier")
    if tier and found.headers.get("x-ms-access-tier-inferred") != "true":
        headers["x-ms-access-tier"] = tier
    if int(found.headers.get("x-ms-tag-count", "0")):
        tags = await http.read(Request("GET", source, {"comp": "tags"}))
        headers["x-ms-tags"] = wire.tags_header(tags.body)
    repeatable = not (conditions.if_not_exists or conditions.if_match)
    reply = await http.read(Request("PUT", target, headers=headers, repeatable=repeatable), {202})
    done = await _finished(http, target, path, reply)
    return replace(
        wire.info_of(path, found.headers),
        etag=done.headers["etag"].strip('"'),
        last_modified=http_date(done.headers["last-modified"]),
        created_at=None,
        version=done.headers.get("x-ms-version-id"),
    )


async def _finished(http: HttpClient, target: str, path: str, reply: Reply) -> Reply:
    """Wait until the service has copied; a copy that nobody waits for any more is stopped."""
    copy_id = reply.headers.get("x-ms-copy-id", "")
    try:
        while reply.headers.get("x-ms-copy-status") == "pending":
            await asyncio.sleep(_POLL_SECONDS)
            reply = await http.read(Request("HEAD", target))
    except asyncio.CancelledError as exc:
        stop = Request("PUT", target, {"comp": "copy", "copyid": copy_id}, {"x-ms-copy-action": "abort"})

        async def abort() -> None:
            await http.read(stop, {204, 404, 409})

        await to_the_end(abort, CLEAN_UP_SECONDS, note_on(exc, f"the copy to {path!r} may go on"))
        raise
    if reply.headers.get("x-ms-copy-status") != "success":
        raise ServiceError(reply.status, "CopyFailed", kind=StorageUnavailableError)
    return reply
