"""moto server: every configuration API of S3, but forged and expired signatures pass. Never for security tests.

One request at a time: moto compares ``If-Match`` and writes in two steps, so of two threads both could win (seen in a
full run: two of ten increments lost).
"""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING

from runtime.testing.servers._errors import ServerUnavailableError
from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Keys, Recipe, Site

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from runtime.testing.servers._install import Toolbox


class Moto(Recipe):
    """Runs in our own environment, where the extra ``dev`` puts it."""

    name = "moto"
    probe = "/moto-api/"

    def program(self, toolbox: Toolbox) -> list[str]:  # noqa: ARG002 - never installed by us
        if not (find_spec("moto") and find_spec("flask")):  # Flask comes with the extra `server`
            raise ServerUnavailableError("moto is not available here", hint="pip install 'moto[s3,server]'")
        return [sys.executable, "-m", __name__]

    def arguments(self, site: Site) -> list[str]:
        return [str(site.port)]

    def keys(self) -> Keys:
        return Keys("moto", "moto")  # any pair is as good


recipe = Moto()


class InTurn:
    """An application that answers one request after the other; bodies arrive outside of the turn.

    Args:
        application: What answers.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._turn = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("wsgi.input_terminated") or environ.get("CONTENT_LENGTH"):
            length = int(environ.get("CONTENT_LENGTH") or -1)
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with self._turn:
            return list(self._application(environ, start_response))


def main(port: int) -> None:
    """Serve on *port* until the process is ended."""
    from moto.moto_server import werkzeug_app  # noqa: PLC0415 - the recipe is known where moto is not installed
    from werkzeug.serving import run_simple  # noqa: PLC0415 - as above

    application = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
    handler = werkzeug_app.MotoRequestHandler
    run_simple(LOOPBACK, port, InTurn(application), threaded=True, request_handler=handler)


if __name__ == "__main__":
    main(int(sys.argv[1]))
