"""``tandem env``: the values of what the contract refers to, and nothing on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.environment import environment, resolved
from runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.stack import Stack
    from runtime.testing.fixtures import ProgramFactory
    from tests.infra.conftest import MakeStack

ROOT = Path(__file__).parents[2]
R2 = "media: {driver: r2}"


def test_every_referenced_variable_must_have_a_secret(make_stack: MakeStack) -> None:
    with pytest.raises(StorageError, match="no secret for MEDIA_SECRET_KEY") as caught:
        resolved(make_stack(R2), {"MEDIA_ACCESS_KEY": "a"})
    assert "pulumi config set --secret --path tandem:secrets.MEDIA_SECRET_KEY" in str(caught.value)


def test_secrets_become_variables(make_stack: MakeStack) -> None:
    secrets = {"MEDIA_SECRET_KEY": "s", "MEDIA_ACCESS_KEY": "a"}
    assert resolved(make_stack(R2), secrets) == secrets


def test_emulated_stack_gives_what_other_clients_need(make_stack: MakeStack, emulate: Callable[[Stack], None]) -> None:
    emulators: dict[str, Any] = {"tandem:emulators": {"aws": "ministack"}}
    stack = make_stack("avatars: {driver: s3}", profile="dev", **emulators)
    emulate(stack)

    found = environment(stack)

    assert found["LEX_STORAGE_CONFIG"] == str(stack.contract)
    assert found["AWS_ENDPOINT_URL_S3"].startswith("http://127.0.0.1:")
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(found)


def test_secrets_of_a_real_stack_come_out_of_its_state_and_of_no_file(
    make_stack: MakeStack, program: ProgramFactory, tmp_path: Path
) -> None:
    (command,) = program("pulumi")
    stack = make_stack("cache: {driver: memory}", profile="dev")
    (tmp_path / "Pulumi.yaml").write_text("name: tandem\nruntime: python\nmain: main.py\nstackConfigDir: stacks\n")
    (tmp_path / "main.py").write_text((ROOT / "infra/__main__.py").read_text())
    (tmp_path / "state").mkdir()
    variables = os.environ | {
        "PATH": f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_BACKEND_URL": (tmp_path / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "correct horse",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(arguments, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    tandem = (sys.executable, "-m", "runtime.cli")
    run(command, "stack", "init", "test")
    run(
        command, "config", "set", "--secret", "--path", "tandem:secrets.MEDIA_SECRET_KEY", "hunter2-clear", "-s", "test"
    )
    run(*tandem, "up", "-s", "test", "--yes", "--json")

    found = json.loads(run(*tandem, "env", "-s", "test", "--json"))

    assert found == {"LEX_STORAGE_CONFIG": str(stack.contract), "MEDIA_SECRET_KEY": "hunter2-clear"}
    written = [path for path in tmp_path.rglob("*") if path.is_file() and b"hunter2-clear" in path.read_bytes()]
    assert written == []
