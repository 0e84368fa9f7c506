"""Examples of the commands of this package, which stand at the end of their ``--help``; a test parses each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.cli.configuration import config_commands
from runtime.cli.examples import illustrate

if TYPE_CHECKING:
    import typer

STACKS: Final = {
    "check": ("tandem check -s prod", "tandem check -s prod --app . --sarif verdict.sarif", "tandem check --rules"),
    "preview": ("tandem preview -s prod", "tandem preview -s prod --refresh"),
    "up": ("tandem up -s dev --prove", "tandem up -s prod --app ."),
    "drift": ("tandem drift -s prod", "tandem drift -s prod --only live --strict"),
    "destroy": ("tandem destroy -s dev",),
    "purge": ("tandem purge avatars -s dev --dry-run",),
    "env": ('eval "$(tandem env -s dev)"', "tandem env -s dev --format dotenv > .env"),
}

EMULATORS: Final = {name: (f"tandem emulators {name} -s dev",) for name in ("up", "down", "status")}

CONTRACT: Final = {
    "render": ("tandem config render -s prod",),
    "diff": ("tandem config diff -s prod",),
    "types": ("tandem config types -s prod -o app/storage_names.py",),
}


def add_examples(app: typer.Typer, emulators: typer.Typer) -> None:
    """Put them below the help of this package's commands of *app*, of *emulators*, and of the group ``config``."""
    illustrate(app, STACKS)
    illustrate(emulators, EMULATORS)
    illustrate(config_commands, CONTRACT)
