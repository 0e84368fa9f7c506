"""The example stack ``emulated``: six backends on three emulators under both engines, read back by the clouds' SDKs."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

import runtime
from infra import emulators
from infra.endpoints import endpoints
from infra.engine import Action, Engine, Result
from infra.engine.automation import PulumiEngine
from infra.engine.embedded import EmbeddedEngine
from infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[3]
BACKENDS = {"avatars", "cache", "exports", "media", "reports", "uploads"}
STATE_ONLY = {
    "exports-bucket": {
        "cors", "encryption", "labels", "lifecycleRules", "location", "publicAccessPrevention", "softDeletePolicy",
        "storageClass", "uniformBucketLevelAccess",
    },
    "reports-group": {"resourceGroupName", "tags"},
    "reports-account": {
        "accountName", "allowBlobPublicAccess", "allowCrossTenantReplication", "allowedCopyScope",
        "defaultToOAuthAuthentication", "enableHttpsTrafficOnly", "encryption", "isLocalUserEnabled", "isSftpEnabled",
        "keyPolicy", "location", "minimumTlsVersion", "networkRuleSet", "publicNetworkAccess", "sasPolicy", "sku",
        "tags",
    },
    "reports-service": {"containerDeleteRetentionPolicy", "deleteRetentionPolicy", "isVersioningEnabled"},
}  # fmt: skip
"""What fake-gcs-server and Azurite can not hold of the example stack."""


class Emulated:
    """A project of its own with the example stack, whose servers run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "infra").mkdir()
        (root / "stacks").mkdir()
        shutil.copy(ROOT / "infra" / "__main__.py", root / "infra")
        shutil.copy(ROOT / "Pulumi.yaml", root)
        shutil.copy(ROOT / "stacks" / "Pulumi.emulated.yaml", root / "stacks")

    @property
    def stack(self) -> Stack:
        return Stack.read("emulated", self.root)

    def edit(self, old: str, new: str) -> None:
        text = self.stack.file.read_text()
        assert old in text
        self.stack.file.write_text(text.replace(old, new, 1))

    def settings(self, result: Result, name: str) -> dict[str, Any]:
        """A backend's settings in the contract."""
        backends = {backend["name"]: backend for backend in result.outputs["storage"]["storage"]["backends"]}
        found: dict[str, Any] = backends[name][backends[name]["driver"]]
        return found

    def google(self) -> storage.Client:
        options = {"api_endpoint": endpoints(self.stack)["gcp"].url}
        return storage.Client(project="p", credentials=AnonymousCredentials(), client_options=options)

    def azure(self) -> BlobServiceClient:
        at = endpoints(self.stack)["azure"]
        credential = AzureNamedKeyCredential(at.access_key, at.secret_key)
        return BlobServiceClient(f"{at.url}/{at.access_key}", credential)

    def s3(self) -> Any:
        at = endpoints(self.stack)["aws"]
        keys = {"aws_access_key_id": at.access_key, "aws_secret_access_key": at.secret_key}
        return boto3.client("s3", endpoint_url=at.url, region_name=at.region, **keys)  # type: ignore[call-overload] # its stubs want each argument literally

    def restart_servers(self) -> None:
        """Kill all servers, with everything in them, and start others."""
        for server in emulators.status(self.stack):
            assert server.pid
            os.kill(server.pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(server.pid)] if psutil.pid_exists(server.pid) else [], timeout=10)
        emulators.up(self.stack)


@pytest.fixture
def emulated(program: ProgramFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    for name in ("ministack", "azurite", "fake-gcs-server"):
        program(name)
    monkeypatch.chdir(tmp_path)  # where the application's ./storage is
    project = Emulated(tmp_path)
    emulators.up(project.stack)
    yield project
    emulators.down(project.stack)


@pytest.fixture(params=["embedded", "pulumi"])
def engine(request: pytest.FixtureRequest, program: ProgramFactory, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if request.param == "embedded":
        return EmbeddedEngine()
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(program("pulumi")[0]).parent), os.environ["PATH"]]))
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    return PulumiEngine()


def news(result: Result) -> dict[str, str]:
    return {step.name: step.action.value for step in result.steps if step.action is not Action.SAME}


def unheld(result: Result) -> dict[str, set[str]]:
    return {urn.rpartition("::")[2]: {text.partition(":")[0] for text in told} for urn, told in result.unheld.items()}


def test_six_backends_live_their_whole_life(emulated: Emulated, engine: Engine) -> None:
    created = engine.up(emulated.stack)
    assert set(news(created).values()) == {"create"}
    assert {backend["name"] for backend in created.outputs["storage"]["storage"]["backends"]} == BACKENDS
    assert STATE_ONLY.items() <= unheld(created).items()

    exports, reports = emulated.settings(created, "exports"), emulated.settings(created, "reports")
    google, azure = emulated.google(), emulated.azure()
    with google, azure:
        assert google.get_bucket(exports["bucket"]).versioning_enabled is True
        assert azure.get_container_client(reports["container"]).get_container_properties().public_access is None
        (rule,) = azure.get_service_properties()["cors"]
        assert (rule.allowed_origins, rule.allowed_methods) == ("http://localhost:3000", "GET,PUT")
        assert (rule.allowed_headers, rule.max_age_in_seconds) == ("content-type", 3600)

        assert news(engine.up(emulated.stack)) == {}
        emulated.edit(
            "[GET, PUT], headers: [content-type], max_age: 1h",
            "[GET, PUT, HEAD], headers: [etag, content-type], max_age: 2h",
        )
        assert news(engine.up(emulated.stack)) == {"reports-service": "update"}
        (rule,) = azure.get_service_properties()["cors"]
        assert (rule.allowed_methods, rule.allowed_headers, rule.max_age_in_seconds) == (
            "GET,PUT,HEAD",
            "etag,content-type",
            7200,
        )

        assert set(news(engine.destroy(emulated.stack)).values()) == {"delete"}
        assert list(google.list_buckets()) == []
        assert list(azure.list_containers()) == []
        assert azure.get_service_properties()["cors"] == []
    assert emulated.s3().list_buckets()["Buckets"] == []


def test_every_backend_gives_its_bytes_back(emulated: Emulated) -> None:
    engine = EmbeddedEngine()
    engine.up(emulated.stack)
    with runtime.open_storage_sync(emulated.stack.contract) as opened:
        assert set(opened) == BACKENDS
        for name, store in opened.items():
            store.upload("a/b.txt", name.encode(), content_type="text/plain")
            assert store.download("a/b.txt") == name.encode()
            assert store.info("a/b.txt").content_type == "text/plain"
            assert [info.path for info in store.list("a/")] == ["a/b.txt"]
        opened["media"].delete("a/b.txt")  # Cloudflare's provider empties no bucket
    assert set(news(engine.destroy(emulated.stack)).values()) == {"delete"}  # in dev with everything in it
    with emulated.azure() as azure, emulated.google() as google:
        assert list(azure.list_containers()) == []
        assert list(google.list_buckets()) == []


def test_servers_that_lost_everything_are_provisioned_again(emulated: Emulated, engine: Engine) -> None:
    engine.up(emulated.stack)
    before = emulated.stack.contract.read_bytes()
    emulated.restart_servers()
    repaired = news(engine.up(emulated.stack))
    assert {name for name, action in repaired.items() if action == "create"} >= {"exports-bucket", "reports-bucket"}
    assert emulated.stack.contract.read_bytes() == before
    with emulated.azure() as azure:
        assert len(azure.get_service_properties()["cors"]) == 1
    assert news(engine.up(emulated.stack)) == {}


def test_both_engines_write_the_same_file_and_tell_the_same(
    emulated: Emulated, program: ProgramFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(program("pulumi")[0]).parent), os.environ["PATH"]]))
    first = EmbeddedEngine().up(emulated.stack)
    contract = emulated.stack.contract.read_bytes()
    EmbeddedEngine().destroy(emulated.stack)
    emulated.stack.contract.unlink()
    second = PulumiEngine().up(emulated.stack)
    assert emulated.stack.contract.read_bytes() == contract
    assert {step.urn for step in first.steps} == {step.urn for step in second.steps}
    assert first.unheld == second.unheld


def test_keys_and_access_of_both_clouds_are_in_the_state_only(emulated: Emulated) -> None:
    engine = EmbeddedEngine()
    app = "serviceAccount:app@example.iam.gserviceaccount.com"
    emulated.edit(
        "location: EU\n",
        f"location: EU\n        encryption: {{type: 'gcs:cmek'}}\n"
        f"        grants: [{{to: '{app}', access: [read, list, presign]}}]\n",
    )
    emulated.edit(
        "location: westeurope\n",
        "location: westeurope\n        public: true\n        versioning: true\n"
        "        lifecycle: {rules: [{prefix: old/, expire_after: 7d}]}\n"
        "        grants: [{to: 11111111-2222-4333-8444-555555555555, access: [read, list, presign]}]\n",
    )
    created = engine.up(emulated.stack)
    told = unheld(created)
    assert told["exports-key-ring"] == {"name"}
    assert {"name", "rotationPeriod"} <= told["exports-key"]
    assert told["exports-key-user"] == {"member", "role"}
    assert told["reports-lifecycle"] == {"policy"}
    roles = [names for name, names in told.items() if name.startswith(("reports-reader-", "reports-delegator-"))]
    assert roles == [{"principalId", "roleDefinitionId", "scope"}] * 2
    assert len([name for name in told if name.startswith(("exports-objectViewer-", "exports-signer-"))]) == 2
    container = emulated.settings(created, "reports")["container"]
    with emulated.azure() as azure:
        assert azure.get_container_client(container).get_container_properties().public_access == "blob"
    assert news(engine.up(emulated.stack)) == {}
    engine.destroy(emulated.stack)
    assert news(engine.up(emulated.stack))  # a key ring stays in Google's cloud, and there is none here


def test_access_logs_have_places_of_their_own(emulated: Emulated, engine: Engine) -> None:
    emulated.edit("profile: dev\n", "profile: dev\n    logging: {enabled: true, keep: 3d}\n")
    created = engine.up(emulated.stack)
    assert {backend["name"] for backend in created.outputs["storage"]["storage"]["backends"]} == BACKENDS
    told, s3 = unheld(created), emulated.s3()
    bucket = emulated.settings(created, "avatars")["bucket"]
    found = s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]
    assert found["TargetPrefix"] == "avatars/"
    target = found["TargetBucket"]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=target)["Rules"]
    assert [rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule] == [3]
    assert "logging.s3.amazonaws.com" in s3.get_bucket_policy(Bucket=target)["Policy"]
    assert "logging" in told["exports-bucket"]
    assert told["logs.gcp.tandem-emulated.eu-writer"] == {"member", "role"}
    assert told["reports-logging"] == {"logs", "storageAccountId"}
    assert news(engine.up(emulated.stack)) == {}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})  # somebody turns it off
    repaired = news(engine.up(emulated.stack))
    assert set(repaired) == {"avatars-logging"}
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]["TargetBucket"] == target
    assert set(news(engine.destroy(emulated.stack)).values()) == {"delete"}
    assert s3.list_buckets()["Buckets"] == []


def test_retention_is_held_by_s3_and_noted_for_the_others(emulated: Emulated, engine: Engine) -> None:
    emulated.edit("primary: true\n", "primary: true\n        retention: {keep: 1d}\n")
    emulated.edit("location: EU\n        versioning: true\n", "location: EU\n        retention: {keep: 7d}\n")
    emulated.edit("location: westeurope\n", "location: westeurope\n        retention: {keep: 1d}\n")
    emulated.edit(
        "      media:\n        driver: r2\n", "      media:\n        driver: r2\n        retention: {keep: 1d}\n"
    )
    created = engine.up(emulated.stack)
    told, s3 = unheld(created), emulated.s3()
    bucket = emulated.settings(created, "avatars")["bucket"]
    lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 1}
    assert told["media-lock"] == {"rules"}
    assert "retentionPolicy" in told["exports-bucket"]
    assert "immutableStorageWithVersioning" in told["reports-account"]
    assert news(engine.up(emulated.stack)) == {}
    emulated.edit("retention: {keep: 1d}", "retention: {keep: 2d}")
    assert news(engine.up(emulated.stack)) == {"avatars-object-lock": "update"}
    assert set(news(engine.destroy(emulated.stack)).values()) == {"delete"}
