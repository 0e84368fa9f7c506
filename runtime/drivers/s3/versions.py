"""Versions of S3: what a bucket keeps of every object, and its removal for good.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.driver import DeleteFailure, StoredVersion
from runtime.drivers.s3.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


async def version_pages(raw: Any, bucket: str) -> AsyncGenerator[list[StoredVersion], None]:
    """Every version and every mark of a deletion; *raw* is the official client."""
    marks: dict[str, str] = {}
    while True:
        answer = await raw.list_object_versions(Bucket=bucket, **marks)
        found = [
            StoredVersion(each["Key"], each.get("Size", 0), "Size" in each and each["IsLatest"], each["VersionId"])
            for each in [*answer.get("Versions", ()), *answer.get("DeleteMarkers", ())]
        ]
        if found:
            yield found
        if not answer.get("IsTruncated"):
            return
        marks = {"KeyMarker": answer["NextKeyMarker"], "VersionIdMarker": answer.get("NextVersionIdMarker", "")}


async def remove_versions(raw: Any, bucket: str, versions: Sequence[StoredVersion]) -> list[DeleteFailure]:
    """Remove at most 1,000 of them in one request."""
    objects = [{"Key": version.path, "VersionId": version.id} for version in versions]
    answer = await raw.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    return [
        DeleteFailure(error["Key"], ServiceError(None, error.get("Code", ""), error.get("Message", "")))
        for error in answer.get("Errors", ())
    ]
