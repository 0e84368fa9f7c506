"""Rules for the places that access logs go to; every other rule is for them, too, unless it says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from infra.rules import aws, azure, gcp
from infra.rules.common import Check, Resources, equals, holds, items, rule, value
from infra.rules.statements import every_allow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.recording import Record

LIFECYCLE: Final = "azure-native:storage:ManagementPolicy"

_S3: Final = {"Service": "logging.s3.amazonaws.com"}
_GOOGLE: Final = "group:cloud-storage-analytics@google.com"
_AGE: Final = "definition.actions.baseBlob.delete.daysAfterModificationGreaterThan"


@rule("LOG-01", "Only the log service writes, and on S3 only for this account's buckets", "FSBP S3.9")
def writers(resources: Resources) -> Iterator[Check]:
    if not resources.logs:
        return

    def delivered(statement: dict[str, Any]) -> bool:
        account = value(statement, "Condition.StringEquals") or {}
        return statement.get("Principal") == _S3 and bool(account.get("aws:SourceAccount"))

    for policy in resources.of(aws.POLICY):
        yield from every_allow(policy, delivered, f"{_S3['Service']}, for aws:SourceAccount")
    for member in resources.of(*gcp.MEMBERS):
        yield equals(member, "member", wanted=_GOOGLE)
    for account in resources.made(azure.ACCOUNT):
        yield equals(account, "networkRuleSet.defaultAction", wanted="Deny")
        yield holds(account, "networkRuleSet.ipRules", lambda found: not found, "nobody")


@rule("LOG-02", "Logs are deleted after a while", "FSBP S3.13, Tandem")
def expiry(resources: Resources) -> Iterator[Check]:
    if not resources.logs:
        return
    for record in resources.of(aws.LIFECYCLE):
        yield _expires(record, "rules", "expiration.days")
    for record in resources.made(gcp.BUCKET):
        yield _expires(record, "lifecycleRules", "condition.age", delete=True)
    for record in resources.of(LIFECYCLE):
        yield _expires(record, "policy.rules", _AGE)


def _expires(record: Record, rules: str, path: str, *, delete: bool = False) -> Check:
    found = [each for _, each in items(record, rules) if not delete or value(each, "action.type") == "Delete"]
    ages = [age for each in found if isinstance(age := value(each, path), int) and age > 0]
    return Check(record.name, record.type, f"{rules}[].{path}", ages or None, "a number of days", bool(ages))


@rule("LOG-03", "A place for logs is not its own log", "CKV_GCP_63, Tandem")
def no_circle(resources: Resources) -> Iterator[Check]:
    if not resources.logs:
        return
    for bucket in resources.made(aws.BUCKET, azure.ACCOUNT):
        logged = [each.name for each in resources.of(aws.LOGGING, azure.DIAGNOSTICS)]
        yield Check(bucket.name, bucket.type, aws.LOGGING, logged or None, "no log of itself", not logged)
    for bucket in resources.made(gcp.BUCKET):
        yield holds(bucket, "logging", lambda found: not found, "no log of itself")


RULES: Final = (writers, expiry, no_circle)
