"""Folders of this machine beside prefixes of a backend: which files they hold, and where an object would lie."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from runtime.errors import InvalidPathError

if TYPE_CHECKING:
    from collections.abc import Iterator


def files_below(folder: Path) -> Iterator[Path]:
    """Regular files below *folder*; links to folders are not followed, as they may lead round.

    Raises:
        OSError: the folder, or one in it, can not be read: what is missing must not look as if it were not there.
    """

    def fail(error: OSError) -> None:
        raise error

    for where, names, files in os.walk(folder, onerror=fail):
        names.sort()
        for name in sorted(files):
            file = Path(where, name)
            if file.is_file() and not (name.startswith(".tandem-") and name.endswith(".part")):
                yield file


def file_below(folder: Path, path: str, root: str) -> Path:
    """The file in *folder* for the object *path*, which a listing of *root* gave.

    Raises:
        InvalidPathError: the object's name would lead out of the folder, or can not name a file.
    """
    name = path.removeprefix(root)
    parts = name.split("/")
    if any(part in {"", ".", ".."} or "\0" in part or (os.sep != "/" and os.sep in part) for part in parts):
        raise InvalidPathError("the object's name can not name a file below the destination", path=path)
    return folder.joinpath(*PurePosixPath(name).parts)
