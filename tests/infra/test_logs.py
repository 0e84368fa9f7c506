"""Access logs: on outside dev, to a place of the stack that is made once, and never a backend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from infra import logs
from infra.spec import load_spec
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from infra.recording import Recording
    from infra.stack import Stack
    from tests.infra.conftest import MakeStack, Run

CLOUDS = """
avatars: {driver: s3}
exports: {driver: gcs, location: EU}
media: {driver: r2}
reports: {driver: azure, location: westeurope, network: private}
"""
PLACES = ["logs.aws.eu-west-1", "logs.gcp.example-prod.eu", "logs.azure.westeurope"]
WORKSPACE = (
    "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/logs/providers"
    "/Microsoft.OperationalInsights/workspaces/all"
)

SHAPE = "/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.OperationalInsights/workspaces/<name>"


def places(recording: Recording) -> list[str]:
    return [record.name for record in recording.records if record.type == logs.COMPONENT]


def problems(stack: Stack) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_spec(stack)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(("profile", "expected"), [("dev", []), ("standard", PLACES)])
def test_accesses_are_logged_outside_dev(make_stack: MakeStack, run: Run, profile: str, expected: list[str]) -> None:
    assert places(run(make_stack(CLOUDS, profile=profile))) == expected


def test_regulated_is_logged_for_a_year(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{a: {driver: s3}}", profile="regulated"))
    assert recording.one("logs.aws.eu-west-1-lifecycle").inputs["rules"][1]["expiration"] == {"days": 365}


def test_the_stack_and_each_backend_can_say_otherwise(make_stack: MakeStack, run: Run) -> None:
    two = "{a: {driver: s3}, b: {driver: s3, logging: true}}"
    recording = run(make_stack(two, logging=False))
    assert [record.name for record in recording.of("BucketLogging")] == ["b-logging"]
    recording = run(make_stack("{a: {driver: s3}, b: {driver: s3, logging: false}}"))
    assert [record.name for record in recording.of("BucketLogging")] == ["a-logging"]
    recording = run(make_stack("{a: {driver: s3}}", profile="dev", logging={"enabled": True, "keep": "3d"}))
    assert recording.one("logs.aws.eu-west-1-lifecycle").inputs["rules"][1]["expiration"] == {"days": 3}


def test_a_place_is_made_once_for_each_region(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{a: {driver: s3}, b: {driver: s3}, c: {driver: s3, region: eu-north-1}}"))
    assert places(recording) == ["logs.aws.eu-west-1", "logs.aws.eu-north-1"]
    targets = {name: recording.one(f"{name}-logging").inputs["targetBucket"] for name in "abc"}
    assert targets["a"] == targets["b"] == recording.one("logs.aws.eu-west-1-bucket").inputs["bucket"]
    assert targets["c"] == recording.one("logs.aws.eu-north-1-bucket").inputs["bucket"] != targets["a"]
    assert recording.one("c-logging").inputs["region"] == "eu-north-1"


def test_a_log_waits_for_its_place_and_its_bucket(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(CLOUDS))
    for name, place, own in (
        ("avatars-logging", "logs.aws.eu-west-1-policy", "avatars-policy"),
        ("exports-bucket", "logs.gcp.example-prod.eu-writer", "exports-key-user"),
        ("reports-logging", "logs.azure.westeurope-lifecycle", "reports-lifecycle"),
    ):
        assert {recording.one(place).urn, recording.one(own).urn} <= recording.one(name).dependencies


def test_no_place_is_in_the_contract(make_stack: MakeStack, run: Run) -> None:
    logged, quiet = (run(make_stack(CLOUDS, logging=on)).outputs["storage"] for on in (True, False))
    assert "logs" not in json.dumps(logged)
    backends = logged["storage"]["backends"]
    promised = {each["name"]: each["expect"].pop("logging", None) for each in backends}
    assert promised == {"avatars": True, "exports": True, "media": None, "reports": True}  # R2 logs nothing
    assert backends == quiet["storage"]["backends"]


def test_places_are_protected_and_tagged_like_the_others(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(CLOUDS, tags={"owner": "media"}))
    held = ["logs.aws.eu-west-1-bucket", "logs.gcp.example-prod.eu-bucket", "logs.azure.westeurope-account"]
    assert all(recording.one(name).protect for name in held)
    assert recording.one(held[0]).inputs["tags"] == {
        "owner": "media",
        "tandem:project": "tandem",
        "tandem:stack": "test",
        "tandem:backend": "logs.aws.eu-west-1",
    }
    assert recording.one(held[1]).inputs["labels"]["tandem-backend"] == "logs-gcp-example-prod-eu"


def test_s3_writes_partitioned_logs_and_nobody_else_writes(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{avatars: {driver: s3}}"))
    bucket = recording.one("logs.aws.eu-west-1-bucket").inputs["bucket"]
    assert dict(recording.one("avatars-logging").inputs) == {
        "bucket": recording.one("avatars-bucket").inputs["bucket"],
        "region": "eu-west-1",
        "targetBucket": bucket,
        "targetPrefix": "avatars/",
        "targetObjectKeyFormat": {"partitionedPrefix": {"partitionDateSource": "EventTime"}},
    }
    document = json.loads(recording.one("logs.aws.eu-west-1-policy").inputs["policy"])
    statements = {each["Sid"]: each for each in document["Statement"]}
    assert list(statements) == ["DenyPlainHttp", "DenyOldTls", "DenyOldSignatures", "LogDelivery"]
    assert statements["LogDelivery"] == {
        "Sid": "LogDelivery",
        "Action": ["s3:PutObject"],
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
    }
    rules = recording.one("logs.aws.eu-west-1-encryption").inputs["rules"]
    assert rules[0]["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


def test_gcs_usage_logs_are_where_the_bucket_is(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{exports: {driver: gcs, location: europe-west1, project: other-project}}"))
    bucket = recording.one("logs.gcp.other-project.europe-west1-bucket").inputs
    assert (bucket["project"], bucket["location"]) == ("other-project", "europe-west1")
    assert recording.one("exports-bucket").inputs["logging"] == {
        "logBucket": bucket["name"],
        "logObjectPrefix": "exports",
    }
    assert dict(recording.one("logs.gcp.other-project.europe-west1-writer").inputs) == {
        "bucket": bucket["name"],
        "role": "roles/storage.objectCreator",
        "member": "group:cloud-storage-analytics@google.com",
    }


def test_azure_logs_reads_writes_and_deletions_of_the_account(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{reports: {driver: azure, location: westeurope, network: private}}"))
    setting = recording.one("reports-logging").inputs
    account = recording.one("reports-account").inputs["accountName"]
    target = recording.one("logs.azure.westeurope-account").inputs
    assert setting["resourceUri"].endswith(f"/storageAccounts/{account}/blobServices/default")
    assert setting["storageAccountId"].endswith(
        f"/resourceGroups/{target['resourceGroupName']}/providers/Microsoft.Storage"
        f"/storageAccounts/{target['accountName']}"
    )
    assert [each["category"] for each in setting["logs"]] == ["StorageRead", "StorageWrite", "StorageDelete"]
    assert all(each["enabled"] for each in setting["logs"])
    assert target["networkRuleSet"] == {"bypass": "AzureServices", "defaultAction": "Deny"}


def test_a_workspace_takes_azures_logs_and_needs_no_account(make_stack: MakeStack, run: Run) -> None:
    one = "{reports: {driver: azure, location: westeurope, network: private}}"
    recording = run(make_stack(one, logging={"workspace": WORKSPACE}))
    assert places(recording) == []
    assert recording.one("reports-logging").inputs["workspaceId"] == WORKSPACE
    assert "storageAccountId" not in recording.one("reports-logging").inputs


def test_an_existing_bucket_is_logged_only_when_the_spec_says_so(make_stack: MakeStack, run: Run) -> None:
    assert places(run(make_stack("{a: {driver: s3, existing: old-photos}}"))) == []
    recording = run(make_stack("{a: {driver: s3, existing: old-photos, logging: true}}"))
    assert recording.one("a-logging").inputs["bucket"] == "old-photos"


@pytest.mark.parametrize("driver", ["r2", "local", "memory"])
def test_what_can_not_log_is_refused_and_not_dropped(make_stack: MakeStack, driver: str) -> None:
    (found,) = problems(make_stack(f"{{a: {{driver: {driver}, logging: true}}}}"))
    expected = f"driver {driver} can not do this: nothing there logs accesses; allowed: leave it out"
    assert found == f"storage.backends.a.logging: {expected}"


def test_wrong_settings_are_problems_of_the_spec(make_stack: MakeStack) -> None:
    one = "{a: {driver: s3}}"
    assert problems(make_stack(one, logging={"keep": "36h", "workspace": "all"})) == [
        "storage.logging.keep: found 1d12h; allowed: whole days: 1d, 7d, 30d",
        f"storage.logging.workspace: found 'all'; allowed: {SHAPE}",
    ]
    allowed = "true, false, or a mapping with enabled, keep and workspace"
    assert problems(make_stack(one, logging="on")) == [f"storage.logging: found 'on'; allowed: {allowed}"]


def test_logs_need_the_accounts_that_their_names_and_ids_are_made_of(make_stack: MakeStack) -> None:
    accounts: dict[str, Any] = {"tandem:accounts": {"gcp": "example-prod"}}
    spec = """
    a: {driver: s3, public: true}
    b: {driver: azure, location: westeurope, network: private}
    """
    assert [found.partition(";")[0] for found in problems(make_stack(spec, **accounts))] == [
        "tandem:accounts.aws: is required for customer keys, grants, access logs and names of the account's own",
        "tandem:accounts.azure: is required for grants, access logs and existing containers: their ids hold it",
    ]
    assert load_spec(make_stack(spec, logging=False, **accounts)).backends
