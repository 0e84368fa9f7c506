"""moto server: every configuration API of S3, but forged and expired signatures pass. Never for security tests."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from runtime.testing.servers._errors import ServerUnavailableError
from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Keys, Recipe, Site

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox


class Moto(Recipe):
    """Runs in our own environment, where the extra ``dev`` puts it."""

    name = "moto"
    probe = "/moto-api/"

    def program(self, toolbox: Toolbox) -> list[str]:  # noqa: ARG002 - never installed by us
        if not (find_spec("moto") and find_spec("flask")):  # Flask comes with the extra `server`
            raise ServerUnavailableError("moto is not available here", hint="pip install 'moto[s3,server]'")
        return [sys.executable, "-m", "moto.server"]

    def arguments(self, site: Site) -> list[str]:
        return ["-H", LOOPBACK, "-p", str(site.port)]

    def keys(self) -> Keys:
        return Keys("moto", "moto")  # any pair is as good


recipe = Moto()
