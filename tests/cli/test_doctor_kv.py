from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from runtime.cli.app import build_app
from runtime.kv._sqlite import connect

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
storage:
  default_driver: memory
  health_check_timeout: 60
  kv:
    - {name: sessions, driver: local}
    - {name: far, driver: redis, redis: {url: "redis://:hunter3@127.0.0.1:1"}}
"""


ADVICE = "keep passwords and API keys in a vault, and passwords of users as hashes"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "storage.yaml").write_text(CONFIG)
    return tmp_path


def test_doctor_examines_key_value_stores_too(project: Path) -> None:
    with closing(connect(project / "kv" / "kv.sqlite3", fsync=False)) as entries:
        value = json.dumps({"password": "hunter2"})
        entries.execute("INSERT INTO entries VALUES ('n', 'u1', ?, NULL)", (value,))

    result = CliRunner().invoke(build_app(), ["doctor", "--json"])
    report = json.loads(result.stdout)

    assert result.exit_code == 1
    assert {store["name"]: store["usable"] for store in report["kv"]} == {"sessions": True, "far": False}
    assert report["warnings"] == [
        "storage.kv.far.redis.url is a literal secret: write ${NAME} or ${file:PATH} instead",
        f"kv sessions: holds what looks like a secret (the field 'password'): {ADVICE}",
    ]
    assert "hunter" not in result.output
    assert "kv sessions" in CliRunner().invoke(build_app(), ["doctor"]).stdout
