"""``tandem migrate``: its steps, what blocks the last one, and a run that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from runtime.cli.app import build_app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

OLD = "  - {name: media-old, driver: local, local: {root_dir: ./old}}\n"
NEW = "  - {name: media, driver: local, primary: true, read_fallback: media-old, local: {root_dir: ./new}}\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "storage.yaml").write_text(f"storage:\n  backends:\n{OLD}{NEW}")
    for name in ("old", "new", "app"):
        (tmp_path / name).mkdir()
    for number in range(3):
        (tmp_path / "old" / f"{number}.txt").write_text(f"number {number}")
    (tmp_path / "app/pyproject.toml").write_text('[project]\nname = "app"\n[tool.tandem.requires.media]\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tandem() -> Callable[..., Result]:
    def run(*args: str) -> Result:
        return CliRunner().invoke(build_app(plug_ins=[]), args)

    return run


def test_it_copies_and_then_says_how_to_cut_over(tandem: Callable[..., Result], project: Path) -> None:
    would = tandem("migrate", "media-old", "media", "--dry-run")
    assert would.exit_code == 0
    assert "3 objects of media-old (24 B) are not in media yet" in would.stdout
    assert not list((project / "new").iterdir())

    done = tandem("migrate", "media-old", "media")
    assert done.exit_code == 0, done.output
    assert "copied 1.txt (8 B)" in done.stdout
    assert "media-old -> media: 3 copied, 24 B copied, 0 missing" in done.stdout
    assert (project / "new/2.txt").read_text() == "number 2"
    assert (project / "old/2.txt").exists(), "nothing is removed"

    again = tandem("migrate", "media-old", "media", "--cut-over", "--app", "app")
    assert again.exit_code == 0, again.output
    assert "3 there" in again.stdout
    assert "remove `read_fallback: media-old` from storage.backends.media" in again.stdout


def test_cut_over_is_blocked_while_an_application_requires_the_old_backend(
    tandem: Callable[..., Result], project: Path
) -> None:
    (project / "app/pyproject.toml").write_text("[tool.tandem.requires.media-old]\ncapabilities = []\n")
    blocked = tandem("migrate", "media-old", "media", "--cut-over", "--app", "app")
    assert blocked.exit_code != 0
    assert "pyproject.toml: tool.tandem.requires.media-old: the application needs the old backend" in blocked.output
    document = json.loads(tandem("migrate", "media-old", "media", "--cut-over", "--app", "app", "--json").stdout)
    assert document["may_cut_over"] is False
    assert len(document["blocked"]) == 1
    assert document["missing"] == 0


def test_cut_over_asks_for_the_applications(tandem: Callable[..., Result]) -> None:
    assert "--cut-over needs --app PATH" in tandem("migrate", "media-old", "media", "--cut-over").output
    assert tandem("migrate", "media-old", "media", "--cut-over", "--app", "nowhere").exit_code != 0
    assert tandem("migrate", "media-old", "media", "--cut-over", "--no-app").exit_code == 0


def test_backend_that_does_not_fall_back_is_told_what_to_write(tandem: Callable[..., Result], project: Path) -> None:
    (project / "storage.yaml").write_text(
        f"storage:\n  backends:\n{OLD}{NEW.replace(' read_fallback: media-old,', '')}"
    )
    refused = tandem("migrate", "media-old", "media")
    assert refused.exit_code != 0
    message = refused.output
    assert "'media' falls back to no backend, not to 'media-old'" in message
    assert "write `read_fallback: media-old` under storage.backends.media" in message


def test_killed_run_goes_on_where_it_was(project: Path) -> None:
    for number in range(300):
        (project / "old" / f"more-{number}.txt").write_text(f"number {number}")
    command = [sys.executable, "-m", "runtime.cli", "migrate", "media-old", "media", "-j", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for _ in range(20):
            assert running.stdout.readline().startswith("copied ")
        running.send_signal(signal.SIGKILL)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["missing"] == 0
    assert document["placeholders"] == []
    assert document["outcomes"]["there"] >= 20
    assert document["outcomes"]["there"] + document["outcomes"]["copied"] == 303
    for file in (project / "old").glob("*.txt"):
        assert (project / "new" / file.name).read_bytes() == file.read_bytes()
