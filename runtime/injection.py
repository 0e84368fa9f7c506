"""Fills the stores that a class or function asks for by its annotations.

::

    class MediaService:
        def __init__(
            self, primary: BlobStoreProtocol, thumbnails: Annotated[BlobStoreProtocol, Named("thumbnails")]
        ) -> None: ...


    service = storage.inject(MediaService)

A parameter is a store when it is annotated `BlobStore` or a protocol called ``BlobStoreProtocol`` (ours or
lexigram's), and a key-value store when it is annotated ``KVStoreProtocol`` (or, lexigram's name,
``StorageBackendProtocol``), also as ``… | None``. Without ``Named`` it gets the primary one. Every other parameter is
the caller's: by keyword, or by its default.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

from runtime.errors import ConfigError
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runtime.kv.stores import KVStores

T = TypeVar("T")
_UNKNOWN = object()

_BLOB: Final = "blob"
_KV: Final = "kv"
_KINDS: Final = {"BlobStoreProtocol": _BLOB, "KVStoreProtocol": _KV, "StorageBackendProtocol": _KV}
"""Protocols by their names, so that lexigram's are understood without being imported."""


@dataclass(frozen=True, slots=True)
class Named:
    """Marks the backend that a parameter wants: ``Annotated[BlobStoreProtocol, Named("thumbnails")]``."""

    name: str


def inject(
    target: Callable[..., T],
    stores: Mapping[str, BlobStore],
    primary: Callable[[], BlobStore],
    given: Mapping[str, Any],
    kv: KVStores | None = None,
) -> T:
    """Call *target* with the stores that its parameters ask for.

    Args:
        target: A class or a function.
        stores: The backends by name.
        primary: Gives the backend without a name.
        given: Arguments of the caller, by name; they win over what would be injected.
        kv: The key-value stores.

    Raises:
        UnknownBackendError: a parameter names a backend that is not configured.
        TypeError: a parameter that is no store was neither given nor has a default.
    """
    positional: list[Any] = []
    keywords = dict(given)
    missing: list[str] = []
    for parameter, annotation in _parameters(target):
        if parameter.name in keywords:
            value = keywords.pop(parameter.name)
        elif (wanted := _wanted(annotation)) is not None:
            try:
                value = _found(wanted, stores, primary, kv)
            except ConfigError as exc:
                exc.add_note(f"asked for by parameter {parameter.name!r} of {_name_of(target)}")
                raise
        elif parameter.default is not parameter.empty and not _hides_a_store(parameter, annotation):
            continue
        else:
            missing.append(_described(parameter, annotation))
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        else:
            keywords[parameter.name] = value
    if missing:
        raise TypeError(f"{_name_of(target)} needs arguments that are no stores: {', '.join(missing)}")
    return target(*positional, **keywords)


def _parameters(target: Callable[..., Any]) -> Iterator[tuple[inspect.Parameter, Any]]:
    """Each parameter and its annotation, resolved on its own: one that can not be must not spoil the others."""
    names = _names_of(target)
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        annotation = parameter.annotation
        if annotation is not parameter.empty:
            annotation = _resolved(annotation, names)
        yield parameter, annotation


def _names_of(target: Any) -> dict[str, Any]:
    """What annotations of *target* that are text can mean: the names of the modules that it was written in."""
    while isinstance(target, partial):
        target = target.func
    if not isinstance(target, type):
        function: Any = target if inspect.isroutine(target) else type(target).__call__
        return getattr(inspect.unwrap(function), "__globals__", {})
    names: dict[str, Any] = {}
    for base in reversed(target.__mro__):  # a dataclass takes fields from classes of other modules
        names |= getattr(sys.modules.get(base.__module__), "__dict__", {})
    return names


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, globalns=names, include_extras=True)["it"]
    except NameError:
        return _UNKNOWN  # imported for type checkers only


def _wanted(annotation: Any) -> tuple[str, str] | None:
    """The kind of store that an annotation asks for and its name, "" for the primary one; None when it is no store."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if (inner := _wanted(arguments[0])) is None:
            return None
        marks = [mark for mark in arguments[1:] if type(mark).__name__ == "Named"]
        return inner[0], next((mark.name for mark in marks if isinstance(getattr(mark, "name", None), str)), "")
    if arguments:  # a union, as in `BlobStoreProtocol | None`
        return next((found for part in arguments if (found := _wanted(part)) is not None), None)
    if annotation is BlobStore:
        return _BLOB, ""
    kind = _KINDS.get(getattr(annotation, "__name__", ""))
    return None if kind is None else (kind, "")


def _found(
    wanted: tuple[str, str], stores: Mapping[str, BlobStore], primary: Callable[[], BlobStore], kv: KVStores | None
) -> Any:
    kind, name = wanted
    if kind == _KV and kv is not None:
        return kv[name] if name else kv.primary
    return stores[name] if name else primary()


def _hides_a_store(parameter: inspect.Parameter, annotation: Any) -> bool:
    return annotation is _UNKNOWN and any(name in str(parameter.annotation) for name in ("BlobStore", *_KINDS))


def _described(parameter: inspect.Parameter, annotation: Any) -> str:
    if annotation is _UNKNOWN:
        return f"{parameter.name} (its annotation {parameter.annotation!r} can not be resolved; import it at run time)"
    return parameter.name


def _name_of(target: Callable[..., Any]) -> str:
    return getattr(target, "__qualname__", type(target).__qualname__)
