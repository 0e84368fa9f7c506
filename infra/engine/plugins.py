"""The stand-in providers as plugins of the real Pulumi engine, in a ``PULUMI_HOME`` of the stack's own.

The engine looks for the provider of `pulumi_aws` 7.51.1 in ``plugins/resource-aws-v7.51.1/pulumi-resource-aws`` and,
having found it, downloads nothing. What is put there runs ``python -m infra.engine.providers aws``.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from infra import private
from infra.engine.providers import SDKS

if TYPE_CHECKING:
    from pathlib import Path

EXECUTABLE: Final = 0o700


def install(home: Path) -> dict[str, str]:
    """Put every stand-in under *home* as the plugin of the SDK that is installed here.

    Returns:
        Version of each plugin, by Pulumi package. Packages whose SDK is not installed have none: no program of this
        environment can declare a resource of theirs.
    """
    installed: dict[str, str] = {}
    for package, distribution in SDKS.items():
        try:
            installed[package] = version(distribution)
        except PackageNotFoundError:
            continue
        if find_spec(f"infra.engine.providers.{package.removesuffix('-native')}") is None:
            del installed[package]
            continue
        _install(home / "plugins", package, installed[package])
    return installed


def _install(plugins: Path, package: str, sdk: str) -> None:
    current = plugins / f"resource-{package}-v{sdk}"
    for folder in plugins.glob(f"resource-{package}-v*"):
        if folder != current:  # of an SDK that was installed before
            shutil.rmtree(folder)
    # -P: the engine starts plugins in the project, whose files must not hide modules
    command = f'exec {shlex.quote(sys.executable)} -P -m infra.engine.providers {package} "$@"'
    executable = current / f"pulumi-resource-{package}"
    private.write(executable, f"#!/bin/sh\n{command}\n")
    executable.chmod(EXECUTABLE)
