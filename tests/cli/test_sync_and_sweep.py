"""``tandem sync`` and ``tandem sweep``."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from runtime.cli.app import build_app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

CONFIG = """\
storage:
  backends:
  - {name: files, driver: local, primary: true, local: {root_dir: ./data}}
  - name: media
    driver: s3
    s3:
      bucket: media-bucket
      region: eu-west-1
      endpoint_url: http://127.0.0.1:9
      access_key: "${ID}"
      secret_key: "${KEY}"
    retry: {attempts: 1}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "storage.yaml").write_text(CONFIG)
    (tmp_path / "folder/sub").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "folder/a.txt").write_text("alpha")
    (tmp_path / "folder/sub/b.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ID", "AKIA")
    monkeypatch.setenv("KEY", "secret")
    return tmp_path


@pytest.fixture
def tandem() -> Callable[..., Result]:
    def run(*args: str) -> Result:
        return CliRunner().invoke(build_app(plug_ins=[]), args)

    return run


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_sync_makes_a_backend_hold_what_a_folder_holds(tandem: Callable[..., Result], project: Path) -> None:
    for file in (project / "folder").rglob("*.*"):
        os.utime(file, (1_600_000_000, 1_600_000_000))
    assert done(tandem("sync", "folder", "files:site", "--dry-run")).splitlines() == [
        "would copy a.txt (missing, 5 B)",
        "would copy sub/b.json (missing, 2 B)",
    ]
    assert len(done(tandem("sync", "folder", "files:site")).splitlines()) == 2
    assert done(tandem("ls", "files:site/", "--recursive")).count("site/") == 2
    (project / "folder/a.txt").unlink()
    refused = tandem("sync", "folder", "files:site", "--prune", "--max-delete", "0")
    assert (refused.exit_code, "1 objects would be removed" in refused.stderr) == (1, True)
    document = json.loads(done(tandem("sync", "folder", "files:site", "--prune", "--json")))
    assert document["unchanged"] == 1
    assert document["done"] == [{"action": "delete", "path": "a.txt", "reason": "extra", "size": 5}]
    assert tandem("sync", "-", "files:site").exit_code == 2
    assert tandem("sync", "no-folder", "files:site", "--prune").exit_code == 3


def test_sync_lists_what_failed_and_goes_on(tandem: Callable[..., Result], project: Path) -> None:
    (project / "folder" / "new\nline").write_text("refused as a path")
    result = tandem("sync", "folder", "files:site", "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert [step["path"] for step in document["done"]] == ["a.txt", "sub/b.json"]
    assert [failure["path"] for failure in document["failed"]] == ["new\nline"]


def test_sweep_aborts_what_a_killed_program_left(tandem: Callable[..., Result], project: Path) -> None:
    left = project / "data/.tandem/temporary/parts-left"
    done(tandem("cp", "folder/a.txt", "files:a.txt"))
    left.write_bytes(b"x" * 100)
    os.utime(left, (time.time() - 1800, time.time() - 1800))  # younger than what opening removes by itself
    assert done(tandem("sweep", "files")) == ""
    assert "would abort files:(path unknown) parts-left" in done(
        tandem("sweep", "files", "--older-than", "10m", "--dry-run")
    )
    assert left.exists()
    everywhere = tandem(
        "sweep", "--older-than", "10m", "--json"
    )  # one backend can not be reached; the others are swept
    assert everywhere.exit_code == 5
    document = json.loads(everywhere.stdout)
    assert [found["upload"]["upload_id"] for found in document["uploads"]] == ["parts-left"]
    assert not left.exists()
