"""What the commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.drift import Finding
    from runtime.models import FileInfo


def out() -> Console:
    """Standard output; made anew for each use, as tests replace the stream."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """One line of a result, as it is: no markup, no wrapping, no colour."""
    sys.stdout.write(f"{text}\n")


def print_json(value: Any) -> None:
    """The result as one JSON document."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def to_json(value: Any) -> str:
    """*value* on one line of JSON."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def print_error(message: str) -> None:
    """One message on standard error; its first line is what went wrong."""
    err().print("[bold red]error:[/]", end=" ")
    err().print(message, markup=False)


def print_warning(message: str) -> None:
    """One warning on standard error."""
    err().print("[bold yellow]warning:[/]", end=" ")
    err().print(message, markup=False)


def print_drift(findings: Iterable[Finding]) -> None:
    """What is not as promised: the differences first, then what could not be compared."""
    from rich.markup import escape  # noqa: PLC0415 - as for all of rich: most commands print none

    styles = {"breaking": "bold red", "security": "bold red", "safe": "yellow", "unknown": "dim"}
    console = out()
    for finding in sorted(findings, key=lambda each: each.drift == "unknown"):
        console.print(f"[{styles[finding.drift]}]{finding.drift:8}[/] [bold]{escape(finding.path)}[/]")
        expected, found = (to_json(value) for value in (finding.expected, finding.found))
        seen = "not known" if finding.drift == "unknown" else f"found {found}"
        console.print(f"         expected {expected}, {seen}", markup=False)
        console.print(f"         {finding.fix}", markup=False)


def one_line(text: str) -> str:
    """*text* for a terminal: what can not be printed is escaped, so that a name can not move the cursor."""
    return text if text.isprintable() else repr(text)[1:-1]


def human_size(count: float) -> str:
    """``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 - what a KiB is
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def facts(info: FileInfo) -> Mapping[str, Any]:
    """What is known of an object, without what is not."""
    return {name: value for name, value in asdict(info).items() if value is not None}
