"""Run one stand-in as a Pulumi plugin: ``python -m infra.engine.providers aws <engine address>``."""

from __future__ import annotations

import sys
from importlib.metadata import version

from pulumi.provider.experimental import server

from infra.engine.providers import SDKS, stand_in

if __name__ == "__main__":
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""  # the SDK's server parses what is left of sys.argv itself
    if name not in SDKS:
        sys.exit(f"usage: python -m infra.engine.providers {{{','.join(SDKS)}}} ENGINE_ADDRESS")
    server.main(sys.argv[1:], version(SDKS[name]), stand_in(name))
