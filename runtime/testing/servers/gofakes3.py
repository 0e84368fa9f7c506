"""gofakes3 in memory: the fastest S3, for client-bound benchmarks only. It checks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.testing.servers._process import LOOPBACK
from runtime.testing.servers._recipe import Keys, Recipe, Site

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox


class GoFakeS3(Recipe):
    """Answers the configuration APIs falsely: use it for objects alone."""

    name = "gofakes3"
    quick = False

    def program(self, toolbox: Toolbox) -> list[str]:
        return [str(toolbox.go_program(self.name))]

    def arguments(self, site: Site) -> list[str]:
        return ["-backend", "memory", "-host", f"{LOOPBACK}:{site.port}"]

    def keys(self) -> Keys:
        return Keys("gofakes3", "gofakes3")  # any pair is as good


recipe = GoFakeS3()
