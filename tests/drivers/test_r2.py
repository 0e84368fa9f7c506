"""R2: the conformance suite on a server of the region ``auto``, and what R2 does otherwise than S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from pydantic import ValidationError

from runtime.config import NamedStorageConfig
from runtime.drivers.r2 import R2Driver, driver_class
from runtime.errors import NotSupportedError
from runtime.models import UploadOptions
from runtime.store import BlobStore
from runtime.testing.conformance import BlobStoreConformance, excused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.testing.fixtures import ServerFactory

ENDPOINT = "https://abc.eu.r2.cloudflarestorage.com"


FILES = "versitygw's posix backend keeps objects as files: x and x/y can not both be (409 ObjectParentIsFile)"
LONG = "versitygw's posix backend keeps objects as files: a name between slashes has at most 255 bytes"
EXCUSED = {
    "test_object_and_objects_below_its_path_live_side_by_side": FILES,
    "test_object_below_comes_first_or_last_and_nothing_is_lost": FILES,
    "test_long_names_with_a_common_beginning_are_different": LONG,
    "test_strange_names_of_others_are_listed_as_they_are_and_can_be_used": FILES,
    "test_names_longer_than_those_of_files_are_kept": LONG,
}


class TestR2(BlobStoreConformance):
    @pytest.fixture
    async def store(self, server: ServerFactory) -> AsyncIterator[BlobStore]:
        running = server("versitygw-auto")
        keys = {"access_key": running.access_key, "secret_key": running.secret_key, "endpoint_url": running.url}
        settings = {"bucket": f"tandem-{uuid4().hex[:16]}", **keys}
        self.theirs: Any = boto3.client(
            "s3",
            endpoint_url=running.url,
            region_name="auto",
            aws_access_key_id=running.access_key,
            aws_secret_access_key=running.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )
        self.theirs.create_bucket(Bucket=settings["bucket"])
        backend = NamedStorageConfig.model_validate({"name": "bucket", "driver": "r2", "r2": settings})
        async with BlobStore(backend, driver_class(backend)) as store:
            yield store

    async def leftovers(self, store: BlobStore) -> list[str]:
        found = self.theirs.list_multipart_uploads(Bucket=store.backend.settings.bucket)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    for _test, _reason in EXCUSED.items():
        locals()[_test] = excused(_test, reason=_reason)


del BlobStoreConformance  # a base: nothing to collect


def backend(**settings: Any) -> NamedStorageConfig:
    given = {"bucket": "media", "access_key": "id", "secret_key": "shh", "endpoint_url": ENDPOINT, **settings}
    return NamedStorageConfig.model_validate({"name": "x", "driver": "r2", "r2": given})


def test_r2_is_told_of_no_encryption_and_of_no_new_checksum() -> None:
    driver = R2Driver(backend())
    assert driver._sse == {}
    assert driver.own_checksum is None
    assert driver.capabilities.checksums == {"md5"}


def test_r2_signs_for_the_region_auto_and_addresses_the_bucket_in_the_path() -> None:
    driver = R2Driver(backend())
    assert driver.url("a b") == f"{ENDPOINT}/media/a%20b"
    assert repr(driver._signer) == "Signer('auto')"
    assert R2Driver(backend(public_url="https://cdn.example.com/")).url("a b") == "https://cdn.example.com/a%20b"


@pytest.mark.parametrize("missing", ["access_key", "secret_key", "endpoint_url"])
def test_r2_has_no_default_chain_and_no_default_endpoint(missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        backend(**{missing: None})


def test_r2_declares_what_cloudflare_documents() -> None:
    can = R2Driver.capabilities
    assert can.presign == {"GET", "HEAD", "PUT", "DELETE"}, "and no POST forms"
    assert (can.tags, can.delete_if_match, can.equal_parts) == (False, False, True)
    assert can.max_part_size * can.max_parts >= 4.995 * 1000**4


async def test_r2_refuses_tags() -> None:
    entry = backend()
    async with BlobStore(entry, R2Driver(entry)) as store:
        with pytest.raises(NotSupportedError, match="tags"):
            await store.upload("a", b"x", UploadOptions(tags={"a": "b"}))
