"""What may be asked of an upload, a range or a signature, checked before any I/O.

Metadata is held to what every service keeps unchanged, so that no backend takes what another refuses:

* names: lower-case letters, digits, ``-`` and ``_``, beginning with a letter, at most 128 characters;
* values: printable ASCII, no space at either end (HTTP headers lose it), not empty;
* together at most 2,048 bytes, the smallest limit of all (S3).

Sources:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html,
    https://learn.microsoft.com/azure/storage/blobs/storage-blob-properties-metadata
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from runtime.checksums import DIGEST_BYTES
from runtime.driver import ByteRange
from runtime.errors import InvalidOptionError, NotModifiedError, NotSupportedError, PreconditionFailedError
from runtime.models import UploadOptions
from runtime.paths import guess_content_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.config import NamedStorageConfig, StorageOperationConfig
    from runtime.driver import Capabilities

MAX_METADATA_BYTES: Final = 2048
MAX_EXPIRES_IN: Final = timedelta(days=7)
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html"""

OPTION_NAMES: Final = frozenset(field.name for field in fields(UploadOptions))
_HEADERS: Final = ("content_type", "cache_control", "content_disposition", "content_encoding", "storage_class")
_HEADER = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_METADATA_NAME = re.compile(r"[a-z][a-z0-9_-]{0,127}")
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;.*)?", re.ASCII)


def upload_options(path: str, given: object, options: Mapping[str, Any]) -> UploadOptions:
    """All options of one upload as one value, with the content type that applies.

    Args:
        path: Where to; its suffix tells the content type when nobody does.
        given: The argument ``content_type``: a type, or all options (ours, or those of lexigram-contracts).
        options: Keyword options; they win over *given*.

    Raises:
        TypeError: an option has no such name, or *given* is of another type.
    """
    if options and (unknown := options.keys() - OPTION_NAMES):
        from runtime.validation import did_you_mean  # noqa: PLC0415 - it loads pydantic, which a store does not need

        name = min(unknown)
        known = sorted(OPTION_NAMES)
        raise TypeError(f"unknown upload option {name!r}{did_you_mean(name, known)}; allowed: {', '.join(known)}")
    if isinstance(given, UploadOptions):
        merged = replace(given, **options) if options else given
        return merged if merged.content_type else replace(merged, content_type=guess_content_type(path))
    if given is not None and not isinstance(given, str):
        return upload_options(path, _from_lexigram(given), options)
    return UploadOptions(content_type=given or guess_content_type(path), **options)


def _from_lexigram(given: object) -> UploadOptions:
    """Options of lexigram-contracts as ours: an application that is typed against it gives its class of that name."""
    if is_dataclass(given) and type(given).__name__ == UploadOptions.__name__:
        values = {field.name: getattr(given, field.name) for field in fields(given)}
        if values.keys() <= OPTION_NAMES:
            return UploadOptions(**values)
    raise TypeError(f"content_type is a string or UploadOptions, not {type(given).__name__}")


def check_options(options: UploadOptions, backend: NamedStorageConfig, capabilities: Capabilities) -> None:
    """Refuse what the backend can not honour, by what its driver declares and what was provisioned.

    Raises:
        InvalidOptionError: a value that no service could honour.
        NotSupportedError: a value that this backend does not honour.
    """
    _check_headers(options)
    if options.metadata:
        _check_pairs("metadata", options.metadata)
        _check_metadata(options.metadata)
    if options.public:
        _check_public(backend, capabilities)
    if options.storage_class is not None and not capabilities.storage_class:
        raise _refused(backend, "storage_class")
    if options.tags:
        _check_pairs("tags", options.tags)
        if not capabilities.tags:
            raise _refused(backend, "tags")
    if options.if_not_exists or options.if_match is not None:
        _check_conditions(options, backend, capabilities)
    if options.checksum is not None:
        _check_checksum(options.checksum)


def check_service(content_type: str, service: StorageOperationConfig) -> None:
    """Refuse a content type that the application does not allow."""
    allowed = service.allowed_mime_types
    if allowed is None:
        return
    essence = content_type.partition(";")[0].strip().lower()
    family = f"{essence.partition('/')[0]}/*"
    if not {essence, family, "*/*"} & {entry.lower() for entry in allowed}:
        listed = ", ".join(allowed) or "none"
        raise NotSupportedError(
            f"uploads of type {essence!r} are not allowed here; allowed: {listed}", hint="service.allowed_mime_types"
        )


def byte_range(given: Any) -> ByteRange | None:
    """A range as drivers take it: *start* up to but not including *end*."""
    if given is None:
        return None
    try:
        start, end = given
    except (TypeError, ValueError):
        raise TypeError("a range is a pair (start, end); end is not included, None means the object's end") from None
    if not isinstance(start, int) or not isinstance(end, int | None):
        raise TypeError("a range has whole numbers of bytes")
    if start < 0 or (end is not None and end < start):
        raise InvalidOptionError(f"a range begins at 0 or later and ends behind its begin, not ({start}, {end})")
    return ByteRange(start, end)


def whole_number(name: str, value: object, *, low: int = 1, high: int | None = None) -> int:
    """*value*, when it is a whole number from *low* to *high*."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is a whole number, not {type(value).__name__}")
    if value < low or (high is not None and value > high):
        most = f" to {high:,}" if high is not None else " or more"
        raise InvalidOptionError(f"{name} is {low}{most}, not {value:,}")
    return value


def check_signature(
    method: str, expires_in: object, content_type: str | None, allowed: Iterable[str], longest: int | None = None
) -> str:
    """The method in capitals, when such a request can be signed.

    Args:
        method: HTTP method.
        expires_in: More than nothing, at most 7 days, the most that S3, Google Cloud and R2 accept.
        content_type: Type that a PUT must send; other methods send none.
        allowed: Methods that this backend signs.
        longest: Seconds that the config lets a signature live, ``expect.presign_max_age``; None for the 7 days.
    """
    verb = str(method).upper()
    methods = sorted(allowed)
    if verb not in methods:
        names = ", ".join(methods) or "none"
        raise NotSupportedError(f"{verb} requests are not signed by this backend; allowed methods: {names}")
    if not isinstance(expires_in, timedelta):
        raise TypeError(f"expires_in is a datetime.timedelta, not {type(expires_in).__name__}")
    if not timedelta() < expires_in <= MAX_EXPIRES_IN:
        raise InvalidOptionError(f"expires_in is more than 0 and at most 7 days, not {expires_in}")
    if longest is not None and expires_in > timedelta(seconds=longest):
        allowed_age = timedelta(seconds=longest)
        raise InvalidOptionError(
            f"expires_in is at most {allowed_age} on this backend (expect.presign_max_age), not {expires_in}"
        )
    if content_type is not None:
        if verb not in {"POST", "PUT"}:
            raise InvalidOptionError(f"content_type belongs to an upload; {verb} sends none")
        _check_content_type(content_type)
    return verb


def _check_headers(options: UploadOptions) -> None:
    for name in _HEADERS:
        value = getattr(options, name)
        if value is not None:
            _check_header(name, value)
    if options.content_type is not None:
        _check_content_type(options.content_type)


def _check_header(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a string, not {type(value).__name__}")
    if not _HEADER.fullmatch(value):
        raise InvalidOptionError(f"{name} is printable ASCII with no space at either end, not {value!a}")


def _check_content_type(value: str) -> None:
    _check_header("content_type", value)
    if not _MIME.fullmatch(value):
        raise InvalidOptionError(f"content_type looks like 'image/jpeg', not {value!a}")


def _check_pairs(name: str, pairs: object) -> None:
    if not isinstance(pairs, Mapping):
        raise TypeError(f"{name} is a mapping of strings to strings, not {type(pairs).__name__}")
    for key, value in pairs.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"{name} maps strings to strings, not {key!r} to {type(value).__name__}")


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name):
            raise InvalidOptionError(
                f"a metadata name has letters, digits, '-' and '_' and begins with a letter, not {name!a}"
            )
        if not _HEADER.fullmatch(value):
            raise InvalidOptionError(
                f"the value of metadata {name!r} is not printable ASCII, is empty or has a space at an end",
                hint="encode it, for example with urllib.parse.quote",
            )
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise InvalidOptionError(f"metadata has {size:,} bytes, {MAX_METADATA_BYTES:,} are allowed")


def _check_public(backend: NamedStorageConfig, capabilities: Capabilities) -> None:
    if not capabilities.public:
        raise _refused(backend, "public")
    if backend.expect is None or not backend.expect.public:
        raise NotSupportedError(
            "public=True on a backend that is not public", hint="declare `public: true` for it in the spec"
        )


def _check_conditions(options: UploadOptions, backend: NamedStorageConfig, capabilities: Capabilities) -> None:
    if options.if_not_exists and options.if_match is not None:
        raise InvalidOptionError("if_not_exists and if_match exclude each other")
    if options.if_not_exists and not capabilities.if_not_exists:
        raise _refused(backend, "if_not_exists")
    if options.if_match is not None:
        check_etag(options.if_match)
        if not capabilities.if_match:
            raise _refused(backend, "if_match")


def check_copy(
    backend: NamedStorageConfig, capabilities: Capabilities, *, if_not_exists: bool, if_match: str | None
) -> None:
    """Refuse conditions of a copy that the backend can not honour."""
    if if_not_exists and if_match is not None:
        raise InvalidOptionError("if_not_exists and if_match exclude each other")
    if if_not_exists and not capabilities.copy_if_not_exists:
        raise _refused(backend, "copy with if_not_exists")
    if if_match is not None:
        check_etag(if_match)
        if not capabilities.copy_if_match:
            raise _refused(backend, "copy with if_match")


def check_etag(etag: object, name: str = "if_match") -> None:
    """Refuse what can be no etag, before it becomes a header."""
    _check_header(name, etag)
    if '"' in str(etag):
        raise InvalidOptionError(f"{name} is an etag without its quotes, as FileInfo.etag has it, not {etag!a}")


def check_read_conditions(if_match: object, if_none_match: object) -> None:
    """Refuse conditions of a read that can be no etags."""
    if if_match is not None:
        check_etag(if_match, "if_match")
    if if_none_match is not None:
        check_etag(if_none_match, "if_none_match")


def demand_version(etag: str | None, if_match: str | None, if_none_match: str | None) -> None:
    """Compare the etag of an answer with what the reader asked for.

    Raises:
        PreconditionFailedError: it is not *if_match*.
        NotModifiedError: it is *if_none_match*.
        NotSupportedError: the service told no etag for this object.
    """
    if etag is None:
        raise NotSupportedError("the service tells no etag of this object, so conditions can not be checked")
    if if_match is not None and etag != if_match:
        raise PreconditionFailedError(f"the object's etag is {etag}, asked for was {if_match}", etag=etag)
    if if_none_match is not None and etag == if_none_match:
        raise NotModifiedError("the object still has this etag", etag=etag)


def _check_checksum(checksum: str) -> None:
    if not isinstance(checksum, str):
        raise TypeError(f"checksum is a string, not {type(checksum).__name__}")
    algorithm, _, digest = checksum.partition(":")
    if algorithm not in DIGEST_BYTES:
        raise NotSupportedError(
            f"no checksum algorithm is called {algorithm!a}; allowed: {', '.join(sorted(DIGEST_BYTES))}"
        )
    try:
        size = len(b64decode(digest, validate=True))
    except ValueError:
        size = -1
    if size != DIGEST_BYTES[algorithm]:
        raise InvalidOptionError(f"checksum is '{algorithm}:' and the digest in base64, not {checksum!a}")


def _refused(backend: NamedStorageConfig, option: str) -> NotSupportedError:
    return NotSupportedError(f"driver {backend.driver!r} does not support {option}")
