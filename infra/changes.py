"""What a new contract changes for an application that runs with the old one.

Breaking is what such an application notices: a backend, a grant or a capability that is gone, objects that are looked
for elsewhere. Everything else is safe to deploy in any order.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from runtime.config import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HIDDEN: Final = "**********"

LONGEST: Final = 80
"""Characters of a value in `Change.words`."""

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_PLACES: Final = frozenset({
    "account_name", "bucket", "container", "default_driver", "driver", "endpoint_url", "prefix", "primary",
    "project_id", "public_url", "read_fallback", "region", "root_dir",
})  # fmt: skip
"""Keys that say where objects are, or which backend is meant."""

_NAMED: Final = {"backends": "name", "grants": "to", "kv": "name"}
"""Lists whose entries have names, and the key that holds it."""

_PROMISES: Final = frozenset({"access", "capabilities", "cors", "public", "versioning"})
"""What an application may rely on: more of it is safe, less is not."""


class Kind(StrEnum):
    """What happens to one value."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED_SAFE = "changed-safe"
    CHANGED_BREAKING = "changed-breaking"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two contracts.

    Attributes:
        kind: What happens.
        path: ``backends.avatars.s3.bucket``; entries of lists by their name.
        before: The old value; None when there was none.
        after: The new value; None when there is none.
        breaking: Whether an application that runs with the old contract notices.
    """

    kind: Kind
    path: str
    before: Any
    after: Any
    breaking: bool

    def words(self) -> str:
        """What happens, in one line: ``"eu-west-1" -> "eu-west-2"``."""
        return f"{_short(self.before)} -> {_short(self.after)}"

    def line(self) -> str:
        """The whole difference in one line: ``changed-safe     backends.avatars.expect.cors: [] -> […]``."""
        return f"{self.kind.value:17}{self.path}: {self.words()}{'  breaking' if self.breaking else ''}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The differences between the ``storage`` of two contracts, in the order of their paths.

    Args:
        before: The contract that was emitted last.
        after: The one that the spec stands for now.
    """
    found = sorted(_between(before, after, ()), key=lambda change: change.path)
    # where there was no contract, no application runs with it
    return found if before else [replace(change, kind=Kind.ADDED, breaking=False) for change in found]


def summary(found: Sequence[Change]) -> str:
    """``3 differences, 2 breaking``."""
    count = "one difference" if len(found) == 1 else f"{len(found)} differences"
    return f"{count}, {sum(change.breaking for change in found)} breaking"


def _between(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _between(before.get(key), after.get(key), (*path, str(key)))
    elif path and path[-1] in _NAMED and _is_list(before) and _is_list(after):
        name = _NAMED[path[-1]]
        yield from _between({e[name]: e for e in before or ()}, {e[name]: e for e in after or ()}, path)
    else:
        yield _change(before, after, path)


def _is_list(value: Any) -> bool:
    return value is None or isinstance(value, list)


def _change(before: Any, after: Any, path: tuple[str, ...]) -> Change:
    breaking = _breaks(before, after, path)
    if before is None:
        kind = Kind.ADDED
    elif after is None:
        kind = Kind.REMOVED
    else:
        kind = Kind.CHANGED_BREAKING if breaking else Kind.CHANGED_SAFE
    if is_secret(path[-1]):
        before, after = (None if value is None else HIDDEN for value in (before, after))
    return Change(kind, ".".join(path), before, after, breaking)


def _breaks(before: Any, after: Any, path: tuple[str, ...]) -> bool:
    *above, last = path
    if above and above[-1] in _NAMED:  # a backend or a grant as a whole
        return after is None
    if last in _PLACES:
        # an added domain or fallback serves what was there before; where an emulator was, nobody answers any more
        moved = last == "endpoint_url" and _is_loopback(before) and _is_loopback(after)
        return not moved and (before is not None or last not in {"public_url", "read_fallback"})
    if last in _PROMISES:
        return _less(before, after)
    if "lifecycle" in path:
        return _thrown_away_sooner(last, before, after)
    if last == "presign_max_age":
        return _tighter(before, after)
    return "service" in path and _tighter(before, after)


def _thrown_away_sooner(key: str, before: Any, after: Any) -> bool:
    """Whether a part of ``expect.lifecycle`` takes from the application what it would have had for longer."""
    if key == "lifecycle":
        new = after or {}
        return bool(new.get("rules")) or "expire_noncurrent_days" in new
    if key == "rules":
        old = {rule["prefix"]: rule["expire_days"] for rule in before or ()}
        return any(rule["expire_days"] < old.get(rule["prefix"], math.inf) for rule in after or ())
    return key == "expire_noncurrent_days" and _tighter(before, after)


def _tighter(before: Any, after: Any) -> bool:
    """Whether a limit on uploads lets in less than before."""
    if before is None or after is None:
        return after is not None
    return bool(after < before) if isinstance(after, int | float) else _less(before, after)


def _less(before: Any, after: Any) -> bool:
    if isinstance(before, list):
        return not all(any(_covers(new, old) for new in after or ()) for old in before)
    return bool(before) and not after


def _covers(new: Any, old: Any) -> bool:
    """Whether whoever needed *old* has it with *new*: the same word, or a CORS rule that lets as much in."""
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return bool(new == old)
    for key, needed in old.items():
        there = new.get(key) or ()
        if isinstance(needed, list) and "*" not in there and not set(needed) <= set(there):
            return False
    return True  # how long a browser remembers the answer is nobody's promise


def _is_loopback(url: Any) -> bool:
    return isinstance(url, str) and urlsplit(url).hostname in _LOOPBACK


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
