"""Serves an ASGI application of this process on a loopback port, for clients that speak real HTTP."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK: Final = "127.0.0.1"
START_SECONDS: Final = 60.0
"""A busy machine takes its time; a server that fails has ended before."""

STOP_SECONDS: Final = 10.0


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def serving(app: Any, *, certificate: tuple[str, str] | None = None) -> Iterator[str]:
    """Serve *app* in a thread with an event loop of its own; gives its address without a trailing slash.

    Args:
        app: An ASGI application, or a function that makes one from its own address.
        certificate: Files of certificate and key, for HTTPS.

    Raises:
        RuntimeError: it did not listen within a minute.
    """
    with socket.create_server((LOOPBACK, 0)) as listener:
        files = certificate or (None, None)
        config = uvicorn.Config(
            app, log_level="error", lifespan="on", ws="none", ssl_certfile=files[0], ssl_keyfile=files[1]
        )
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="serving", daemon=True)
        thread.start()
        try:
            deadline = monotonic() + START_SECONDS
            while not server.ready.wait(0.1) and thread.is_alive() and monotonic() < deadline:
                pass
            if not server.started:
                raise RuntimeError("the application did not start; see the log above")
            scheme = "https" if certificate else "http"
            yield f"{scheme}://{LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS)
