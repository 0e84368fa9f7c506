"""The live settings of an S3 bucket: one request each, all at once.

What may not be looked at is told with the right that is missing; the other settings are compared all the same.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from runtime.config import CorsRule, LifecycleConfig, LifecycleRule
from runtime.drivers import _xml
from runtime.drivers.s3.errors import ServiceError, classify
from runtime.drivers.s3.policy import allows_anybody, demands_tls, presign_max_age, statements, verbs
from runtime.errors import PermissionDeniedError
from runtime.live import LiveEncryption, LiveSettings, Unseen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.drivers.s3.requests import Requests

_ABSENT: Final = frozenset({
    "NoSuchBucketPolicy", "NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration", "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
})  # fmt: skip
_EVERYBODY: Final = ("/groups/global/AllUsers", "/groups/global/AuthenticatedUsers")
_BLOCKS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the bucket answered.

    Attributes:
        found: By query key, the document; None when the bucket has no such setting.
        unseen: By query key, why there is no answer.
    """

    found: dict[str, Any] = field(default_factory=dict)
    unseen: dict[str, Unseen] = field(default_factory=dict)

    def unknown(self, *keys: str) -> Unseen | None:
        """Why a setting that needs all of *keys* is not known; None when it is."""
        return next((self.unseen[key] for key in keys if key in self.unseen), None)


RIGHTS: Final = {
    "versioning": "s3:GetBucketVersioning",
    "encryption": "s3:GetEncryptionConfiguration",
    "cors": "s3:GetBucketCORS",
    "lifecycle": "s3:GetLifecycleConfiguration",
    "policy": "s3:GetBucketPolicy",
    "policyStatus": "s3:GetBucketPolicyStatus",
    "publicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "ownershipControls": "s3:GetBucketOwnershipControls",
    "acl": "s3:GetBucketAcl",
    "logging": "s3:GetBucketLogging",
}
"""The settings that are asked for, by their key in the query, and the right that each needs."""

_ROOTS: Final = {
    "versioning": "VersioningConfiguration",
    "encryption": "ServerSideEncryptionConfiguration",
    "cors": "CORSConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "policyStatus": "PolicyStatus",
    "publicAccessBlock": "PublicAccessBlockConfiguration",
    "ownershipControls": "OwnershipControls",
    "acl": "AccessControlPolicy",
    "logging": "BucketLoggingStatus",
}
"""What each answer is called: some servers list the bucket when they do not know a key."""


async def ask(requests: Requests, keys: Iterable[str]) -> Answers:
    """What the bucket says of each of *keys*.

    Raises:
        ServiceError: the bucket itself can not be asked: it is gone, or nobody answers.
    """
    answers = Answers()

    async def one(key: str) -> None:
        try:
            body = (await requests.send("GET", query=[(key, "")])).body
        except ServiceError as exc:
            if exc.code in _ABSENT:
                answers.found[key] = None
            elif classify(exc) is PermissionDeniedError:  # and not a key that nobody knows
                answers.unseen[key] = Unseen(f"403 {exc.code}".rstrip(), RIGHTS[key])
            elif exc.status in {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}:
                answers.unseen[key] = Unseen(f"this server does not know it ({exc.status} {exc.code})")
            else:
                raise
        else:
            document = _parsed(body, key)
            if document is None:
                answers.unseen[key] = Unseen("this server does not know it, and answers something else")
            else:
                answers.found[key] = document

    # all of them end before one is raised: none may still ask when the driver is closed
    failures = [each for each in await asyncio.gather(*map(one, keys), return_exceptions=True) if each is not None]
    if failures:
        raise failures[0]
    return answers


async def region_of(requests: Requests) -> str | None:
    """Where the bucket is; None when this identity may not look at it."""
    try:
        return (await requests.send("HEAD")).headers.get("x-amz-bucket-region")
    except ServiceError as exc:
        if exc.status != HTTPStatus.FORBIDDEN:
            raise
        return None


def settings_of(
    answers: Answers, bucket: str, kms_key_id: str | None = None, identities: Iterable[str] = ()
) -> LiveSettings:
    """The settings that *answers* stand for.

    Args:
        answers: Of `ask`.
        bucket: Name of the bucket, for its policy.
        kms_key_id: The key that the contract names.
        identities: Whom the contract grants something. Roles that the program made have policies of their own.
    """
    needs = {
        "versioning": ("versioning",),
        "encryption": ("encryption",),
        "cors": ("cors",),
        "lifecycle": ("lifecycle",),
        "public": ("policy", "publicAccessBlock", "ownershipControls", "acl"),
        "public_blocked": ("publicAccessBlock",),
        "tls_only": ("policy",),
        "presign_max_age": ("policy",),
        "grants": ("policy",),
        "logging": ("logging",),
    }
    unseen = {name: why for name, keys in needs.items() if (why := answers.unknown(*keys))}
    found = answers.found
    policy = statements(found.get("policy"))
    read: dict[str, Any] = {
        "versioning": lambda: found["versioning"].findtext("{*}Status") == "Enabled",
        "encryption": lambda: _encryption(found["encryption"], kms_key_id),
        "cors": lambda: _cors(found["cors"]),
        "lifecycle": lambda: _lifecycle(found["lifecycle"]),
        "public": lambda: _public(found, policy, bucket),
        "public_blocked": lambda: all(_blocked(found["publicAccessBlock"]).values()),
        "tls_only": lambda: demands_tls(policy, bucket),
        "presign_max_age": lambda: presign_max_age(policy, bucket),
        "grants": lambda: {who: verbs(policy, bucket, who) for who in identities if _in_policy(who)},
        "logging": lambda: bool(found["logging"].findtext("{*}LoggingEnabled/{*}TargetBucket")),
    }
    known = {name: value() for name, value in read.items() if set(needs[name]) <= found.keys()}
    return LiveSettings(**known, unseen=unseen)


def _in_policy(identity: str) -> bool:
    return identity.startswith(("role/", "user/", "arn:"))


def _parsed(body: bytes, key: str) -> Any:
    """The answer about a setting; None when it is about something else."""
    try:
        if key == "policy":
            policy = json.loads(body)
            return policy if isinstance(policy, dict) else None
        document = _xml.parse(body)
    except ValueError:
        return None
    return document if _xml.local_name(document) == _ROOTS[key] else None


def _encryption(document: Any, kms_key_id: str | None) -> LiveEncryption:
    default = None if document is None else document.find(".//{*}ApplyServerSideEncryptionByDefault")
    if default is None or not (default.findtext("{*}SSEAlgorithm") or "").startswith("aws:kms"):
        return LiveEncryption(customer_key=False)  # S3 encrypts with its own keys when nothing is said
    key = default.findtext("{*}KMSMasterKeyID")
    if key is None:  # aws/s3, a key of the account that AWS manages
        return LiveEncryption(customer_key=True, same_key=False if kms_key_id else None)
    same = None if kms_key_id is None or _is_alias(kms_key_id) != _is_alias(key) else key == kms_key_id
    return LiveEncryption(customer_key=True, key=key, same_key=same)


def _is_alias(key: str) -> bool:
    return key.startswith("alias/") or ":alias/" in key


def _cors(document: Any) -> tuple[CorsRule, ...]:
    return tuple(
        CorsRule(
            origins=_texts(rule, "AllowedOrigin"),
            methods=_texts(rule, "AllowedMethod"),
            headers=_texts(rule, "AllowedHeader"),
            expose=_texts(rule, "ExposeHeader"),
            max_age=int(rule.findtext("{*}MaxAgeSeconds") or 0),
        )
        for rule in (() if document is None else document.iterchildren("{*}CORSRule"))
    )


def _texts(element: Any, tag: str) -> tuple[str, ...]:
    return tuple(child.text or "" for child in element.iterchildren(f"{{*}}{tag}"))


def _lifecycle(document: Any) -> LifecycleConfig:
    """What is thrown away; moves to other storage classes and rules on tags or sizes are not compared."""
    whole: dict[str, int] = {}
    rules: list[LifecycleRule] = []
    for rule in () if document is None else document.iterchildren("{*}Rule"):
        if rule.findtext("{*}Status") != "Enabled":
            continue
        prefix = next((found for place in _PREFIXES if (found := rule.findtext(place)) is not None), "")
        for name, place in _WHOLE.items():
            if not prefix and (days := rule.findtext(place)):
                whole[name] = int(days)
        if days := rule.findtext("{*}Expiration/{*}Days"):
            rules.append(LifecycleRule(prefix=prefix, expire_days=int(days)))
    return LifecycleConfig(**whole, rules=tuple(rules))


_PREFIXES: Final = ("{*}Filter/{*}Prefix", "{*}Filter/{*}And/{*}Prefix", "{*}Prefix")
_WHOLE: Final = {
    "abort_multipart_days": "{*}AbortIncompleteMultipartUpload/{*}DaysAfterInitiation",
    "expire_noncurrent_days": "{*}NoncurrentVersionExpiration/{*}NoncurrentDays",
}


def _blocked(document: Any) -> dict[str, bool]:
    return {name: document is not None and document.findtext(f"{{*}}{name}") == "true" for name in _BLOCKS}


def _public(found: dict[str, Any], policy: list[dict[str, Any]], bucket: str) -> bool:
    """Whether a policy or an ACL opens the bucket, and nothing closes it again."""
    blocked = _blocked(found["publicAccessBlock"])
    status = found.get("policyStatus")  # S3 knows more kinds of conditions than we do; compatibles may not have it
    told = status is not None and status.findtext("{*}IsPublic") == "true"
    by_policy = (told or allows_anybody(policy, bucket)) and not blocked["RestrictPublicBuckets"]
    ownership = found["ownershipControls"]
    acls_count = ownership is None or ownership.findtext(".//{*}ObjectOwnership") != "BucketOwnerEnforced"
    groups = (uri.text or "" for uri in found["acl"].iterfind(".//{*}Grantee/{*}URI"))
    by_acl = any(uri.endswith(_EVERYBODY) for uri in groups)
    return by_policy or (by_acl and acls_count and not blocked["IgnorePublicAcls"])
