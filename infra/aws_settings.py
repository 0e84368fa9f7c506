"""A backend's settings as `pulumi_aws` takes them: encryption, versioning, object lock, lifecycle and CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_aws import s3

if TYPE_CHECKING:
    from infra.backend import Encryption, Retention
    from infra.s3 import Spec


def encryption(found: Encryption, key: Any) -> s3.BucketServerSideEncryptionConfigurationRuleArgs:
    """How objects are encrypted when the upload does not say; nobody may send a key of their own with an object."""
    default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm=found.type, kms_master_key_id=key
    )
    return s3.BucketServerSideEncryptionConfigurationRuleArgs(
        apply_server_side_encryption_by_default=default,
        bucket_key_enabled=found.customer_key,
        blocked_encryption_types=["SSE-C"],
    )


def versioning(wanted: bool) -> s3.BucketVersioningVersioningConfigurationArgs:
    """Whether former versions are kept."""
    # not "Disabled": S3 takes that only for a bucket that never had versions
    return s3.BucketVersioningVersioningConfigurationArgs(status="Enabled" if wanted else "Suspended")


def object_lock(retention: Retention) -> s3.BucketObjectLockConfigurationRuleArgs:
    """How long nothing can be deleted or overwritten."""
    # governance can be bypassed by whom the account lets, compliance by nobody
    mode = "COMPLIANCE" if retention.locked else "GOVERNANCE"
    default = s3.BucketObjectLockConfigurationRuleDefaultRetentionArgs(mode=mode, days=retention.keep.days)
    return s3.BucketObjectLockConfigurationRuleArgs(default_retention=default)


def lifecycle_rules(spec: Spec) -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    """What the bucket removes by itself."""
    if spec.lifecycle is None:
        return []
    rules = []
    if abort := spec.lifecycle.abort_multipart_after:
        args = s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(days_after_initiation=abort.days)
        rules.append(_rule("abort-multipart", "", abort_incomplete_multipart_upload=args))
    if expire := spec.lifecycle.expire_noncurrent_after:
        args = s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(noncurrent_days=expire.days)
        # a deleted object's marker goes after its last version, or listings grow slower for ever
        marker = s3.BucketLifecycleConfigurationRuleExpirationArgs(expired_object_delete_marker=True)
        rules.append(_rule("expire-noncurrent", "", noncurrent_version_expiration=args, expiration=marker))
    for index, rule in enumerate(spec.lifecycle.rules):
        args = s3.BucketLifecycleConfigurationRuleExpirationArgs(days=rule.expire_after.days)
        rules.append(_rule(f"expire-{index}", rule.prefix, expiration=args))
    return rules


def _rule(name: str, prefix: str, **action: Any) -> s3.BucketLifecycleConfigurationRuleArgs:
    where = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix)
    return s3.BucketLifecycleConfigurationRuleArgs(id=name, status="Enabled", filter=where, **action)


def cors_rules(spec: Spec) -> list[s3.BucketCorsConfigurationCorsRuleArgs]:
    """What browsers may do."""
    return [
        s3.BucketCorsConfigurationCorsRuleArgs(
            allowed_origins=list(rule.origins),
            allowed_methods=list(rule.methods),
            allowed_headers=list(rule.headers),
            expose_headers=list(rule.expose),
            max_age_seconds=rule.contract().max_age,
        )
        for rule in spec.cors
    ]
