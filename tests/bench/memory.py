"""The most memory that this process ever held at once, on Linux."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
_REFERENCES = Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes in memory now."""
    return _field("VmRSS")


def peak() -> int:
    """Most bytes in memory since `forget_peak`."""
    return _field("VmHWM")


def forget_peak() -> None:
    """Begin to measure the peak anew.

    ``ru_maxrss`` will not do: it can not be reset, and starts with what the parent process held before exec.
    Source: https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html
    """
    _REFERENCES.write_text("5")


def _field(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name} in {_STATUS}")
