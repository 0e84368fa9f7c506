"""``take_over``: buckets that are there become the stack's, under both engines, on the emulators."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from azure.storage.blob import BlobServiceClient
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from infra import emulators
from infra.endpoints import endpoints
from infra.engine import Action, Engine, Result
from infra.engine.automation import PulumiEngine
from infra.engine.embedded import EmbeddedEngine
from infra.stack import Stack
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[3]
BUCKET = "somebodys-photos"
CORS = {"origins": ["https://app.example.com"], "methods": ["GET"], "max_age": "1h"}


class Project:
    """A project of its own on running emulators."""

    def __init__(self, root: Path, servers: dict[str, str]) -> None:
        self.root = root
        self.servers = servers
        (root / "infra").mkdir()
        (root / "stacks").mkdir()
        shutil.copy(ROOT / "infra" / "__main__.py", root / "infra")
        shutil.copy(ROOT / "Pulumi.yaml", root)

    def stack(self, name: str = "dev", profile: str = "dev", **backends: Any) -> Stack:
        spec: dict[str, Any] = {"profile": profile, "backends": backends}
        if profile != "dev":  # its objects have had the service's key for long
            why = {"backend": "photos", "reason": "it was there before", "expires": "2099-12-31"}
            spec["exemptions"] = [{"rule": "AWS-04", **why}]
        config = {"aws:region": "us-east-1", "tandem:emulators": self.servers, "tandem:storage": spec}
        (self.root / f"stacks/Pulumi.{name}.yaml").write_text(yaml.safe_dump({"config": config}))
        return Stack.read(name, self.root)

    def s3(self, stack: Stack, provider: str = "aws") -> Any:
        endpoint = endpoints(stack)[provider]
        client: Any = boto3.client
        return client(
            "s3",
            endpoint_url=endpoint.url,
            region_name="us-east-1",
            aws_access_key_id=endpoint.access_key,
            aws_secret_access_key=endpoint.secret_key,
        )


@pytest.fixture
def project(
    program: ProgramFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Project, Stack]]]:
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    begun: list[Stack] = []

    def make(servers: dict[str, str], **backends: Any) -> tuple[Project, Stack]:
        for server in set(servers.values()):
            program(server)
        made = Project(tmp_path, servers)
        stack = made.stack(**backends)
        begun.append(stack)
        emulators.up(stack)
        return made, stack

    yield make
    for stack in begun:
        emulators.down(stack)


@pytest.fixture
def cli(program: ProgramFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(Path(program("pulumi")[0]).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([folder, os.environ["PATH"]]))
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)


def fill(s3: Any, **tags: str) -> None:
    """A bucket with an object, a tag, versions, CORS of another site, and no lifecycle."""
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="photo.jpg", Body=b"jpeg")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    rule = {"AllowedOrigins": ["https://old.example.com"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    given = [{"Key": key, "Value": value} for key, value in {"team": "photos", **tags}.items()]
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": given})


def of(result: Result, action: Action) -> dict[str, tuple[str, ...]]:
    """The names of cloud resources with this action, and what changed of each."""
    return {step.name: step.changed for step in result.steps if step.action is action and step.name != "photos"}


@pytest.mark.parametrize("engine", ["embedded", "pulumi"])
def test_s3_bucket_is_imported_with_its_settings_changed_and_kept(
    engine: str, project: Callable[..., tuple[Project, Stack]], request: pytest.FixtureRequest
) -> None:
    if engine == "pulumi":
        request.getfixturevalue("cli")
    run: Engine = PulumiEngine() if engine == "pulumi" else EmbeddedEngine()
    made, stack = project({"aws": "ministack"}, photos={"driver": "s3", "take_over": BUCKET, "cors": [CORS]})
    s3 = made.s3(stack)
    fill(s3)

    preview = run.preview(stack)
    assert "photos-bucket" in of(preview, Action.IMPORT)
    assert "photos-cors" in of(preview, Action.IMPORT)
    assert not of(preview, Action.REPLACE)
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"][0]["AllowedOrigins"] == ["https://old.example.com"]
    changed = of(preview, Action.IMPORT)["photos-bucket"]
    assert changed, preview
    assert all(path.startswith("tags") for path in changed), changed
    assert "corsRules[0].allowedOrigins[0]" in of(preview, Action.IMPORT)["photos-cors"]

    up = run.up(stack)
    assert {"photos-bucket", "photos-cors", "photos-versioning"} <= of(up, Action.IMPORT).keys()
    assert "photos-lifecycle" in of(up, Action.CREATE)
    assert not of(up, Action.REPLACE)
    assert s3.get_object(Bucket=BUCKET, Key="photo.jpg")["Body"].read() == b"jpeg"
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"][0]["AllowedOrigins"] == CORS["origins"]
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Suspended"  # what the profile dev says
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"]}
    assert (tags["tandem:project"], tags["tandem:stack"]) == ("tandem", "dev")
    assert up.outputs["storage"]["storage"]["backends"][0]["s3"]["bucket"] == BUCKET

    again = run.up(stack)
    assert {step.action for step in again.steps} == {Action.SAME}

    run.destroy(stack)
    assert s3.get_object(Bucket=BUCKET, Key="photo.jpg")["Body"].read() == b"jpeg"
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"][0]["AllowedOrigins"] == CORS["origins"], "it stays as it is"


def test_bucket_of_another_stack_is_refused_with_whose_it_is(
    project: Callable[..., tuple[Project, Stack]],
) -> None:
    """In us-east-1 a second creation would succeed, and two stacks would undo each other's settings."""
    made, stack = project({"aws": "ministack"}, photos={"driver": "s3", "take_over": BUCKET})
    s3 = made.s3(stack)
    fill(s3, **{"tandem:project": "shop", "tandem:stack": "prod"})
    for run in (EmbeddedEngine().preview, EmbeddedEngine().up):
        with pytest.raises(ConfigError) as caught:
            run(stack)
        assert f"storage.backends.photos.take_over: found '{BUCKET}', which stack shop/prod manages" in str(
            caught.value
        )
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled", "nothing was touched"


def test_bucket_that_is_not_there_is_refused_before_anything_is_made(
    project: Callable[..., tuple[Project, Stack]],
) -> None:
    made, stack = project(
        {"aws": "ministack"}, photos={"driver": "s3", "take_over": "nobodys"}, other={"driver": "s3", "primary": True}
    )
    with pytest.raises(ConfigError, match="there is no bucket 'nobodys' to take over"):
        EmbeddedEngine().up(stack)
    assert made.s3(stack).list_buckets()["Buckets"] == []


def test_outside_dev_what_was_taken_over_is_protected(project: Callable[..., tuple[Project, Stack]]) -> None:
    backend = {"driver": "s3", "take_over": BUCKET, "encryption": {"type": "AES256"}}
    made, stack = project({"aws": "ministack"}, photos=backend)
    s3 = made.s3(stack)
    fill(s3)
    stack = made.stack(profile="standard", photos=backend)
    EmbeddedEngine().up(stack)
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    with pytest.raises(ConfigError, match="'photos-bucket': is protected"):
        EmbeddedEngine().destroy(stack)


def test_r2_bucket_is_imported_and_its_rules_are_written_over(project: Callable[..., tuple[Project, Stack]]) -> None:
    made, stack = project({"cloudflare": "ministack"}, photos={"driver": "r2", "take_over": BUCKET, "cors": [CORS]})
    s3 = made.s3(stack, "cloudflare")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="photo.jpg", Body=b"jpeg")
    up = EmbeddedEngine().up(stack)
    assert list(of(up, Action.IMPORT)) == ["photos-bucket"]
    assert "photos-cors" in of(up, Action.CREATE)
    assert not of(up, Action.REPLACE)
    assert s3.get_object(Bucket=BUCKET, Key="photo.jpg")["Body"].read() == b"jpeg"
    assert {step.action for step in EmbeddedEngine().up(stack).steps} == {Action.SAME}
    EmbeddedEngine().destroy(stack)
    assert s3.get_object(Bucket=BUCKET, Key="photo.jpg")["Body"].read() == b"jpeg"


def test_gcs_bucket_is_imported(project: Callable[..., tuple[Project, Stack]]) -> None:
    _, stack = project(
        {"gcp": "fake-gcs-server"}, photos={"driver": "gcs", "location": "EU", "take_over": BUCKET, "versioning": True}
    )
    options = {"api_endpoint": endpoints(stack)["gcp"].url}
    client = storage.Client(project="p", credentials=AnonymousCredentials(), client_options=options)
    bucket = client.create_bucket(BUCKET)
    bucket.blob("photo.jpg").upload_from_string(b"jpeg")
    up = EmbeddedEngine().up(stack)
    assert list(of(up, Action.IMPORT)) == ["photos-bucket"]
    assert not of(up, Action.REPLACE)
    bucket.reload()
    assert bucket.versioning_enabled
    assert bucket.blob("photo.jpg").download_as_bytes() == b"jpeg"
    assert {step.action for step in EmbeddedEngine().up(stack).steps} == {Action.SAME}
    EmbeddedEngine().destroy(stack)
    assert bucket.exists()


def test_azure_container_is_imported_with_its_account(project: Callable[..., tuple[Project, Stack]]) -> None:
    backend = {
        "driver": "azure", "location": "westeurope", "resource_group": "media", "take_over": "devstoreaccount1/photos",
        "cors": [CORS],
    }  # fmt: skip
    _, stack = project({"azure": "azurite"}, photos=backend)
    endpoint = endpoints(stack)["azure"]
    with BlobServiceClient(f"{endpoint.url}/{endpoint.access_key}", credential=endpoint.secret_key) as service:
        with pytest.raises(ConfigError, match="there is no container 'photos' to take over"):
            EmbeddedEngine().up(stack)
        container = service.create_container("photos", public_access="blob")
        container.upload_blob("photo.jpg", b"jpeg")
        up = EmbeddedEngine().up(stack)
        assert of(up, Action.IMPORT).keys() == {"photos-account", "photos-service", "photos-bucket"}
        assert not of(up, Action.REPLACE)
        assert container.get_container_properties().public_access is None
        assert service.get_service_properties()["cors"][0].allowed_origins == "https://app.example.com"
        assert {step.action for step in EmbeddedEngine().up(stack).steps} == {Action.SAME}
        EmbeddedEngine().destroy(stack)
        assert container.download_blob("photo.jpg").readall() == b"jpeg"


def test_a_bucket_and_a_container_are_imported_under_the_real_engine(
    cli: None, project: Callable[..., tuple[Project, Stack]]
) -> None:
    """One stack for both clouds, as each run of the CLI takes its seconds."""
    assert cli is None
    photos = {"driver": "gcs", "location": "EU", "take_over": BUCKET, "versioning": True, "primary": True}
    reports = {
        "driver": "azure", "location": "westeurope", "resource_group": "media", "take_over": "devstoreaccount1/reports",
        "cors": [CORS],
    }  # fmt: skip
    _, stack = project({"gcp": "fake-gcs-server", "azure": "azurite"}, photos=photos, reports=reports)
    engine, at = PulumiEngine(), endpoints(stack)["azure"]
    options = {"api_endpoint": endpoints(stack)["gcp"].url}
    client = storage.Client(project="p", credentials=AnonymousCredentials(), client_options=options)
    bucket = client.create_bucket(BUCKET)
    bucket.blob("photo.jpg").upload_from_string(b"jpeg")
    with BlobServiceClient(f"{at.url}/{at.access_key}", credential=at.secret_key) as service:
        container = service.create_container("reports", public_access="blob")
        container.upload_blob("report.pdf", b"pdf")

        up = engine.up(stack)
        imported = {"photos-bucket", "reports-account", "reports-service", "reports-bucket"}
        assert of(up, Action.IMPORT).keys() == imported
        assert not of(up, Action.REPLACE)
        bucket.reload()
        assert bucket.versioning_enabled
        assert container.get_container_properties().public_access is None
        assert service.get_service_properties()["cors"][0].allowed_origins == "https://app.example.com"
        assert {step.action for step in engine.up(stack).steps} == {Action.SAME}

        engine.destroy(stack)
        assert bucket.blob("photo.jpg").download_as_bytes() == b"jpeg"
        assert container.download_blob("report.pdf").readall() == b"pdf"
