"""The whole promise, through the command line and real servers: spec → program → config → runtime → bytes back.

The steps build on each other, as they do for a person who works with one stack, so they are one story in order.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[1]
ROUND_TRIP = """
import asyncio, json, urllib.request
import runtime

async def main():
    seen = {}
    async with runtime.open_storage() as storage:
        for name, store in storage.items():
            await store.upload("a/b.txt", b"bytes and back", content_type="text/plain", metadata={"k": "v"})
            info = await store.info("a/b.txt")
            listed = [found.path async for found in store.list("a/")]
            body = await store.download("a/b.txt")
            fetched = None
            if "GET" in store.capabilities.presign:
                url = await store.get_presigned_url("a/b.txt")
                fetched = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()
            await store.delete("a/b.txt")
            seen[name] = [info.size, info.content_type, info.metadata, listed, body.decode(), fetched,
                          await store.exists("a/b.txt")]
    print(json.dumps(seen))

asyncio.run(main())
"""


class Project:
    """A checkout of its own with the stack ``dev``, driven as a person drives it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "stacks").mkdir()
        (root / "infra").mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", root)
        shutil.copy(ROOT / "infra/__main__.py", root / "infra")
        shutil.copy(ROOT / "stacks/Pulumi.dev.yaml", root / "stacks")
        self.spec_file = root / "stacks/Pulumi.dev.yaml"
        self.contract = root / "stacks/storage.dev.yaml"
        # the developer's own state and configuration must not reach the test
        ours = ("LEX_STORAGE", "AWS_", "TANDEM_STATE")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        return self._run([sys.executable, "-m", "runtime.cli", *arguments], code, environment)

    def python(self, script: str, **environment: str) -> Any:
        return json.loads(self._run([sys.executable, "-c", script], 0, environment))

    def up(self, *words: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.run("up", "-s", "dev", "--yes", "--json", *words))
        return report

    def edit(self, change: Any) -> None:
        document = yaml.safe_load(self.spec_file.read_text())
        change(document["config"]["tandem:storage"]["backends"])
        self.spec_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def server(self) -> dict[str, Any]:
        (state,) = json.loads(self.run("emulators", "status", "-s", "dev", "--json"))
        found: dict[str, Any] = state
        return found

    def _run(self, command: list[str], code: int, environment: dict[str, str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{command[1:]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, program: ProgramFactory) -> Iterator[Project]:
    program("ministack")
    found = Project(tmp_path_factory.mktemp("project"))
    yield found
    found.run("emulators", "down", "-s", "dev")


def test_first_up_makes_everything_and_proves_it(project: Project) -> None:
    report = json.loads(project.run("up", "-s", "dev", "--prove", "--json"))

    assert report["summary"]["same"] == 0
    assert report["summary"]["create"] > 10
    assert {proof["backend"] for proof in report["proofs"]} == {"avatars", "cache", "media", "uploads"}
    assert all(proof["ok"] for proof in report["proofs"]), report["proofs"]
    assert Path(report["config"]) == project.contract.resolve()


def test_second_up_changes_nothing(project: Project) -> None:
    before = project.contract.read_bytes()

    report = project.up()

    assert report["steps"] == []
    assert project.contract.read_bytes() == before


def test_second_process_reads_the_config_and_uses_every_backend(project: Project) -> None:
    seen = project.python(ROUND_TRIP, LEX_STORAGE_STACK="dev")

    stored = [14, "text/plain", {"k": "v"}, ["a/b.txt"], "bytes and back"]
    signed = "bytes and back"
    assert seen == {
        "avatars": [*stored, signed, False],
        "cache": [*stored, None, False],
        "media": [*stored, signed, False],
        "uploads": [*stored, None, False],
    }


def test_settings_read_back_by_boto3_equal_the_spec(project: Project) -> None:
    backends = {b["name"]: b for b in yaml.safe_load(project.contract.read_text())["storage"]["backends"]}
    settings = backends["avatars"]["s3"]
    secrets = project.root / ".tandem/dev/secrets"
    s3 = boto3.client(
        "s3",
        endpoint_url=settings["endpoint_url"],
        region_name=settings["region"],
        aws_access_key_id=(secrets / "aws_access_key").read_text(),
        aws_secret_access_key=(secrets / "aws_secret_key").read_text(),
    )
    bucket = settings["bucket"]

    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    blocked = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert [rule["ObjectOwnership"] for rule in ownership] == ["BucketOwnerEnforced"]
    (cors,) = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert cors["AllowedOrigins"] == ["http://localhost:3000"]
    assert sorted(cors["AllowedMethods"]) == ["GET", "PUT"]
    assert (cors["AllowedHeaders"], cors["ExposeHeaders"], cors["MaxAgeSeconds"]) == (["content-type"], ["ETag"], 3600)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert any(rule.get("AbortIncompleteMultipartUpload") for rule in rules)
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    assert tags["owner"] == "media-team"
    assert tags["tandem:backend"] == "avatars"
    media = backends["media"]["r2"]["bucket"]
    assert s3.get_bucket_cors(Bucket=media)["CORSRules"][0]["AllowedMethods"] == ["GET"]


def test_backend_added_to_the_spec_is_all_that_is_created(project: Project) -> None:
    project.edit(lambda backends: backends.update(reports={"driver": "s3"}))

    report = project.up()

    assert {step["action"] for step in report["steps"]} == {"create"}
    assert {step["name"].partition("-")[0] for step in report["steps"]} == {"reports"}


def test_cors_edit_is_one_update(project: Project) -> None:
    project.edit(lambda backends: backends["avatars"]["cors"][0]["origins"].append("http://localhost:4000"))

    report = project.up()

    assert [(step["action"], step["name"]) for step in report["steps"]] == [("update", "avatars-cors")]


def test_removed_backend_is_asked_about_and_then_all_that_is_deleted(project: Project) -> None:
    before = project.contract.read_bytes()
    project.edit(lambda backends: backends.pop("reports"))

    project.run("up", "-s", "dev", "--accept-breaking", code=2)  # nobody is there to agree
    project.run("up", "-s", "dev", "--yes", code=2)  # nor does this agree to break applications
    assert project.contract.read_bytes() == before
    report = project.up("--accept-breaking")

    assert {step["action"] for step in report["steps"]} == {"delete"}
    assert {step["name"].partition("-")[0] for step in report["steps"]} == {"reports"}


def test_server_that_was_killed_with_its_data_is_repaired(project: Project) -> None:
    before = project.contract.read_bytes()
    psutil.Process(project.server()["pid"]).kill()

    report = json.loads(project.run("up", "-s", "dev", "--prove", "--yes", "--json"))

    assert report["summary"]["create"] > 8
    assert all(proof["ok"] for proof in report["proofs"]), report["proofs"]
    assert project.contract.read_bytes() == before  # same port, same names: applications need no new config


def test_destroy_leaves_neither_buckets_nor_a_config(project: Project) -> None:
    report = json.loads(project.run("destroy", "-s", "dev", "--yes", "--json"))

    assert {step["action"] for step in report["steps"]} == {"delete"}
    assert not project.contract.exists()
    assert json.loads(project.run("preview", "-s", "dev", "--json"))["summary"]["same"] == 0
