"""``tandem preview`` tells what breaks applications, and ``up`` does not do it unasked; under either engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.changes import changes
from infra.pending import written
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ProgramFactory
    from tests.infra.conftest import MakeStack

ROOT = Path(__file__).parents[2]
BEFORE = "{uploads: {driver: local, root_dir: ./storage/a}, cache: {driver: memory}}"
AFTER = "{uploads: {driver: local, root_dir: ./storage/b}, notes: {driver: memory}}"
BROKEN = ["backends.cache", "backends.uploads.local.root_dir"]


class Tandem:
    """The command line in a project of its own."""

    def __init__(self, root: Path, engine: str, environment: dict[str, str]) -> None:
        self._root, self._engine, self._environment = root, engine, environment

    def __call__(self, verb: str, *words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "runtime.cli", verb, "-s", "test", "--engine", self._engine, *words]
        done = subprocess.run(
            command, cwd=self._root, env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(params=["embedded", "pulumi"])
def engine(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def keys(engine: str) -> dict[str, Any]:
    return {"profile": "dev"} | ({"tandem:emulators": {"aws": "ministack"}} if engine == "embedded" else {})


@pytest.fixture
def tandem(engine: str, program: ProgramFactory, tmp_path: Path) -> Iterator[Tandem]:
    (command, *_) = program("ministack" if engine == "embedded" else "pulumi")
    (tmp_path / "infra").mkdir()
    (tmp_path / "state").mkdir()
    shutil.copy(ROOT / "infra/__main__.py", tmp_path / "infra")
    environment = os.environ | {
        "COLUMNS": "200",
        "PULUMI_BACKEND_URL": (tmp_path / "state").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "correct horse",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }
    if engine == "pulumi":
        environment["PATH"] = f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}"
    yield Tandem(tmp_path, engine, environment)
    if engine == "embedded":
        stop = [sys.executable, "-m", "runtime.cli", "emulators", "down", "-s", "test"]
        subprocess.run(stop, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=60)


def _write(make_stack: MakeStack, backends: str, keys: dict[str, Any]) -> Path:
    stack = make_stack(backends, **keys)
    project = "name: tandem\nruntime: python\nmain: infra/__main__.py\nstackConfigDir: stacks\n"
    (stack.root / "Pulumi.yaml").write_text(project)
    return stack.contract


def test_what_breaks_is_shown_by_preview_and_refused_by_up(
    tandem: Tandem, make_stack: MakeStack, keys: dict[str, Any]
) -> None:
    contract = _write(make_stack, BEFORE, keys)
    code, text, told = tandem("up", "--yes", "--json")
    assert code == 0, told
    first = json.loads(text)["contract"]
    assert first["breaking"] == 0  # no application ran with what was not there
    assert {change["kind"] for change in first["changes"]} == {"added"}

    emitted = contract.read_bytes()
    _write(make_stack, AFTER, keys)

    code, text, told = tandem("preview", "--json")
    assert code == 0, told
    plan = json.loads(text)["contract"]
    assert [change["path"] for change in plan["changes"] if change["breaking"]] == BROKEN
    assert plan["breaking"] == len(BROKEN)
    code, text, told = tandem("preview")
    assert code == 0, told
    assert "contract: 3 differences, 2 breaking" in text
    assert '"./storage/a" -> "./storage/b"  breaking' in text.replace(str(contract.parents[1]), ".")

    for words in (["--yes"], ["--yes", "--json"]):
        code, text, told = tandem("up", *words)
        assert (code, text) == (2, ""), told
        assert all(path in told for path in BROKEN), told
        assert "--accept-breaking" in told
        assert contract.read_bytes() == emitted

    code, text, told = tandem("up", "--yes", "--accept-breaking", "--json")
    assert code == 0, told
    assert json.loads(text)["contract"] == plan
    assert contract.read_bytes() != emitted
    assert json.loads(tandem("up", "--yes", "--json")[1])["contract"] == {"breaking": 0, "changes": []}


def test_accepting_what_breaks_does_not_agree_to_deletions(
    make_stack: MakeStack, program: ProgramFactory, tmp_path: Path
) -> None:
    program("ministack")
    keys: dict[str, Any] = {"profile": "dev", "tandem:emulators": {"aws": "ministack"}}
    _write(make_stack, "{a: {driver: local}, b: {driver: s3}}", keys)
    (tmp_path / "infra").mkdir()
    shutil.copy(ROOT / "infra/__main__.py", tmp_path / "infra")
    tandem = Tandem(tmp_path, "embedded", dict(os.environ))
    try:
        assert tandem("up", "--yes")[0] == 0
        _write(make_stack, "{a: {driver: local}}", keys)
        code, _, told = tandem("up", "--accept-breaking")
        assert code == 2
        assert "--yes" in told
    finally:
        stop = [sys.executable, "-m", "runtime.cli", "emulators", "down", "-s", "test"]
        subprocess.run(stop, cwd=tmp_path, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("before", "after", "breaking"),
    [
        ("http://127.0.0.1:4566", "http://127.0.0.1:4567", False),
        ("http://127.0.0.1:4566", "https://s3.example.com", True),
        ("https://s3.example.com", "http://127.0.0.1:4566", True),
        (None, "http://127.0.0.1:4566", True),
    ],
)
def test_an_emulator_that_moved_breaks_nothing_more(before: str | None, after: str, breaking: bool) -> None:
    def contract(url: str | None) -> dict[str, Any]:
        return {"backends": [{"name": "a", "driver": "s3", "s3": {"bucket": "b", "endpoint_url": url}}]}

    (change,) = changes(contract(before), contract(after))
    assert change.breaking is breaking


def test_a_file_that_is_no_contract_is_not_taken_for_a_first_deployment(make_stack: MakeStack) -> None:
    stack = make_stack(BEFORE, profile="dev")
    stack.contract.write_text("storage: nothing\n")
    with pytest.raises(ConfigError, match="is no contract, so nobody can tell what would break"):
        written(stack)
