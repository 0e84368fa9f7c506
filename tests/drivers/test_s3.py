"""The conformance suite on three S3 servers; what only S3 has is in the other test_s3_*.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from runtime.config import NamedStorageConfig
from runtime.drivers.s3 import driver_class
from runtime.store import BlobStore
from runtime.testing.conformance import BlobStoreConformance, excused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.testing.fixtures import ServerFactory
    from runtime.testing.servers import Server


def client(server: Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )


class OnS3(BlobStoreConformance):
    """A bucket of its own for every test."""

    server_name = ""

    @pytest.fixture
    async def store(self, server: ServerFactory) -> AsyncIterator[BlobStore]:
        running = server(self.server_name)
        settings = {
            "bucket": f"tandem-{uuid4().hex[:16]}",
            "region": running.region,
            "endpoint_url": running.url,
            "access_key": running.access_key,
            "secret_key": running.secret_key,
        }
        self.theirs = client(running)
        self.theirs.create_bucket(Bucket=settings["bucket"])
        backend = NamedStorageConfig.model_validate({"name": "bucket", "driver": "s3", "s3": settings})
        async with BlobStore(backend, driver_class(backend)) as store:
            yield store

    async def leftovers(self, store: BlobStore) -> list[str]:
        found = self.theirs.list_multipart_uploads(Bucket=store.backend.settings.bucket)
        return [upload["Key"] for upload in found.get("Uploads", [])]


MOTO_SUMS = (
    "moto 5.2 keeps the checksum of a put only with x-amz-sdk-checksum-algorithm, verifies none, and computes CRC32 "
    "for CRC32C (moto/s3/responses.py, _get_checksum; utils.py, compute_checksum)"
)


class TestMoto(OnS3):
    server_name = "moto"
    server_verifies_signatures = False
    signature_reason = (
        "moto verifies no signature: expired, tampered and wrongly signed URLs are answered with 200 (run)"
    )
    test_if_match_holds_for_uploads_in_parts = excused(
        "test_if_match_holds_for_uploads_in_parts",
        reason="moto's CompleteMultipartUpload ignores If-Match (run with boto3: 200 for an etag that never was)",
    )
    test_copy_if_match_replaces_only_the_asked_version = excused(
        "test_copy_if_match_replaces_only_the_asked_version",
        reason="moto's CompleteMultipartUpload ignores If-Match (run with boto3: 200 for an etag that never was)",
    )
    test_capability_copy_if_match_is_true = excused(
        "test_capability_copy_if_match_is_true",
        reason="moto's CompleteMultipartUpload ignores If-Match (run with boto3: 200 for an etag that never was)",
    )
    test_sweep_spares_what_was_begun_today = excused(
        "test_sweep_spares_what_was_begun_today",
        reason="moto says of every upload that it was begun on 2010-11-10 (moto/s3/responses.py: a literal)",
    )

    for _test in (
        "test_object_has_the_checksum_of_its_bytes",
        "test_bytes_that_change_on_the_way_up_are_refused_and_nothing_is_visible",
        "test_bytes_that_change_on_the_way_down_are_found",
        "test_unharmed_objects_pass_the_check_of_every_reader",
        "test_capability_checksums_is_true",
    ):
        locals()[_test] = excused(_test, reason=MOTO_SUMS)


class TestMiniStack(OnS3):
    server_name = "ministack"

    for _test in (
        "test_object_has_the_checksum_of_its_bytes",
        "test_service_is_told_the_checksum_of_every_object_and_part",
        "test_bytes_that_change_on_the_way_down_are_found",
        "test_unharmed_objects_pass_the_check_of_every_reader",
    ):
        locals()[_test] = excused(
            _test,
            reason="MiniStack 1.5.33 takes the checksum of an upload in parts for COMPOSITE, also when it is told "
            "FULL_OBJECT, and answers 400 (services/s3.py, _complete_multipart_upload)",
        )


FILES = "versitygw's posix backend keeps objects as files: x and x/y can not both be (409 ObjectParentIsFile)"
LONG = "versitygw's posix backend keeps objects as files: a name between slashes has at most 255 bytes"
EXCUSED = {
    "test_object_and_objects_below_its_path_live_side_by_side": FILES,
    "test_object_below_comes_first_or_last_and_nothing_is_lost": FILES,
    "test_long_names_with_a_common_beginning_are_different": LONG,
    "test_strange_names_of_others_are_listed_as_they_are_and_can_be_used": FILES,
    "test_names_longer_than_those_of_files_are_kept": LONG,
}


class TestVersityGateway(OnS3):
    server_name = "versitygw"

    for _test, _reason in EXCUSED.items():
        locals()[_test] = excused(_test, reason=_reason)


del OnS3, BlobStoreConformance  # bases: nothing to collect
