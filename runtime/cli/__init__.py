"""The command ``tandem``. `main` is its entry point; each module of this package holds a few commands.

Other distributions, and `infra`, add commands under the entry-point group ``tandem.commands``: each entry is a
function that is given the Typer application. One that can not be loaded is an error that names it: a command
that quietly is not there would be looked for in the wrong place.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130

__all__ = ["main"]


def main() -> None:
    """Run ``tandem`` with the arguments of this process."""
    try:
        from runtime.cli.app import main as run  # noqa: PLC0415 - Ctrl-C while this loads is no traceback either

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
