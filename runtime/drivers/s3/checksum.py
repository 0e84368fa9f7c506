"""Checksums as S3's headers have them.

An upload in parts is given the CRC of the whole (``FULL_OBJECT``), so that it can be compared however it was cut.
What other writers left as a sum of their parts' sums (``COMPOSITE``, with ``-7`` at its end) is no checksum of the
object's bytes, and is not told.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.checksums import COMBINABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX: Final = "x-amz-checksum-"
_KEPT: Final = {name: _PREFIX + name for name in ("crc32c", "crc64nvme", "crc32", "sha256", "sha1")}  # fastest first

HEADERS: Final = {**_KEPT, "md5": "content-md5"}
"""Header in which the service is told the checksum of what one request carries, by algorithm."""

MODE: Final = {"x-amz-checksum-mode": "ENABLED"}
"""Asks for the checksum in the answer to a GET or HEAD."""


def sent(checksum: str | None, allowed: frozenset[str]) -> dict[str, str]:
    """The header that lets the service verify the body of one request.

    Args:
        checksum: ``algorithm:base64``, or None.
        allowed: Algorithms that the service has.
    """
    algorithm, _, value = (checksum or "").partition(":")
    return {HEADERS[algorithm]: value} if algorithm in allowed else {}


def announced(algorithm: str | None) -> dict[str, str]:
    """What tells the service, at the begin of an upload in parts, which checksum the whole will have."""
    if algorithm not in COMBINABLE:
        return {}
    return {"x-amz-checksum-algorithm": algorithm.upper(), "x-amz-checksum-type": "FULL_OBJECT"}


def element(checksum: str) -> str:
    """A part's checksum as the list of parts has it."""
    algorithm, _, value = checksum.partition(":")
    return f"<Checksum{algorithm.upper()}>{value}</Checksum{algorithm.upper()}>"


def told(headers: Mapping[str, str]) -> str | None:
    """The checksum of all the bytes of an object, where an answer has one."""
    if headers.get("x-amz-checksum-type") != "COMPOSITE":
        for algorithm, name in _KEPT.items():
            if (value := headers.get(name)) is not None and "-" not in value:
                return f"{algorithm}:{value}"
    return None
