"""A directory under test: the store that is opened on it, and what is on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.config import NamedStorageConfig, StorageLocalConfig
from runtime.drivers.local import driver_class
from runtime.store import BlobStore

if TYPE_CHECKING:
    from pathlib import Path


def open_local(root: Path, **settings: str) -> BlobStore:
    local = StorageLocalConfig.model_validate({"root_dir": str(root), **settings})
    backend = NamedStorageConfig(name="files", driver="local", local=local)
    return BlobStore(backend, driver_class(backend))


def unfinished(root: Path) -> list[str]:
    folder = root / ".tandem/temporary"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def ordinary(root: Path) -> list[str]:
    """What `ls -R` shows without the hidden folder."""
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] != ".tandem")
