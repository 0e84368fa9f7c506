"""A backend's settings as `pulumi_gcp` takes them: lifecycle and CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_gcp import storage

from infra.backend import Lifecycle

if TYPE_CHECKING:
    from infra.gcs import Spec


def lifecycle_rules(spec: Spec) -> list[storage.BucketLifecycleRuleArgs]:
    """What the bucket throws away by itself."""
    lifecycle = spec.lifecycle or Lifecycle()
    rules = []
    if abort := lifecycle.abort_multipart_after:
        rules.append(_rule("AbortIncompleteMultipartUpload", age=abort.days))
    if expire := lifecycle.expire_noncurrent_after:
        rules.append(_rule("Delete", days_since_noncurrent_time=expire.days))
    for rule in lifecycle.rules:
        prefixes = [rule.prefix] if rule.prefix else None
        # live ones only: an age counts from the creation, and an old object's last version would go at once
        rules.append(_rule("Delete", age=rule.expire_after.days, matches_prefixes=prefixes, with_state="LIVE"))
    return rules


def retention(spec: Spec) -> storage.BucketRetentionPolicyArgs | None:
    """How long nothing can be deleted or overwritten."""
    found = spec.retention
    if found is None:
        return None
    seconds = int(found.keep.total_seconds())
    return storage.BucketRetentionPolicyArgs(retention_period=str(seconds), is_locked=found.locked)


def _rule(action: str, **condition: Any) -> storage.BucketLifecycleRuleArgs:
    return storage.BucketLifecycleRuleArgs(
        action=storage.BucketLifecycleRuleActionArgs(type=action),
        condition=storage.BucketLifecycleRuleConditionArgs(**condition),
    )


def cors_rules(spec: Spec) -> list[storage.BucketCorArgs]:
    """What browsers may do."""
    return [
        storage.BucketCorArgs(
            origins=list(rule.origins),
            methods=list(rule.methods),
            response_headers=list(dict.fromkeys([*rule.headers, *rule.expose])),  # GCS has one list for both
            max_age_seconds=rule.contract().max_age,
        )
        for rule in spec.cors
    ]
