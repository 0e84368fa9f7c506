"""Which file an object lives in, and back: the mapping between object paths and names on disk.

An ordinary path is an ordinary file: ``u/1.jpg`` is ``<root>/u/1.jpg``. Only what a file system can not hold
as it is gets another name, and every such name holds a ``%``:

====================  =============================  ==================================================
object path           on disk                        why
====================  =============================  ==================================================
``100%``              ``100%25``                     ``%`` is the mark itself
``a<TAB>b``           ``a%09b``                      control characters (strange paths of others only)
``..``, ``.``, empty  ``%2E%2E``, ``%2E``, ``%_``    never a step in the tree (strange paths of others only)
``.tandem/x``         ``%2Etandem/x``                the driver's own folder; likewise ``.gitkeep`` in the root
240 bytes and more    ``first%+/second%+/rest``      one name has at most 255 bytes on common file systems
``x`` beside ``x/y``  ``x%=`` beside folder ``x``    a name is a file or a folder, not both
====================  =============================  ==================================================

On a file system that does not tell ``A`` from ``a``, or one writing of ``é`` from another, the names are
*folded*: capitals and every character with two writings are escaped too, so different objects never meet.
`runtime.drivers.local.work` finds out once per root and remembers it there.

A file that somebody else put there keeps its own name as its path, also where this module would have chosen
another name for it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

Parts: TypeAlias = tuple[str, ...]
"""Names from the root down; the last is the file's."""

MARK = "%"
ASIDE = "%="
CONTINUED = "%+"
EMPTY = "%_"
WORK = ".tandem"
RESERVED = frozenset({WORK, ".gitkeep"})
_RESERVED_STARTS = tuple(RESERVED)  # some paths more than need it, which only takes longer
MAX_NAME = 240  # bytes; leaves room for the marks below the 255 of ext4, xfs, btrfs, tmpfs and APFS

_PLAIN_NAME = r"(?!\.\.?(?:/|\Z))[^/%\x00-\x1f\x7f\ud800-\udfff]{1,60}"
_is_plain_name = re.compile(_PLAIN_NAME).fullmatch
_is_plain_path = re.compile(f"{_PLAIN_NAME}(?:/{_PLAIN_NAME})*").fullmatch
_SPECIAL = re.compile(r"[%\x00-\x1f\x7f]")
_ESCAPE = re.compile(r"(?:%[0-9A-F]{2})+")
_TOKEN = re.compile(r"%[0-9A-F]{2}|[^%]")


def _hex(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@lru_cache(maxsize=4096)
def _folds(char: str) -> bool:
    """Whether some file system may take *char* for another character, or join it to its neighbour."""
    return (
        char.casefold() != char
        or char.upper().casefold() != char.casefold()
        or unicodedata.normalize("NFKD", char) != char
        or unicodedata.combining(char) != 0
        or unicodedata.category(char) in {"Mn", "Mc", "Me", "Cf"}
        or "\u1100" <= char <= "\u11ff"  # Hangul letters, which join to syllables
    )


def _unescape(name: str) -> str | None:
    try:
        return _ESCAPE.sub(lambda match: bytes.fromhex(match[0].replace(MARK, "")).decode(), name)
    except UnicodeDecodeError:
        return None


def _split(name: str) -> list[str]:
    pieces, length = [""], 0
    for token in _TOKEN.findall(name):
        if length + len(token.encode()) > MAX_NAME:
            pieces.append("")
            length = 0
        pieces[-1] += token
        length += len(token.encode())
    return [piece + CONTINUED for piece in pieces[:-1]] + [pieces[-1]]


@dataclass(frozen=True, slots=True)
class Names:
    """The mapping of one root.

    Attributes:
        folded: Whether the file system under the root mixes up letters.
    """

    folded: bool = False

    def of(self, path: str) -> Parts:
        """The names of *path* on disk; every path has exactly one such place and no two paths share one."""
        if not self.folded and _is_plain_path(path) and not path.startswith(_RESERVED_STARTS):
            return tuple(path.split("/"))
        if not path:
            return (EMPTY,)
        parts: list[str] = []
        for index, segment in enumerate(path.split("/")):
            name = self._name(segment, top=index == 0)
            parts += _split(name) if len(name) > MAX_NAME // 4 and len(name.encode()) > MAX_NAME else [name]
        return tuple(parts)

    def _name(self, segment: str, *, top: bool) -> str:
        if not segment:
            return EMPTY
        if segment in {".", ".."}:
            return _hex(segment)
        if self.folded:
            name = "".join(_hex(c) if _SPECIAL.match(c) or _folds(c) else c for c in segment)
        else:
            name = _SPECIAL.sub(lambda match: _hex(match[0]), segment)
        return _hex(name[0]) + name[1:] if top and segment in RESERVED else name

    def places(self, path: str) -> tuple[Parts, ...]:
        """Where *path* may be, best first: its own name, aside of a folder, under the name that others gave it."""
        parts = self.of(path)
        places: tuple[Parts, ...] = (parts, aside(parts))
        if "/".join(parts) == path:
            return places
        literal = tuple(path.split("/"))
        if literal != parts and _can_stand(literal) and self.path(literal) == path:
            places = (*places, literal)
        return places

    def path(self, parts: Parts) -> str:
        """The object path of the file at *parts*."""
        literal = "/".join(parts)
        if MARK not in literal:
            return literal
        last = parts[-1].removesuffix(ASIDE)
        path = self.prefix(parts[:-1])
        if path is None or (name := _unescape(last)) is None:
            return literal
        path += "" if last == EMPTY else name
        return path if self.of(path) in {parts, (*parts[:-1], last)} else literal

    def is_plain(self, parts: Parts) -> bool:
        """Whether the folder *parts* is named as its paths are, and so is every file in it of a plain name."""
        return not self.folded and all(map(_is_plain_name, parts))

    def prefix(self, parts: Parts) -> str | None:
        """What the paths of all objects below the folder *parts* begin with; None where others named the folder."""
        text = ""
        for part in parts:
            name = _unescape(part.removesuffix(CONTINUED))
            if name is None:
                return None
            text += ("" if part == EMPTY else name) + ("" if part.endswith(CONTINUED) else "/")
        return text


def is_plain(name: str) -> bool:
    """Whether a file of that name is the object of that name, in a folder that is plain; not at the very top."""
    return _is_plain_name(name) is not None


def aside(parts: Parts) -> Parts:
    """Where an object goes whose own name is taken by a folder."""
    return (*parts[:-1], parts[-1] + ASIDE)


def rank(parts: Parts, own: Parts) -> int:
    """How good the place *parts* is for the object whose own place is *own*; 0 is best."""
    if parts == own:
        return 0
    return 1 if parts == aside(own) else 2


def _can_stand(parts: Parts) -> bool:
    """Whether names can be on disk just as they are, without being ours or a step in the tree."""
    return parts[0] not in RESERVED and all(
        part not in {"", ".", ".."} and "\0" not in part and len(part.encode()) <= 255  # noqa: PLR2004 - NAME_MAX
        for part in parts
    )
