from __future__ import annotations

import asyncio
import hashlib
import zlib
from base64 import b64encode

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import checksums
from runtime.checksums import COMBINABLE, DIGEST_BYTES, Crc, PartsChecksum, value_of
from runtime.config import NamedStorageConfig
from runtime.errors import ChecksumMismatchError, ConfigError

DATA = hashlib.shake_128(b"7").digest(300_001)
CHECK = b"123456789"
CATALOGUE = {"crc32": 0xCBF43926, "crc32c": 0xE3069283, "crc64nvme": 0xAE8B14860A799888}
"""The check value of each CRC; Source: https://reveng.sourceforge.io/crc-catalogue/all.htm"""


@pytest.mark.parametrize("algorithm", sorted(COMBINABLE))
def test_crcs_have_their_catalogued_check_values(algorithm: str) -> None:
    crc = Crc(algorithm)
    crc.update(CHECK)
    assert crc.value == CATALOGUE[algorithm]
    assert crc.digest() == CATALOGUE[algorithm].to_bytes(DIGEST_BYTES[algorithm], "big")


def test_other_libraries_compute_the_same() -> None:
    expected = {
        "crc32": zlib.crc32(DATA).to_bytes(4, "big"),
        "crc32c": google_crc32c.Checksum(DATA).digest(),
        "md5": hashlib.md5(DATA, usedforsecurity=False).digest(),
        "sha1": hashlib.sha1(DATA, usedforsecurity=False).digest(),
        "sha256": hashlib.sha256(DATA).digest(),
    }
    for algorithm, digest in expected.items():
        assert value_of(algorithm, DATA) == f"{algorithm}:{b64encode(digest).decode()}"


@pytest.mark.parametrize("algorithm", DIGEST_BYTES)
def test_every_kind_of_buffer_is_taken_as_it_is(algorithm: str) -> None:
    expected = value_of(algorithm, DATA)
    for buffer in (bytearray(DATA), memoryview(DATA), memoryview(bytearray(DATA))):
        assert value_of(algorithm, buffer) == expected
    assert value_of(algorithm, memoryview(b"x" + DATA)[1:]) == expected
    assert len(value_of(algorithm, b"")) == len(value_of(algorithm, b"x"))


@pytest.mark.parametrize("algorithm", DIGEST_BYTES)
async def test_large_buffers_give_what_small_ones_give(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_STEP", 1000)
    assert await checksums.compute(algorithm, DATA) == value_of(algorithm, DATA)


@pytest.mark.parametrize("algorithm", DIGEST_BYTES)
async def test_parts_that_come_in_any_order_make_the_whole(algorithm: str) -> None:
    sizes = [1, 70_000, 100, 0, 150_000, 79_900]
    parts, start = [], 0
    for size in sizes:
        parts.append(DATA[start : start + size])
        start += size
    found = PartsChecksum([algorithm, "crc32c"], "crc32c")
    order = [(number, parts[number - 1]) for number in (3, 6, 1, 5, 2, 4)]
    own = await asyncio.gather(*(found.add(number, [part[:50], part[50:]]) for number, part in order))
    assert list(own) == [value_of("crc32c", part) for _, part in order]
    await found.add(2, [parts[1]])  # sent again
    assert found.whole(algorithm) == value_of(algorithm, DATA[:start])
    assert found.whole("crc32c") == value_of("crc32c", DATA[:start])


async def test_part_that_is_never_hashed_does_not_hold_back_a_cancelled_one() -> None:
    found = PartsChecksum(["md5"])
    waiting = asyncio.create_task(found.add(2, [b"sec", b"ond"]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await found.add(1, [b"first"])
    await found.add(2, [b"sec", b"ond"])
    assert found.whole("md5") == value_of("md5", b"firstsecond")


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_crcs_of_pieces_combine(pieces: list[bytes]) -> None:
    for algorithm in COMBINABLE:
        whole, together = Crc(algorithm), Crc(algorithm)
        for piece in pieces:
            whole.update(piece)
            one = Crc(algorithm)
            one.update(piece)
            together.append(one.value, len(piece))
        assert together.value == whole.value


def test_mismatch_names_both_and_no_bytes() -> None:
    with pytest.raises(ChecksumMismatchError, match=r"has the checksum crc32c:\S+, told was crc32c:AAAAAA==") as caught:
        checksums.verify("crc32c:AAAAAA==", b"secret")
    assert "secret" not in str(caught.value)


def config(driver: str, wish: str, **settings: object) -> NamedStorageConfig:
    required: dict[str, dict[str, object]] = {
        "s3": {"bucket": "photos", "region": "eu-west-1"},
        "r2": {
            "bucket": "photos",
            "access_key": "id",
            "secret_key": "k",
            "endpoint_url": "https://a.r2.cloudflarestorage.com",
        },
        "gcs": {"bucket": "photos", "project_id": "p"},
        "azure": {"account_name": "acct", "account_key": "c2VjcmV0", "container": "photos"},
    }
    return NamedStorageConfig.model_validate(
        {
            "name": "photos",
            "driver": driver,
            driver: {**required.get(driver, {}), **settings},
            "transfer": {"checksum": wish},
        }
    )


@pytest.mark.parametrize(
    ("driver", "wish", "allowed"),
    [
        ("gcs", "md5", "auto, when_required, crc32c"),
        ("azure", "crc32c", "auto, when_required, crc64nvme, md5"),
        ("s3", "sha256", "auto, when_required, crc32, crc32c, crc64nvme"),
        ("r2", "md5", "auto, when_required, crc32, crc32c, crc64nvme"),
    ],
)
def test_checksum_that_a_service_does_not_keep_is_refused_with_what_is_allowed(
    driver: str, wish: str, allowed: str
) -> None:
    with pytest.raises(ValueError, match=f"'{wish}' is not kept by {driver}; allowed: {allowed}"):
        config(driver, wish)


def test_unknown_wish_is_refused() -> None:
    with pytest.raises((ValueError, ConfigError), match="when_required"):
        config("memory", "always")
