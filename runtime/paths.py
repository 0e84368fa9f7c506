"""Which strings may name an object, and what they say of its type."""

from __future__ import annotations

import re
from functools import cache
from mimetypes import MimeTypes
from typing import Final, TypeAlias

from runtime.errors import InvalidOptionError, InvalidPathError
from runtime.models import FileInfo

ObjectPath: TypeAlias = str | FileInfo
"""A path to check, or an object as a listing gave it: those keep names that others chose (``a//b``, ``dir/``)."""

MAX_PATH_BYTES: Final = 1024
"""Bytes of a path in UTF-8. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"

_SEGMENT = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REFUSED = re.compile(f"{_SEGMENT.pattern}|{_CONTROL.pattern}|{_SURROGATE.pattern}")
_SHORT = MAX_PATH_BYTES // 4  # no character has more than four bytes

# What Python 3.11's own table lacks; the machine's mime.types is not asked, so that every host guesses alike.
_MORE_TYPES: Final = {
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".heic": "image/heic",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".parquet": "application/vnd.apache.parquet",
    ".rtf": "application/rtf",
    ".ttf": "font/ttf",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    # compressed files are what they are, whatever is inside
    ".bz2": "application/x-bzip2",
    ".gz": "application/gzip",
    ".tgz": "application/gzip",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
}


def checked_path(path: ObjectPath) -> str:
    """The path, when it can name an object on every service.

    Raises:
        InvalidPathError: it is no valid UTF-8, empty, longer than 1,024 bytes, begins or ends with a slash,
            or holds a control character or an empty, ``.`` or ``..`` segment. A `FileInfo` is accepted as it is.
    """
    if isinstance(path, FileInfo):
        return path.path
    return checked_new_path(path)


def checked_new_path(path: object) -> str:
    """As `checked_path`, for the path of an object to be written: only a string will do."""
    if not isinstance(path, str):
        raise InvalidPathError(f"a path is a string, not {_kind(path)}")
    if _REFUSED.search(path) or (len(path) > _SHORT and _too_long(path)):
        raise InvalidPathError(_reason(path), path=path[:MAX_PATH_BYTES])
    return path


def checked_prefix(prefix: object, name: str = "prefix") -> str:
    """A string that object paths can start with; unlike a path it may be empty or end with a slash.

    Args:
        prefix: What the caller gave.
        name: What the argument is called.
    """
    if not isinstance(prefix, str):
        raise InvalidPathError(f"{name} is a string, not {_kind(prefix)}")
    if _SURROGATE.search(prefix):
        raise InvalidPathError(f"{name} is no valid UTF-8", path=prefix[:MAX_PATH_BYTES])
    if _too_long(prefix):
        raise InvalidPathError(f"{name} is longer than {MAX_PATH_BYTES:,} bytes")
    return prefix


def checked_delimiter(delimiter: object) -> str:
    """A string that rolls up paths; empty for none."""
    if not isinstance(delimiter, str) or _SURROGATE.search(delimiter):
        raise InvalidOptionError("delimiter is a string of valid UTF-8, usually '/'")
    return delimiter


def guess_content_type(path: str) -> str:
    """The MIME type that the path's suffix stands for, the same on every machine.

    >>> guess_content_type("u/1.JPG"), guess_content_type("backup.tar.gz"), guess_content_type("README")
    ('image/jpeg', 'application/gzip', 'application/octet-stream')
    """
    suffix = path[path.rfind(".") :] if "." in path else ""
    return _content_types().get(suffix.lower(), DEFAULT_CONTENT_TYPE)


@cache
def _content_types() -> dict[str, str]:
    return {**MimeTypes().types_map[True], **_MORE_TYPES}


def _too_long(path: str) -> bool:
    return len(path.encode()) > MAX_PATH_BYTES


def _kind(value: object) -> str:
    if isinstance(value, FileInfo):
        return "a FileInfo (give its .path)"
    return type(value).__name__


def _reason(path: str) -> str:
    if not path:
        return "a path is not empty"
    if _SURROGATE.search(path):
        return "a path is valid UTF-8"
    if control := _CONTROL.search(path):
        return f"a path has no control characters (found {control.group()!r} at {control.start()})"
    if _too_long(path):
        return f"a path has at most {MAX_PATH_BYTES:,} bytes, this one has {len(path.encode()):,}"
    if path.startswith("/") or path.endswith("/"):
        return "a path does not begin or end with '/'"
    segment = next(part for part in path.split("/") if part in {"", ".", ".."})
    return f"a path has no segment {segment!r}" if segment else "a path has no empty segment ('//')"
