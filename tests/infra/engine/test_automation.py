from __future__ import annotations

import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pulumi
import pytest
import yaml

from infra import emulators
from infra.agreement import ACCEPT
from infra.endpoints import endpoints, state_directory
from infra.engine import Action, Result, plugins
from infra.engine.automation import PulumiEngine
from infra.engine.embedded import EmbeddedEngine
from infra.policy import PolicyError
from runtime.errors import ConfigError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ProgramFactory
    from tests.infra.engine.conftest import Project

ROOT = Path(__file__).parents[3]
ON_THIS_MACHINE = """
config:
  tandem:storage:
    profile: dev
    backends:
      cache: {driver: memory, primary: true}
      uploads: {driver: local, root_dir: ./storage/uploads}
"""


@pytest.fixture
def local(cli: str, new_project: type[Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A stack without any cloud, in what stands for the user's own Pulumi backend."""
    assert cli
    (tmp_path / "backend").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", (tmp_path / "backend").as_uri())
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "the user's")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
    return new_project(tmp_path / "project", ON_THIS_MACHINE)


@pytest.fixture
def dev(
    cli: str,
    program: ProgramFactory,
    new_project: type[Project],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Project]:
    """The repository's example stack ``dev`` with its server running."""
    assert cli
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    program("ministack")
    project = new_project(tmp_path, (ROOT / "stacks" / "Pulumi.dev.yaml").read_text())
    emulators.up(project.stack)
    yield project
    emulators.down(project.stack)


def s3(project: Project) -> Any:
    aws = endpoints(project.stack)["aws"]
    return boto3.client(
        "s3",
        endpoint_url=aws.url,
        region_name=aws.region,
        aws_access_key_id=aws.access_key,
        aws_secret_access_key=aws.secret_key,
    )


def counts(result: Result) -> dict[Action, int]:
    return {action: n for action in Action if (n := sum(step.action is action for step in result.steps))}


def test_dev_stack_runs_under_the_real_engine_from_preview_to_destroy(dev: Project) -> None:
    mine = dev.files()
    engine = PulumiEngine()

    preview = engine.preview(dev.stack)
    assert counts(preview) == {Action.CREATE: len(preview.steps)}
    assert not dev.stack.contract.exists()
    assert s3(dev).list_buckets()["Buckets"] == []

    seen: list[Any] = []
    created = engine.up(dev.stack, seen.append)
    assert {step.urn for step in created.steps} == {step.urn for step in preview.steps}
    assert seen == list(created.steps)
    assert len(s3(dev).list_buckets()["Buckets"]) == 2
    assert created.outputs["storage"] == preview.outputs["storage"]
    contract = dev.stack.contract.read_bytes()

    assert counts(engine.up(dev.stack)) == {Action.SAME: len(created.steps)}
    assert dev.stack.contract.read_bytes() == contract

    dev.replace("max_age: 1h", "max_age: 2h")
    edited = engine.up(dev.stack)
    assert counts(edited) == {Action.UPDATE: 1, Action.SAME: len(created.steps) - 1}
    (update,) = [step for step in edited.steps if step.action is Action.UPDATE]
    assert (update.name, update.changed) == ("avatars-cors", ("corsRules[0].maxAgeSeconds",))
    bucket = edited.outputs["storage"]["storage"]["backends"][0]["s3"]["bucket"]
    assert s3(dev).get_bucket_cors(Bucket=bucket)["CORSRules"][0]["MaxAgeSeconds"] == 7200
    dev.replace("max_age: 2h", "max_age: 1h")

    destroyed = engine.destroy(dev.stack)
    assert counts(destroyed) == {Action.DELETE: len(created.steps)}
    assert s3(dev).list_buckets()["Buckets"] == []
    assert engine.destroy(dev.stack).steps == ()

    dev.stack.contract.unlink()
    embedded = EmbeddedEngine().up(dev.stack)
    assert dev.stack.contract.read_bytes() == contract
    assert {step.urn for step in embedded.steps} == {step.urn for step in created.steps}
    assert embedded.unheld == created.unheld
    assert {key: value for key, value in dev.files().items() if key in mine} == mine


def test_lost_server_is_provisioned_again_and_a_lost_one_can_be_destroyed(dev: Project) -> None:
    engine = PulumiEngine()
    engine.up(dev.stack)
    contract = dev.stack.contract.read_bytes()
    dev.restart_server()
    assert [step.name for step in engine.up(dev.stack).steps if step.action is Action.CREATE]
    assert len(s3(dev).list_buckets()["Buckets"]) == 2
    assert dev.stack.contract.read_bytes() == contract
    assert counts(engine.up(dev.stack)).keys() == {Action.SAME}

    dev.restart_server()
    dev.stack.contract.unlink()
    assert counts(engine.destroy(dev.stack)).keys() == {Action.DELETE}
    assert not dev.stack.contract.exists()


def test_server_that_does_not_run_is_a_clear_error(dev: Project) -> None:
    emulators.down(dev.stack)
    with pytest.raises(ConfigError, match="emulators up -s dev"):
        PulumiEngine().up(dev.stack)
    assert not dev.stack.contract.exists()


def test_failing_resource_gives_the_engines_message_and_no_contract(dev: Project) -> None:
    bucket = "tandem-dev-avatars"
    taken = [name for name in _bucket_names(dev) if name.startswith(bucket)]
    s3(dev).create_bucket(Bucket=taken[0], CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    with pytest.raises(StorageError) as caught:
        PulumiEngine().up(dev.stack)
    assert "avatars" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert not dev.stack.contract.exists()


def _bucket_names(project: Project) -> list[str]:
    preview = PulumiEngine().preview(project.stack)
    backends = preview.outputs["storage"]["storage"]["backends"]
    return [backend[kind]["bucket"] for backend in backends for kind in ("s3", "r2") if kind in backend]


def test_secrets_of_a_stack_on_emulators_are_private(dev: Project) -> None:
    PulumiEngine().up(dev.stack)
    home = state_directory(dev.stack) / "pulumi"
    assert (home / "passphrase").stat().st_mode & 0o077 == 0
    assert home.stat().st_mode & 0o077 == 0
    secret = endpoints(dev.stack)["aws"].secret_key
    states = [path for path in (home / "state").rglob("*.json") if path.is_file()]
    assert states
    assert not [path for path in states if secret in path.read_text()]


def test_stack_without_a_cloud_uses_the_users_own_backend(local: Project, cli: str, tmp_path: Path) -> None:
    mine = local.files()
    engine = PulumiEngine()
    with pytest.raises(ConfigError, match="the Pulumi backend has no stack 'dev'"):
        engine.preview(local.stack)
    with pytest.raises(ConfigError, match="has no stack"):
        engine.destroy(local.stack)
    created = engine.up(local.stack)
    assert Action.CREATE in counts(created)
    assert counts(engine.up(local.stack)) == {Action.SAME: len(created.steps)}
    assert list((tmp_path / "backend" / ".pulumi" / "stacks").rglob("dev.json"))
    assert not (local.root / ".tandem").exists()
    assert local.files()["Pulumi.yaml"] == mine["Pulumi.yaml"]
    command = [cli, "stack", "output", "storage", "--json", "--stack", "dev"]
    answer = subprocess.run(command, cwd=local.root, capture_output=True, check=True)
    assert json.loads(answer.stdout) == yaml.safe_load(local.stack.contract.read_text())
    assert counts(engine.destroy(local.stack)) == {Action.DELETE: len(created.steps)}


def test_wrong_spec_is_raised_as_it_was_and_creates_nothing(local: Project) -> None:
    local.replace("driver: memory", "driver: memmory")
    with pytest.raises(ConfigError) as caught:
        PulumiEngine().up(local.stack)
    assert "storage.backends.cache.driver" in str(caught.value)
    assert not local.stack.contract.exists()


def test_error_of_the_program_is_raised_as_it_was(local: Project) -> None:
    def broken() -> None:
        raise LookupError("the program is broken")

    with pytest.raises(LookupError, match="the program is broken"):
        PulumiEngine(broken).up(local.stack)


def test_error_after_the_program_is_told_without_a_traceback(local: Project) -> None:
    def late() -> None:
        pulumi.Output.from_input(1).apply(lambda _: ["something"].index("nothing here"))

    engine = PulumiEngine(late)
    with pytest.raises(StorageError) as caught:
        engine.up(local.stack)
    assert str(caught.value) == "'nothing here' is not in list"
    assert engine.result is not None


def test_missing_command_says_how_to_get_it(
    new_project: type[Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    project = new_project(tmp_path, ON_THIS_MACHINE)
    with pytest.raises(StorageUnavailableError, match=r"there is no pulumi command .*install the Pulumi CLI"):
        PulumiEngine().preview(project.stack)


def test_plugins_have_the_versions_of_the_sdks(tmp_path: Path) -> None:
    stale = tmp_path / "plugins" / "resource-aws-v1.0.0"
    stale.mkdir(parents=True)
    installed = plugins.install(tmp_path)
    assert installed["aws"] == version("pulumi-aws")
    executable = tmp_path / "plugins" / f"resource-aws-v{installed['aws']}" / "pulumi-resource-aws"
    assert os.access(executable, os.X_OK)
    assert not stale.exists()
    assert plugins.install(tmp_path) == installed


GUARDED = """
config:
  aws:region: eu-west-1
  tandem:emulators: {aws: ministack}
  tandem:storage:
    profile: standard
    exemptions: [{rule: AWS-14, backend: photos, reason: "the account's trail logs it", expires: "2999-12-31"}]
    backends:
      photos: {driver: s3, logging: false}
"""
EXPIRED = GUARDED.replace("2999", "1999")
SHORT_LIVED = GUARDED.replace("{driver: s3,", '{driver: s3, lifecycle: {rules: [{prefix: "", expire_after: 30d}]},')


def test_the_real_engine_is_refused_too_before_anything_is_registered(
    dev: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = PulumiEngine()

    def refused(text: str, error: type[StorageError], match: str, *runs: Any) -> None:
        dev.stack.file.write_text(text)
        for run in runs:
            with pytest.raises(error, match=match):
                run(dev.stack)
            assert engine.result
            assert {step.type for step in engine.result.steps} <= {"pulumi:pulumi:Stack"}

    expired = r"AWS-14 photos: the exemption expired on 1999-12-31"
    refused(EXPIRED, PolicyError, expired, engine.preview, engine.up)
    assert s3(dev).list_buckets()["Buckets"] == []

    dev.stack.file.write_text(GUARDED)
    engine.up(dev.stack)
    assert len(s3(dev).list_buckets()["Buckets"]) == 1
    contract = dev.stack.contract.read_bytes()

    refused(SHORT_LIVED, ConfigError, r"backends\.photos\.expect\.lifecycle\.rules: nothing -> ", engine.up)
    assert told(caplog) == []
    engine.preview(dev.stack)
    first, line, last = told(caplog)
    assert first == "contract: one difference, 1 breaking"
    assert line.split()[:2] == ["added", "backends.photos.expect.lifecycle.rules:"]
    assert last == f"`pulumi up` refuses this without {ACCEPT}=1"
    assert dev.stack.contract.read_bytes() == contract
    monkeypatch.setenv(ACCEPT, "1")
    engine.up(dev.stack)
    assert told(caplog) == [first, line]
    assert dev.stack.contract.read_bytes() != contract

    dev.stack.file.write_text(EXPIRED)
    monkeypatch.delenv(ACCEPT)  # taking the lifecycle away would be told, but nothing of a destroy reaches applications
    with pytest.raises(StorageError, match="protect") as raised:  # by its resource, and not by a rule
        engine.destroy(dev.stack)
    assert not isinstance(raised.value, PolicyError)
    assert told(caplog) == []


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about the contract that the program sent through the engine since the last look."""
    texts = [record.getMessage() for record in caplog.records if record.name == "tandem.engine"]
    caplog.clear()
    return [line.strip() for text in texts if text.startswith("contract: ") for line in text.splitlines()]
