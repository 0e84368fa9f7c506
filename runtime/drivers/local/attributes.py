"""What is kept of an object beside its bytes, and how it is bound to them.

The attributes of the object *path* are in ``.tandem/attributes/<aa>/<rest>.json`` below the root, where
``<aa><rest>`` is the SHA-256 of the path in UTF-8. The file is JSON::

    {
        "format": 1,
        "path": "u/1.jpg",
        "versions": [
            {
                "size": 5,  # bytes
                "mtime_ns": 1763881200000000001,  # of the object's file
                "sha256": "2cf24dba…",  # of its bytes, hex
                "content_type": "image/jpeg",
                "metadata": {"owner": "7"},  # the keys from here on only where they are set
                "cache_control": "no-store",
                "content_disposition": "inline",
                "content_encoding": "gzip",
                "checksum": "md5:XUFAKrxLKna5cZ2REBfFkg==",
            }
        ],
    }

Attributes are never served for other bytes than theirs. A version belongs to the file whose size and mtime it
names (`mtime_ns` is chosen so that no two versions in one file share it). A write first puts down the new
version *beside* the one that is in force, on disk for good, and only then renames the new bytes into place;
whatever moment the machine dies at, the file there finds its version. When the mtime fits no version (the root
was copied without times, or somebody edited the file) the SHA-256 decides, and the new mtime is written down.
When nothing fits, the file counts as put there by somebody else: its type is guessed from its name, and it has
no metadata.
"""

from __future__ import annotations

import hashlib
import json
from binascii import b2a_base64
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from runtime.errors import StorageError
from runtime.models import FileInfo, UploadOptions, made_info
from runtime.paths import guess_content_type

if TYPE_CHECKING:
    import os

FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def file_name(path: str) -> tuple[str, str]:
    """Folder and file, below ``attributes``, of the attributes of *path*."""
    digest = hashlib.sha256(path.encode()).hexdigest()
    return digest[:2], f"{digest[2:]}.json"


@dataclass(frozen=True, slots=True)
class Version:
    """The attributes of one content of one object; the keys are those of the file."""

    size: int
    mtime_ns: int
    sha256: str
    content_type: str
    metadata: dict[str, str] | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    checksum: str | None = None

    @classmethod
    def of_upload(cls, size: int, mtime_ns: int, sha256: str, options: UploadOptions) -> Self:
        """The version that an upload makes."""
        return cls(
            size,
            mtime_ns,
            sha256,
            content_type=options.content_type or "application/octet-stream",
            metadata=dict(options.metadata) if options.metadata else None,
            cache_control=options.cache_control,
            content_disposition=options.content_disposition,
            content_encoding=options.content_encoding,
            checksum=options.checksum,
        )

    @classmethod
    def of_stranger(cls, path: str, found: os.stat_result, sha256: str) -> Self:
        """The version of a file that somebody else put there."""
        return cls(found.st_size, found.st_mtime_ns, sha256, content_type=guess_content_type(path))

    def fits(self, found: os.stat_result) -> bool:
        """Whether these are the attributes of that file, by size and mtime."""
        return (self.size, self.mtime_ns) == (found.st_size, found.st_mtime_ns)

    def options(self) -> UploadOptions:
        """How to write the same bytes again with the same attributes."""
        return UploadOptions(
            content_type=self.content_type,
            metadata=self.metadata,
            cache_control=self.cache_control,
            content_disposition=self.content_disposition,
            content_encoding=self.content_encoding,
            checksum=self.checksum,
        )

    @property
    def etag(self) -> str:
        """The first half of the content's hash: the same bytes always have the same tag."""
        return self.sha256[:32]

    def info(self, path: str) -> FileInfo:
        """The version as the portable type's users see it."""
        info = made_info(
            path,
            self.size,
            self.content_type,
            _EPOCH + timedelta(0, 0, self.mtime_ns // 1000),
            etag=self.sha256[:32] or None,
            metadata=dict(self.metadata) if self.metadata else {},
            checksum=self.checksum or (f"sha256:{_base64(self.sha256)}" if self.sha256 else None),
        )
        if self.cache_control or self.content_disposition or self.content_encoding:
            return replace(
                info,
                cache_control=self.cache_control,
                content_disposition=self.content_disposition,
                content_encoding=self.content_encoding,
            )
        return info


def _base64(digest: str) -> str:
    return b2a_base64(bytes.fromhex(digest), newline=False).decode("ascii")


def dump(path: str, versions: list[Version]) -> bytes:
    """The file that holds *versions*, newest first."""
    entries = [{key: value for key, value in asdict(version).items() if value is not None} for version in versions]
    document = {"format": FORMAT, "path": path, "versions": entries}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def load(text: bytes, name: str) -> list[Version]:
    """The versions in a file that `dump` made; *name* is what the reader of an error would look for."""
    try:
        document: dict[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise StorageError(f"attributes in {name} have format {document['format']!r}, known is {FORMAT}")
        return [Version(**entry) for entry in document["versions"]]
    except (ValueError, TypeError, KeyError) as exc:
        raise StorageError(f"attributes in {name} can not be read", hint="remove that file to do without them") from exc
