from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from infra.emit import contract_path, document, write
from infra.provision import plan, program
from infra.recording import record
from infra.spec import load_spec
from infra.stack import Stack
from runtime.config import StorageConfig, StorageDocument, fingerprint, literal_secrets
from runtime.errors import ConfigError
from runtime.loading import load_config
from runtime.validation import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.recording import Record
    from tests.infra.conftest import MakeStack, Run

BACKENDS = """
media: {driver: r2, jurisdiction: eu}
avatars: {driver: s3, primary: true, transfer: {part_size: 16MiB, checksum: crc64nvme}}
uploads: {driver: local, root_dir: ./up}
cache: {driver: memory}
"""


def test_the_file_and_the_stacks_output_are_the_same_document(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS, service={"max_file_size_mb": 64})
    recording = run(stack)
    written = read_yaml(stack.contract)
    assert written == recording.outputs["storage"]
    assert written["fingerprint"] == fingerprint(written)
    assert (written["version"], written["project"], written["stack"]) == (1, "tandem", "test")
    assert stack.contract.read_text().startswith("# generated from stack test — do not edit\n")


def test_the_document_is_what_the_runtimes_models_read(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS, service={"max_file_size_mb": 64})
    run(stack)
    read = StorageDocument.model_validate(read_yaml(stack.contract))
    spec = load_spec(stack)
    emitted = document(spec, plan(stack, spec))
    assert read.storage == emitted.storage
    assert isinstance(read.storage, StorageConfig)
    assert read.storage.default_driver == "s3"
    assert read.storage.service.max_file_size_mb == 64
    transfer = read.storage.backend("avatars").transfer
    assert (transfer.part_size, transfer.checksum) == (16 * 1024 * 1024, "crc64nvme")


def test_an_application_loads_the_file(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS)
    run(stack)
    config = load_config(
        stack.contract, environ={"MEDIA_ACCESS_KEY": "id", "MEDIA_SECRET_KEY": "6f1ed002ab5595859014ebf0951522d9"}
    )
    assert [backend.name for backend in config.named_backends()] == ["avatars", "cache", "media", "uploads"]
    assert config.backend("media").settings.secret_key.get_secret_value() == "6f1ed002ab5595859014ebf0951522d9"


def test_the_document_is_known_without_running_anything(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS)
    spec = load_spec(stack)
    offline = document(spec, plan(stack, spec)).to_yaml()
    run(stack)
    assert stack.contract.read_text() == offline


def test_two_runs_give_equal_bytes(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS)
    run(stack)
    first = stack.contract.read_bytes()
    stack.contract.unlink()
    run(stack)
    assert stack.contract.read_bytes() == first


def test_the_order_of_the_spec_changes_nothing(make_stack: MakeStack, run: Run) -> None:
    # the Pulumi CLI hands a mapping over sorted, a file is read in its own order
    stack = make_stack(BACKENDS)
    run(stack)
    first = stack.contract.read_bytes()
    backends = dict(reversed(stack.config["tandem:storage"]["backends"].items()))
    storage = {"backends": backends, "profile": "standard"}
    record(program, Stack(stack.name, stack.project, stack.root, {**stack.config, "tandem:storage": storage}))
    assert stack.contract.read_bytes() == first


def test_a_preview_writes_nothing_and_exports_the_document(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS)
    before = sorted(stack.root.rglob("*"))
    recording = run(stack, preview=True)
    assert sorted(stack.root.rglob("*")) == before
    assert recording.outputs["storage"]["storage"]["default_driver"] == "s3"


class RefusedError(Exception):
    pass


@pytest.mark.parametrize("failing", ["avatars-bucket", "avatars-policy", "media-managed-domain"])
def test_one_resource_that_fails_leaves_the_old_file_as_it_was(make_stack: MakeStack, run: Run, failing: str) -> None:
    stack = make_stack(BACKENDS)
    stack.contract.write_bytes(b"# an older contract\nversion: 1\r\n")

    def create(made: Record) -> dict[str, Any]:
        if made.name == failing:
            raise RefusedError(made.name)
        return {}

    with pytest.raises(RefusedError, match=failing):
        run(stack, create=create)
    assert stack.contract.read_bytes() == b"# an older contract\nversion: 1\r\n"
    assert [path.name for path in stack.directory.iterdir() if path.name.startswith(".")] == []


def test_the_file_is_written_when_everything_exists_and_not_before(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS)
    there: list[bool] = []

    def create(_: Record) -> dict[str, Any]:
        there.append(stack.contract.exists())
        return {}

    recording = run(stack, create=create)
    assert len(there) == len([made for made in recording.records if made.custom])
    assert not any(there)
    assert stack.contract.exists()


def test_no_secret_is_in_the_file(make_stack: MakeStack, emulate: Callable[[Stack], None], run: Run) -> None:
    keys: dict[str, Any] = {"tandem:emulators": {"aws": "ministack", "cloudflare": "ministack"}}
    stack = make_stack("{avatars: {driver: s3}, media: {driver: r2}}", profile="dev", **keys)
    emulate(stack)
    run(stack)
    assert literal_secrets(read_yaml(stack.contract)) == []
    assert "aws-secret_key" not in stack.contract.read_text()
    config = load_config(stack.contract)
    assert config.backend("avatars").settings.secret_key.get_secret_value() == "aws-secret_key"
    assert config.backend("media").settings.access_key.get_secret_value() == "cloudflare-access_key"


def test_an_emulator_that_does_not_run_is_an_error_that_says_what_to_do(make_stack: MakeStack, run: Run) -> None:
    keys: dict[str, Any] = {"tandem:emulators": {"aws": "ministack"}}
    stack = make_stack("{avatars: {driver: s3}}", profile="dev", **keys)
    with pytest.raises(ConfigError, match=r"the aws emulator of stack 'test' is not running \(tandem emulators up"):
        run(stack)
    assert not stack.contract.exists()


@pytest.mark.parametrize(
    ("backends", "driver"),
    [
        ("{b: {driver: memory}, a: {driver: local}}", "local"),
        ("{b: {driver: memory, primary: true}, a: {driver: local}}", "memory"),
    ],
)
def test_the_default_driver_is_that_of_the_primary_or_else_of_the_first(
    make_stack: MakeStack, run: Run, backends: str, driver: str
) -> None:
    assert run(make_stack(backends)).outputs["storage"]["storage"]["default_driver"] == driver


class TestWrite:
    def test_a_file_can_be_read_by_everybody(self, tmp_path: Path) -> None:
        old = os.umask(0o077)
        try:
            write(tmp_path / "new" / "storage.yaml", "ä: 1\n")
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "new" / "storage.yaml").stat().st_mode) == 0o644
        assert (tmp_path / "new" / "storage.yaml").read_bytes() == "ä: 1\n".encode()

    def test_a_file_that_says_the_same_is_not_touched(self, tmp_path: Path) -> None:
        path = tmp_path / "storage.yaml"
        write(path, "a: 1\n")
        before = path.stat()
        write(path, "a: 1\n")
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_a_write_that_fails_leaves_the_old_file_and_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "storage.yaml"
        write(path, "a: 1\n")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write(path, "b: 2\n")
        assert path.read_text() == "a: 1\n"
        assert list(tmp_path.iterdir()) == [path]


def test_the_contract_is_beside_the_spec(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: memory}}", name="prod")
    assert contract_path(stack) == stack.root / "stacks" / "storage.prod.yaml"
