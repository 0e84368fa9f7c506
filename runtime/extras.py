"""Drivers whose SDK is not installed: they can be configured and opened, and say what to install when used."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING, Final, NoReturn

from runtime.errors import StorageUnavailableError

if TYPE_CHECKING:
    from runtime.config import NamedStorageConfig

DISTRIBUTION: Final = "tandem-storage"


def install_command(extra: str) -> str:
    """What to type to get the packages of *extra*."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def is_missing_extra(error: ModuleNotFoundError, extra: str) -> bool:
    """Whether *error* says that a package of *extra* is not installed, rather than that a driver has a bug.

    Args:
        error: What importing the driver raised.
        extra: Name of the extra in this distribution's own metadata.
    """
    if is_listed(error, extra):
        return True
    if (error.name or "").partition(".")[0] in {"", "runtime", "infra"}:
        return False
    # What the SDKs themselves bring (botocore) is in no list of ours, but is missing only together with them.
    return any(not _is_installed(package) for package in _packages(extra))


def is_listed(error: ModuleNotFoundError, extra: str) -> bool:
    """Whether the module that *error* misses is of a package that *extra* itself names."""
    name = (error.name or "").replace("_", "-").replace(".", "-").lower()
    return bool(name) and any(_same(name, package) for package in _packages(extra))


def _packages(extra: str) -> list[str]:
    marker = re.compile(rf"""extra\s*==\s*["']{re.escape(extra)}["']""")
    required = metadata.requires(DISTRIBUTION) or []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in required if marker.search(line)]


def _same(module: str, package: str) -> bool:
    """Whether a module could be of a package: ``google-cloud-storage`` gives ``google.cloud.storage.blob``."""
    return module == package or package.startswith(f"{module}-") or module.startswith(f"{package}-")


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


class MissingDriver:
    """In place of a driver that can not be imported: every use of it raises the same explanation.

    It stands for a `runtime.driver.Driver` but has none of its methods, so none can be forgotten here.
    """

    repeats = timed = True  # it fails at once and for good
    own_checksum = None
    parts_linger = False

    def __init__(self, backend: NamedStorageConfig, extra: str, cause: ModuleNotFoundError) -> None:
        self.backend = backend
        self._extra = extra
        self._cause = cause

    async def open(self) -> None:
        """Nothing: an application that never uses this backend needs no SDK for it."""

    async def close(self) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # what copying and debuggers ask for is no use
        raise StorageUnavailableError(
            f"driver {self.backend.driver!r} needs the package {self._cause.name!r}, which is not installed",
            backend=self.backend.name,
            retryable=False,
            hint=install_command(self._extra),
        ) from self._cause
