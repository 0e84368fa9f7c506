"""Servers that stand in for the clouds: one catalogue, used by the tests and by ``tandem emulators``.

    server = start("ministack", directory)
    try:
        ...  # server.url, server.access_key, server.secret_key, server.region
    finally:
        server.stop()

Every server listens on 127.0.0.1 only, runs in a process of its own that outlives neither `Server.stop` nor a failed
start, and writes its output to a file. What each one can prove is said in its module; which versions are used is
pinned, with checksums, in ``pins/``. A new server is a new module here: its name is the registration.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runtime.testing.servers._errors import PortTakenError, ServerFailedError, ServerUnavailableError
from runtime.testing.servers._install import GO_PACKAGES, Toolbox, cache_directory
from runtime.testing.servers._process import answers, end, reserved, spawn, wait_until_ready
from runtime.testing.servers._recipe import Keys, Recipe, Site

if TYPE_CHECKING:
    import subprocess

__all__ = [
    "NAMES",
    "Keys",
    "PortTakenError",
    "Server",
    "ServerFailedError",
    "ServerUnavailableError",
    "Toolbox",
    "answers",
    "cache_directory",
    "find",
    "install",
    "start",
]

NAMES = tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


@dataclass(slots=True)
class Server:
    """A running server.

    Attributes:
        name: Its name in the catalogue.
        url: Base address, without a trailing slash.
        port: Loopback port.
        pid: Process id.
        access_key: Access key id (Azure: the account's name; GCS: empty).
        secret_key: Secret of that key (Azure: the account's key; GCS: empty).
        region: Region that its clients sign for; empty where there is none.
        log: File with everything that it printed.
    """

    name: str
    url: str
    port: int
    pid: int
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def stop(self, timeout: float = 5.0) -> None:
        """End the server: politely, and after *timeout* seconds by force. Stopping twice is fine."""
        end(self.process, timeout)

    def detach(self) -> None:
        """Let the server outlive this process; whoever wants to stop it needs its `pid`."""
        self.process.returncode = 0  # or Python warns that a child still runs when the object goes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find(name: str) -> Recipe:
    """What the catalogue says of *name*.

    Raises:
        ValueError: there is no such server; the message lists those there are.
    """
    if name not in NAMES:
        raise ValueError(f"no server {name!r}; there are {', '.join(NAMES)}")
    recipe: Recipe = import_module(f"{__name__}.{name.replace('-', '_')}").recipe
    return recipe


def install(name: str, toolbox: Toolbox | None = None) -> list[str]:
    """Make sure that a server, or the ``pulumi`` command, is there, and give its command line without arguments.

    Raises:
        ServerUnavailableError: it can not be had here.
    """
    toolbox = toolbox or Toolbox()
    if name in GO_PACKAGES:  # the servers written in Go, and pulumi, which is no server
        return [str(toolbox.go_program(name))]
    return find(name).program(toolbox)


def start(
    name: str,
    directory: str | Path,
    port: int = 0,
    *,
    toolbox: Toolbox | None = None,
    keys: Keys | None = None,
    log: Path | None = None,
) -> Server:
    """Start a server and return when it answers.

    Args:
        name: One of `NAMES`.
        directory: The server's own directory, made if need be.
        port: Loopback port; 0 takes a free one.
        toolbox: Where programs come from, and whether missing ones are installed; by default they are.
        keys: Credentials of an earlier start, to go on with; a server that makes its own ignores them.
        log: File that its output is appended to; by default ``<directory>/<name>.log``.

    Raises:
        ServerUnavailableError: the server can not be had here.
        PortTakenError: somebody else listens on *port*.
        ServerFailedError: it did not start; the message ends with the last lines of its log.
    """
    recipe = find(name)
    program = recipe.program(toolbox or Toolbox())
    home = Path(directory).resolve()
    home.mkdir(parents=True, exist_ok=True)
    log = log or home / f"{name}.log"
    with reserved(port) as held:
        site = Site(home, held, keys or recipe.keys())
        process = spawn([*program, *recipe.arguments(site)], recipe.environment(site), home, log)
        try:
            wait_until_ready(name, process, held, recipe.ready, recipe.start_seconds, log)
            client = recipe.admit(site)
        except BaseException:  # Ctrl-C too must leave no process behind
            end(process)
            raise
    return Server(name, site.url, held, process.pid, client.access_key, client.secret_key, recipe.region, log, process)
