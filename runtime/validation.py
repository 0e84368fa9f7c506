"""Reading YAML and reporting every problem of a document at once, for the spec and the contract alike."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml

from runtime.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pydantic import ValidationError


class _StrictLoader(yaml.SafeLoader):
    """YAML without the one thing that loses data silently: a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[object, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, str | int) and seen.setdefault(key, line) != line:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice (first on line {seen[key]})", key_node.start_mark
                )
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> Any:
    """The document in *text*, or a `ConfigError` with the line that can not be read.

    Args:
        text: YAML or JSON.
        source: What the reader calls this document, for the message.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            "this is not valid YAML", source=source, problems=[Problem(where, exc.problem or str(exc))]
        ) from exc


def read_yaml(path: Path) -> Any:
    """The document in a file, or a `ConfigError` that says why it can not be read."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as exc:
        raise ConfigError(f"can not be read: {exc.strerror}", source=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"is not UTF-8 text (byte {exc.start})", source=str(path)) from exc


def dotted(location: Iterable[str | int], document: Any = None) -> str:
    """A location as a reader would type it; list entries that have a name are called by it.

    >>> dotted(("backends", 0, "s3", "bucket"), {"backends": [{"name": "avatars"}]})
    'backends.avatars.s3.bucket'
    >>> dotted(("cors", 0, "origins"))
    'cors[0].origins'
    """
    text, node = "", document
    for part in location:
        node = _child(node, part)
        if isinstance(part, str):
            text += f".{part}" if text else part
        else:
            name = node.get("name") if isinstance(node, dict) else None
            text += f".{name}" if isinstance(name, str) else f"[{part}]"
    return text


def _child(node: Any, part: str | int) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'bucket'?)`` when something allowed is close to what was found, else nothing."""
    close = get_close_matches(found, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def problems_of(
    error: ValidationError, document: Any, root: str = "", fields: Mapping[str, Sequence[str]] | None = None
) -> list[Problem]:
    """What pydantic found wrong, as problems with full paths.

    Args:
        error: What a model's validation raised.
        document: The document that was validated, to call list entries by their names.
        root: Path of the document inside the file (``storage``).
        fields: Allowed keys by path, to suggest the right spelling of an unknown one.
    """
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        path = ".".join(part for part in (root, dotted(item["loc"], document)) if part)
        parent, _, key = path.rpartition(".")
        if item["type"] == "extra_forbidden":
            known = (fields or {}).get(parent, ())
            message = f"unknown key{did_you_mean(key, known)}"
            problems.append(Problem(path, message, ", ".join(known) or None))
        elif item["type"] == "missing":
            problems.append(Problem(path, "is required"))
        else:
            problems.append(Problem(path, item["msg"].removeprefix("Value error, ")))
    return problems
