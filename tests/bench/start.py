"""How long it takes to begin: importing, and a whole process that reads one object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING

from tests.bench.cases import SMALL, seed_path
from tests.bench.client import load
from tests.bench.groups import say
from tests.bench.tables import Row, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.bench.groups import Plan

_IMPORT = "from time import perf_counter as now; begin = now(); import {}; print((now() - begin) * 1000)"


def _environment(byte_code: Path) -> dict[str, str]:
    """This process's environment, but with byte code kept there whatever it says of byte code."""
    told = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**told, "PYTHONPYCACHEPREFIX": str(byte_code)}


def start(plan: Plan) -> list[Table]:
    """Import, and cold process to first object, each in fresh processes."""
    environment = _environment(plan.directory / "byte-code")
    imported = Row("import", "import", "ms")
    cold = Row("first-object", "cold process to first object", "ms")
    cpu = Row("first-object-cpu", "the same, processor time", "ms")
    rows = [row for row in (imported, cold, cpu) if not plan.cases or row.key.removesuffix("-cpu") in plan.cases]
    for number in range(plan.rounds + 1):  # the first writes byte code and fills the caches, and is left out
        for name in plan.able("s3"):
            command = [sys.executable, "-c", _IMPORT.format(load(name).module)]
            told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
            wall, cpu_time = _process([name, json.dumps(asdict(plan.site)), seed_path("get", 0)], environment)
            if number:
                imported.figures.setdefault(name, []).append(float(told))
                cold.figures.setdefault(name, []).append(wall)
                cpu.figures.setdefault(name, []).append(cpu_time)
    say(f"  {plan.rounds} rounds")
    note = "Milliseconds, byte code in place; a whole process includes the interpreter's own start. Less is better."
    return [Table("start", "Start", note, rows)]


def _process(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.bench.cold", *arguments]
    begin = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    with process.stdout:
        told = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = (perf_counter() - begin) * 1000
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here
    # not its exit code: obstore's threads abort the interpreter at its end now and then (12 of 65, run)
    if told.strip() != str(len(SMALL)).encode():
        raise RuntimeError(f"{arguments[0]} could not read its first object (exit code {process.returncode})")
    return wall, (used.ru_utime + used.ru_stime) * 1000
