"""``tandem emulators``: the servers on this machine that stand in for the clouds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from infra.cli.options import Json, Root, StackName, read_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.emulators import ServerState

emulators = typer.Typer(
    help="Start, stop and look at the servers that stand in for the clouds. They listen on 127.0.0.1 only.",
    no_args_is_help=True,
)
