"""A run as Markdown and as JSON."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.testing import servers
from tests.bench.client import NAMES, released
from tests.bench.tables import OURS, cell, plain
from tests.bench.targets import TARGETS, finder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.bench.tables import Row, Table

ROOT: Final = Path(__file__).parents[2]
_AGAINST: Final = ("obstore", "aiobotocore")
_HOW: Final = (
    "Written by `python -m tests.bench`; every figure is the median of the rounds (least-most). Clients take turns "
    "within a round, another one first in each, and a ratio is the median of what it was in each round."
)


def facts(server: str, rounds: int) -> dict[str, str]:
    """The machine and the versions, by name."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} cores shared by client and server, {platform.system()} "
        f"{platform.release()}, load {os.getloadavg()[0]:.1f} when it began",
        "Python": platform.python_version(),
        "server": f"{server} {_server_version(server)}".strip(),
        "commit": _commit(),
        "rounds": str(rounds),
        **{name: released(name) or "not installed" for name in NAMES if name != OURS},
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", listed.read_text(), re.MULTILINE) if listed.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def _server_version(name: str) -> str:
    pins = Path(servers.__file__).with_name("pins") / "go.mod"
    found = re.search(rf"/{re.escape(name)} (v\S+)", pins.read_text())
    return found[1] if found else ""


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def markdown(tables: Sequence[Table], about: dict[str, str]) -> str:
    """The whole report."""
    lines = [
        "# Benchmark",
        "",
        _HOW,
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        *_target_lines(tables),
    ]
    for table in tables:
        lines += [f"## {table.title}", "", table.note, "", *_table_lines(table), ""]
    return "\n".join(lines)


def _target_lines(tables: Sequence[Table]) -> Iterator[str]:
    find = finder(tables)
    known = [(target, value) for target in TARGETS if (value := target.found(find)) is not None]
    if not known:
        return
    yield from ("## Targets", "", "| what | demanded | measured | |", "|---|---|---|---|")
    for target, value in known:
        unit = "" if target.against is None else "x"
        sign = "≤" if target.most else "≥"
        verdict = "met" if target.met(value) else "**missed**"
        yield f"| {target.sentence} | {sign} {plain(target.bound)}{unit} | {plain(value)}{unit} | {verdict} |"
    yield ""


def _table_lines(table: Table) -> Iterator[str]:
    clients = [name for name in NAMES if any(name in row.figures for row in table.rows)]
    compared = [name for name in _AGAINST if name in clients] if OURS in clients else []
    heads = ["", "unit", *clients, *(f"{OURS} : {name}" for name in compared)]
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|" + "---:|" * (len(heads) - 2)
    for row in table.rows:
        cells = [row.title, row.unit, *(cell(row.figures.get(name, ())) for name in clients)]
        yield f"| {' | '.join([*cells, *(_ratio(row, name) for name in compared)])} |"


def _ratio(row: Row, other: str) -> str:
    value = row.times(other)
    return "-" if value is None else f"{value:.2f}x"


def document(tables: Sequence[Table], about: dict[str, str]) -> dict[str, Any]:
    """The same with every figure of every round."""
    find = finder(tables)
    return {
        "about": about,
        "command": sys.argv[1:],
        "targets": [
            {"sentence": target.sentence, "bound": target.bound, "found": value, "met": target.met(value)}
            for target in TARGETS
            if (value := target.found(find)) is not None
        ],
        "tables": [asdict(table) for table in tables],
    }
