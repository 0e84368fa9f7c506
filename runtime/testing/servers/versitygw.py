"""versitygw: the strictest S3 data plane there is without a cloud, and fast; region ``auto`` as R2 has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Keys, Recipe, Site, random_keys

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox


class VersityGateway(Recipe):
    """Keeps objects as files with extended attributes, so the directory's file system must have those."""

    name = "versitygw"
    quick = False

    def program(self, toolbox: Toolbox) -> list[str]:
        return [str(toolbox.go_program(self.name))]

    def arguments(self, site: Site) -> list[str]:
        folders = {name: site.directory / name for name in ("iam", "objects", "versions")}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        listen = ["--port", f"{LOOPBACK}:{site.port}", "--keep-alive", "--region", self.region, "--quiet"]
        versions = ["--versioning-dir", str(folders["versions"])]
        return [*listen, "--iam-dir", str(folders["iam"]), "posix", *versions, str(folders["objects"])]

    def environment(self, site: Site) -> dict[str, str]:
        keys = {"ROOT_ACCESS_KEY": site.keys.access_key, "ROOT_SECRET_KEY": site.keys.secret_key}
        return super().environment(site) | keys

    def keys(self) -> Keys:
        return random_keys()


recipe = VersityGateway()
