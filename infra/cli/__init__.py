"""The commands of ``tandem`` that need the infrastructure half: provision, tear down, run emulators.

`runtime.cli` finds them through the entry-point group ``tandem.commands``, so that the runtime imports nothing
of this package. Pulumi itself is loaded by the commands that need it, not by ``tandem --help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.cli import contract  # noqa: F401 - its commands join the group `config` when it is loaded
from infra.cli.check import check
from infra.cli.deploy import destroy, preview, up
from infra.cli.drift import drift
from infra.cli.emulators import emulators
from infra.cli.env import env
from infra.cli.examples import add_examples
from infra.cli.purging import purge

if TYPE_CHECKING:
    import typer

PANEL = "Infrastructure"


def register(app: typer.Typer) -> None:
    """Add the commands of this package to *app*."""
    for command in (check, preview, up, drift, destroy, purge, env):
        app.command(rich_help_panel=PANEL)(command)
    app.add_typer(emulators, name="emulators", rich_help_panel=PANEL)
    add_examples(app, emulators)
