"""A directory of this machine: made by the program, and nothing else to provision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pulumi
from pydantic import Field, StrictBool

from infra.backend import BackendSpec
from infra.fields import PublicUrl
from runtime.config import NamedStorageConfig, StorageLocalConfig
from runtime.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.context import Context

_OWN = "a directory has none; the application that serves it decides"


class Spec(BackendSpec):
    """A backend in a directory.

    Attributes:
        root_dir: The directory. A relative one is below the project and made there by the program; an absolute one
            is on the machines where the application runs, and the program leaves it alone.
        base_url: Where the application serves it; on this machine when it is left out.
        shared: Whether it is on a volume that every instance of the application mounts.
    """

    cannot = {  # noqa: RUF012 - a ClassVar of the base
        "cors": _OWN,
        "encryption": "encrypt the disk",
        "lifecycle": "a directory throws nothing away by itself",
        "grants": "a directory has the permissions of its file system",
        "versioning": "a directory keeps no versions",
        "public": _OWN,
        "public_url": "say base_url",
        "existing": "say root_dir",
        "take_over": "say root_dir",
        "force_destroy": "the program never deletes a directory",
        "tags": "a directory has no tags",
    }

    driver: Literal["local"]
    root_dir: str = Field(default="./storage", min_length=1)
    base_url: PublicUrl | None = None
    shared: StrictBool = False

    def problems(self, context: Context) -> Iterator[Problem]:
        """A directory outside of the project."""
        root = context.stack.root
        inside = (root / self.root_dir).resolve()
        if not Path(self.root_dir).is_absolute() and not inside.is_relative_to(root):
            yield Problem("root_dir", f"found {self.root_dir!r}, which leaves the project", "./… or an absolute path")


class Bucket(pulumi.ComponentResource):
    """The directory, with a file that keeps it in version control.

    Attributes:
        resources: Nothing of Pulumi's.
    """

    def __init__(self, spec: Spec, context: Context) -> None:
        super().__init__("tandem:storage:Directory", spec.name, {})
        self.resources: list[pulumi.CustomResource] = []
        if not pulumi.runtime.is_dry_run() and not Path(spec.root_dir).is_absolute():
            make_directory(context.stack.root / spec.root_dir)
        self.register_outputs({"directory": spec.root_dir})


def provision(spec: Spec, context: Context) -> Bucket:
    """Make the backend's directory, unless this is a preview."""
    return Bucket(spec, context)


def make_directory(path: Path) -> None:
    """Make a directory and its ``.gitkeep``; what is there already stays as it is."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".gitkeep").touch()
    except OSError as exc:
        raise ConfigError(f"the directory {path} can not be made: {exc.strerror}") from exc


def entry(spec: Spec, context: Context) -> NamedStorageConfig:  # noqa: ARG001 - every driver's entry has both
    """The backend as the contract has it."""
    more: dict[str, Any] = {"base_url": spec.base_url} if spec.base_url else {}
    if spec.shared:
        more["shared"] = True
    return spec.named(StorageLocalConfig(root_dir=spec.root_dir, **more))
