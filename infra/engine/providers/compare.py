"""When are two settings the same, where do they differ, and what did the server not hold.

Paths are written as Pulumi writes them: ``rules[0].applyServerSideEncryptionByDefault.sseAlgorithm``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from infra.engine.providers.values import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_ABSENT: Final[Any] = object()

POLICY_LISTS: Final = frozenset({"Action", "NotAction", "Resource", "NotResource", "AWS", "Service", "Federated"})
"""Members of an AWS policy where a string means a list of one."""


def tidy(value: Any, unordered: Collection[str] = (), name: str = "") -> Any:
    """A value in the one spelling that is compared.

    Null, false, "", [] and {} are what "not set" looks like in different services: all become None. Lists whose
    property is named in *unordered* are sorted.
    """
    if isinstance(value, dict):
        items = ((key, tidy(item, unordered, key)) for key, item in value.items())
        return {key: item for key, item in items if item is not None} or None
    if isinstance(value, list | tuple):
        entries = [tidy(item, unordered, name) for item in value]
        if name in unordered:
            entries.sort(key=lambda entry: json.dumps(entry, sort_keys=True, default=repr))
        return entries or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None if value is False or value == "" else value


def canonical_policy(text: Any) -> Any:
    """A JSON policy as a value that does not depend on spacing, key order or lists of one; other text unchanged."""
    if not isinstance(text, str):
        return text
    try:
        document = json.loads(text)
    except ValueError:
        return text
    return _policy_part(document, "")


def _policy_part(value: Any, name: str) -> Any:
    if name == "Statement":
        return [_policy_part(item, "") for item in (value if isinstance(value, list) else [value])]
    if isinstance(value, dict):
        return {key: _policy_part(item, key) for key, item in value.items()}
    if name in POLICY_LISTS or isinstance(value, list):
        entries = value if isinstance(value, list) else [value]
        return sorted((_policy_part(item, "") for item in entries), key=repr)
    return value


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Paths at which two tidied values differ; lists of other lengths differ as a whole."""
    if new is UNKNOWN:
        yield path
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), join(path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{path}[{index}]")
    elif old != new:
        yield path


def join(path: str, key: str) -> str:
    """*path* one level deeper; a key that is no plain word is quoted."""
    if not re.fullmatch(r"[^.\[\]\"]+", key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def top(path: str) -> str:
    """The top-level property of a path."""
    return str(steps(path)[0])


def steps(path: str) -> list[str | int]:
    """The parts of a path.

    >>> steps('rules[0].filter["a.b"]')
    ['rules', 0, 'filter', 'a.b']
    """
    found: list[str | int] = []
    for word, index, quoted in _STEP.findall(path):
        found.append(int(index) if index else json.loads(f'"{quoted}"') if quoted else word)
    return found


def look_up(value: Any, path: str) -> Any:
    """What stands at a path, or None."""
    found = _walk(value, steps(path))
    return None if found is _ABSENT else found


def put_at(value: Any, path: str, item: Any) -> None:
    """Set (or, with None, remove) what stands at a path; without effect where its parent does not exist."""
    *parents, last = steps(path)
    parent = _walk(value, parents)
    if isinstance(parent, dict) and isinstance(last, str):
        if item is None:
            parent.pop(last, None)
        else:
            parent[last] = item
    elif isinstance(parent, list) and isinstance(last, int) and last < len(parent):
        parent[last] = item


def _walk(value: Any, parts: list[str | int]) -> Any:
    for part in parts:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return value


def keep_old(new: dict[str, Any], old: Mapping[str, Any], ignored: Collection[str]) -> dict[str, Any]:
    """*new* with the old values at the paths that a program asks to ignore (``ignore_changes``; ``*`` is all)."""
    if "*" in ignored:
        return {**new, **old}
    for path in ignored:
        put_at(new, path, look_up(old, path))
    return new
