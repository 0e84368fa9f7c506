"""Checksums of whole objects: computed while bytes pass by, written ``algorithm:base64``.

The base64 is of the digest in network order, as S3 and Google write it (``crc32c:yZRlqg==``). Everything that is
checked is checked here, once for all services: a caller's checksum before an upload becomes visible
(`runtime.multipart`), what a service tells of an object when it was read whole (`runtime.store`, `runtime.files`).

A CRC of a whole is made of those of its parts, in any order and without another look at the bytes; a hash has
to see them in order. anycrc computes 8 GiB/s of either CRC with the processor's carry-less multiplication,
hashlib 0.6 to 1.1 GiB/s (2 cores of a shared machine).

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    https://cloud.google.com/storage/docs/data-validation
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
from anyio.to_thread import run_sync

from runtime.errors import ChecksumMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.config import NamedStorageConfig
    from runtime.driver import Bytes

DIGEST_BYTES: Final = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "md5": 16, "sha1": 20, "sha256": 32}
"""Every algorithm, and the bytes of its digest."""

COMBINABLE: Final = frozenset({"crc32", "crc32c", "crc64nvme"})
"""Algorithms whose value for a whole is made of those of its parts."""

_MODELS: Final = {"crc32": "CRC32", "crc32c": "CRC32C", "crc64nvme": "CRC64-NVME"}
INLINE: Final = 64 * 1024
"""Bytes whose checksum takes less time than waking a thread."""

_STEP: Final = 8 * 1024 * 1024


class Running(Protocol):
    """A checksum while it is computed, as `hashlib` has them."""

    def update(self, data: Bytes, /) -> object:
        """Take the next bytes in."""

    def digest(self) -> bytes:
        """What all bytes so far give."""


class Crc:
    """A CRC while it is computed.

    Args:
        algorithm: One of `COMBINABLE`.
    """

    __slots__ = ("_model", "_size", "value")

    def __init__(self, algorithm: str) -> None:
        self._model = _model(algorithm)
        self._size = DIGEST_BYTES[algorithm]
        self.value = 0

    def update(self, data: Bytes, /) -> None:
        """Take the next bytes in."""
        if len(data):
            self.value = self._model.calc(data, self.value)

    def append(self, value: int, size: int) -> None:
        """Take in bytes that gave *value* elsewhere, *size* of them."""
        self.value = self._model.combine(self.value, value, size)

    def digest(self) -> bytes:
        """What all bytes so far give."""
        return self.value.to_bytes(self._size, "big")


@cache
def _model(algorithm: str) -> Any:
    import anycrc  # noqa: PLC0415 - 7 ms, and not every process computes one

    return anycrc.Model(_MODELS[algorithm])


def running(algorithm: str) -> Running:
    """A checksum that has seen no bytes yet."""
    if algorithm in COMBINABLE:
        return Crc(algorithm)
    return hashlib.new(algorithm, usedforsecurity=False)  # it tells damage, not forgery


def written(algorithm: str, digest: bytes) -> str:
    """A digest as it is given to applications and to services."""
    return f"{algorithm}:{b64encode(digest).decode('ascii')}"


def value_of(algorithm: str, data: Bytes) -> str:
    """The checksum of *data*, computed here and now."""
    sum_ = running(algorithm)
    sum_.update(data)
    return written(algorithm, sum_.digest())


def algorithm_of(checksum: str) -> str:
    """What is before the colon."""
    return checksum.partition(":")[0]


async def compute(algorithm: str, *pieces: Bytes) -> str:
    """The checksum of *pieces*, one after the other, without keeping the event loop from its work for long."""
    sum_ = running(algorithm)
    await update(sum_, *pieces)
    return written(algorithm, sum_.digest())


async def update(sum_: Running, *pieces: Bytes) -> None:
    """Take *pieces* in, one after the other, without keeping the event loop from its work for long."""
    if sum(map(len, pieces)) <= INLINE:
        _update(sum_, pieces)
    elif isinstance(sum_, Crc):  # a millisecond for 8 MiB; waking a thread costs a tenth of that
        done = 0
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _STEP):
                if done >= _STEP:
                    await anyio.lowlevel.checkpoint()
                    done = 0
                step = view[start : start + _STEP]
                sum_.update(step)
                done += len(step)
    else:
        await run_sync(_update, sum_, pieces)


def _update(sum_: Running, pieces: Iterable[Bytes]) -> None:
    for piece in pieces:
        sum_.update(piece)


def demand(expected: str, found: str) -> None:
    """Raise unless the checksum that was told is the one that was found."""
    if expected != found:
        raise ChecksumMismatchError(
            f"the content has the checksum {found}, told was {expected}",
            hint="the bytes were changed on the way, or the checksum is another content's",
        )


def verify(expected: str, data: Bytes) -> None:
    """Raise unless *data* has the checksum *expected*, ``algorithm:base64`` of a known algorithm."""
    demand(expected, value_of(algorithm_of(expected), data))


async def check(told: str | None, data: Bytes) -> None:
    """Raise unless *data* has the checksum that was *told*, if one was."""
    if told is None:
        return
    if len(data) <= INLINE:
        verify(told, data)
    else:
        demand(told, await compute(algorithm_of(told), data))


class PartsChecksum:
    """The checksums of an object whose parts come several at once, each part looked at once.

    Args:
        algorithms: Of which checksums.
        of_parts: Of these, the one that every part gets a checksum of its own in, where it is combinable.
    """

    def __init__(self, algorithms: Iterable[str], of_parts: str | None = None) -> None:
        names = dict.fromkeys(algorithms)
        self._crcs: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names if name in COMBINABLE}
        self._hashes = {name: running(name) for name in names if name not in COMBINABLE}
        self._of_parts = of_parts
        self._next = 1
        self._turn = anyio.Condition()

    async def add(self, number: int, data: Sequence[Bytes]) -> str | None:
        """Take part *number* in, counted from 1; gives its own checksum.

        A hash waits for the parts before it; a part that is given again counts once.
        """
        own = None
        for name, parts in self._crcs.items():
            crc = Crc(name)
            await update(crc, *data)
            parts[number] = (crc.value, sum(map(len, data)))
            if name == self._of_parts:
                own = written(name, crc.digest())
        if self._hashes:
            await self._hash(number, data)
        return own

    async def _hash(self, number: int, data: Sequence[Bytes]) -> None:
        async with self._turn:
            while self._next < number:
                await self._turn.wait()
            if self._next == number:
                for sum_ in self._hashes.values():
                    await update(sum_, *data)
                self._next += 1
                self._turn.notify_all()

    def whole(self, algorithm: str) -> str:
        """The checksum of all parts in the order of their numbers."""
        if algorithm in self._hashes:
            return written(algorithm, self._hashes[algorithm].digest())
        crc = Crc(algorithm)
        for _, (value, size) in sorted(self._crcs[algorithm].items()):
            crc.append(value, size)
        return written(algorithm, crc.digest())


def own_algorithm(backend: NamedStorageConfig, best: str | None) -> str | None:
    """The checksum that a driver is to compute of every object that it writes, by ``transfer.checksum``.

    Args:
        backend: The entry of the contract.
        best: What ``auto`` stands for with this service; None where it is better left alone.
    """
    wish = backend.transfer.checksum
    if wish == "auto":
        return best
    return None if wish == "when_required" else wish
