"""``LEX_STORAGE__…`` environment variables: every key of a storage config, set from outside.

``__`` goes one level down, keys are the config's in any case, backends and drivers are addressed by name::

    LEX_STORAGE__DEFAULT_DRIVER=s3
    LEX_STORAGE__BACKENDS__AVATARS__S3__ENDPOINT_URL=http://127.0.0.1:9000
    LEX_STORAGE__SERVICE__ALLOWED_MIME_TYPES=["image/*"]

* In a backend's name ``-`` and ``_`` are the same; a variable that fits two backends is an error.
* Key-value stores are addressed by name too: ``LEX_STORAGE__KV__SESSIONS__REDIS__URL``.
* A backend that the config does not have is added when its ``…__DRIVER`` is set too; otherwise the name is a mistake.
* Setting a backend's driver drops the settings that the config has for another driver.
* Lists and mappings are JSON. Other values are text that the config's models turn into numbers and booleans.
* An empty value takes the key away, back to its default. References (`runtime.interpolation`) work here too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from runtime.config import (
    DRIVERS,
    KV_DRIVERS,
    NamedKVConfig,
    NamedStorageConfig,
    StorageConfig,
    registered_drivers,
)
from runtime.errors import Problem
from runtime.validation import did_you_mean, holds_list, keys_at, model_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

PREFIX: Final = "LEX_STORAGE__"
SEPARATOR: Final = "__"


class Override(NamedTuple):
    """One variable: its name, the keys that it addresses, and its text."""

    variable: str
    keys: tuple[str, ...]
    text: str


class _Named(NamedTuple):
    """A list of the config whose entries are addressed by name."""

    word: str
    model: type[BaseModel]
    drivers: Callable[[], Iterable[str]]


_NAMED: Final = {
    "backends": _Named("backend", NamedStorageConfig, registered_drivers),
    "kv": _Named("key-value store", NamedKVConfig, lambda: KV_DRIVERS),
}


class _RefusedError(Exception):
    """A variable addresses nothing that exists; the message says what, and what is allowed."""


def overrides_in(environ: Mapping[str, str]) -> list[Override]:
    """The overrides of *environ*, whole blocks before single keys and a driver before its settings."""
    found = [
        Override(name, tuple(name.removeprefix(PREFIX).lower().split(SEPARATOR)), text)
        for name, text in environ.items()
        if name.startswith(PREFIX)
    ]
    return sorted(found, key=lambda override: (len(override.keys), override.keys[-1] != "driver", override.variable))


def apply_overrides(
    storage: dict[str, Any], overrides: Sequence[Override], root: str
) -> tuple[dict[str, str], list[Problem]]:
    """Write *overrides* into the plain mapping *storage*.

    Args:
        storage: What stands in the document; changed in place.
        overrides: From `overrides_in`.
        root: Path of *storage* in its document, for the origins.

    Returns:
        The variable that set it, by path of the key; and what can not be applied, by variable.
    """
    origins: dict[str, str] = {}
    problems = []
    new = {override.keys[:2] for override in overrides if _adds_entry(override)}
    for override in overrides:
        try:
            path = _write(storage, StorageConfig, override.keys, override.text, new)
        except _RefusedError as exc:
            problems.append(Problem(override.variable, *exc.args))
        else:
            origins[".".join(part for part in (root, *path) if part)] = override.variable
    return origins, problems


def _adds_entry(override: Override) -> bool:
    match override.keys:
        case (key, _, "driver") if key in _NAMED:
            return bool(override.text)
        case (key, _) if key in _NAMED:
            return '"driver"' in override.text
    return False


def _write(
    node: dict[str, Any], model: type[BaseModel] | None, keys: tuple[str, ...], text: str, new: set[tuple[str, ...]]
) -> tuple[str, ...]:
    """Set the key at *keys* below *node* and give its path, with names as the document writes them."""
    key, rest = _key(node, model, keys[0]), keys[1:]
    if not rest:
        _set(node, key, text)
        return (key,)
    if model is StorageConfig and key in _NAMED:
        return (key, *_write_entry(key, node.setdefault(key, []), rest, text, new))
    below = DRIVERS.get(rest[0]) if key == "drivers" else model_at(model, key) if model else None
    if model and holds_list(model, key):
        raise _RefusedError(f"{key!r} is a list: set all of it, as JSON")
    if model and below is None and key not in {"drivers", "plugin", *registered_drivers()}:
        raise _RefusedError(f"{key!r} has no keys below it")
    child = node.get(key)
    if child is None:
        child = node[key] = {}
    if not isinstance(child, dict):
        return (key,)  # what stands there is wrong in itself, and reported as that
    if model is StorageConfig and key == "drivers":
        return (key, *_write_driver(child, rest, text, new))
    return (key, *_write(child, below, rest, text, new))


def _key(node: Mapping[str, Any], model: type[BaseModel] | None, key: str) -> str:
    if model is None:  # settings of a driver from elsewhere: any key, in the case that it has already
        return next((name for name in node if name.lower() == key), key)
    known = keys_at(model, ())
    if model is NamedKVConfig:
        known = [name for name in known if name != "name"]
    if model is NamedStorageConfig:
        known = [name for name in known if name not in {"plugin", "name"}] + registered_drivers()[len(DRIVERS) :]
    if key not in known:
        raise _RefusedError(f"unknown key {key!r}{did_you_mean(key, known)}", ", ".join(known))
    return key


def _set(node: dict[str, Any], key: str, text: str) -> None:
    if not text:
        node.pop(key, None)
        return
    value: Any = text
    if text.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(text)
        except json.JSONDecodeError as exc:
            raise _RefusedError(f"is not valid JSON: {exc.msg} at character {exc.pos + 1}") from exc
    node[key] = value


def _write_driver(
    drivers: dict[str, Any], keys: tuple[str, ...], text: str, new: set[tuple[str, ...]]
) -> tuple[str, ...]:
    name, rest = keys[0], keys[1:]
    if name not in (known := registered_drivers()):
        raise _RefusedError(f"unknown driver {name!r}{did_you_mean(name, known)}", ", ".join(known))
    if not rest:
        _set(drivers, name, text)
        return (name,)
    settings = drivers.get(name)
    if settings is None:
        settings = drivers[name] = {}
    return (name, *(_write(settings, DRIVERS.get(name), rest, text, new) if isinstance(settings, dict) else ()))


def _write_entry(
    key: str, entries: Any, keys: tuple[str, ...], text: str, new: set[tuple[str, ...]]
) -> tuple[str, ...]:
    name, rest = keys[0], keys[1:]
    if not isinstance(entries, list):
        return ()
    what = _NAMED[key]
    entry = _entry(key, entries, name, new)
    if rest == ("driver",):
        for other in set(what.drivers()) - {text}:
            entry.pop(other, None)
    if rest:
        return (str(entry["name"]), *_write(entry, what.model, rest, text, new))
    block: dict[str, Any] = {}
    _set(block, name, text)
    settings = block.get(name, {})
    if not isinstance(settings, dict):
        raise _RefusedError(f"sets a whole {what.word}, so it must be a JSON mapping")
    kept = entry["name"]
    entry.clear()
    entry.update({"name": kept, **settings})
    return (str(kept),)


def _entry(key: str, entries: list[Any], name: str, new: set[tuple[str, ...]]) -> dict[str, Any]:
    word = _NAMED[key].word
    named = {
        entry["name"]: entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    }
    fitting = [known for known in named if known.lower().replace("-", "_") == name.replace("-", "_")]
    if len(fitting) > 1:
        raise _RefusedError(f"{name!r} fits several {word}s: {', '.join(fitting)}; rename one of them")
    if fitting:
        return named[fitting[0]]
    if (key, name) not in new:
        raise _RefusedError(
            f"no {word} is called {name!r}{did_you_mean(name, named)}; to add one, set its driver too:"
            f" {PREFIX}{key.upper()}__{name.upper()}__DRIVER",
            ", ".join(named) or None,
        )
    entries.append({"name": name})
    added: dict[str, Any] = entries[-1]
    return added
