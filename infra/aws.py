"""ARNs and policy documents of AWS, from plain strings: known in preview, offline and before anything exists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Statement = dict[str, Any]

_LISTS: Final = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")
_READS: Final = ("s3:GetObject", "s3:GetObjectTagging")
_WRITES: Final = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectTagging")
_DELETES: Final = ("s3:DeleteObject",)

_SETTINGS: Final = (
    "s3:GetBucketCORS", "s3:GetBucketLogging", "s3:GetBucketOwnershipControls", "s3:GetBucketPolicy",
    "s3:GetBucketPolicyStatus", "s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging", "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:ListBucketVersions",
)  # fmt: skip
_VERSIONS: Final = (
    "s3:DeleteObjectTagging", "s3:DeleteObjectVersion", "s3:DeleteObjectVersionTagging", "s3:GetObjectAttributes",
    "s3:GetObjectVersion", "s3:GetObjectVersionAttributes", "s3:GetObjectVersionTagging",
    "s3:PutObjectVersionTagging",
)  # fmt: skip

BUCKET_ACTIONS: Final[Mapping[str, Sequence[str]]] = {"list": _LISTS, "admin": (*_LISTS, *_SETTINGS)}

OBJECT_ACTIONS: Final[Mapping[str, Sequence[str]]] = {
    "read": _READS,
    "write": _WRITES,
    "delete": _DELETES,
    "admin": (*_READS, *_WRITES, *_DELETES, *_VERSIONS),
}
"""Presigning takes no action of its own: a URL can do what its signer can.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

KEY_ACTIONS: Final[Mapping[str, Sequence[str]]] = {
    "read": ("kms:Decrypt",),
    "write": ("kms:Decrypt", "kms:GenerateDataKey"),  # completing a multipart upload decrypts its parts
    "admin": ("kms:Decrypt", "kms:GenerateDataKey"),
}
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html"""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a bucket is.

    Attributes:
        region: AWS region.
        account: Twelve digits; empty when the stack names no account.
    """

    region: str
    account: str

    @property
    def partition(self) -> str:
        """``aws``, or the separate AWS of China or of the US government."""
        prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        return next((name for prefix, name in prefixes.items() if self.region.startswith(prefix)), "aws")

    @property
    def domain(self) -> str:
        """Domain of the partition's service names."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def bucket(self, name: str) -> str:
        """ARN of a bucket."""
        return f"arn:{self.partition}:s3:::{name}"

    def alias(self, name: str) -> str:
        """ARN of a key's alias."""
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:alias/{name}"

    def identity(self, name: str) -> str:
        """ARN of ``role/app``; an ARN stays as it is."""
        return name if name.startswith("arn:") else f"arn:{self.partition}:iam::{self.account}:{name}"


@dataclass(frozen=True, slots=True)
class BucketRules:
    """What a bucket's policy has to say.

    Attributes:
        tls_only: Only TLS 1.2 and newer comes in.
        presign_max_age: Age at which presigned URLs end; None for their own expiry.
        grants: ARN of each identity and what it may do.
        public: Anybody may read objects.
    """

    tls_only: bool
    presign_max_age: timedelta | None = None
    grants: Sequence[tuple[str, Sequence[str]]] = ()
    public: bool = False


def bucket_policy(bucket: str, rules: BucketRules) -> str | None:
    """The policy of the bucket with this ARN; None when there is nothing to say."""
    statements: list[Statement] = deny_plain_http(bucket) if rules.tls_only else []
    if rules.presign_max_age is not None:
        statements.append(deny_old_signatures(bucket, rules.presign_max_age // timedelta(milliseconds=1)))
    for index, (identity, access) in enumerate(rules.grants):
        statements += allow_bucket_access(index, identity, access, bucket)
    if rules.public:
        statements.append(allow_public_reads(bucket))
    return canonical(statements) if statements else None


def canonical(statements: Iterable[Statement]) -> str:
    """A policy as JSON that is the same text for the same policy, or every refresh shows a difference."""
    return json.dumps({"Statement": list(statements), "Version": "2012-10-17"}, sort_keys=True, separators=(",", ":"))


def deny_plain_http(bucket: str) -> list[Statement]:
    """Only TLS 1.2 and newer reaches the bucket.

    Source:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
    """
    everything = {"Action": "s3:*", "Effect": "Deny", "Principal": "*", "Resource": [bucket, f"{bucket}/*"]}
    return [
        {"Sid": "DenyPlainHttp", **everything, "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {"Sid": "DenyOldTls", **everything, "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}},
    ]


def deny_old_signatures(bucket: str, milliseconds: int) -> Statement:
    """A presigned URL ends at this age, whatever its own expiry says.

    Source:
        https://docs.aws.amazon.com/AmazonS3/latest/API/bucket-policy-s3-sigv4-conditions.html
    """
    return {
        "Sid": "DenyOldSignatures",
        "Action": "s3:*",
        "Effect": "Deny",
        "Principal": "*",
        "Resource": [f"{bucket}/*"],
        "Condition": {
            "NumericGreaterThan": {"s3:signatureAge": str(milliseconds)},
            "StringEquals": {"s3:authType": "REST-QUERY-STRING"},
        },
    }


def allow_public_reads(bucket: str) -> Statement:
    """Anybody may read objects, nobody may list them."""
    return {
        "Sid": "PublicRead",
        "Action": "s3:GetObject",
        "Effect": "Allow",
        "Principal": "*",
        "Resource": [f"{bucket}/*"],
    }


def allow_bucket_access(index: int, identity: str, access: Sequence[str], bucket: str) -> list[Statement]:
    """What one identity may do with a bucket and its objects, as the bucket's policy says it."""
    return [
        {**statement, "Sid": f"Grant{index}{statement['Sid']}", "Principal": {"AWS": identity}}
        for statement in _bucket_access(access, bucket)
    ]


def role_policy(access: Sequence[str], bucket: str, home: Home, key: str | None) -> str:
    """What a role may do with a bucket, its objects and their key, as the role's own policy says it.

    Args:
        access: The verbs.
        bucket: ARN of the bucket.
        home: Where it is.
        key: ARN of the key that encrypts it; None for keys of S3.
    """
    statements = list(_bucket_access(access, bucket))
    if key and (actions := _actions(KEY_ACTIONS, access)):
        statements.append({"Sid": "Key", **_key_access(home, actions), "Resource": [key]})
    return canonical(statements)


def _bucket_access(access: Sequence[str], bucket: str) -> list[Statement]:
    parts = (("Bucket", BUCKET_ACTIONS, bucket), ("Objects", OBJECT_ACTIONS, f"{bucket}/*"))
    return [
        {"Sid": sid, "Action": actions, "Effect": "Allow", "Resource": [resource]}
        for sid, table, resource in parts
        if (actions := _actions(table, access))
    ]


def _key_access(home: Home, actions: Sequence[str]) -> Statement:
    """The use of a key, by S3 of this region only: nobody decrypts with it who has not read the object."""
    through_s3 = {"kms:ViaService": f"s3.{home.region}.{home.domain}"}
    return {"Action": list(actions), "Effect": "Allow", "Condition": {"StringEquals": through_s3}}


def key_policy(home: Home, grants: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The account administers the key; the grants use it, through S3 of this region only."""
    statements: list[Statement] = [
        {
            "Sid": "Account",
            "Action": "kms:*",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{home.partition}:iam::{home.account}:root"},
            "Resource": "*",
        }
    ]
    for index, (identity, access) in enumerate(grants):
        if actions := _actions(KEY_ACTIONS, access):
            whom = {"Principal": {"AWS": identity}, "Resource": "*"}  # in a key's policy this is the key
            statements.append({"Sid": f"Grant{index}", **whom, **_key_access(home, actions)})
    return canonical(statements)


def _actions(table: Mapping[str, Sequence[str]], access: Sequence[str]) -> list[str]:
    return sorted({action for verb in access for action in table.get(verb, ())})
