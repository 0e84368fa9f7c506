"""The bucket of a place that Cloud Storage writes usage logs of the stack's buckets to.

Usage logs, and not the project's audit config: that one is authoritative for a whole project, so two stacks of a
project would take it from each other, and it names neither who reads a public object nor who downloads by browser.

Source:
    https://cloud.google.com/storage/docs/access-logs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi
from pulumi_gcp import storage

from infra import gcp, logs, naming

if TYPE_CHECKING:
    from infra.context import Context

WRITER: Final = "group:cloud-storage-analytics@google.com"
"""Who writes usage logs. A policy of the organisation that lets in members of its own domains only has to except it."""

ROLE: Final = "roles/storage.objectCreator"


class Logs(pulumi.ComponentResource):
    """A bucket for the usage logs of one project and place.

    Attributes:
        resources: What was made, in order; the last one is there when logs can come.
    """

    def __init__(self, project: str, location: str, context: Context) -> None:
        place = logs.name("gcp", project, location)
        super().__init__(logs.COMPONENT, place, {}, context.options("gcp"))
        refused = storage.BucketEncryptionCustomerSuppliedEncryptionEnforcementConfigArgs(
            restriction_mode="FullyRestricted"
        )
        bucket = storage.Bucket(
            f"{place}-bucket",
            name=bucket_name(project, location, context),
            project=project,
            location=location,
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning=storage.BucketVersioningArgs(enabled=False),
            soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=0),
            encryption=storage.BucketEncryptionArgs(customer_supplied_encryption_enforcement_config=refused),
            lifecycle_rules=[
                _rule("AbortIncompleteMultipartUpload", 7),
                _rule("Delete", context.logging.days(context.profile)),
            ],
            labels=gcp.labels(context.owner_tags(place, {})),
            force_destroy=context.dev,
            opts=pulumi.ResourceOptions(parent=self, protect=not context.dev, retain_on_delete=not context.dev or None),
        )
        writer = storage.BucketIAMMember(
            f"{place}-writer",
            bucket=bucket_name(project, location, context),
            role=ROLE,
            member=WRITER,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[bucket]),
        )
        self.resources: list[pulumi.CustomResource] = [bucket, writer]
        self.register_outputs({"bucket": bucket_name(project, location, context)})


def bucket_name(project: str, location: str, context: Context) -> str:
    """The bucket's name, known before it exists."""
    stack = context.stack
    return naming.gcs_bucket(stack.project, stack.name, logs.name("gcp", location), project)


def _rule(action: str, days: int) -> storage.BucketLifecycleRuleArgs:
    return storage.BucketLifecycleRuleArgs(
        action=storage.BucketLifecycleRuleActionArgs(type=action),
        condition=storage.BucketLifecycleRuleConditionArgs(age=days),
    )
