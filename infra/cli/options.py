"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from infra.stack import Stack


class EngineName(StrEnum):
    """Which engine runs the stack's program."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    PULUMI = "pulumi"


StackName = Annotated[
    str, typer.Option("--stack", "-s", help="The stack: NAME in stacks/Pulumi.NAME.yaml.", envvar="LEX_STORAGE_STACK")
]
Root = Annotated[
    Path | None, typer.Option("--cwd", "-C", help="Project directory; by default the nearest one with a Pulumi.yaml.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is replaced or deleted.")]
AcceptBreaking = Annotated[
    bool,
    typer.Option(
        "--accept-breaking", help="Go on although applications that run with the contract of before would break."
    ),
]
Apps = Annotated[
    list[Path] | None,
    typer.Option("--app", help="An application's pyproject.toml, or its directory: what it requires must be there."),
]
Engine = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="auto: embedded for a stack that lives on emulators, the Pulumi CLI for the others.",
    ),
]


def read_stack(name: str, root: Path | None) -> Stack:
    """The stack called *name* of the project at *root*, or of the nearest project above the working directory."""
    from infra.stack import Stack

    return Stack.read(name, root or find_root(Path.cwd()))


def find_root(start: Path) -> Path:
    """The nearest directory at or above *start* that holds a ``Pulumi.yaml``."""
    for directory in (start, *start.parents):
        if (directory / "Pulumi.yaml").is_file():
            return directory
    raise ConfigError(
        "no Pulumi.yaml here or in any directory above",
        source=str(start),
        hint="run this inside a project, or name it with --cwd",
    )
