"""All commands of the runtime, in the order of ``tandem --help``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.cli import encoding  # noqa: F401 - its commands join the group `config`
from runtime.cli.configuration import config_commands
from runtime.cli.copying import cp
from runtime.cli.doctor import doctor
from runtime.cli.examples import CONFIG as EXAMPLES_OF_CONFIG
from runtime.cli.examples import OBJECTS as EXAMPLES
from runtime.cli.examples import illustrate
from runtime.cli.migrating import migrate
from runtime.cli.reading import cat, ls, stat, url
from runtime.cli.removing import rm
from runtime.cli.sweeping import sweep
from runtime.cli.syncing import sync

if TYPE_CHECKING:
    import typer

OBJECTS = "Objects"
CONFIG = "Config"


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    for command in (ls, stat, cat, cp, sync, migrate, rm, sweep, url):
        app.command(rich_help_panel=OBJECTS)(command)
    app.add_typer(config_commands, name="config", rich_help_panel=CONFIG)
    app.command(rich_help_panel=CONFIG)(doctor)
    illustrate(app, EXAMPLES)
    illustrate(config_commands, EXAMPLES_OF_CONFIG)
