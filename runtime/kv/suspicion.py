"""The guide's warning, kept: passwords and API keys do not belong into a key-value store.

Only names and well-known shapes are looked at; a warning never holds the value or the key of the entry, and a process
gives each only once for each place of its code, as Python's warnings do.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Final

from runtime.errors import StorageWarning

_NAME: Final = re.compile(
    r"(?:password|passwd|passphrase|credential|secret"
    r"|(?:api|access|private|secret|encryption|signing)[_-]?key)s?$",
    re.IGNORECASE,
)
_ENDINGS: Final = frozenset("deltsyDELTSY")
"""Letters that a name with a match can end with: most keys end with a digit of an id."""
_SHAPES: Final = (
    "-----BEGIN ",
    "AKIA",
    "ASIA",
    "ghp_",
    "github_pat_",
    "glpat-",
    "sk_live_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
)
_SHORTEST: Final = 20
"""Characters that every credential of `_SHAPES` has at least."""

_FORM: Final = "a value has the form of a credential"
_NUMBERS: Final = frozenset({int, float, bool, type(None)})

_named: dict[str, bool] = {}
_MOST_NAMES: Final = 1024


def secret_in(key: str, value: Any) -> str | None:
    """What looks like a secret in an entry: a name, or a kind of credential; None when nothing does.

    Args:
        key: Key of the entry; what it ends with counts.
        value: What JSON holds.
    """
    if key[-1:] in _ENDINGS and value and _NAME.search(key):
        return "the entry's key names one"
    return _in_fields(value) if type(value) is dict else _inside(value)


def _inside(value: Any) -> str | None:
    if isinstance(value, str):
        return _FORM if len(value) >= _SHORTEST and _shaped(value) else None
    if isinstance(value, dict):
        return _in_fields(value)
    return _in_items(value) if isinstance(value, list) else None


def _in_items(items: list[Any]) -> str | None:
    for item in items:
        kind = type(item)
        if kind is str:
            if len(item) >= _SHORTEST and _shaped(item):
                return _FORM
        elif kind not in _NUMBERS and (found := _inside(item)):
            return found
    return None


def _in_fields(fields: dict[Any, Any]) -> str | None:
    for name, item in fields.items():
        kind = type(item)
        if kind is str:
            looks = _named.get(name)
            if item and (_looks(name) if looks is None else looks):
                return f"the field {name!r}"
            if len(item) >= _SHORTEST and _shaped(item):
                return _FORM
        elif kind not in _NUMBERS and (found := _in_items(item) if kind is list else _inside(item)):
            return found
    return None


def _shaped(text: str) -> bool:
    return text.startswith(_SHAPES) and (" " not in text or text[0] == "-")


def _looks(name: str) -> bool:
    if len(_named) >= _MOST_NAMES:  # these names are data, not fields
        _named.clear()
    found = _named[name] = bool(_NAME.search(name))
    return found


def warn_of_secrets(store: str, key: str, value: Any) -> None:
    """Warn when an entry looks like a secret."""
    if (found := secret_in(key, value)) is not None:
        warnings.warn(
            f"the key-value store {store!r} was given what looks like a secret ({found}): keep passwords and API keys"
            " in a vault, and passwords of users as hashes",
            StorageWarning,
            stacklevel=4,  # past this function, the store's method and what wraps it
        )
