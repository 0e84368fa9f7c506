"""Rules for Google Cloud Storage and its keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from infra.gcp import DELETER, SIGNER
from infra.rules.common import (
    KEY_OF_LOGS,
    LOGS_EXPIRE,
    NO_END,
    NOT_DEV,
    REGULATED,
    WRITTEN_ONCE,
    Check,
    Resources,
    equals,
    holds,
    items,
    present,
    protected,
    rule,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.recording import Record

BUCKET: Final = "gcp:storage/bucket:Bucket"
MEMBERS: Final = ("gcp:storage/bucketIAMMember:BucketIAMMember", "gcp:storage/bucketIAMBinding:BucketIAMBinding")
RING: Final = "gcp:kms/keyRing:KeyRing"
KEY: Final = "gcp:kms/cryptoKey:CryptoKey"
KEY_MEMBERS: Final = (
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
    "gcp:kms/cryptoKeyIAMBinding:CryptoKeyIAMBinding",
    "gcp:kms/keyRingIAMMember:KeyRingIAMMember",
)
AUDIT: Final = "gcp:projects/iAMAuditConfig:IAMAuditConfig"
CUSTOM_ROLE: Final = "gcp:projects/iAMCustomRole:IAMCustomRole"
ACCOUNT_KEY: Final = "gcp:serviceaccount/key:Key"

ROTATION_SECONDS: Final = 90 * 24 * 60 * 60
ABORT_DAYS: Final = 7
DAY_SECONDS: Final = 24 * 60 * 60
_OWN_ROLE: Final = re.compile(r"projects/[^/]+/roles/tandem_")
_OWN_PERMISSIONS: Final = frozenset({*DELETER[1], *SIGNER[1]})
EVERYBODY: Final = frozenset({"allUsers", "allAuthenticatedUsers"})
_OBJECT_ROLES: Final = frozenset(
    f"roles/storage.{name}"
    for name in (
        "legacyBucketReader", "legacyObjectReader", "objectAdmin", "objectCreator", "objectUser", "objectViewer",
    )
)  # fmt: skip
"""Roles that read, list, create or replace objects, and change neither the bucket nor who may use it."""


@rule("GCP-01", "Access is by IAM alone, not by ACLs", "CIS GCP 5.2, CKV_GCP_29, TR GCP-0002")
def uniform_access(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        yield equals(bucket, "uniformBucketLevelAccess", wanted=True)


@rule("GCP-02", "Public access is prevented", "CKV_GCP_114")
def public_access(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        yield equals(bucket, "publicAccessPrevention", wanted="enforced")


@rule("GCP-03", "Nobody is allowed anything without a name", "CIS GCP 5.1, CKV_GCP_28, TR GCP-0001")
def no_public_members(resources: Resources) -> Iterator[Check]:
    for record in resources.of(*MEMBERS):
        yield _named(record)


@rule(
    "GCP-04",
    "Versions are kept, or nothing can be overwritten",
    "CKV_GCP_78, TR GCP-0078",
    profiles=NOT_DEV,
    not_of_logs=WRITTEN_ONCE,
)
def versioning(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        if value(bucket.inputs, "retentionPolicy"):  # GCS has one or the other
            yield holds(bucket, "retentionPolicy.retentionPeriod", present, "a number of seconds")
        else:
            yield equals(bucket, "versioning.enabled", wanted=True)


@rule(
    "GCP-05", "How long deleted objects are kept is said, and not left to a default that costs", "prowler soft_delete"
)
def soft_delete(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        path = "softDeletePolicy.retentionDurationSeconds"
        yield holds(bucket, path, lambda found: isinstance(found, int), "a number of seconds")


@rule(
    "GCP-06",
    "A customer's key encrypts",
    "CKV_GCP_6, TR GCP-0066",
    profiles=NOT_DEV,
    not_of_logs=KEY_OF_LOGS,
)
def customer_key(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        yield holds(bucket, "encryption.defaultKmsKeyName", present, "a customer's key")


@rule("GCP-07", "Keys rotate within 90 days", "CIS GCP 1.11, CKV_GCP_43, TR GCP-0065")
def key_rotation(resources: Resources) -> Iterator[Check]:
    for key in resources.made(KEY):
        yield holds(key, "rotationPeriod", _soon, f"at most {ROTATION_SECONDS}s")


def _soon(period: Any) -> bool:
    seconds = str(period or "").removesuffix("s")
    return seconds.isdigit() and 0 < int(seconds) <= ROTATION_SECONDS


@rule("GCP-08", "Keys and their rings are protected", "CKV_GCP_82", profiles=NOT_DEV)
def key_protection(resources: Resources) -> Iterator[Check]:
    yield from (protected(record) for record in resources.made(RING, KEY))


@rule(
    "GCP-09",
    "Access is logged, to another bucket",
    "CKV_GCP_62, CKV_GCP_63, TR GCP-0077",
    profiles=NOT_DEV,
    not_of_logs=NO_END,
)
def logging(resources: Resources) -> Iterator[Check]:
    audited = any(record.inputs.get("service") == "storage.googleapis.com" for record in resources.of(AUDIT))
    for bucket in resources.made(BUCKET):
        target, own = value(bucket.inputs, "logging.logBucket"), bucket.inputs.get("name")
        ok = audited or (bool(target) and target != own)
        expected = "another bucket, or the project's audit log of storage"
        yield Check(bucket.name, bucket.type, "logging.logBucket", target, expected, ok)


@rule("GCP-10", "Uploads that nobody completes and old versions go away", "prowler lifecycle")
def lifecycle(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        rules = [found for _, found in items(bucket, "lifecycleRules")]
        ages = [value(found, "condition.age") for found in rules if _aborts(found)]
        ok = any(isinstance(age, int) and 0 < age <= ABORT_DAYS for age in ages)
        expected = f"AbortIncompleteMultipartUpload at {ABORT_DAYS} days or before"
        yield Check(bucket.name, bucket.type, "lifecycleRules[].condition.age", ages or None, expected, ok)
        if value(bucket.inputs, "versioning.enabled"):
            path = "condition.daysSinceNoncurrentTime"
            days = [age for found in rules if _deletes(found) and isinstance(age := value(found, path), int)]
            ok = any(age > 0 for age in days)
            yield Check(bucket.name, bucket.type, f"lifecycleRules[].{path}", days or None, "a number of days", ok)


def _aborts(found: Any) -> bool:
    return bool(value(found, "action.type") == "AbortIncompleteMultipartUpload") and _whole(found)


def _deletes(found: Any) -> bool:
    return bool(value(found, "action.type") == "Delete") and _whole(found)


def _whole(found: Any) -> bool:
    """Whether a rule is for all objects."""
    return not value(found, "condition.matchesPrefixes") and not value(found, "condition.matchesSuffixes")


@rule("GCP-11", "No service account has a key that can be carried away", "CIS GCP 1.5")
def no_exported_keys(resources: Resources) -> Iterator[Check]:
    buckets = resources.of(BUCKET)
    for record in resources.of(ACCOUNT_KEY):
        yield Check(record.name, record.type, "type", record.type, "no key: workload identity", ok=False)
    if not resources.of(ACCOUNT_KEY):
        yield from (Check(each.name, each.type, ACCOUNT_KEY, None, "none", ok=True) for each in buckets)


@rule("GCP-12", "Grants are roles on objects, not on the bucket or the project", "Tandem")
def object_roles(resources: Resources) -> Iterator[Check]:
    expected = f"{', '.join(sorted(_OBJECT_ROLES))}, or a role that the program makes"
    for record in resources.of(*MEMBERS):
        yield holds(record, "role", lambda found: found in _OBJECT_ROLES or bool(_OWN_ROLE.match(str(found))), expected)
    for record in resources.made(CUSTOM_ROLE):  # of the whole stack
        expected = ", ".join(sorted(_OWN_PERMISSIONS))
        yield holds(record, "permissions", lambda found: bool(found) and _OWN_PERMISSIONS.issuperset(found), expected)


@rule("GCP-13", "Keys are not for everybody", "CIS GCP 1.10, CKV_GCP_112")
def key_members(resources: Resources) -> Iterator[Check]:
    for record in resources.of(*KEY_MEMBERS):
        yield _named(record)


def _named(record: Record) -> Check:
    if "members" in record.inputs:
        return holds(record, "members", lambda found: not EVERYBODY & set(found or ()), "named members")
    return holds(record, "member", lambda found: found not in EVERYBODY, "a named member")


@rule(
    "GCP-14",
    "Objects can not be deleted before their time",
    "CIS GCP 5.3",
    profiles=REGULATED,
    not_of_logs=LOGS_EXPIRE,
)
def retention(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        yield holds(bucket, "retentionPolicy.retentionPeriod", _a_day, f"{DAY_SECONDS} or more")


def _a_day(period: Any) -> bool:
    return str(period or "").isdigit() and int(period) >= DAY_SECONDS


RULES: Final = (
    uniform_access, public_access, no_public_members, versioning, soft_delete, customer_key, key_rotation,
    key_protection, logging, lifecycle, no_exported_keys, object_roles, key_members, retention,
)  # fmt: skip
