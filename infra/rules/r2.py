"""Rules for Cloudflare R2; no published set has any."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from infra.rules.common import Check, Resources, equals, holds, items, present, rule, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.recording import Record

BUCKET: Final = "cloudflare:index/r2Bucket:R2Bucket"
CORS: Final = "cloudflare:index/r2BucketCors:R2BucketCors"
LIFECYCLE: Final = "cloudflare:index/r2BucketLifecycle:R2BucketLifecycle"
LOCK: Final = "cloudflare:index/r2BucketLock:R2BucketLock"
MANAGED_DOMAIN: Final = "cloudflare:index/r2ManagedDomain:R2ManagedDomain"
CUSTOM_DOMAIN: Final = "cloudflare:index/r2CustomDomain:R2CustomDomain"
TOKEN: Final = "cloudflare:index/accountToken:AccountToken"  # noqa: S105 - a type token

DAY: Final = 24 * 60 * 60
WEEK: Final = 7 * DAY
_ABORT: Final = "abortMultipartUploadsTransition.condition.maxAge"
_BUCKET_SCOPE: Final = "com.cloudflare.edge.r2.bucket."


@rule("R2-01", "The address below r2.dev is off", "Cloudflare R2 limits")
def managed_domain(resources: Resources) -> Iterable[Check]:
    return resources.beside(
        BUCKET, MANAGED_DOMAIN, "switched off", lambda found: [equals(found, "enabled", wanted=False)]
    )


@rule("R2-02", "A custom domain refuses TLS below 1.2", "Tandem")
def old_tls(resources: Resources) -> Iterator[Check]:
    for domain in resources.of(CUSTOM_DOMAIN):
        yield holds(domain, "minTls", {"1.2", "1.3"}.__contains__, "1.2 or 1.3; not set means 1.0")


@rule("R2-03", "Uploads that nobody completes are thrown away within a week", "cloudflare provider#6350")
def abort_multipart(resources: Resources) -> Iterable[Check]:
    expected = f"whole days in seconds, at most {WEEK}, on all objects"

    def test(record: Record) -> Iterator[Check]:
        rules = [found for _, found in items(record, "rules") if found.get("enabled")]
        ages = [value(found, _ABORT) for found in rules if not value(found, "conditions.prefix")]
        known = [age for age in ages if isinstance(age, int)]
        ok = bool(known) and all(DAY <= age <= WEEK and age % DAY == 0 for age in known)
        yield Check(record.name, record.type, f"rules[].{_ABORT}", known or None, expected, ok)

    return resources.beside(BUCKET, LIFECYCLE, expected, test)


@rule("R2-04", "All resources of a bucket name the same jurisdiction", "cloudflare provider#5144")
def jurisdiction(resources: Resources) -> Iterator[Check]:
    parts = resources.of(BUCKET, CORS, LIFECYCLE, LOCK, MANAGED_DOMAIN, CUSTOM_DOMAIN)
    wanted = parts[0].inputs.get("jurisdiction") if parts else None
    for record in parts:
        yield holds(
            record, "jurisdiction", lambda found: bool(found) and found == wanted, str(wanted or "a jurisdiction")
        )


@rule("R2-05", "Tokens are for buckets, and end", "Cloudflare R2 tokens")
def tokens(resources: Resources) -> Iterator[Check]:
    for token in resources.of(TOKEN):
        yield holds(token, "expiresOn", present, "a date")
        for path, policy in items(token, "policies"):
            yield holds(token, f"{path}.resources", _scoped, f"only {_BUCKET_SCOPE}…")
            del policy


def _scoped(found: Any) -> bool:
    try:
        named = json.loads(found) if isinstance(found, str) else found
    except ValueError:
        return False
    return isinstance(named, dict) and bool(named) and all(key.startswith(_BUCKET_SCOPE) for key in named)


RULES: Final = (managed_domain, old_tls, abort_multipart, jurisdiction, tokens)
