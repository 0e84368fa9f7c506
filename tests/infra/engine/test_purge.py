"""``tandem purge``, and a ``destroy`` that would not delete what a bucket holds: under both engines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

from infra.audit import audit_file
from infra.endpoints import endpoints
from infra.engine.state import StateFile
from infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[3]
BACKENDS = {
    "media": {"driver": "r2", "primary": True},
    "papers": {"driver": "s3", "versioning": True, "force_destroy": False},
    "scratch": {"driver": "s3"},
}


class Project:
    """A project of its own, driven by the command line."""

    def __init__(self, root: Path, path: str) -> None:
        self.root = root
        (root / "infra").mkdir()
        (root / "stacks").mkdir()
        shutil.copy(ROOT / "infra" / "__main__.py", root / "infra")
        shutil.copy(ROOT / "Pulumi.yaml", root)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("LEX_", "PULUMI_"))
        }
        self.environment |= {"PATH": path}
        self.environment.pop("TANDEM_STATE", None)
        self.write("dev")

    def write(self, profile: str, **more: Any) -> None:
        spec = {"profile": profile, "backends": {**BACKENDS, **more}}
        servers = {"aws": "ministack", "cloudflare": "ministack"}
        config = {"aws:region": "us-east-1", "tandem:emulators": servers, "tandem:storage": spec}
        (self.root / "stacks/Pulumi.test.yaml").write_text(yaml.safe_dump({"config": config}))

    @property
    def stack(self) -> Stack:
        return Stack.read("test", self.root)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "runtime.cli", words[0], "-s", "test", *words[1:]]

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            self.command(*words), cwd=self.root, env=self.environment, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def bucket(self, name: str) -> str:
        document = yaml.safe_load(self.stack.contract.read_text())
        (found,) = [each for each in document["storage"]["backends"] if each["name"] == name]
        return str(found[found["driver"]]["bucket"])

    @property
    def s3(self) -> Any:
        endpoint = endpoints(self.stack)["aws"]
        client: Any = boto3.client
        return client(
            "s3",
            endpoint_url=endpoint.url,
            region_name="us-east-1",
            aws_access_key_id=endpoint.access_key,
            aws_secret_access_key=endpoint.secret_key,
        )

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in audit_file(self.stack).read_text().splitlines()]


@pytest.fixture
def project(program: ProgramFactory, tmp_path: Path) -> Iterator[Project]:
    program("ministack")
    found = Project(tmp_path, os.environ["PATH"])
    yield found
    down = [sys.executable, "-m", "runtime.cli", "emulators", "down", "-s", "test"]
    subprocess.run(down, cwd=found.root, env=found.environment, check=True)


@pytest.mark.parametrize("engine", ["embedded", "pulumi"])
def test_destroy_says_what_is_in_the_way_and_purge_takes_it_away(
    engine: str, project: Project, program: ProgramFactory
) -> None:
    if engine == "pulumi":
        folder = str(Path(program("pulumi")[0]).parent)
        project.environment["PATH"] = os.pathsep.join([folder, project.environment["PATH"]])
    project("up", "--engine", engine, "--yes")
    media, papers, s3 = project.bucket("media"), project.bucket("papers"), project.s3
    for number in range(3):
        s3.put_object(Bucket=media, Key=f"photo-{number}.jpg", Body=b"jpeg")
        s3.put_object(Bucket=papers, Key="paper", Body=b"x" * number)
    s3.create_multipart_upload(Bucket=papers, Key="large")
    s3.put_object(Bucket=project.bucket("scratch"), Key="note", Body=b"can be lost")

    refused = project("destroy", "--engine", engine, "--yes", code=2)
    assert "2 buckets of stack 'test' would not be deleted; nothing was" in refused
    assert "storage.backends.media: its bucket holds 3 objects (12 B)" in refused
    assert "storage.backends.papers: its bucket holds 1 objects (2 B), 2 former versions (1 B), 1 unfinished" in refused
    assert "tandem purge -s test media" in refused
    assert len(s3.list_buckets()["Buckets"]) == 3
    assert "no changes" in project("preview", "--engine", engine), "the state is as it was"

    assert "nobody is there to be asked" in project("purge", "media", code=2)
    assert "says 'papers', and the backend is 'media'" in project(
        "purge", "media", "--yes-delete-everything", "papers", code=2
    )
    assert "media: 3 objects (12 B)" in project("purge", "media", "--dry-run")
    assert s3.list_objects_v2(Bucket=media)["KeyCount"] == 3
    assert not audit_file(project.stack).exists()

    assert "removed 3 objects (12 B)" in project("purge", "media", "--yes-delete-everything", "media")
    document = json.loads(
        project("purge", "papers", "--yes-delete-everything", "papers", "--json").partition("\n}\n")[0] + "}"
    )
    assert document["removed"]["versions"] == 2
    assert s3.list_objects_v2(Bucket=media)["KeyCount"] == 0
    assert [(line["event"], line["backend"]) for line in project.audited()] == [
        ("purge begun", "media"), ("purge ended", "media"), ("purge begun", "papers"), ("purge ended", "papers"),
    ]  # fmt: skip
    assert project.audited()[1]["removed"]["objects"] == 3
    assert audit_file(project.stack).stat().st_mode & 0o077 == 0
    assert "no changes" in project("preview", "--engine", engine), "a purge leaves bucket and state alone"

    project("destroy", "--engine", engine, "--yes")
    assert s3.list_buckets()["Buckets"] == []


def test_purge_that_is_interrupted_leaves_a_state_that_is_right_and_is_finished_by_another(project: Project) -> None:
    project("up", "--yes")
    media, s3 = project.bucket("media"), project.s3
    for number in range(2500):
        s3.put_object(Bucket=media, Key=f"photo-{number}.jpg", Body=b"")
    command = project.command("purge", "media", "--yes-delete-everything", "media")
    with subprocess.Popen(
        command, cwd=project.root, env=project.environment, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("removed 1000"):
                running.send_signal(signal.SIGINT)
                break
        rest = running.stderr.read()
    assert running.returncode not in {0, None}
    assert "Traceback" not in rest
    left = sum(page.get("KeyCount", 0) for page in s3.get_paginator("list_objects_v2").paginate(Bucket=media))
    assert 0 < left <= 1500
    assert project.audited()[-1]["event"] == "purge interrupted"
    assert project.audited()[-1]["removed"]["objects"] >= 1000
    assert "no changes" in project("preview")
    assert "its bucket holds at least 1000 objects" in project("destroy", "--yes", code=2) or left < 1000
    project("purge", "media", "--yes-delete-everything", "media")
    project("destroy", "--yes")
    assert s3.list_buckets()["Buckets"] == []


def test_outside_dev_buckets_and_keys_are_protected_and_stay_even_when_they_are_not(project: Project) -> None:
    """``--ignore-protect`` exists: what holds data is also retained, so that it takes two mistakes to lose it."""
    project.write("standard")
    project("up", "--yes")
    resources = StateFile(project.stack).contents.resources.values()
    buckets = {"media-bucket", "papers-bucket", "scratch-bucket", "logs.aws.us-east-1-bucket"}
    names = {*buckets, "papers-key", "scratch-key"}
    assert {entry.name for entry in resources if entry.protect} >= names
    assert {entry.name for entry in resources if entry.retain} >= names
    assert "is protected and would be deleted" in project("destroy", "--yes", code=2)


def test_bucket_of_somebody_else_and_one_that_is_still_read_are_not_purged(project: Project) -> None:
    project("up", "--yes")
    project.s3.create_bucket(Bucket="somebodys")
    project.write(
        "dev", theirs={"driver": "s3", "existing": "somebodys"}, next={"driver": "s3", "read_fallback": "media"}
    )
    project("up", "--yes")
    assert "not this stack's to empty" in project("purge", "theirs", "--yes-delete-everything", "theirs", code=2)
    assert "'next' still reads from 'media'" in project("purge", "media", "--yes-delete-everything", "media", code=2)
