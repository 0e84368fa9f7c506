"""Processes that outlive the command that started them: recognised later, and ended only if they are still ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

SAME_START: Final = 2.0
"""Seconds by which a process's start may seem to differ: clocks are set, processes are not started twice."""

STOP_SECONDS: Final = 5.0


def identity(pid: int) -> dict[str, Any]:
    """What tells a process from a later one that is given the same id."""
    return {"pid": pid, "created": psutil.Process(pid).create_time()}


def find(record: Mapping[str, Any]) -> psutil.Process | None:
    """The process of an `identity`, if it still runs and still is that one."""
    try:
        process = psutil.Process(record["pid"])
        ours = abs(process.create_time() - record["created"]) < SAME_START
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def absence(record: Mapping[str, Any]) -> str:
    """Why `find` finds nothing."""
    try:
        stranger = psutil.Process(record["pid"])
        if abs(stranger.create_time() - record["created"]) >= SAME_START:
            return f"its pid {record['pid']} is stale: it belongs to {stranger.name()} now, which is left alone"
    except psutil.NoSuchProcess:
        pass
    return f"its process {record['pid']} is gone"


def end(record: Mapping[str, Any]) -> str:
    """End the process of an `identity` and its children, within a bound, and say what was done."""
    process = find(record)
    if process is None:
        return absence(record)
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for one in alive:
        one.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    return f"killed pid {process.pid}, which did not end by itself" if process in alive else f"ended pid {process.pid}"


def holder(port: int) -> str:
    """Who listens on a loopback port, as far as the system tells."""
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        pid = next((c.pid for c in listening if c.laddr and c.laddr.port == port and c.pid), None)
        return f"{psutil.Process(pid).name()} (pid {pid})" if pid else "another process"
    except psutil.Error:  # not everybody is shown the processes of others
        return "another process"
