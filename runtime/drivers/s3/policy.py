"""What a bucket policy says of TLS, of old signatures and of everybody; statements of every other kind are passed over.

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Final

Statement = dict[str, Any]

TLS: Final = 1.2
_NEEDED: Final = {
    "read": "s3:GetObject", "write": "s3:PutObject", "delete": "s3:DeleteObject", "list": "s3:ListBucket",
}  # fmt: skip
"""The action that stands for each verb of a grant."""

_READING: Final = frozenset({"*", "s3:*", "s3:Get*", "s3:GetObject", "s3:GetObject*"})


def statements(policy: dict[str, Any] | None) -> list[Statement]:
    """The statements of a policy; none of no policy."""
    found = (policy or {}).get("Statement", [])
    return found if isinstance(found, list) else [found]


def demands_tls(policy: list[Statement], bucket: str) -> bool:
    """Whether requests without TLS, and those with TLS below 1.2, are denied to everybody, for everything."""
    denied = [each for each in policy if _denies_everybody(each) and _covers(each, bucket, whole=True)]
    plain = any(_condition(each, "Bool", "aws:securetransport") == ["false"] for each in denied)
    old = any(
        float(version) >= TLS for each in denied for version in _condition(each, "NumericLessThan", "s3:tlsversion")
    )
    return plain and old


def presign_max_age(policy: list[Statement], bucket: str) -> int:
    """Seconds after which presigned URLs are refused; 0 when the policy does not say."""
    ages = [
        int(age) // 1000
        for each in policy
        if _denies_everybody(each) and _covers(each, bucket, whole=False)
        if _condition(each, "StringEquals", "s3:authtype") in ([], ["REST-QUERY-STRING"])
        for age in _condition(each, "NumericGreaterThan", "s3:signatureage")
    ]
    return min(ages, default=0)


def allows_anybody(policy: list[Statement], bucket: str) -> bool:
    """Whether anybody may read objects without any condition."""
    return any(
        each.get("Effect") == "Allow"
        and _everybody(each.get("Principal"))
        and not each.get("Condition")
        and _covers(each, bucket, whole=False)
        and not _READING.isdisjoint(_listed(each.get("Action")))
        for each in policy
    )


def verbs(policy: list[Statement], bucket: str, identity: str) -> frozenset[str]:
    """What the policy allows an identity, by its ARN or the end of it (``role/app``), without any condition."""
    allowed: set[str] = set()
    for each in policy:
        principal = each.get("Principal")
        named = _listed(principal.get("AWS")) if isinstance(principal, dict) else []
        if each.get("Effect") != "Allow" or each.get("Condition"):
            continue
        if not any(arn == identity or str(arn).endswith(f":{identity}") for arn in named):
            continue
        actions = [str(action) for action in _listed(each.get("Action"))]
        for verb, needed in _NEEDED.items():
            about = _covers_bucket(each, bucket) if verb == "list" else _covers(each, bucket, whole=False)
            if about and any(fnmatchcase(needed.lower(), action.lower()) for action in actions):
                allowed.add(verb)
    return frozenset(allowed)


def _denies_everybody(statement: Statement) -> bool:
    actions = {action.lower() for action in _listed(statement.get("Action"))}
    return (
        statement.get("Effect") == "Deny"
        and _everybody(statement.get("Principal"))
        and not actions.isdisjoint({"*", "s3:*"})
    )


def _everybody(principal: Any) -> bool:
    return principal == "*" or (isinstance(principal, dict) and "*" in _listed(principal.get("AWS")))


def _covers(statement: Statement, bucket: str, *, whole: bool) -> bool:
    """Whether a statement is about all objects of the bucket; with *whole* about the bucket itself too."""
    objects = not _resources(statement).isdisjoint({f"{bucket}/*", f"{bucket}*", "*"})
    return objects and (not whole or _covers_bucket(statement, bucket))


def _covers_bucket(statement: Statement, bucket: str) -> bool:
    return not _resources(statement).isdisjoint({bucket, f"{bucket}*", "*"})


def _resources(statement: Statement) -> set[str]:
    return {resource.partition(":s3:::")[2] or resource for resource in _listed(statement.get("Resource"))}


def _condition(statement: Statement, operator: str, key: str) -> list[str]:
    """The values of one condition, as text in lower case for booleans; names of keys compare without case."""
    found = {name.lower(): value for name, value in (statement.get("Condition", {}).get(operator) or {}).items()}
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in _listed(found.get(key))]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
