"""``--app``: what an application requires is there, or nothing is changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from infra.apps import refuse_unmet, unmet
from infra.emit import document
from infra.endpoints import placeholders
from infra.spec import context_of, load_spec
from infra.stack import Stack, stack_names
from runtime.cli.app import build_app
from runtime.errors import ConfigError
from runtime.requires import CAPABILITIES

if TYPE_CHECKING:
    from tests.infra.conftest import MakeStack

ROOT = Path(__file__).parents[2]
BACKENDS = "{avatars: {driver: s3, grants: [{to: role/app, access: [read, write]}]}, media: {driver: r2}}"
NEEDS = """
[tool.tandem.requires.avatars]
capabilities = ["presign", "tls_only"]
grants = ["read", "write"]

[tool.tandem.requires.media]
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "pyproject.toml").write_text(NEEDS)
    return tmp_path / "shop"


def tandem(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build_app(), arguments)
    return result.exit_code, result.stdout, result.stderr


def paths(stack: Stack, app: Path) -> list[str]:
    return [each.problem.path for each in unmet(stack, [app])]


def test_an_application_that_has_what_it_requires_is_content(make_stack: MakeStack, app: Path) -> None:
    stack = make_stack(BACKENDS)
    assert unmet(stack, [app]) == []
    refuse_unmet(stack, [app])


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        (BACKENDS.replace("media: ", "videos: "), ["requires.media"]),
        ("{avatars: {driver: s3, grants: [{to: role/app, access: [read]}]}, media: {driver: r2}}",
         ["requires.avatars.grants"]),
        ("{avatars: {driver: s3}, media: {driver: r2}}", ["requires.avatars.grants"]),
        ("{avatars: {driver: memory}, media: {driver: r2}}", ["requires.avatars.capabilities"]),
        ("{videos: {driver: s3}}", ["requires.avatars", "requires.media"]),
    ],
)  # fmt: skip
def test_a_stack_that_takes_it_away_is_refused(
    make_stack: MakeStack, app: Path, backends: str, expected: list[str]
) -> None:
    stack = make_stack(backends)
    assert paths(stack, app) == expected
    with pytest.raises(ConfigError, match="nothing was changed") as caught:
        refuse_unmet(stack, [app])
    assert [problem.path.partition(": ")[2] for problem in caught.value.problems] == expected
    assert all(str(app / "pyproject.toml") in problem.path for problem in caught.value.problems)


def test_check_tells_it_as_text_json_and_sarif(make_stack: MakeStack, app: Path, tmp_path: Path) -> None:
    stack = make_stack("{videos: {driver: memory}, avatars: {driver: memory}}")
    arguments = ("check", "-s", "test", "-C", str(stack.root), "--app", str(app))
    code, text, _ = tandem(*arguments)
    assert code == 1
    assert f"failed    APP-01  {app / 'pyproject.toml'}: requires.media: there is no backend 'media'" in text
    written = tmp_path / "verdict.sarif"
    code, text, _ = tandem(*arguments, "--json", "--sarif", str(written))
    assert code == 1
    assert [each["path"] for each in json.loads(text)["unmet_requirements"]] == [
        "requires.avatars.capabilities",
        "requires.media",
    ]
    run: dict[str, Any] = json.loads(written.read_text())["runs"][0]
    results = [result for result in run["results"] if result["ruleId"] == "APP-01"]
    assert [run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] for result in results] == ["APP-01", "APP-01"]
    assert {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results} == {
        (app / "pyproject.toml").as_posix()
    }
    make_stack("{avatars: {driver: memory}}")
    (app / "pyproject.toml").write_text("[tool.tandem.requires.avatars]")
    assert tandem(*arguments)[0] == 0


@pytest.mark.parametrize("command", ["preview", "up"])
def test_nothing_is_changed_while_an_application_requires_it(
    make_stack: MakeStack, app: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    emulators: dict[str, Any] = {"tandem:emulators": {"aws": "ministack"}}
    stack = make_stack("{avatars: {driver: memory}}", profile="dev", **emulators)
    code, _, told = tandem(command, "-s", "test", "-C", str(stack.root), "--app", str(app))
    assert code == 2
    assert "applications require what this stack would not give; nothing was changed" in told
    assert "requires.media: there is no backend 'media'" in told
    assert not stack.contract.exists()
    assert not (stack.root / ".tandem").exists()  # no emulator was started either


def test_a_wrong_declaration_is_the_users_error(make_stack: MakeStack, tmp_path: Path) -> None:
    stack = make_stack("{avatars: {driver: memory}}")
    code, _, told = tandem("check", "-s", "test", "-C", str(stack.root), "--app", str(tmp_path / "nowhere"))
    assert code == 2
    assert "can not be read" in told


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_what_the_program_promises_can_be_required(name: str) -> None:
    stack = Stack.read(name, ROOT)
    spec = load_spec(stack)
    offline = replace(context_of(stack, spec), endpoints=placeholders(stack))
    promised = {
        capability
        for backend in document(spec, offline).storage.backends
        if backend.expect
        for capability in backend.expect.capabilities
    }
    assert promised
    assert promised <= set(CAPABILITIES)
