"""What pydantic found wrong in a spec, as problems: where, what was found, what is allowed."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from runtime.errors import Problem
from runtime.validation import did_you_mean, dotted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_ALLOWED: Final = {
    "bool": "true or false",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "string": "text; quote numbers and dates",
    "int": "a whole number",
    "tuple": "a list",
    "float": "a number",
}
"""What is allowed, by the first word of pydantic's error type."""


def problems_of(error: ValidationError, model: type[BaseModel], document: Any, root: str) -> list[Problem]:
    """Every error of a model's validation as a problem with its full path.

    Args:
        error: What the validation raised.
        model: The model that was validated.
        document: What it was given.
        root: Path of the document in the stack file: ``storage.backends.avatars``.
    """
    items = error.errors(include_url=False)
    # a list is also called too short when its only item is wrong
    inside = {item["loc"][:-1] for item in items if item["loc"]}
    telling = [item for item in items if item["type"] != "too_short" or item["loc"] not in inside]
    return [_problem(item, model, document, root) for item in telling]


def keys_of(model: type[BaseModel], location: Sequence[str | int] = ()) -> list[str]:
    """The keys that a person may write at a location below a model."""
    for part in location:
        if isinstance(part, str):
            inner = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
            if inner is None:
                return []
            model = inner
    return [key for key, field in model.model_fields.items() if not field.exclude]


def _problem(item: ErrorDetails, model: type[BaseModel], document: Any, root: str) -> Problem:
    location, kind = item["loc"], item["type"]
    path = ".".join(part for part in (root, dotted(location, document)) if part).replace(".[key]", "")
    if kind == "extra_forbidden":
        known = keys_of(model, location[:-1])
        return Problem(path, f"unknown key{did_you_mean(str(location[-1]), known)}", ", ".join(known) or None)
    if kind == "missing":
        return Problem(path, "is required", _description(model, location))
    if kind == "string_pattern_mismatch" and (described := _description(model, location)):
        return Problem(path, _found(item["input"]), described)
    return _value_problem(item, path)


def _value_problem(item: ErrorDetails, path: str) -> Problem:
    context = item.get("ctx") or {}
    if item["type"] == "tandem":
        return Problem(path, str(context["message"]), str(context["allowed"]))
    if item["type"] == "literal_error":
        expected = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        return Problem(path, _found(item["input"]) + _close(item["input"], expected.split(", ")), expected)
    if item["type"] in {"value_error", "rejected"}:
        message, _, allowed = item["msg"].removeprefix("Value error, ").partition("; allowed: ")
        return Problem(path, f"{_found(item['input'])}, which {message}", allowed or None)
    if item["type"] == "too_short":
        return Problem(path, "found nothing", "at least one")
    kind, words = item["type"], item["msg"]
    listed = _ALLOWED.get(kind.partition("_")[0]) if kind.endswith(("_type", "_parsing")) else None
    allowed = listed or words.removeprefix("Input should be ").removeprefix("Value should ")
    if kind in {"string_too_short", "string_too_long"}:
        allowed = allowed.removeprefix("String should have ")
    return Problem(path, _found(item["input"]), allowed)


def _found(value: Any) -> str:
    if value is None:
        return "found nothing"
    if isinstance(value, dict | list | tuple):
        return f"found a {'mapping' if isinstance(value, dict) else 'list'}"
    return f"found {value!r}"


def _close(value: Any, allowed: Sequence[str]) -> str:
    return did_you_mean(value, allowed) if isinstance(value, str) else ""


def _description(model: type[BaseModel], location: Sequence[str | int]) -> str | None:
    for part in location[:-1]:
        if isinstance(part, str):
            inner = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
            if inner is None:
                return None
            model = inner
    field = model.model_fields.get(str(location[-1])) if location else None
    return field.description if field else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``tuple[Cors, ...]`` or ``Encryption | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {tuple, list, Union, UnionType, Annotated}:
        return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
    return None
