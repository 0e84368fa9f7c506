"""What the profiles mean by default, said once in code; and a spec that asks for less is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from infra.policy import check
from infra.profiles import KEYS, PROFILES, rewritten, table, written
from infra.rules import RULES
from infra.spec import load_spec
from infra.stack import Stack, stack_names
from runtime.cli.app import build_app
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from tests.infra.conftest import MakeStack, Run

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "stacks" / "README.md"

LESS: dict[str, tuple[str, str, str, str]] = {
    "encryption.type": ("s3", "encryption: {type: AES256}", "AES256", "aws:kms"),
    "encryption.rotate_after": ("gcs", "encryption: {type: 'gcs:cmek', rotate_after: 91d}", "91d", "90d"),
    "encryption.delete_after": ("s3", "encryption: {type: 'aws:kms', delete_after: 29d}", "29d", "30d"),
    "infrastructure_encryption": ("azure", "infrastructure_encryption: false", "false", "true"),
    "versioning": ("gcs", "versioning: false", "false", "true"),
    "lifecycle.abort_multipart_after": ("r2", "lifecycle: {abort_multipart_after: 8d}", "8d", "7d"),
    "lifecycle.expire_noncurrent_after": ("s3", "lifecycle: {expire_noncurrent_after: 29d}", "29d", "30d"),
    "soft_delete": ("azure", "soft_delete: 6d", "6d", "7d"),
    "change_feed": ("azure", "change_feed: 0s", "0s", "90d"),
    "logging": ("s3", "logging: false", "false", "true"),
    "public": ("gcs", "public: true", "true", "false"),
    "sku": ("azure", "sku: Standard_LRS", "Standard_LRS", "Standard_ZRS"),
    "presign_max_age": ("s3", "presign_max_age: 13h", "13h", "12h"),
    "sas_max_age": ("azure", "sas_max_age: 8d", "8d", "7d"),
}
"""For each key: a driver, what its spec says, and what `tandem check` says of it."""

MORE = {
    "s3": "encryption: {type: 'aws:kms', rotate_after: 90d, delete_after: 30d}, presign_max_age: 1h, logging: true,"
    " lifecycle: {abort_multipart_after: 1d, expire_noncurrent_after: 90d}",
    "gcs": "location: EU, presign_max_age: 1h, soft_delete: 30d,"
    " encryption: {type: 'gcs:cmek', rotate_after: 30d, delete_after: 60d}",
    "azure": "location: westeurope, network: private, soft_delete: 30d, sku: Standard_GZRS, change_feed: 365d,"
    " sas_max_age: 1d",
}
PLACES = {"azure": "location: westeurope, network: private, ", "gcs": "location: EU, "}
NOWHERE_WEAKER = {"network", "force_destroy"}
"""`network` has no default outside dev, and `force_destroy` is refused there."""


def one(driver: str, keys: str) -> str:
    return f"{{a: {{driver: {driver}, {PLACES.get(driver, '')}{keys}}}}}"


def test_the_guide_has_the_table_that_the_code_makes() -> None:
    if os.environ.get("TANDEM_UPDATE_GOLDEN") == "1":
        GUIDE.write_text(rewritten(GUIDE.read_text()))
    assert written(GUIDE.read_text()) == table(), "see the guide, above its table"


def test_the_table_has_every_key_that_differs_and_every_rule() -> None:
    text = table()
    assert "| `presign_max_age` | s3 | - | 7d | 12h |" in text
    assert "| `presign_max_age` | gcs | - | 12h | 12h |" in text
    assert "| `presign_max_age` | azure, r2 | - | - | 12h |" in text
    assert "| `network` | azure | public | required | required |" in text
    for rule in RULES:
        family, _, number = rule.id.partition("-")
        assert any(f"{family}-" in line and f"{number}" in line for line in text.splitlines())


def test_every_key_can_be_weaker_and_is_told() -> None:
    assert {key.path for key in KEYS} == {*LESS, *NOWHERE_WEAKER}


@pytest.mark.parametrize("path", LESS)
def test_a_key_that_protects_less_than_its_profile_is_named(make_stack: MakeStack, path: str) -> None:
    driver, keys, found, default = LESS[path]
    profile = "regulated" if path == "presign_max_age" else "standard"
    report = check(make_stack(one(driver, keys), profile=profile))
    told = [each for each in report.weaker if each.key == path]
    assert [(each.backend, each.found, each.default) for each in told] == [("a", found, default)]


@pytest.mark.parametrize("driver", MORE)
def test_a_key_that_protects_as_much_or_more_is_not_told(make_stack: MakeStack, driver: str) -> None:
    assert check(make_stack(f"{{a: {{driver: {driver}, {MORE[driver]}}}}}")).weaker == ()


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_no_example_stack_is_weaker_than_its_profile(name: str) -> None:
    assert check(Stack.read(name, ROOT)).weaker == ()


def test_a_limit_where_the_profile_has_none_is_not_weaker(make_stack: MakeStack) -> None:
    assert check(make_stack("{a: {driver: s3, presign_max_age: 1h}}", profile="dev")).weaker == ()


def test_logs_that_are_kept_for_less_are_told_of_the_stack(make_stack: MakeStack) -> None:
    (found,) = check(make_stack("{a: {driver: s3}}", logging={"keep": "30d"})).weaker
    assert (found.backend, found.key, found.found, found.default) == ("", "logging.keep", "30d", "90d")


def test_logging_that_is_off_for_the_whole_stack_is_told_once(make_stack: MakeStack) -> None:
    report = check(make_stack("{a: {driver: s3}, b: {driver: s3}}", logging=False))
    assert [(each.backend, each.key, each.found, each.default) for each in report.weaker] == [
        ("", "logging", "false", "true")
    ]


def test_check_prints_it_and_gives_it_as_json(make_stack: MakeStack) -> None:
    stack = make_stack(one("s3", "lifecycle: {expire_noncurrent_after: 7d}"))
    words = ["check", "-s", "test", "-C", str(stack.root)]
    found = CliRunner().invoke(build_app(), words)
    assert found.exit_code == 0
    assert "weaker    a: lifecycle.expire_noncurrent_after is 7d; profile standard has 30d" in found.output
    document = json.loads(CliRunner().invoke(build_app(), [*words, "--json"]).output)
    assert document["weaker_defaults"] == [
        {"backend": "a", "key": "lifecycle.expire_noncurrent_after", "found": "7d", "default": "30d"}
    ]


def test_every_default_of_a_key_can_be_changed(make_stack: MakeStack, run: Run) -> None:
    keys = "encryption: {type: 'aws:kms', rotate_after: 90d, delete_after: 8d}"
    key = run(make_stack(one("s3", keys))).one("a-key").inputs
    assert (key["rotationPeriodInDays"], key["deletionWindowInDays"]) == (90, 8)
    keys = "encryption: {type: 'gcs:cmek', rotate_after: 30d, delete_after: 60d}"
    key = run(make_stack(one("gcs", keys))).one("a-key").inputs
    assert (key["rotationPeriod"], key["destroyScheduledDuration"]) == ("2592000s", "5184000s")
    keys = "infrastructure_encryption: false, change_feed: 5d, sas_max_age: 2d, sku: Standard_GRS"
    recording = run(make_stack(one("azure", keys)))
    account = recording.one("a-account").inputs
    assert account["encryption"]["requireInfrastructureEncryption"] is False
    assert account["sasPolicy"]["sasExpirationPeriod"] == "2.00:00:00"
    assert recording.one("a-service").inputs["changeFeed"] == {"enabled": True, "retentionInDays": 5}


WRONG: list[tuple[str, str, str]] = [
    ("s3", "encryption: {type: 'aws:kms', rotate_after: 89d}", "rotate_after: found 89d; allowed: 90d to 2560d"),
    ("gcs", "encryption: {type: 'gcs:cmek', delete_after: 121d}", "delete_after: found 121d; allowed: 1d to 120d"),
    (
        "s3",
        "encryption: {type: AES256, delete_after: 8d}",
        "delete_after: is for keys that the program makes, and this one it does not; allowed: leave it out",
    ),
]


@pytest.mark.parametrize(("driver", "keys", "expected"), WRONG)
def test_times_that_a_cloud_does_not_take_are_problems(
    make_stack: MakeStack, driver: str, keys: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_spec(make_stack(one(driver, keys)))
    assert [str(each) for each in raised.value.problems] == [f"storage.backends.a.encryption.{expected}"]


def test_r2s_own_rule_is_declared_again_on_an_existing_bucket(make_stack: MakeStack, run: Run) -> None:
    keys = "existing: old-media, lifecycle: {rules: [{prefix: tmp/, expire_after: 1d}]}"
    rules: Any = run(make_stack(one("r2", keys))).one("a-lifecycle").inputs["rules"]
    assert [rule["id"] for rule in rules] == ["abort-multipart", "expire-0"]
    assert rules[0]["abortMultipartUploadsTransition"]["condition"]["maxAge"] == 7 * 24 * 60 * 60


def test_profiles_are_these() -> None:
    assert PROFILES == ("dev", "standard", "regulated")
