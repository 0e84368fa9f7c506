"""versitygw that signs for the region ``auto``, as R2 does; a server has one region and refuses the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.testing.servers.versitygw import VersityGateway

if TYPE_CHECKING:
    from runtime.testing.servers._install import Toolbox


class VersityGatewayAuto(VersityGateway):
    """The same program with another region."""

    name = "versitygw-auto"
    region = "auto"

    def program(self, toolbox: Toolbox) -> list[str]:
        return [str(toolbox.go_program(VersityGateway.name))]


recipe = VersityGatewayAuto()
