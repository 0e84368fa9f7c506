"""Azurite's blob service in memory. Its account is `ACCOUNT`; its address is ``<url>/<account>``."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from runtime.testing.servers._install import node
from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Keys, Recipe, Site

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox

ACCOUNT = "devstoreaccount1"  # the SDKs know this name as an emulator's and address it by path


class Azurite(Recipe):
    """Started with a key of our own in place of the well-known one, so that only its key opens it."""

    name = "azurite"
    stands_in_for = ("azure",)
    region = ""
    probe = f"/{ACCOUNT}?comp=list"

    def program(self, toolbox: Toolbox) -> list[str]:
        package = toolbox.node_package("azurite")
        return [node(), str(package / "dist" / "src" / "blob" / "main.js")]

    def arguments(self, site: Site) -> list[str]:
        listen = ["--blobHost", LOOPBACK, "--blobPort", str(site.port)]
        # current SDKs ask for an API version that Azurite does not know and otherwise answers with 400
        return [*listen, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]

    def environment(self, site: Site) -> dict[str, str]:
        return super().environment(site) | {"AZURITE_ACCOUNTS": f"{site.keys.access_key}:{site.keys.secret_key}"}

    def keys(self) -> Keys:
        return Keys(ACCOUNT, base64.b64encode(secrets.token_bytes(64)).decode())


recipe = Azurite()
