"""How objects look on Google's wire: the JSON resource, the XML API's headers, lists.

An etag here is the object's generation: it changes with every write, is the same in both APIs and in lists,
and is what Google checks atomically. (The HTTP ETag is another value in each of the two APIs.)

Source:
    https://cloud.google.com/storage/docs/json_api/v1/objects
    https://cloud.google.com/storage/docs/xml-api/reference-headers
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from runtime.drivers._dates import http_date
from runtime.drivers._http import ServiceError
from runtime.models import FileInfo, ObjectPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.models import UploadOptions

FIELDS: Final = (
    "name,size,contentType,updated,timeCreated,generation,metadata,cacheControl,contentDisposition,"
    "contentEncoding,md5Hash,crc32c"
)
"""What a `FileInfo` is made of; the service leaves the rest out of its answers."""

_META: Final = "x-goog-meta-"
_DEFAULT_TYPE: Final = "application/octet-stream"
_SERVED_BY_DEFAULT: Final = frozenset({"private, max-age=0", "public, max-age=3600"})
CHECKSUM_FIELDS: Final = {"md5": "md5Hash", "crc32c": "crc32c"}
"""Where an object's resource has its checksum, by algorithm."""


def resource_of(path: str, options: UploadOptions) -> dict[str, Any]:
    """What an upload says of its object."""
    resource: dict[str, Any] = {"name": path, "contentType": options.content_type or _DEFAULT_TYPE}
    if options.metadata:
        resource["metadata"] = dict(options.metadata)
    if options.cache_control is not None:
        resource["cacheControl"] = options.cache_control
    if options.content_disposition is not None:
        resource["contentDisposition"] = options.content_disposition
    if options.content_encoding is not None:
        resource["contentEncoding"] = options.content_encoding
    if options.storage_class is not None:
        resource["storageClass"] = options.storage_class
    if options.checksum is not None:
        algorithm, _, value = options.checksum.partition(":")
        if algorithm in CHECKSUM_FIELDS:
            resource[CHECKSUM_FIELDS[algorithm]] = value
    return resource


def generation_of(etag: str) -> str:
    """The generation that *etag* stands for; an etag that is none can not be any object's."""
    if not etag.isdecimal() or not etag.isascii():
        raise ServiceError(412, "conditionNotMet")
    return etag


def info_of(resource: Mapping[str, Any]) -> FileInfo:
    """What the JSON API says of an object."""
    generation = resource["generation"]
    created = resource.get("timeCreated")
    return FileInfo(
        path=resource["name"],
        size=int(resource["size"]),
        content_type=resource.get("contentType") or _DEFAULT_TYPE,
        last_modified=datetime.fromisoformat(resource["updated"]).astimezone(UTC),
        created_at=datetime.fromisoformat(created).astimezone(UTC) if created else None,
        etag=generation,
        metadata=resource.get("metadata") or {},
        cache_control=resource.get("cacheControl"),
        content_disposition=resource.get("contentDisposition"),
        content_encoding=resource.get("contentEncoding"),
        version=generation,
        checksum=_checksum(resource.get("md5Hash"), resource.get("crc32c")),
    )


def info_of_headers(path: str, headers: Mapping[str, str]) -> FileInfo:
    """What the XML API's headers say of an object that is being read; the size is that of the whole object."""
    size = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "0")
    cache_control = headers.get("cache-control")
    generation = headers["x-goog-generation"]
    return FileInfo(
        path=path,
        size=int(size),
        content_type=headers.get("content-type", _DEFAULT_TYPE),
        last_modified=http_date(headers["last-modified"]),
        etag=generation,
        metadata={
            name[len(_META) :].lower(): value for name, value in headers.items() if name.lower().startswith(_META)
        },
        # objects without one are served with a default, which is not the object's own
        cache_control=None if cache_control in _SERVED_BY_DEFAULT else cache_control,
        content_disposition=headers.get("content-disposition"),
        content_encoding=headers.get("content-encoding"),
        version=generation,
        checksum=checksum_of_headers(headers),
    )


def checksum_of_headers(headers: Mapping[str, str]) -> str | None:
    """The checksum of the whole object that the XML API's headers tell."""
    sums = dict(part.strip().partition("=")[::2] for part in headers.get("x-goog-hash", "").split(","))
    return _checksum(sums.get("md5"), sums.get("crc32c"))


def page_of(body: bytes, start_after: str) -> ObjectPage:
    """One page of a list; ``startOffset`` includes its name, *start_after* does not."""
    answer = json.loads(body)
    return ObjectPage(
        tuple(info_of(item) for item in answer.get("items", ()) if item["name"] > start_after),
        tuple(name for name in answer.get("prefixes", ()) if name > start_after),
        answer.get("nextPageToken") or None,
    )


def _checksum(md5: str | None, crc32c: str | None) -> str | None:
    if crc32c:  # fifteen times as fast as the other, and objects that were composed have only this one
        return f"crc32c:{crc32c}"
    return f"md5:{md5}" if md5 else None
