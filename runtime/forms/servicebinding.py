"""A ServiceBinding directory: ``$SERVICE_BINDING_ROOT/<backend>/{type,provider,bucket,region,…}``.

``type`` is the backend's driver and ``provider`` is ``tandem``; each setting of the driver is a file under its own
name, so programs in other languages find ``bucket``, ``region`` and ``endpoint_url``. What only Tandem reads
(``expect``, ``transfer``, …) is JSON in a file of that name. What belongs to no backend is in a binding of the type
``tandem-storage``.

A platform that mounts a Secret there may put values where this file has references: what is read is taken as it is.

Source:
    https://servicebinding.io/spec/core/1.1.0/#workload-projection
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from runtime.config import DRIVERS, NamedStorageConfig
from runtime.errors import ConfigError, Problem
from runtime.forms import Encoded
from runtime.validation import parse_json, why_unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.config import StorageDocument

ROOT_VARIABLE: Final = "SERVICE_BINDING_ROOT"
PROVIDER: Final = "tandem"
WHOLE: Final = "tandem-storage"
"""Type, and name, of the binding with what belongs to no backend; no backend can have its type."""

_JSON: Final = ("{", "[", '"')
"""How a file begins that holds JSON."""

SETTINGS: Final = "settings"
"""File with the settings of a driver from elsewhere, whose types nobody here knows: JSON."""

_OURS: Final = sorted(NamedStorageConfig.model_fields.keys() - {"name", "driver", "plugin", *DRIVERS})


def write(document: StorageDocument) -> Encoded:
    """The files of all bindings, by their path below the root."""
    raw = document.to_dict()
    storage = dict(raw["storage"])
    files: dict[str, str] = {}
    for entry in storage.pop("backends", []):
        files |= _binding(entry["name"], entry["driver"], _entries(entry))
    top = {key: raw[key] for key in ("version", "project", "stack") if key in raw}
    files |= _binding(WHOLE, WHOLE, top | {f"storage.{key}": value for key, value in storage.items()})
    return Encoded(files)


def _entries(entry: dict[str, Any]) -> dict[str, Any]:
    driver = entry["driver"]
    more = {key: value for key, value in entry.items() if key not in {"name", "driver", driver}}
    settings = entry.get(driver) or {}
    return (settings if driver in DRIVERS else {SETTINGS: settings}) | more


def _binding(name: str, kind: str, entries: dict[str, Any]) -> dict[str, str]:
    found = {"type": kind, "provider": PROVIDER}
    found |= {key: _file(value) for key, value in entries.items()}
    return {f"{name}/{key}": text for key, text in found.items()}


def _file(value: Any) -> str:
    plain = isinstance(value, str) and not value.startswith(_JSON)
    return str(value) if plain else json.dumps(value)


def holds_bindings(root: Path) -> bool:
    """Whether a directory has a binding of ours."""
    return any(_text(path) == PROVIDER for path in root.glob("*/provider"))


def read(root: Path) -> dict[str, Any]:
    """The document of all bindings of ours; those of others are left alone.

    Raises:
        ConfigError: there is none, or a file can not be read.
    """
    document: dict[str, Any] = {"version": 1, "storage": {"backends": []}}
    found = sorted(path.parent for path in root.glob("*/provider") if _text(path) == PROVIDER)
    if not found:
        raise ConfigError(f"no binding has the provider {PROVIDER!r}", source=str(root))
    for directory in found:
        entries = {path.name: _text(path) for path in sorted(directory.iterdir()) if _is_entry(path)}
        if "type" not in entries:
            raise ConfigError("is no binding", source=str(directory), problems=[Problem("type", "is required")])
        kind = entries.pop("type")
        del entries["provider"]
        if kind == WHOLE:
            _lay_whole(document, entries, str(directory))
        else:
            document["storage"]["backends"].append(_backend(directory.name, kind, entries, str(directory)))
    return document


def _is_entry(path: Path) -> bool:
    # kubelet keeps the files of a projected volume in hidden directories
    return path.is_file() and not path.name.startswith("..")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        raise ConfigError(why_unreadable(exc), source=str(path)) from exc


def _lay_whole(document: dict[str, Any], entries: dict[str, str], source: str) -> None:
    for key, text in entries.items():
        name = key.removeprefix("storage.")
        if name == key:
            document[key] = text
        else:
            document["storage"][name] = _value(text, f"{source}/{key}")


def _backend(name: str, driver: str, entries: dict[str, str], source: str) -> dict[str, Any]:
    more = {key: _value(entries.pop(key), f"{source}/{key}") for key in _OURS if key in entries}
    settings = {key: _value(text, f"{source}/{key}") for key, text in entries.items()}
    if driver not in DRIVERS:
        settings = settings.get(SETTINGS) or {}
    backend: dict[str, Any] = {"name": name, "driver": driver}
    if settings:
        backend[driver] = settings
    return backend | more


def _value(text: str, source: str) -> Any:
    """What stands in a file: JSON where it begins like a list or a mapping, else text, which the models turn."""
    return parse_json(text, source) if text.startswith(_JSON) and not text.startswith("${") else text
