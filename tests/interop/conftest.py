from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

from runtime.testing.fixtures import give_up, may_install
from runtime.testing.servers import ServerUnavailableError, Toolbox

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Lexigram(Protocol):
    """Runs one command of lexigram_side.py in the environment of the published lexigram-storage."""

    def __call__(self, *command: str, **environment: str) -> Any: ...


@pytest.fixture(scope="session")
def lexigram_python() -> Path:
    """The Python of an environment with the published lexigram-storage, as pinned in lexigram.txt."""
    toolbox = Toolbox(install=may_install(quick=True))
    try:
        return toolbox.python_environment("lexigram", HERE / "lexigram.txt")
    except ServerUnavailableError as error:
        give_up(error)


@pytest.fixture(scope="session")
def lexigram(lexigram_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Lexigram:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    directory = tmp_path_factory.mktemp("lexigram")

    def run(*command: str, **environment: str) -> Any:
        done = subprocess.run(
            [str(lexigram_python), str(HERE / "lexigram_side.py"), *command],
            cwd=directory,
            env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
