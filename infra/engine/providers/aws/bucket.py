"""``aws:s3/bucket:Bucket``. Its settings are separate resources (`infra.engine.providers.aws.s3`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from infra.engine.providers import s3api
from infra.engine.providers.aws.cloud import Aws
from infra.engine.providers.base import Created, Handler, Live
from runtime.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NO_TAGS = s3api.NO_BUCKET | {"NoSuchTagSet"}


class Bucket(Handler[Aws]):
    """A bucket with its tags. Inline settings (``versioning``, …) are refused, as pulumi-aws deprecates them."""

    type_name = "aws:s3/bucket:Bucket"
    required = names = frozenset({"bucket"})
    held = frozenset({"bucket", "tags", "objectLockEnabled"})
    kept: ClassVar[Mapping[str, str | None]] = {
        "forceDestroy": None,
        "region": None,
        "bucketNamespace": "the emulator has one namespace of bucket names for all accounts",
    }
    filled = frozenset({"region"})
    replace = frozenset({"bucket", "bucketNamespace", "objectLockEnabled", "region"})
    inline = frozenset({
        "acl", "corsRules", "grants", "lifecycleRules", "logging", "objectLockConfiguration", "policy",
        "replicationConfiguration", "serverSideEncryptionConfiguration", "versioning", "website",
    })  # fmt: skip

    def check(self, inputs: Mapping[str, Any]) -> Iterator[Problem]:
        yield from super().check(inputs)
        for name in sorted(self.inline & inputs.keys()):
            yield Problem(name, "is deprecated on the bucket itself; use the resource of its own")

    def create(self, inputs: dict[str, Any]) -> Created:
        name = inputs["bucket"]
        lock = bool(inputs.get("objectLockEnabled"))
        s3api.create_bucket(self.cloud.s3(inputs), name, self.cloud.region_of(inputs), object_lock=lock)
        self._tag(self.cloud.s3(inputs), name, inputs)
        return Created(name)

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        s3 = self.cloud.s3(state)
        if s3api.ask(s3.head_bucket, Bucket=resource_id) is None:
            return None
        shown = s3api.ask(s3.get_bucket_tagging, NO_TAGS, Bucket=resource_id) or {}
        tags = {tag["Key"]: tag["Value"] for tag in shown.get("TagSet", ())}
        inputs: dict[str, Any] = {"bucket": resource_id, "tags": self.cloud.own_tags(tags, state)}
        if state.get("objectLockEnabled"):
            absent = s3api.NO_BUCKET | {"ObjectLockConfigurationNotFoundError"}
            lock = s3api.ask(s3.get_object_lock_configuration, absent, Bucket=resource_id) or {}
            enabled = lock.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
            inputs["objectLockEnabled"] = enabled == "Enabled"
        region = self.cloud.region_of(state)
        outputs = {
            "arn": f"arn:aws:s3:::{resource_id}",
            "bucketDomainName": f"{resource_id}.s3.amazonaws.com",
            "bucketRegion": region,
            "bucketRegionalDomainName": f"{resource_id}.s3.{region}.amazonaws.com",
            "region": region,
            "tagsAll": tags,
        }
        return Live(inputs, outputs)

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._tag(self.cloud.s3(old), resource_id, new)  # all tags are written at once

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        s3api.delete_bucket(self.cloud.s3(state), resource_id, force=bool(state.get("forceDestroy")))

    def _tag(self, s3: Any, name: str, inputs: dict[str, Any]) -> None:
        tags = self.cloud.all_tags(inputs)
        if tags:
            tag_set = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_set})
        else:
            s3api.ask(s3.delete_bucket_tagging, NO_TAGS, Bucket=name)
