"""What was done to a stack that can not be undone, one line of JSON each, beside the stack's other state.

``.tandem/<stack>/audit.jsonl`` (mode 0600, or below ``TANDEM_STATE``), appended and synced before and after the deed;
the logger ``tandem.audit`` is told the same, for whoever keeps logs elsewhere.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra import private
from infra.endpoints import state_directory

if TYPE_CHECKING:
    from pathlib import Path

    from infra.stack import Stack

_log = logging.getLogger("tandem.audit")


def audit_file(stack: Stack) -> Path:
    """Where the lines are."""
    return state_directory(stack) / "audit.jsonl"


def audit(stack: Stack, event: str, **facts: Any) -> None:
    """Append one line: when, who, what."""
    line = json.dumps({
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": _user(),
        "project": stack.project,
        "stack": stack.name,
        "event": event,
        **facts,
    })  # fmt: skip
    _log.warning("%s", line)
    private.directory(state_directory(stack))
    file = os.open(audit_file(stack), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return f"uid {os.getuid()}"
