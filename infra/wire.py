"""Properties as a provider reads them, for resource types that are registered here without their whole package."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any


def wire(value: Any) -> Any:
    """A dataclass as a mapping in camelCase, without what is not set; tuples as lists; the rest as it is.

    >>> camel("max_age_seconds")
    'maxAgeSeconds'
    """
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value)}
        return {camel(name): wire(item) for name, item in found.items() if item is not None}
    return [wire(item) for item in value] if isinstance(value, tuple) else value


def camel(name: str) -> str:
    """``max_age`` as ``maxAge``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
