"""Reading YAML and reporting every problem of a document at once, for the spec and the contract alike."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from runtime.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

Location = tuple[str | int, ...]

ALLOWED = "; allowed: "
"""What divides a validator's message from what it would accept; validators never repeat the value themselves."""

LONGEST_FOUND = 60
"""Characters of a wrong value that a message repeats."""

_SECRET_LOOKING = re.compile(r"(?:password|passwd|passphrase|secret|token|credential)s?$|(?:^|_|access|api)key$")

_URL_WITH_MORE = re.compile(r"\w+://.*[@?]")
"""A URL that may hold a password or a signature."""


class _Strict:
    """YAML without the one thing that loses data silently: a key given twice."""

    def construct_mapping(self: Any, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[object, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int):
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice (first on line {seen[key]})", key_node.start_mark
                )
            seen[key] = key_node.start_mark.line + 1
        return yaml.SafeLoader.construct_mapping(self, node, deep)


class _StrictLoader(_Strict, yaml.SafeLoader):
    """In Python: its messages are the better ones."""


class _QuickLoader(_Strict, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # where libyaml is
    """In C, where PyYAML has it: ten times as fast."""


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _BlockDumper(_Dumper):  # type: ignore[misc] # as above
    """Text of many lines stands as it is, indented."""


_BlockDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def dump_yaml(document: Any, *, blocks: bool = False) -> str:
    """*document* as YAML, keys in their order; the same document always gives the same bytes.

    Args:
        document: Mappings, lists, text, numbers.
        blocks: Whether text of many lines is written as a literal block, to be read by people.
    """
    dumper = _BlockDumper if blocks else _Dumper
    return str(yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120))


def parse_yaml(text: str, source: str) -> Any:
    """The document in *text*, or a `ConfigError` with the line that can not be read.

    Args:
        text: YAML or JSON.
        source: What the reader calls this document, for the message.
    """
    with suppress(yaml.YAMLError, RecursionError):  # what is wrong is said below
        return yaml.load(text, Loader=_QuickLoader)  # noqa: S506 - derived from SafeLoader
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - as above
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = Problem(where, exc.problem or exc.context or "can not be read")
    except yaml.reader.ReaderError as exc:
        problem = Problem(f"character {exc.position + 1}", f"{exc.character:#04x} is not allowed")
    except RecursionError:
        problem = Problem("", "is nested too deeply")
    raise ConfigError("this is not valid YAML", source=source, problems=[problem])


def parse_json(text: str, source: str) -> Any:
    """The document in *text*, or a `ConfigError` with the line that can not be read.

    Args:
        text: JSON.
        source: What the reader calls this document, for the message.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        key, count = max(Counter(key for key, _ in pairs).items(), key=itemgetter(1), default=("", 0))
        if count > 1:
            raise _TwiceError(f"{key!r} is given twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as exc:
        problem = Problem(f"line {exc.lineno}, column {exc.colno}", exc.msg)
    except _TwiceError as exc:
        problem = Problem("", str(exc))
    except RecursionError:
        problem = Problem("", "is nested too deeply")
    raise ConfigError("this is not valid JSON", source=source, problems=[problem])


class _TwiceError(Exception):
    """A key stands twice in one JSON object."""


def read_yaml(path: Path, source: str | None = None) -> Any:
    """The document in a file (JSON when its name ends so), or a `ConfigError` that says why it can not be read."""
    source = source or str(path)
    text = read_text(path, source)
    return parse_json(text, source) if path.suffix == ".json" else parse_yaml(text, source)


def read_text(path: Path, source: str) -> str:
    """The text of a file, or a `ConfigError` that says why it can not be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as exc:
        raise ConfigError(why_unreadable(exc), source=source) from exc


def why_unreadable(error: OSError | ValueError) -> str:
    """Why a text file could not be read, as the rest of a sentence that begins with its name."""
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text (byte {error.start})"
    if isinstance(error, OSError):
        return f"can not be read: {error.strerror or type(error).__name__}"
    return "can not be read: this is no path"  # a null byte in it


def dotted(location: Iterable[str | int], document: Any = None) -> str:
    """A location as a reader would type it; list entries that have a name are called by it.

    >>> dotted(("backends", 0, "s3", "bucket"), {"backends": [{"name": "avatars"}]})
    'backends.avatars.s3.bucket'
    >>> dotted(("cors", 0, "origins"))
    'cors[0].origins'
    """
    text, node = "", document
    for part in location:
        siblings, node = node, _child(node, part)
        if isinstance(part, int):
            name = _unique_name(node, siblings)
            text += f".{name}" if name else f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


def _unique_name(node: Any, siblings: Any) -> str | None:
    name = node.get("name") if isinstance(node, Mapping) else None
    if not isinstance(name, str) or sum(isinstance(s, Mapping) and s.get("name") == name for s in siblings) > 1:
        return None
    return name


def _child(node: Any, part: str | int) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None


def looks_secret(key: str) -> bool:
    """Whether a key of this name most likely holds a secret."""
    return bool(_SECRET_LOOKING.search(key.lower()))


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'bucket'?)`` when something allowed is close to what was found, else nothing."""
    close = get_close_matches(found, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Wrong(NamedTuple):
    """One thing that a validator found: where, below what it validates, and the message."""

    location: Location
    message: str
    kind: str = "rejected"


def rejection(*wrong: Wrong) -> ValidationError:
    """What a validator raises to report several problems, each with its own path; pydantic puts its own before it."""
    details: list[InitErrorDetails] = [
        # braces would be taken for placeholders only if there were a context; there is none
        {"type": PydanticCustomError(found.kind, found.message), "loc": found.location, "input": None}
        for found in wrong
    ]
    return ValidationError.from_exception_data("rejected", details, hide_input=True)


def inside(error: ValidationError, *location: str | int, model: type[BaseModel] | None = None) -> list[Wrong]:
    """What *error* says, as problems below *location*, to raise it together with others.

    Args:
        error: What a model's validation raised.
        location: Where the validated value stands.
        model: That model, when the models above do not tell it: an unknown key is explained here then.
    """
    wrong = []
    for item in error.errors(include_url=False):
        path, kind, message = item["loc"], item["type"], item["msg"]
        if model and kind == "extra_forbidden":
            kind, message = "unknown_key", str(Problem("", *_unknown_key(str(path[-1]), keys_at(model, path[:-1]))))
        wrong.append(Wrong((*location, *path), message, kind))
    return wrong


def ambiguous_names(entries: Any) -> Iterator[Wrong]:
    """Names given twice and primaries beyond the first, in whatever was given as a list of named entries."""
    names: dict[str, int] = {}
    primaries: list[int] = []
    for index, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
        name, primary = (
            entry.get(key) if isinstance(entry, Mapping) else getattr(entry, key, None) for key in ("name", "primary")
        )
        if isinstance(name, str) and names.setdefault(name, index) != index:
            yield Wrong((index, "name"), f"is the name of entry {names[name]} already")
        if primary is True:
            if primaries:
                yield Wrong((index, "primary"), f"entry {primaries[0]} is primary already; at most one may be")
            primaries.append(index)


def found_keys(node: Any, wanted: Callable[[str], bool], location: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Where *wanted* keys with a plain value stand in a document, and that value."""
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        if isinstance(key, str) and wanted(key) and not isinstance(value, Mapping | list):
            yield (*location, key), value
        else:
            yield from found_keys(value, wanted, (*location, key))


def problems_of(error: ValidationError, document: Any, *, model: type[BaseModel]) -> list[Problem]:
    """What pydantic found wrong, as problems with full paths.

    Args:
        error: What the model's validation raised.
        document: The document as it was written: list entries are called by their names, and wrong values are
            repeated from it, so that a message never holds what a reference gave.
        model: The model: the keys that it allows are suggested for one that it does not.
    """
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        location = item["loc"]
        path = dotted(location, document)
        if item["type"] == "extra_forbidden":
            problems.append(Problem(path, *_unknown_key(str(location[-1]), keys_at(model, location[:-1]))))
        elif item["type"] == "missing":
            problems.append(Problem(path, "is required"))
        else:
            message, _, allowed = _in_our_words(item["type"], item["msg"]).partition(ALLOWED)
            found = "" if item["type"] == "unknown_key" else _found(document, location)
            problems.append(Problem(path, message + found, allowed or None))
    return problems


def _in_our_words(kind: str, message: str) -> str:
    if kind in {"model_type", "dict_type"}:
        return "must be a mapping of keys to values"
    if kind in {"tuple_type", "list_type"}:
        return "must be a list"
    return re.sub(r"^(?:Input|String|Value) should ", "must ", message.removeprefix("Value error, "))


def _found(document: Any, location: Location) -> str:
    """``, found 'x'``, unless it might be a secret: a message must never hold one."""
    node = document
    for part in location:
        if isinstance(part, str) and (part == "url" or looks_secret(part)):  # a Redis URL holds its password
            return ""
        node = _child(node, part)
    if isinstance(node, bool) or not isinstance(node, str | int | float) or _URL_WITH_MORE.match(str(node)):
        return ""
    text = repr(node)
    return f", found {text if len(text) <= LONGEST_FOUND else text[:LONGEST_FOUND] + '…'}"


def _unknown_key(key: str, known: Sequence[str]) -> tuple[str, str | None]:
    return f"unknown key{did_you_mean(key, known)}", ", ".join(known) or None


def keys_at(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    """Keys that *model* allows at a location inside its documents; nothing where any key is allowed."""
    found: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, str) and found:
            found = model_at(found, part)
    return list(found.model_fields) if found else []


def model_at(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The model of what stands below *key*, also when that is a list of it or may be missing."""
    field = model.model_fields.get(key)
    return _model_in(field.annotation) if field else None


def holds_list(model: type[BaseModel], key: str) -> bool:
    """Whether a list stands below *key*."""
    annotation = model.model_fields[key].annotation
    return any(get_origin(kind) in {list, tuple} for kind in (annotation, *get_args(annotation)))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
