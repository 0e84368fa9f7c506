"""Multipart uploads that were never finished, as S3 tells of them.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from runtime.drivers import _xml
from runtime.drivers.s3.errors import ServiceError
from runtime.models import UnfinishedUpload

if TYPE_CHECKING:
    from runtime.drivers.s3.requests import Requests


async def unfinished(requests: Requests, prefix: str) -> list[UnfinishedUpload]:
    """Every upload below *prefix* that was begun and neither completed nor aborted."""
    found: list[UnfinishedUpload] = []
    marker: list[tuple[str, str]] = []
    while True:
        query = [("encoding-type", "url"), *marker, ("prefix", prefix), ("uploads", "")]
        body = (await requests.send("GET", query=query)).body
        uploads, marker = parse(body, prefix)
        found += uploads
        if not marker:
            return found


def parse(body: bytes, prefix: str) -> tuple[list[UnfinishedUpload], list[tuple[str, str]]]:
    """One page: the uploads below *prefix*, and the query of the next page; empty on the last one.

    Some servers (moto) do not heed the prefix, so it is compared here once more.
    """
    try:
        root = _xml.parse(body)
    except _xml.MalformedError as exc:
        raise ServiceError(None, "MalformedListing", f"the page can not be parsed: {exc}") from exc
    if _xml.local_name(root) != "ListMultipartUploadsResult":
        raise ServiceError(None, "MalformedListing", "the answer is no list of uploads")
    encoded = root.findtext("{*}EncodingType") == "url"
    uploads = [_upload(element, encoded=encoded) for element in root.iterchildren("{*}Upload")]
    more = root.findtext("{*}IsTruncated") == "true"
    key, upload_id = root.findtext("{*}NextKeyMarker") or "", root.findtext("{*}NextUploadIdMarker") or ""
    marker = [("key-marker", unquote_plus(key) if encoded else key), ("upload-id-marker", upload_id)]
    return [upload for upload in uploads if upload.path.startswith(prefix)], marker if more and key else []


def _upload(element: Any, *, encoded: bool) -> UnfinishedUpload:
    path, upload_id = element.findtext("{*}Key"), element.findtext("{*}UploadId")
    started = element.findtext("{*}Initiated")
    if not path or not upload_id or not started:
        raise ServiceError(None, "MalformedListing", "an upload has no name, id or time")
    moment = datetime.fromisoformat(started)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return UnfinishedUpload(unquote_plus(path) if encoded else path, upload_id, aware)
