"""``tandem env``: the secrets that a stack's contract refers to, as lines a shell or a ``.env`` file can read."""

from __future__ import annotations

import json
import shlex
from enum import StrEnum
from typing import Annotated

import typer

from infra.cli.options import Json, Root, StackName, read_stack


class Form(StrEnum):
    """How the variables are written."""

    EXPORT = "export"
    DOTENV = "dotenv"


FormOption = Annotated[Form, typer.Option("--format", help="export: for `eval`; dotenv: for a .env file.")]


def env(stack: StackName, form: FormOption = Form.EXPORT, cwd: Root = None, as_json: Json = False) -> None:
    """Print the secrets that the stack's storage config refers to.

    The config holds references only (``${MEDIA_SECRET_KEY}``); this prints what they stand for, taken from the
    stack's outputs. Nothing is written to disk. Use it as: eval "$(tandem env -s dev)".
    """
    from infra.environment import environment

    variables = environment(read_stack(stack, cwd))
    if as_json:
        typer.echo(json.dumps(variables, indent=2))
        return
    prefix = "export " if form is Form.EXPORT else ""
    for name, value in variables.items():
        typer.echo(f"{prefix}{name}={shlex.quote(value)}")
