"""``tandem config export`` and ``from-terraform``: the contract in the forms of other platforms, and from theirs."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.carriers import CARRIERS, is_carried
from runtime.cli.configuration import config_commands
from runtime.cli.options import ConfigFile, StackName
from runtime.cli.output import print_warning, say
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMS = ("yaml", "json", "env", "kubernetes", "servicebinding", "cosi")

Form = StrEnum("Form", [(name.replace("-", "_").upper(), name) for name in (*FORMS, *CARRIERS)])  # type: ignore[misc] # mypy reads members that are literals only
To = Annotated[Form, typer.Option("--to", help="The form, or the carrier that shall hold the JSON.")]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="A file; a directory for servicebinding; a carrier's name, as in ssm:/app."),
]


@config_commands.command()
def export(*, to: To, output: Output = None, config: ConfigFile = None, stack: StackName = None) -> None:
    """Write a contract in another form: for Kubernetes, a ServiceBinding, COSI, a parameter store, a secret manager.

    Takes the file that `tandem up` wrote for a stack, or any other contract. Secrets stay references. What a form can
    not hold is told on standard error.
    """
    from runtime.forms import encode, open_contract  # noqa: PLC0415 - keeps pydantic out of `tandem --help`

    document = open_contract(_file(config, stack))
    if to.value in CARRIERS:
        _carry(to.value, output, encode(document, "json").files[""])
        return
    encoded = encode(document, to.value)
    for path, reason in encoded.untold.items():
        print_warning(f"{to.value} can not hold {path}: {reason}")
    if "" not in encoded.files:
        if output is None:
            raise ConfigError(f"{to.value} is a directory", hint="name it: --output DIRECTORY")
        _write_all(Path(output), encoded.files)
    elif output is None:
        say(encoded.files[""].rstrip("\n"))
    else:
        Path(output).write_text(encoded.files[""], encoding="utf-8")


@config_commands.command()
def from_terraform(
    file: Annotated[str, typer.Argument(help="What `terraform output -json` printed; - for standard input.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The contract's file.", dir_okay=False)] = None,
) -> None:
    """Make a contract of Terraform's outputs: of tandem_storage, which names the backends (see stacks/README.md)."""
    from runtime.forms import terraform  # noqa: PLC0415 - as above
    from runtime.validation import parse_json, read_text  # noqa: PLC0415 - as above

    source = "standard input" if file == "-" else file
    text = sys.stdin.read() if file == "-" else read_text(Path(file), source)
    document = terraform.read(parse_json(text, source), source)
    if output is None:
        say(document.to_yaml().rstrip("\n"))
    else:
        output.write_text(document.to_yaml(), encoding="utf-8")


def _file(config: Path | None, stack: str | None) -> Path:
    from runtime.loading import stack_file  # noqa: PLC0415 - as above

    if (config is None) == (stack is None):
        raise ConfigError("which contract?", hint="--stack NAME for the one that `tandem up` wrote, or --config FILE")
    return stack_file(stack, Path()) if stack else Path(str(config))


def _carry(scheme: str, output: str | None, text: str) -> None:
    from runtime.carriers import put  # noqa: PLC0415 - as above

    address = output if output and is_carried(output) else f"{scheme}:{output or ''}"
    if not is_carried(address) or not address.startswith(f"{scheme}:"):
        raise ConfigError(f"where in {scheme}?", hint=f"name it: --output {scheme}:NAME")
    put(address, text)
    say(f"LEX_STORAGE_CONFIG={address}")


def _write_all(root: Path, files: Mapping[str, str]) -> None:
    if root.is_dir() and any(root.iterdir()):  # what a backend left behind that is gone would still be read
        raise ConfigError("is not empty", source=str(root), hint="name a new directory")
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
