"""One server process: started, watched until it answers, and ended within a bound."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.testing.servers._errors import PortTakenError, ServerFailedError
from runtime.testing.servers._install import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.05
SERVER_ERROR = 500  # a status from here on is not an answer
INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
    "TZ",
)  # no cloud credentials, no proxies


@contextmanager
def reserved(port: int = 0) -> Iterator[int]:
    """Hold a loopback port for a server about to be started; 0 takes a free one.

    On Linux the port stays bound, without listening, until the server listens: nobody else is given it meanwhile, and
    a server that sets ``SO_REUSEADDR``, as all of the catalogue do, may bind it beside us.

    Raises:
        PortTakenError: somebody listens there already.
    """
    with socket.socket() as holder:
        holder.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a port that only waits out old connections is free
        try:
            holder.bind((LOOPBACK, port))
        except OSError as error:
            raise PortTakenError(f"port {port} is in use by another process") from error
        number: int = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        yield number


def answers(port: int, path: str, timeout: float = 2.0) -> bool:
    """Whether an HTTP server on *port* answers a GET of *path*; a refusal is an answer, a server error is not.

    Args:
        port: Port on the loopback interface.
        path: Path with its query.
        timeout: Seconds to wait for the answer.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def spawn(command: Sequence[str], env: Mapping[str, str], directory: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start *command* in a session of its own, so that no Ctrl-C of a terminal reaches it, with its output in *log*."""
    inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - commands of the catalogue only
            command,
            env={**inherited, **env},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_ready(
    name: str,
    process: subprocess.Popen[bytes],
    port: int,
    probe: str | Callable[[int], bool],
    seconds: float,
    log: Path,
) -> None:
    """Return when the server answers a GET of the path *probe*, or when the function *probe* says so of its port.

    Raises:
        ServerFailedError: it ended, or did not answer within *seconds*; the message ends with the log's last lines.
    """
    deadline = time.monotonic() + seconds
    while True:
        if process.poll() is not None:
            raise ServerFailedError(f"{name} ended with {process.returncode} while starting; {log}:\n{tail(log)}")
        if probe(port) if callable(probe) else answers(port, probe):
            return
        if time.monotonic() > deadline:
            raise ServerFailedError(f"{name} did not answer within {seconds:.0f} s on port {port}; {log}:\n{tail(log)}")
        time.sleep(POLL_SECONDS)


def end(process: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """Ask the process to end, and kill its session when it has not after *seconds*."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its own session: `spawn` made the pid the group's id
        process.wait(seconds)
