"""The bucket of a region that S3 writes access logs of the stack's buckets to.

S3's own keys encrypt it, because S3 delivers no logs to a bucket with a customer's key; it has no versions, as logs are
written once, and no log of itself, which would never end.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi_aws import s3

from infra import logs, naming
from infra.aws import canonical, deny_old_signatures, deny_plain_http

if TYPE_CHECKING:
    from infra.aws import Home, Statement
    from infra.context import Context

_SIGNATURE_AGE = timedelta(hours=12)
"""People read logs with signed URLs, too; nobody's application does."""


class Logs(pulumi.ComponentResource):
    """A bucket for the access logs of one region.

    Attributes:
        resources: What was made, in order; the last one is there when logs can come.
    """

    def __init__(self, home: Home, context: Context) -> None:
        self._place = logs.name("aws", home.region)
        super().__init__(logs.COMPONENT, self._place, {}, context.options("aws"))
        self.resources: list[pulumi.CustomResource] = []
        self._name, self._home = bucket_name(home, context), home
        tags = context.owner_tags(self._place, {})
        self._set(s3.Bucket, "bucket", protect=not context.dev, force_destroy=context.dev, tags=tags)
        self._set(
            s3.BucketPublicAccessBlock,
            "public-access",
            block_public_acls=True,
            ignore_public_acls=True,
            block_public_policy=True,
            restrict_public_buckets=True,
        )
        rule = s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced")
        self._set(s3.BucketOwnershipControls, "ownership", rule=rule)
        self._encryption()
        self._lifecycle(context.logging.days(context.profile))
        statements = policy(home.bucket(self._name), home.account, tls_only=context.speaks_tls("aws"))
        self._set(s3.BucketPolicy, "policy", policy=canonical(statements))
        self.register_outputs({"bucket": self._name})

    def _encryption(self) -> None:
        default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="AES256"
        )
        rule = s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=default,
            bucket_key_enabled=False,
            blocked_encryption_types=["SSE-C"],
        )
        self._set(s3.BucketServerSideEncryptionConfiguration, "encryption", rules=[rule])

    def _lifecycle(self, days: int) -> None:
        everything = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
        abort = s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(days_after_initiation=7)
        expire = s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days)
        rule = s3.BucketLifecycleConfigurationRuleArgs
        rules = [
            rule(
                id="abort-multipart",
                status="Enabled",
                filter=everything,
                abort_incomplete_multipart_upload=abort,
            ),
            rule(id="expire-logs", status="Enabled", filter=everything, expiration=expire),
        ]
        self._set(s3.BucketLifecycleConfiguration, "lifecycle", rules=rules)

    def _set(self, kind: Any, role: str, *, protect: bool = False, **settings: Any) -> None:
        after, keep = self.resources[-1:], protect or None
        options = pulumi.ResourceOptions(parent=self, depends_on=after, protect=protect, retain_on_delete=keep)
        name = f"{self._place}-{role}"
        self.resources.append(kind(name, bucket=self._name, region=self._home.region, **settings, opts=options))


def bucket_name(home: Home, context: Context) -> str:
    """The bucket's name, known before it exists."""
    return naming.bucket(context.stack.project, context.stack.name, logs.name("aws", home.region), home.account)


def policy(bucket: str, account: str, *, tls_only: bool) -> list[Statement]:
    """S3's log service writes, for buckets of this account; nobody else is let in by it.

    Source:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html#grant-log-delivery-permissions-general
    """
    delivery: Statement = {
        "Sid": "LogDelivery",
        "Action": ["s3:PutObject"],
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Resource": [f"{bucket}/*"],
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    denied = deny_plain_http(bucket) if tls_only else []
    return [*denied, deny_old_signatures(bucket, _SIGNATURE_AGE // timedelta(milliseconds=1)), delivery]
