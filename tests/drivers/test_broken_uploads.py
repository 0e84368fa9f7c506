"""Uploads broken at random points, on every server: nothing half is seen, nothing is left.

``python -m tests.bench.broken`` does the same a thousand times for each; ``TANDEM_BROKEN_UPLOADS=1000`` does it here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.bench.broken import KINDS, broken
from tests.places import place

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

COUNT = int(os.environ.get("TANDEM_BROKEN_UPLOADS", "60"))


@pytest.mark.parametrize("kind", KINDS)
async def test_exceptions_and_cancellations_leave_nothing(kind: str, server: ServerFactory, tmp_path: Path) -> None:
    found = await broken(place(server, kind, tmp_path), COUNT, seed=1)
    assert (found.partial, found.left) == ([], [])
    assert found.ended["raised"] > COUNT // 5
    assert found.ended["cancelled"] > COUNT // 10, found.ended  # the rest was whole before


KILL = """
import json, sys
from runtime.config import NamedStorageConfig
from tests.bench.broken import killed
told = json.load(sys.stdin)
found = killed(NamedStorageConfig.model_validate(told["entry"]), told["count"], 1)
print(json.dumps({"partial": found.partial, "left": found.left, "ended": dict(found.ended)}))
"""


def test_killed_processes_leave_nothing_after_the_next_start(server: ServerFactory, tmp_path: Path) -> None:
    told = json.dumps({"entry": place(server, "local", tmp_path).document(), "count": max(COUNT // 3, 10)})
    # in a process without threads, as it forks
    done = subprocess.run([sys.executable, "-c", KILL], input=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["partial"], found["left"]) == ([], [])
    assert found["ended"] == {"killed": max(COUNT // 3, 10)}
