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
_NEEDLES: Final = ("pass", "cred", "secret", "key")
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

_named: dict[str, bool] = {}
_MOST_NAMES: Final = 1024


def secret_in(key: str, value: Any) -> str | None:
    """What looks like a secret in an entry: a name, or a kind of credential; None when nothing does.

    Args:
        key: Key of the entry; its last word counts, after ``:``, ``/`` or ``.``.
        value: What JSON holds.
    """
    if any(needle in key.lower() for needle in _NEEDLES) and _looks(re.split(r"[:/.]", key)[-1]) and value:
        return "the entry's key names one"
    return _inside(value)


def _inside(value: Any) -> str | None:
    if isinstance(value, str):
        if len(value) >= _SHORTEST and value.startswith(_SHAPES):
            return "a value has the form of a credential"
    elif isinstance(value, dict):
        for name, item in value.items():
            if item and isinstance(item, str) and _looks_cached(name):
                return f"the field {name!r}"
            if item and not isinstance(item, int | float) and (found := _inside(item)):
                return found
    elif isinstance(value, list):
        return next((found for item in value if (found := _inside(item))), None)
    return None


def _looks_cached(name: str) -> bool:
    known = _named.get(name)
    if known is None:
        if len(_named) >= _MOST_NAMES:  # names that are data, not fields
            _named.clear()
        known = _named[name] = _looks(name)
    return known


def _looks(name: str) -> bool:
    return bool(_NAME.search(name))


def warn_of_secrets(store: str, key: str, value: Any) -> None:
    """Warn when an entry looks like a secret."""
    if (found := secret_in(key, value)) is not None:
        warnings.warn(
            f"the key-value store {store!r} was given what looks like a secret ({found}): keep passwords and API keys"
            " in a vault, and passwords of users as hashes",
            StorageWarning,
            stacklevel=4,  # past this function, the store's method and what wraps it
        )
