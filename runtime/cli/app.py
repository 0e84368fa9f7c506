"""The application: its commands, how errors become messages and exit codes, and where plug-ins join in."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from runtime.cli.exits import PIPE_CLOSED, UNAVAILABLE, USAGE, epilog, exit_code
from runtime.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

COMMAND_GROUP: Final = "tandem.commands"
"""Entry points that add commands: functions that are given the `typer.Typer` application."""


INFRASTRUCTURE: Final = "infra"
"""Extra of the commands that provision; without it they are there, and say so."""


class ErrorsToExitCodes(TyperGroup):
    """Turns what our code raises into one message on standard error and an exit code. Bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that *ctx* names."""
        from runtime.cli.output import print_error  # noqa: PLC0415 - keeps rich out of commands without errors

        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _forget_output()
            raise typer.Exit(PIPE_CLOSED) from None
        except ModuleNotFoundError as exc:
            from runtime.extras import install_command, is_listed  # noqa: PLC0415 - only to say what is missing

            if not is_listed(exc, INFRASTRUCTURE):
                raise
            hint = install_command(INFRASTRUCTURE)
            print_error(f"this command needs the package {exc.name!r}, which is not installed ({hint})")
            raise typer.Exit(UNAVAILABLE) from exc
        except (StorageError, OSError) as exc:
            print_error(_message(exc))
            raise typer.Exit(exit_code(exc)) from exc


def _message(error: StorageError | OSError) -> str:
    if isinstance(error, StorageError):
        return str(error)
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}" if error.filename else what


def _forget_output() -> None:
    """Let the interpreter flush what nobody reads any more into nothing, instead of complaining about it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"tandem {version('tandem-storage')}")
        raise typer.Exit


def root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Object storage for applications: provision named backends, then use them by the same names.

    Addresses are backend:path, as in avatars:u/1.jpg. The storage config is found as an application finds it
    (LEX_STORAGE_CONFIG, storage.yaml, stacks/storage.$LEX_STORAGE_STACK.yaml), or named with --config or --stack.
    """


def build_app(plug_ins: Iterable[EntryPoint] | None = None) -> typer.Typer:
    """The application with all its commands.

    Args:
        plug_ins: What adds commands; every installed entry point of `COMMAND_GROUP` when left out.

    Raises:
        ConfigError: a plug-in can not be loaded, or fails.
    """
    from runtime.cli import commands  # noqa: PLC0415 - it needs this module

    app = typer.Typer(
        name="tandem",
        cls=ErrorsToExitCodes,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_show_locals=False,  # they may hold secrets
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=epilog(),
    )
    app.callback()(root)
    commands.register(app)
    for point in entry_points(group=COMMAND_GROUP) if plug_ins is None else plug_ins:
        _plug_in(app, point)
    return app


def _plug_in(app: typer.Typer, point: EntryPoint) -> None:
    try:
        point.load()(app)
    except Exception as exc:
        distribution = f" of {point.dist.name}" if point.dist else ""
        raise ConfigError(
            f"the commands {point.name!r}{distribution} ({point.value}) can not be loaded: {type(exc).__name__}: {exc}",
            hint="repair or uninstall it",
        ) from exc


def main() -> None:
    """Run the command line of this process."""
    try:
        app = build_app()
    except ConfigError as exc:
        from runtime.cli.output import print_error  # noqa: PLC0415 - only to say why there are no commands

        print_error(str(exc))
        sys.exit(USAGE)
    app(prog_name="tandem")
