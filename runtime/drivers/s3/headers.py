"""Attributes of an object, as `UploadOptions`, as headers, and back as `FileInfo`.

Metadata values that signing would fold (two spaces) or that look encoded already are sent as RFC 2047 words, and
such words are decoded when read: S3 encodes other writers' Unicode so, and R2 decodes and encodes it itself.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
    https://developers.cloudflare.com/r2/api/s3/extensions/
"""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from runtime.drivers._dates import http_date
from runtime.drivers.s3.checksum import told
from runtime.models import made_info

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.config import EncryptionConfig
    from runtime.models import FileInfo, UploadOptions

META: Final = "x-amz-meta-"
DEFAULT_TYPE: Final = "application/octet-stream"

_WORD_BYTES: Final = 45  # 60 base64 characters: an encoded word has at most 75


def encryption_headers(encryption: EncryptionConfig) -> dict[str, str]:
    """What asks for the configured encryption; nothing when it is left to the bucket's default."""
    if not encryption.enabled:
        return {}
    if encryption.type == "AES256":
        return {"x-amz-server-side-encryption": "AES256"}
    headers = {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-bucket-key-enabled": "true"}
    if encryption.kms_key_id:
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = encryption.kms_key_id
    return headers


def write_headers(options: UploadOptions) -> dict[str, str]:
    """Headers that give a new object its attributes, without conditions, checksum and encryption."""
    headers = {"content-type": options.content_type or DEFAULT_TYPE}
    if options.cache_control is not None:
        headers["cache-control"] = options.cache_control
    if options.content_disposition is not None:
        headers["content-disposition"] = options.content_disposition
    if options.content_encoding is not None:
        headers["content-encoding"] = options.content_encoding
    for name, value in (options.metadata or {}).items():
        headers[META + name] = encode_value(value)
    if options.storage_class is not None:
        headers["x-amz-storage-class"] = options.storage_class
    if options.tags:
        headers["x-amz-tagging"] = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in options.tags.items())
    return headers


def condition_headers(options: UploadOptions) -> dict[str, str]:
    """Headers of a conditional write."""
    if options.if_not_exists:
        return {"if-none-match": "*"}
    return {} if options.if_match is None else {"if-match": f'"{options.if_match}"'}


def encode_value(value: str) -> str:
    """A metadata value as ASCII that comes back unchanged: itself where it can, else RFC 2047 words."""
    if value.isascii() and value.isprintable() and "=?" not in value and "  " not in value and value == value.strip():
        return value
    words, word = [], b""
    for character in value:
        encoded = character.encode()
        if len(word) + len(encoded) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    words.append(word)
    return " ".join(f"=?UTF-8?B?{b64encode(word).decode()}?=" for word in words)


def decode_value(value: str) -> str:
    """The metadata value that *value* stands for; *value* itself when it is no RFC 2047 word."""
    if "=?" not in value:
        return value
    from email.errors import HeaderParseError  # noqa: PLC0415 - twenty milliseconds that few objects need
    from email.header import decode_header, make_header  # noqa: PLC0415 - as above

    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return value


def written(
    path: str, size: int, options: UploadOptions, etag: str | None, version: str | None, *, kept: bool
) -> FileInfo:
    """What is known of an object that was just written; ``last_modified`` is this machine's time, to the second.

    Args:
        path: Where it is.
        size: Its bytes.
        options: How it was written.
        etag: What the service tells.
        version: What the service tells.
        kept: Whether the service keeps the checksum that it was told.
    """
    return made_info(
        path,
        size,
        options.content_type or DEFAULT_TYPE,
        datetime.now(UTC).replace(microsecond=0),
        etag=etag.strip('"') if etag else None,
        metadata=dict(options.metadata or {}),
        cache_control=options.cache_control,
        content_disposition=options.content_disposition,
        content_encoding=options.content_encoding,
        version=version,
        checksum=options.checksum if kept else None,
    )


def info_from_headers(path: str, headers: Mapping[str, str]) -> FileInfo:
    """What the headers of a GET or HEAD say; the size is that of the whole object, also of a range."""
    size = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "0")
    etag = headers.get("etag")
    return made_info(
        path,
        int(size),
        headers.get("content-type", DEFAULT_TYPE),
        http_date(headers["last-modified"]),
        etag=etag.strip('"') if etag else None,
        metadata={name[len(META) :]: decode_value(value) for name, value in headers.items() if name.startswith(META)},
        cache_control=headers.get("cache-control"),
        content_disposition=headers.get("content-disposition"),
        content_encoding=headers.get("content-encoding"),
        version=headers.get("x-amz-version-id"),
        checksum=told(headers) if "content-range" not in headers else None,  # of a range it may be that of a part
    )
