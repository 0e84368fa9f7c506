"""The live settings of a GCS bucket: its resource, and who has a role on it.

Source:
    https://cloud.google.com/storage/docs/json_api/v1/buckets
    https://cloud.google.com/storage/docs/json_api/v1/buckets/getIamPolicy
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from runtime.config import CorsRule, LifecycleConfig, LifecycleRule
from runtime.drivers._http import Request, ServiceError
from runtime.live import LiveEncryption, LiveSettings, Unseen

if TYPE_CHECKING:
    from runtime.drivers._http import HttpClient

_EVERYBODY: Final = frozenset({"allUsers", "allAuthenticatedUsers"})
_KEYS: Final = {
    "versioning": "versioning",
    "encryption": "encryption",
    "cors": "cors",
    "lifecycle": "lifecycle",
    "public_blocked": "iamConfiguration",
    "region": "location",
    "logging": "logging",
}
"""Our settings, and the key of the bucket's resource that each is read from."""

_ROLES_APART: Final = Unseen("roles also come from the project and from groups", "roles/iam.securityReviewer")
_NOT_KEPT: Final = Unseen("the emulator keeps no such setting")


async def live_settings(http: HttpClient, bucket_url: str, kms_key: str | None, *, emulator: bool) -> LiveSettings:
    """What the bucket is set to now.

    Args:
        http: The driver's client.
        bucket_url: The bucket's resource.
        kms_key: The key that the contract names.
        emulator: Whether no Google answers: emulators drop most settings, and silence is then no answer.
    """
    bucket = await _read(http, bucket_url, "storage.buckets.get")
    if isinstance(bucket, Unseen):
        return LiveSettings(unseen=dict.fromkeys([*_KEYS, "public"], bucket), one_header_list=True)
    unseen = {name: _NOT_KEPT for name, key in _KEYS.items() if emulator and key not in bucket}
    parts: dict[str, Any] = {
        "versioning": bool(bucket.get("versioning", {}).get("enabled")),
        "encryption": _encryption(bucket.get("encryption", {}).get("defaultKmsKeyName"), kms_key),
        "cors": tuple(map(_cors_rule, bucket.get("cors", ()))),
        "lifecycle": _lifecycle(bucket.get("lifecycle", {}).get("rule", ())),
        "public_blocked": bucket.get("iamConfiguration", {}).get("publicAccessPrevention") == "enforced",
        "region": bucket.get("location"),
        "logging": bool(bucket.get("logging", {}).get("logBucket")),
    }
    known = {name: value for name, value in parts.items() if name not in unseen}
    unseen["grants"] = _ROLES_APART
    public = False if known.get("public_blocked") else await _public(http, bucket_url, emulator=emulator)
    if isinstance(public, Unseen):
        unseen["public"] = public
    else:
        known["public"] = public
    return LiveSettings(**known, unseen=unseen, one_header_list=True)


async def _public(http: HttpClient, bucket_url: str, *, emulator: bool) -> bool | Unseen:
    if emulator:
        return Unseen("the emulator has no IAM")
    policy = await _read(http, f"{bucket_url}/iam", "storage.buckets.getIamPolicy")
    if isinstance(policy, Unseen):
        return policy
    return any(not _EVERYBODY.isdisjoint(binding.get("members", ())) for binding in policy.get("bindings", ()))


async def _read(http: HttpClient, url: str, right: str) -> dict[str, Any] | Unseen:
    try:
        answer: dict[str, Any] = json.loads((await http.read(Request("GET", url))).body)
    except ServiceError as exc:
        if exc.status != HTTPStatus.FORBIDDEN:
            raise
        return Unseen(str(exc), right)
    return answer


def _encryption(key: str | None, named: str | None) -> LiveEncryption:
    if key is None:
        return LiveEncryption(customer_key=False)
    # the bucket's resource names a key as it was set: with or without its version
    same = None if named is None else key.partition("/cryptoKeyVersions/")[0] == named
    return LiveEncryption(customer_key=True, key=key, same_key=same)


def _cors_rule(rule: dict[str, Any]) -> CorsRule:
    return CorsRule(
        origins=tuple(rule.get("origin", ())),
        methods=tuple(rule.get("method", ())),
        headers=tuple(rule.get("responseHeader", ())),
        max_age=int(rule.get("maxAgeSeconds", 0)),
    )


def _lifecycle(rules: Any) -> LifecycleConfig:
    """What is thrown away by age; moves to other classes and rules on other conditions are not compared."""
    whole: dict[str, int] = {}
    expiring: list[LifecycleRule] = []
    for rule in rules:
        action, condition = rule.get("action", {}).get("type"), rule.get("condition", {})
        prefixes = condition.get("matchesPrefix") or [""]
        if action == "AbortIncompleteMultipartUpload" and prefixes == [""] and "age" in condition:
            whole["abort_multipart_days"] = int(condition["age"])
        elif action == "Delete" and "daysSinceNoncurrentTime" in condition:
            whole["expire_noncurrent_days"] = int(condition["daysSinceNoncurrentTime"])
        elif action == "Delete" and "age" in condition:
            expiring += [LifecycleRule(prefix=prefix, expire_days=int(condition["age"])) for prefix in prefixes]
    return LifecycleConfig(**whole, rules=tuple(expiring))
