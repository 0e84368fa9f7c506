"""Redis: the system's own redis-server (Debian: ``apt-get install redis-server``) or valkey-server, in memory only.

No package index has a maintained build of it, so it is looked for and never installed by us.
"""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from runtime.testing.servers._errors import ServerUnavailableError
from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Recipe, Site

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox

PROGRAMS = ("redis-server", "valkey-server")


class RedisServer(Recipe):
    """Speaks no HTTP: it is ready when it answers a PING. Use ``redis://127.0.0.1:<server.port>``."""

    name = "redis-server"
    stands_in_for = ()
    region = ""

    def program(self, toolbox: Toolbox) -> list[str]:
        places = (toolbox.cache / "bin", None)
        found = (shutil.which(name, path=place and str(place)) for place in places for name in PROGRAMS)
        if (program := next(filter(None, found), None)) is None:
            hint = "apt-get install redis-server, or put redis-server or valkey-server on PATH"
            raise ServerUnavailableError(f"{self.name} is not available here", hint=hint)
        return [program]

    def arguments(self, site: Site) -> list[str]:
        listen = ["--bind", LOOPBACK, "--port", str(site.port), "--protected-mode", "yes"]
        return [*listen, "--dir", str(site.directory), "--save", "", "--appendonly", "no", "--daemonize", "no"]

    def ready(self, port: int) -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=2.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7).startswith(b"+PONG")
        except OSError:
            return False


recipe = RedisServer()
