"""Which stack runs: its name, its project, and what `stacks/Pulumi.<name>.yaml` says.

Both engines, the command line and the program see a stack only through `Stack`; `Stack.read` needs no Pulumi
CLI, `Stack.from_pulumi` is for a plain ``pulumi up``, which knows of values that no file holds (``-c key=value``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pulumi

from runtime.errors import ConfigError, Problem
from runtime.validation import did_you_mean, read_yaml

PROJECT_FILE: Final = "Pulumi.yaml"

SECRETS_KEY: Final = "tandem:secrets"

KEYS: Final = ("tandem:storage", "tandem:emulators", "tandem:accounts", SECRETS_KEY)
"""The keys of a stack file that are ours; the other namespaces belong to Pulumi and its providers."""


@dataclass(frozen=True)
class Stack:
    """One environment.

    Attributes:
        name: Pulumi's name of the stack: ``prod``.
        project: Pulumi's name of the project.
        root: Directory of ``Pulumi.yaml``, absolute.
        config: The stack's configuration as the file has it: ``tandem:storage``, ``aws:region``, …
    """

    name: str
    project: str
    root: Path
    config: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, name: str, root: Path) -> Stack:
        """The stack as its file describes it.

        Args:
            name: Name of the stack.
            root: Directory of ``Pulumi.yaml``.

        Raises:
            ConfigError: there is no such project or stack, or its file can not be read; other stacks are listed.
        """
        root = root.resolve()
        project = _project(root)
        directory = stacks_directory(root, project)
        path = directory / f"Pulumi.{name}.yaml"
        if not path.is_file():
            raise _no_such_stack(name, root, path.relative_to(root))
        source = str(path.relative_to(root))
        document = read_yaml(path, source)
        if not isinstance(document, Mapping):
            raise ConfigError("is not a stack file", source=source, problems=[Problem("", "it holds no `config:`")])
        config = document.get("config")
        if not isinstance(config, Mapping):
            raise ConfigError("is not a stack file", source=source, problems=[Problem("config", "is required")])
        return cls(name, str(project["name"]), root, MappingProxyType(dict(config)))

    @classmethod
    def from_pulumi(cls) -> Stack:
        """The stack that the Pulumi engine runs this program for."""
        configured = {**pulumi.runtime.config.get_config_env(), **(pulumi.runtime.config.CONFIG.get() or {})}
        # the engine gives secrets in clear; the program hands them on without looking (`infra.provision`)
        config = {key: _decoded(key, str(value)) for key, value in configured.items() if key != SECRETS_KEY}
        root = Path(pulumi.get_root_directory() or Path.cwd())
        root = next((path for path in (root, *root.parents) if (path / PROJECT_FILE).is_file()), root)
        return cls(pulumi.get_stack(), pulumi.get_project(), root.resolve(), MappingProxyType(config))

    @property
    def directory(self) -> Path:
        """Where the stack files and the contracts are."""
        return stacks_directory(self.root, _project(self.root))

    @property
    def file(self) -> Path:
        """The file that a person writes."""
        return self.directory / f"Pulumi.{self.name}.yaml"

    @property
    def contract(self) -> Path:
        """The file that the program writes and `runtime` reads."""
        return self.directory / f"storage.{self.name}.yaml"

    @property
    def source(self) -> str:
        """The stack's file as messages call it."""
        return str(self.file.relative_to(self.root))

    @property
    def emulators(self) -> Mapping[str, Any]:
        """Emulator of each provider, ``{"aws": "ministack"}``; a stack that has one lives on this machine."""
        found = self.config.get("tandem:emulators") or {}
        return found if isinstance(found, Mapping) else {}

    @property
    def accounts(self) -> Mapping[str, Any]:
        """Account, project or subscription of each provider."""
        found = self.config.get("tandem:accounts") or {}
        return found if isinstance(found, Mapping) else {}


def stacks_directory(root: Path, project: Mapping[str, Any]) -> Path:
    """Where a project keeps its stack files."""
    directory = project.get("stackConfigDir") or "."
    return root / str(directory)


def stack_names(root: Path) -> list[str]:
    """The stacks that have a file, sorted."""
    root = root.resolve()
    files = stacks_directory(root, _project(root)).glob("Pulumi.*.yaml")
    return sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)


def _project(root: Path) -> Mapping[str, Any]:
    path = root / PROJECT_FILE
    if not path.is_file():
        raise ConfigError(f"there is no {PROJECT_FILE} in {root}", hint="run it in the project's directory")
    document = read_yaml(path, PROJECT_FILE)
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise ConfigError("is not a Pulumi project", source=PROJECT_FILE, problems=[Problem("name", "is required")])
    return document


def _no_such_stack(name: str, root: Path, path: Path) -> ConfigError:
    names = stack_names(root)
    hint = f"stacks are files in {path.parent}{os.sep}"
    if elsewhere := next(iter(sorted(root.glob(f"*/{path.name}"))), None):
        found = elsewhere.relative_to(root)
        hint = f"there is {found}; `stackConfigDir: {found.parent}` in {PROJECT_FILE} makes it a stack"
    return ConfigError(
        f"there is no stack {name!r}{did_you_mean(name, names)}",
        problems=[Problem(str(path), "no such file", ", ".join(names) or None)],
        hint=hint,
    )


def _decoded(key: str, value: str) -> Any:
    """A value as the file has it: Pulumi hands objects over as JSON text."""
    if key not in KEYS:
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as exc:
        raise ConfigError(
            "the configuration can not be read", problems=[Problem(key, f"found {value!r}", "a mapping")]
        ) from exc
