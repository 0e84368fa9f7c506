"""fake-gcs-server in memory: the JSON API of Google Cloud Storage, with no credentials at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Recipe, Site

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox


class FakeGCSServer(Recipe):
    """Verifies no signed URL and drops most bucket settings."""

    name = "fake-gcs-server"
    stands_in_for = ("gcp",)
    region = ""
    probe = "/storage/v1/b?project=tandem"
    quick = False

    def program(self, toolbox: Toolbox) -> list[str]:
        return [str(toolbox.go_program(self.name))]

    def arguments(self, site: Site) -> list[str]:
        listen = ["-scheme", "http", "-host", LOOPBACK, "-port", str(site.port)]  # its default is every interface
        # upload sessions and media links must lead back here, not to the real service
        names = ["-external-url", site.url, "-public-host", f"{LOOPBACK}:{site.port}"]
        return [*listen, *names, "-backend", "memory", "-log-level", "warn"]


recipe = FakeGCSServer()
