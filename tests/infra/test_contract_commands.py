"""The contract without any deployment: rendered, compared with the one before, and as types."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import runtime
from infra.changes import HIDDEN, Change, changes
from infra.emit import document
from infra.provision import plan, program
from infra.recording import record
from infra.spec import load_spec
from infra.typed import module
from runtime.cli.app import build_app
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.stack import Stack
    from tests.infra.conftest import MakeStack

BACKENDS = """
avatars:
  driver: s3
  primary: true
  cors: [{origins: ["https://app.example.com"], methods: [GET, PUT]}]
  grants: [{to: role/app, access: [read, write]}, {to: role/reader, access: [read]}]
media: {driver: r2}
"""


EMULATED: dict[str, Any] = {"tandem:emulators": {"aws": "ministack"}}


def contract(stack: Stack) -> dict[str, Any]:
    spec = load_spec(stack)
    found: dict[str, Any] = document(spec, plan(stack, spec)).to_dict()["storage"]
    return found


def tandem(*words: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(build_app(), list(words))
    return found.exit_code, found.stdout, found.stderr


def shape(found: list[Change]) -> list[tuple[str, str, bool]]:
    return [(change.kind.value, change.path, change.breaking) for change in found]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "{a: {driver: s3}, b: {driver: memory}}",
            "{a: {driver: s3}}",
            [("removed", "backends.b", True)],
        ),
        (
            "{a: {driver: s3}}",
            "{a: {driver: s3}, b: {driver: memory}}",
            [("added", "backends.b", False)],
        ),
        (
            "{a: {driver: s3, region: eu-west-1}}",
            "{a: {driver: s3, region: eu-west-2}}",
            [
                ("changed-safe", "backends.a.s3.encryption.kms_key_id", False),
                ("changed-breaking", "backends.a.s3.region", True),
            ],
        ),
        (
            "{a: {driver: s3, grants: [{to: role/a, access: [read, write]}, {to: role/b, access: [read]}]}}",
            "{a: {driver: s3, grants: [{to: role/a, access: [read]}]}}",
            [
                ("changed-breaking", "backends.a.expect.grants.role/a.access", True),
                ("removed", "backends.a.expect.grants.role/b", True),
                ("added", "backends.a.identity", False),
            ],
        ),
        (
            "{a: {driver: s3, grants: [{to: role/a, access: [read]}]}}",
            "{a: {driver: s3, grants: [{to: role/a, access: [read, write]}]}}",
            [("changed-safe", "backends.a.expect.grants.role/a.access", False)],
        ),
        (
            "{a: {driver: local, root_dir: ./a}}",
            "{a: {driver: local, root_dir: ./b}}",
            [("changed-breaking", "backends.a.local.root_dir", True)],
        ),
        (
            "{a: {driver: s3}}",
            "{a: {driver: s3, versioning: false}}",
            [
                ("changed-breaking", "backends.a.expect.capabilities", True),
                ("removed", "backends.a.expect.lifecycle.expire_noncurrent_days", False),
                ("changed-breaking", "backends.a.expect.versioning", True),
            ],
        ),
        (
            "{a: {driver: s3, lifecycle: {rules: [{prefix: tmp/, expire_after: 7d}]}}}",
            "{a: {driver: s3, lifecycle: {rules: [{prefix: tmp/, expire_after: 1d}], expire_noncurrent_after: 60d}}}",
            [
                ("changed-safe", "backends.a.expect.lifecycle.expire_noncurrent_days", False),
                ("changed-breaking", "backends.a.expect.lifecycle.rules", True),
            ],
        ),
        (
            "{a: {driver: s3}}",
            "{a: {driver: s3, lifecycle: {rules: [{prefix: tmp/, expire_after: 7d}]}, presign_max_age: 1d}}",
            [
                ("added", "backends.a.expect.lifecycle.rules", True),
                ("changed-breaking", "backends.a.expect.presign_max_age", True),
            ],
        ),
    ],
)
def test_a_change_of_the_spec_is_classed(
    make_stack: MakeStack, before: str, after: str, expected: list[tuple[str, str, bool]]
) -> None:
    old = contract(make_stack(before))
    assert shape(changes(old, contract(make_stack(after)))) == expected


@pytest.mark.parametrize(
    ("after", "breaking"),
    [
        ('[{origins: ["https://a.example", "https://b.example"], methods: [GET, PUT, HEAD]}]', False),
        (
            '[{origins: ["https://b.example"], methods: [GET]}, {origins: ["https://a.example"], methods: [PUT, GET]}]',
            False,
        ),
        ('[{origins: ["https://a.example"], methods: [GET]}]', True),
        ('[{origins: ["https://b.example"], methods: [GET, PUT]}]', True),
        ("[]", True),
    ],
)
def test_a_cors_rule_that_lets_more_in_breaks_nothing(make_stack: MakeStack, after: str, breaking: bool) -> None:
    old = contract(make_stack('{a: {driver: s3, cors: [{origins: ["https://a.example"], methods: [GET, PUT]}]}}'))
    found = changes(old, contract(make_stack(f"{{a: {{driver: s3, cors: {after}}}}}")))
    assert {change.path for change in found if change.breaking} >= ({"backends.a.expect.cors"} if breaking else set())
    assert any(change.breaking for change in found) is breaking


def test_another_driver_breaks(make_stack: MakeStack) -> None:
    old = contract(make_stack("{a: {driver: memory}}"))
    found = {change.path: change for change in changes(old, contract(make_stack("{a: {driver: local}}")))}
    assert found["backends.a.driver"].breaking
    assert found["default_driver"].breaking


@pytest.mark.parametrize(("limit", "breaking"), [(1, True), (3, False)])
def test_a_lower_limit_on_uploads_breaks_and_a_higher_one_does_not(
    make_stack: MakeStack, limit: int, breaking: bool
) -> None:
    old = contract(make_stack("{a: {driver: memory}}", service={"max_file_size_mb": 2}))
    new = contract(make_stack("{a: {driver: memory}}", service={"max_file_size_mb": limit}))
    assert [change.breaking for change in changes(old, new)] == [breaking]


def test_nothing_breaks_where_there_was_no_contract(make_stack: MakeStack) -> None:
    found = changes({}, contract(make_stack(BACKENDS)))
    assert {(change.kind.value, change.breaking) for change in found} == {("added", False)}


def test_a_secret_that_somebody_wrote_into_the_file_is_not_shown(make_stack: MakeStack) -> None:
    new = contract(make_stack("{media: {driver: r2}}"))
    old = json.loads(json.dumps(new))
    old["backends"][0]["r2"]["secret_key"] = "hunter2"
    (change,) = changes(old, new)
    assert (change.path, change.before, change.after) == ("backends.media.r2.secret_key", HIDDEN, HIDDEN)


def test_diff_compares_with_the_file_that_was_written_last(make_stack: MakeStack) -> None:
    stack = make_stack(BACKENDS)
    record(program, stack)  # writes the contract
    root = str(stack.root)
    assert tandem("config", "diff", "-s", "test", "-C", root, "--json")[:2] == (
        0,
        json.dumps({"stack": "test", "changes": []}, indent=2) + "\n",
    )
    written = stack.contract.read_bytes()
    make_stack("{avatars: {driver: s3, primary: true}}")
    code, text, told = tandem("config", "diff", "-s", "test", "-C", root)
    assert code == 1
    assert "removed          backends.media: " in text
    assert told.split() == ["test:", "5", "differences,", "5", "breaking"]
    assert stack.contract.read_bytes() == written


def test_render_is_what_up_writes_and_needs_no_deployment(make_stack: MakeStack) -> None:
    stack = make_stack(BACKENDS + "reports: {driver: azure, location: westeurope, network: public}\n")
    code, text, told = tandem("config", "render", "-s", "test", "-C", str(stack.root))
    assert not stack.contract.exists()
    record(program, stack)
    assert text == stack.contract.read_text()
    assert code == 1
    assert "failed    AZ-05   reports" in told
    report = json.loads(tandem("config", "render", "-s", "test", "-C", str(stack.root), "--json")[1])
    assert report["contract"]["stack"] == "test"
    assert report["policy"]["rules"]["AZ-05"] == "failed"


def test_render_says_which_emulator_does_not_run(
    make_stack: MakeStack, emulate: Callable[[Stack], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make_stack("{a: {driver: s3}}", profile="dev", **EMULATED)
    monkeypatch.setenv("COLUMNS", "200")
    code, text, told = tandem("config", "render", "-s", "test", "-C", str(stack.root))
    assert (code, text) == (2, "")
    assert "the aws emulator of stack 'test' is not running" in told
    emulate(stack)
    assert tandem("config", "render", "-s", "test", "-C", str(stack.root))[0] == 0


APP = """
from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import runtime
from backends import BackendName, Backends, KVName, KVStores, backend, kv_store, requires

if TYPE_CHECKING:
    from runtime import BlobStore, Storage
    from runtime.kv.base import KVStorage


async def use(storage: Storage) -> None:
    name: BackendName = "user-files"
    assert_type(backend(storage, name), "BlobStore")
    await Backends(storage).user_files.upload("a", b"")
    entries: KVName = "log-ins"
    assert_type(kv_store(storage, entries), "KVStorage")
    await KVStores(storage).log_ins.set("a", 1)


async def main() -> None:
    async with runtime.open_storage(requires=requires()) as storage:
        await use(storage)
"""
KV = {"log-ins": {"driver": "memory"}}


def _mypy(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ".cache", "app.py"]
    return subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)


def test_a_renamed_backend_fails_the_type_check_of_the_application(make_stack: MakeStack, tmp_path: Path) -> None:
    application = tmp_path / "application"
    application.mkdir()
    (application / "app.py").write_text(APP)
    written = application / "backends.py"
    stack = make_stack("{user-files: {driver: s3}, class: {driver: memory}}", profile="dev", kv=KV)
    assert tandem("config", "types", "-s", "test", "-C", str(stack.root), "-o", str(written))[0] == 0
    found = _mypy(application)
    assert found.returncode == 0, found.stdout
    renamed = make_stack(
        "{files: {driver: s3}, class: {driver: memory}}", profile="dev", kv={"sessions": {"driver": "memory"}}
    )
    written.write_text(module(renamed, load_spec(renamed)))
    found = _mypy(application)
    assert found.returncode == 1
    assert "Incompatible types in assignment (expression has type \"Literal['user-files']\"" in found.stdout
    assert '"Backends" has no attribute "user_files"' in found.stdout
    assert "Incompatible types in assignment (expression has type \"Literal['log-ins']\"" in found.stdout
    assert '"KVStores" has no attribute "log_ins"' in found.stdout


async def test_the_names_of_the_module_are_required_at_opening(make_stack: MakeStack) -> None:
    stack = make_stack("{files: {driver: memory}}", profile="dev", kv=KV)
    names: dict[str, Any] = {}
    exec(compile(module(stack, load_spec(stack)), "backends.py", "exec"), names)  # noqa: S102 - what we generated
    there = {"backends": [{"name": "files", "driver": "memory"}], "kv": [{"name": "log-ins"}]}
    async with runtime.open_storage(there, requires=names["requires"]()) as storage:
        assert set(names["BACKENDS"]) == set(storage)
        assert names["Backends"](storage).files is storage["files"]
        assert names["KVStores"](storage).log_ins is names["kv_store"](storage, "log-ins")
    with pytest.raises(ConfigError, match=r"requires\.files: there is no backend 'files'.*\n.*requires-kv\.log-ins"):
        await runtime.open_storage(
            {"backends": [{"name": "file", "driver": "memory"}]}, requires=names["requires"]()
        ).open()


def test_two_names_that_are_one_in_python_are_refused(make_stack: MakeStack) -> None:
    stack = make_stack("{user-files: {driver: memory}, user_files: {driver: memory}}")
    with pytest.raises(ConfigError, match=r"storage.backends.user_files: is user_files in Python"):
        module(stack, load_spec(stack))


def test_types_need_neither_accounts_nor_emulators(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: s3}, from: {driver: memory}}", profile="dev", **EMULATED)
    code, text, told = tandem("config", "types", "-s", "test", "-C", str(stack.root))
    assert code == 0, told
    assert 'BackendName = Literal["a", "from"]' in text
    compile(text, "backends.py", "exec")
