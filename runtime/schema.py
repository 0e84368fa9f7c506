"""Descriptions of a model's fields, taken from the ``Attributes:`` of its docstring: written once, read everywhere."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_ATTRIBUTE = re.compile(r"^(?P<name>\w+): (?P<text>.+)")


def described_schema(cls: type, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    """The JSON Schema of a pydantic model with what its docstring says of it and of every field."""
    schema = handler(core_schema)
    target = handler.resolve_ref_schema(schema)
    summary, attributes = read_docstring(cls)
    if summary:
        target["description"] = summary
    for name, field in target.get("properties", {}).items():
        if name in attributes:
            field["description"] = attributes[name]
    return schema


def read_docstring(cls: type) -> tuple[str, dict[str, str]]:
    """The prose of a Google docstring as one paragraph, and the text of each of its attributes.

    >>> class Box:
    ...     '''A box.
    ...
    ...     Attributes:
    ...         width: How wide,
    ...             in millimetres.
    ...     '''
    >>> read_docstring(Box)
    ('A box.', {'width': 'How wide, in millimetres.'})
    """
    prose, _, section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    attributes: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(section).splitlines():
        if match := _ATTRIBUTE.match(line):
            name = match["name"]
            attributes[name] = match["text"]
        elif name and line.startswith(" "):
            attributes[name] += f" {line.strip()}"
    return " ".join(prose.split()).replace("``", "`"), {
        key: text.replace("``", "`") for key, text in attributes.items()
    }
