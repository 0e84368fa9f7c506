"""Retention: what each cloud has of it, and what contradicts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra.spec import load_spec
from runtime.config import StorageDocument
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from tests.infra.conftest import MakeStack, Run

PLACES = {"azure": "location: westeurope, network: private, ", "gcs": "location: EU, "}


def one(driver: str, keys: str) -> str:
    return f"{{a: {{driver: {driver}, {PLACES.get(driver, '')}{keys}}}}}"


@pytest.mark.parametrize(("locked", "mode"), [("false", "GOVERNANCE"), ("true", "COMPLIANCE")])
def test_s3_locks_objects(make_stack: MakeStack, run: Run, locked: str, mode: str) -> None:
    recording = run(make_stack(one("s3", f"retention: {{keep: 30d, locked: {locked}}}")))
    assert recording.one("a-bucket").inputs["objectLockEnabled"] is True
    lock = recording.one("a-object-lock")
    assert lock.inputs["rule"] == {"defaultRetention": {"mode": mode, "days": 30}}
    assert recording.one("a-versioning").urn in lock.dependencies
    assert recording.one("a-versioning").inputs["versioningConfiguration"] == {"status": "Enabled"}


def test_a_bucket_without_retention_has_no_lock(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(one("s3", "logging: false")))
    assert "objectLockEnabled" not in recording.one("a-bucket").inputs
    assert recording.of("BucketObjectLockConfiguration") == []


def test_gcs_retains_in_place_of_versions(make_stack: MakeStack, run: Run) -> None:
    found = run(make_stack(one("gcs", "retention: {keep: 30d, locked: true}"))).one("a-bucket").inputs
    assert found["retentionPolicy"] == {"retentionPeriod": "2592000", "isLocked": True}
    assert found["versioning"] == {"enabled": False}
    assert not any("daysSinceNoncurrentTime" in rule["condition"] for rule in found["lifecycleRules"])


@pytest.mark.parametrize(("locked", "state"), [("false", "Unlocked"), ("true", "Locked")])
def test_azure_retains_versions(make_stack: MakeStack, run: Run, locked: str, state: str) -> None:
    recording = run(make_stack(one("azure", f"retention: {{keep: 14d, locked: {locked}}}")))
    assert recording.one("a-account").inputs["immutableStorageWithVersioning"] == {
        "enabled": True,
        "immutabilityPolicy": {
            "allowProtectedAppendWrites": False,
            "immutabilityPeriodSinceCreationInDays": 14,
            "state": state,
        },
    }
    assert recording.one("a-service").inputs["isVersioningEnabled"] is True


def test_r2_locks_the_bucket_in_its_jurisdiction(make_stack: MakeStack, run: Run) -> None:
    lock = run(make_stack(one("r2", "jurisdiction: eu, retention: {keep: 2d}"))).one("a-lock").inputs
    assert lock["jurisdiction"] == "eu"
    assert lock["rules"] == [
        {"id": "retention", "enabled": True, "prefix": "", "condition": {"type": "Age", "maxAgeSeconds": 172_800}}
    ]


def test_what_is_retained_is_not_emptied_by_a_destroy_in_dev(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(one("s3", "retention: {keep: 1d}"), profile="dev"))
    assert recording.one("a-bucket").inputs["forceDestroy"] is False
    contract = StorageDocument.model_validate(recording.outputs["storage"])
    expect = contract.storage.backend("a").expect
    assert expect is not None
    assert expect.versioning is True


WRONG: list[tuple[str, str, str]] = [
    ("local", "retention: {keep: 1d}", "retention: driver local can not do this"),
    ("memory", "retention: {keep: 1d}", "retention: driver memory can not do this"),
    ("s3", "retention: {}", "retention.keep: is required"),
    ("s3", "retention: {keep: 36501d}", "retention.keep: found 36501d"),
    ("s3", "retention: {keep: 1d}, versioning: false", "versioning: found False beside retention"),
    ("azure", "retention: {keep: 1d}, versioning: false", "versioning: found False beside retention"),
    ("gcs", "retention: {keep: 1d}, versioning: true", "versioning: found True beside retention"),
    ("r2", "retention: {keep: 1d, locked: true}", "retention.locked: found True, and whoever may write the settings"),
    (
        "s3",
        "retention: {keep: 1d}, existing: old-photos",
        "retention: found beside existing: only a new bucket can get it",
    ),
    (
        "s3",
        "retention: {keep: 1d}, transfer: {checksum: when_required}",
        "transfer.checksum: found 'when_required' beside retention",
    ),
    (
        "gcs",
        "retention: {keep: 7d}, lifecycle: {rules: [{prefix: tmp/, expire_after: 1d}]}",
        "lifecycle.rules[0].expire_after: found 1d, and retention keeps objects for 7d",
    ),
]


@pytest.mark.parametrize(("driver", "keys", "expected"), WRONG)
def test_what_contradicts_it_is_a_problem_of_the_spec(
    make_stack: MakeStack, driver: str, keys: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_spec(make_stack(one(driver, keys)))
    (found,) = raised.value.problems
    assert str(found).startswith(f"storage.backends.a.{expected}")


def test_force_destroy_and_retention_are_one_or_the_other(make_stack: MakeStack) -> None:
    keys: Any = one("s3", "retention: {keep: 1d}, force_destroy: true")
    with pytest.raises(ConfigError, match="force_destroy: found True beside retention"):
        load_spec(make_stack(keys, profile="dev"))
