"""Rules for every cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from infra.rules import aws, azure, gcp, r2
from infra.rules.common import NOT_DEV, Check, Resources, holds, items, protected, rule, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUCKETS: Final = (aws.BUCKET, gcp.BUCKET, azure.CONTAINER, r2.BUCKET)

ACCESS_KEY: Final = "aws:iam/accessKey:AccessKey"
PROVIDER: Final = "pulumi:providers:aws"

_ORIGINS: Final[Mapping[str, tuple[str, str]]] = {
    aws.CORS: ("corsRules", "allowedOrigins"),
    gcp.BUCKET: ("cors", "origins"),
    azure.SERVICE: ("cors.corsRules", "allowedOrigins"),
    r2.CORS: ("rules", "allowed.origins"),
}
"""Where each cloud keeps the origins of browsers: the list of rules, and the origins of one rule."""

_TAGGED: Final[Mapping[str, str]] = {
    aws.BUCKET: "tags",
    aws.KEY: "tags",
    gcp.BUCKET: "labels",
    gcp.KEY: "labels",
    azure.ACCOUNT: "tags",
}
"""Where the owner's tags are; R2 has none."""

_OWNER_TAGS: Final = ("tandem:project", "tandem:stack", "tandem:backend")
_OWNER_LABELS: Final = ("tandem-project", "tandem-stack", "tandem-backend")


@rule("ALL-01", "What holds objects is protected, and is not emptied by deleting it", "Tandem", profiles=NOT_DEV)
def protection(resources: Resources) -> Iterator[Check]:
    for record in resources.made(*BUCKETS, azure.ACCOUNT):
        yield protected(record)
        if record.type in {aws.BUCKET, gcp.BUCKET}:
            yield holds(record, "forceDestroy", lambda found: not found, "False")


@rule("ALL-02", "Browsers come from named origins, over https", "Tandem", profiles=NOT_DEV)
def origins(resources: Resources) -> Iterator[Check]:
    for record in resources.of(*_ORIGINS):
        rules, inside = _ORIGINS[record.type]
        for path, found in items(record, rules):
            named = value(found, inside)
            expected = "https origins, and no *"
            yield Check(record.name, record.type, f"{path}.{inside}", named, expected, _all_https(named))


def _all_https(named: Any) -> bool:
    listed = isinstance(named, list) and bool(named)
    return listed and all(str(each).startswith("https://") and "*" not in str(each) for each in named)


@rule("ALL-03", "Resources say whose they are", "cloudposse label")
def owner_tags(resources: Resources) -> Iterator[Check]:
    for record in resources.made(*_TAGGED):
        path = _TAGGED[record.type]
        wanted = _OWNER_LABELS if path == "labels" else _OWNER_TAGS
        found = value(record.inputs, path) or {}
        there = all(found.get(key) for key in wanted)
        yield Check(record.name, record.type, path, sorted(found) or None, ", ".join(wanted), there)


@rule(
    "ALL-04", "No long-lived key of AWS is made or used", "cloudposse", not_emulated="the emulator has one pair of keys"
)
def no_static_keys(resources: Resources) -> Iterator[Check]:
    for record in resources.of(ACCESS_KEY):
        yield Check(record.name, record.type, "type", record.type, "no key: a role", ok=False)
    for record in resources.of(PROVIDER):
        given = bool(record.inputs.get("accessKey"))
        yield Check(record.name, record.type, "accessKey", "a key" if given else None, "a role's session", not given)
    for record in resources.made(aws.BUCKET):
        if not resources.of(ACCESS_KEY):
            yield Check(record.name, record.type, ACCESS_KEY, None, "none", ok=True)


RULES: Final = (protection, origins, owner_tags, no_static_keys)
