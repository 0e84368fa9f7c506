"""Rules for S3 and its keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from infra.rules.common import (
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
from infra.rules.statements import EVERYBODY, denies, every_allow, is_account, is_named, statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.recording import Record

BUCKET: Final = "aws:s3/bucket:Bucket"
PUBLIC_ACCESS: Final = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
OWNERSHIP: Final = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
ENCRYPTION: Final = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
VERSIONING: Final = "aws:s3/bucketVersioning:BucketVersioning"
LIFECYCLE: Final = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
CORS: Final = "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration"
POLICY: Final = "aws:s3/bucketPolicy:BucketPolicy"
OBJECT_LOCK: Final = "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration"
LOGGING: Final = "aws:s3/bucketLogging:BucketLogging"
KEY: Final = "aws:kms/key:Key"
IAM_POLICIES: Final = ("aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy", "aws:iam/userPolicy:UserPolicy")

ABORT_DAYS: Final = 7
KEY_WINDOW_DAYS: Final = 14
YEAR: Final = 365
LONGEST_SIGNATURE_MS: Final = 7 * 24 * 60 * 60 * 1000
"""A week, the longest life of a SigV4 signature."""

_NAME: Final = re.compile(r"[a-z0-9-]+-(?:[0-9a-f]{6,}|\d{12}-[a-z0-9-]+-an)")
_INLINE: Final = (
    "accelerationStatus", "acl", "corsRules", "grants", "lifecycleRules", "logging", "objectLockConfiguration",
    "policy", "replicationConfiguration", "requestPayer", "serverSideEncryptionConfiguration", "versioning", "website",
)  # fmt: skip
_OLD_TLS: Final = {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
_PLAIN_HTTP: Final = {"Bool": {"aws:SecureTransport": "false"}}
_SIDECARS: Final = (PUBLIC_ACCESS, OWNERSHIP, ENCRYPTION, VERSIONING, LIFECYCLE, CORS, POLICY, LOGGING, OBJECT_LOCK)
_HTTP_ONLY: Final = "the emulator speaks plain http, and a policy against it would lock everybody out"


@rule(
    "AWS-01",
    "Public access is blocked in all four ways",
    "CIS AWS 3.1.4, FSBP S3.8, CKV_AWS_53, CKV_AWS_54, CKV_AWS_55, CKV_AWS_56, CKV2_AWS_6, TR AWS-0086",
)
def public_access(resources: Resources) -> Iterable[Check]:
    flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    return resources.beside(
        BUCKET, PUBLIC_ACCESS, "all four flags", lambda found: [equals(found, flag, wanted=True) for flag in flags]
    )


@rule("AWS-02", "ACLs are off: the bucket's owner owns every object", "FSBP S3.12, CKV2_AWS_65")
def ownership(resources: Resources) -> Iterable[Check]:
    wanted = "BucketOwnerEnforced"
    return resources.beside(
        BUCKET, OWNERSHIP, wanted, lambda found: [equals(found, "rule.objectOwnership", wanted=wanted)]
    )


_DEFAULT: Final = "rules[0].applyServerSideEncryptionByDefault"


@rule("AWS-03", "Encryption at rest is declared", "CKV_AWS_19, TR AWS-0088")
def encryption(resources: Resources) -> Iterable[Check]:
    known = ("AES256", "aws:kms", "aws:kms:dsse")
    return resources.beside(
        BUCKET,
        ENCRYPTION,
        "an encryption by default",
        lambda found: [holds(found, f"{_DEFAULT}.sseAlgorithm", known.__contains__, " or ".join(known))],
    )


@rule(
    "AWS-04",
    "A customer's key encrypts",
    "FSBP S3.17, CKV_AWS_145, TR AWS-0132",
    profiles=NOT_DEV,
    not_of_logs="S3 delivers no logs to a bucket with a customer's key",
)
def customer_key(resources: Resources) -> Iterable[Check]:
    expected = "a customer's key"
    return resources.beside(
        BUCKET,
        ENCRYPTION,
        expected,
        lambda found: [holds(found, f"{_DEFAULT}.kmsMasterKeyId", present, expected)],
    )


@rule("AWS-05", "A bucket key keeps calls to KMS few", "Pulumi compliance-policies")
def bucket_key(resources: Resources) -> Iterator[Check]:
    for found in resources.of(ENCRYPTION):
        if value(found.inputs, f"{_DEFAULT}.kmsMasterKeyId"):
            yield equals(found, "rules[0].bucketKeyEnabled", wanted=True)


@rule("AWS-06", "Keys that callers bring along (SSE-C) are refused", "AWS default since 2026-03")
def caller_keys(resources: Resources) -> Iterator[Check]:
    for found in resources.of(ENCRYPTION):
        yield holds(found, "rules[0].blockedEncryptionTypes", lambda types: "SSE-C" in (types or ()), "SSE-C")


@rule(
    "AWS-07",
    "Versions are kept",
    "FSBP S3.14, CKV_AWS_21, TR AWS-0090",
    profiles=NOT_DEV,
    not_of_logs=WRITTEN_ONCE,
)
def versioning(resources: Resources) -> Iterable[Check]:
    return resources.beside(
        BUCKET, VERSIONING, "Enabled", lambda found: [equals(found, "versioningConfiguration.status", wanted="Enabled")]
    )


def _days(record: Record, path: str) -> list[int]:
    """An age of all lifecycle rules that are on and for all objects."""
    rules = [found for _, found in items(record, "rules") if found.get("status") == "Enabled"]
    whole = [found for found in rules if not value(found, "filter.prefix") and not found.get("prefix")]
    return [days for found in whole if isinstance(days := value(found, path), int)]


@rule("AWS-08", "Uploads that nobody completes are thrown away within a week", "CKV_AWS_300")
def abort_multipart(resources: Resources) -> Iterable[Check]:
    path, expected = "abortIncompleteMultipartUpload.daysAfterInitiation", f"at most {ABORT_DAYS} days, on all objects"

    def test(record: Record) -> Iterator[Check]:
        days = _days(record, path)
        ok = any(0 < each <= ABORT_DAYS for each in days)
        yield Check(record.name, record.type, f"rules[].{path}", days or None, expected, ok)

    return resources.beside(BUCKET, LIFECYCLE, expected, test)


@rule("AWS-09", "Old versions expire", "FSBP S3.10, FSBP S3.13, CKV2_AWS_61")
def noncurrent(resources: Resources) -> Iterable[Check]:
    if not any(value(each.inputs, "versioningConfiguration.status") == "Enabled" for each in resources.of(VERSIONING)):
        return ()
    path, expected = "noncurrentVersionExpiration.noncurrentDays", "a number of days, on all objects"

    def test(record: Record) -> Iterator[Check]:
        days = _days(record, path)
        yield Check(record.name, record.type, f"rules[].{path}", days or None, expected, bool(days))

    return resources.beside(BUCKET, LIFECYCLE, expected, test)


@rule(
    "AWS-10",
    "Plain http is denied, on the bucket and on its objects",
    "CIS AWS 3.1.1, FSBP S3.5, CKV_AWS_379",
    profiles=NOT_DEV,
    not_emulated=_HTTP_ONLY,
)
def plain_http(resources: Resources) -> Iterable[Check]:
    return resources.beside(BUCKET, POLICY, "a policy that denies plain http", denies(_PLAIN_HTTP))


@rule("AWS-11", "TLS below 1.2 is denied", "aws-cdk#27279", profiles=NOT_DEV, not_emulated=_HTTP_ONLY)
def old_tls(resources: Resources) -> Iterable[Check]:
    return resources.beside(BUCKET, POLICY, "a policy that denies TLS below 1.2", denies(_OLD_TLS))


@rule(
    "AWS-12", "Nobody is allowed anything without a name", "CIS AWS 2.21, FSBP S3.2, FSBP S3.6, CKV_AWS_70, TR AWS-0092"
)
def no_anonymous_allow(resources: Resources) -> Iterator[Check]:
    for record in resources.of(POLICY):
        expected = "a named principal"
        yield from every_allow(record, lambda each: each.get("Principal") not in EVERYBODY, expected)


@rule(
    "AWS-13",
    "Presigned URLs end at a certain age, whatever they say themselves",
    "AWS prescriptive guidance",
    profiles=NOT_DEV,
)
def presign_age(resources: Resources) -> Iterable[Check]:
    expected = "Deny s3:* on all objects to presigned URLs older than a week or less"

    def test(record: Record) -> Iterator[Check]:
        ages = [
            value(each, "Condition.NumericGreaterThan").get("s3:signatureAge")
            for each in statements(record)
            if each.get("Effect") == "Deny" and value(each, "Condition.NumericGreaterThan")
        ]
        ok = any(str(age).isdigit() and 0 < int(age) <= LONGEST_SIGNATURE_MS for age in ages)
        yield Check(record.name, record.type, "policy", ages or None, expected, ok)

    return resources.beside(BUCKET, POLICY, expected, test)


@rule(
    "AWS-14",
    "Access is logged, to another bucket",
    "FSBP S3.9, CKV_AWS_18, TR AWS-0089",
    profiles=NOT_DEV,
    not_of_logs=NO_END,
)
def logging(resources: Resources) -> Iterable[Check]:
    def test(record: Record) -> Iterator[Check]:
        yield holds(
            record,
            "targetBucket",
            lambda target: bool(target) and target != record.inputs.get("bucket"),
            "another bucket",
        )

    return resources.beside(BUCKET, LOGGING, "a log in another bucket", test)


@rule("AWS-15", "Keys rotate within a year", "CIS AWS 4.6, FSBP KMS.4, CKV_AWS_7, TR AWS-0065")
def key_rotation(resources: Resources) -> Iterator[Check]:
    for key in resources.made(KEY):
        yield equals(key, "enableKeyRotation", wanted=True)
        yield holds(key, "rotationPeriodInDays", lambda days: days is None or days <= YEAR, f"at most {YEAR}")


@rule("AWS-16", "Keys are protected, and can be rescued for two weeks", "FSBP KMS.3", profiles=NOT_DEV)
def key_deletion(resources: Resources) -> Iterator[Check]:
    for key in resources.made(KEY):
        yield protected(key)
        days = f"{KEY_WINDOW_DAYS} days or more"
        yield holds(key, "deletionWindowInDays", lambda found: (found or 0) >= KEY_WINDOW_DAYS, days)


@rule("AWS-17", "Keys have a policy of their own, for named principals", "FSBP KMS.5, CKV_AWS_33, CKV2_AWS_64")
def key_policy(resources: Resources) -> Iterator[Check]:
    for key in resources.made(KEY):
        if not statements(key):
            yield holds(key, "policy", lambda _: False, "a policy")
        yield from every_allow(key, lambda each: each.get("Principal") not in EVERYBODY, "a named principal")


@rule("AWS-18", "Grants name their actions and resources", "FSBP KMS.1, FSBP KMS.2, CKV_AWS_63")
def grants(resources: Resources) -> Iterator[Check]:
    for record in resources.of(POLICY, *IAM_POLICIES):
        yield from every_allow(record, lambda each: is_named(each, whole="*"), "named actions on named resources")
    for key in resources.made(KEY):  # there "*" is the key itself, and the account's own root administers it
        yield from every_allow(key, lambda each: is_account(each) or is_named(each, whole=None), "named actions")


@rule("AWS-19", "Names can not be guessed by others, and fit into certificates", "prowler shadow-resource, TR AWS-0320")
def names(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        if bucket.inputs.get("bucket") == resources.taken_over:  # nobody else can take it first: it is there
            yield holds(bucket, "bucket", lambda name: "." not in name, "no dots")
        else:
            expected = "no dots, and a hash or the account at the end"
            yield holds(bucket, "bucket", lambda name: bool(_NAME.fullmatch(name or "")), expected)


@rule("AWS-20", "A bucket's settings are resources of their own", "pulumi-aws#6244")
def inline(resources: Resources) -> Iterator[Check]:
    for bucket in resources.made(BUCKET):
        for key in _INLINE:
            yield holds(bucket, key, lambda found: found is None, "nothing: it is a resource of its own")


@rule("AWS-21", "A bucket has one resource of each kind", "pulumi-aws#5187")
def one_of_each(resources: Resources) -> Iterator[Check]:
    for record in resources.of(*_SIDECARS):
        bucket = record.inputs.get("bucket")
        alone = resources.kinds[record.type, bucket] == 1
        yield Check(record.name, record.type, "bucket", bucket, "the only resource of this type for it", alone)


@rule(
    "AWS-22",
    "Objects can not be deleted before their time",
    "FSBP S3.15, CKV_AWS_143",
    profiles=REGULATED,
    not_of_logs=LOGS_EXPIRE,
)
def retention(resources: Resources) -> Iterable[Check]:
    expected = "a default retention"
    return resources.beside(
        BUCKET, OBJECT_LOCK, expected, lambda found: [holds(found, "rule.defaultRetention.days", present, expected)]
    )


RULES: Final = (
    public_access, ownership, encryption, customer_key, bucket_key, caller_keys, versioning, abort_multipart,
    noncurrent, plain_http, old_tls, no_anonymous_allow, presign_age, logging, key_rotation, key_deletion, key_policy,
    grants, names, inline, one_of_each, retention,
)  # fmt: skip
