"""``tandem config``: what an application would read here, and what it could read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from runtime.cli.options import ConfigFile, Json, StackName
from runtime.cli.output import print_json, say
from runtime.cli.session import load

if TYPE_CHECKING:
    from runtime.loading import LoadedConfig

config_commands = typer.Typer(no_args_is_help=True, help="Show the storage config, or the schema of it.")


@config_commands.command()
def show(*, as_json: Json = False, config: ConfigFile = None, stack: StackName = None) -> None:
    """Show the config as an application would read it here: every backend with all its settings.

    Secrets are masked. Below it stands which variable, file or reference each value came from.
    """
    loaded = load(config, stack)
    storage = shown(loaded)
    if as_json:
        print_json(
            {"source": loaded.source, "stack": loaded.stack, "origins": dict(loaded.origins), "storage": storage}
        )
        return
    from runtime.validation import dump_yaml  # noqa: PLC0415 - keeps YAML out of `tandem --help`

    say(f"# read from {loaded.source}")
    say(dump_yaml({"storage": storage}).rstrip())
    if loaded.origins:
        say("# values from elsewhere")
    for path, origin in sorted(loaded.origins.items()):
        say(f"#   {path}  {origin}")


@config_commands.command()
def schema() -> None:
    """Print the JSON Schema of the storage config, for editors and checks."""
    from runtime.config import json_schema  # noqa: PLC0415 - as above

    print_json(json_schema())


def shown(loaded: LoadedConfig) -> dict[str, Any]:
    """The whole config with its defaults, secrets masked, settings of drivers from elsewhere under their name."""
    config = loaded.config
    document: dict[str, Any] = config.model_dump(mode="json", exclude={"backends", "drivers"}, exclude_none=True)
    document["backends"] = [_backend(backend) for backend in config.named_backends()]
    masked: dict[str, Any] = _masked(document)
    return masked


def _backend(backend: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = backend.model_dump(mode="json", exclude_none=True)
    return {(backend.driver if key == "plugin" else key): value for key, value in dumped.items()}


def _masked(node: Any) -> Any:
    from runtime.config import is_secret  # noqa: PLC0415 - as above

    if isinstance(node, dict):
        return {
            key: "**********" if is_secret(key) and not isinstance(value, dict | list) else _masked(value)
            for key, value in node.items()
        }
    return [_masked(value) for value in node] if isinstance(node, list) else node
