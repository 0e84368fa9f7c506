"""Fills the stores that a class or function asks for by its annotations.

::

    class MediaService:
        def __init__(
            self, primary: BlobStoreProtocol, thumbnails: Annotated[BlobStoreProtocol, Named("thumbnails")]
        ) -> None: ...


    service = storage.inject(MediaService)

A parameter is a store when it is annotated `BlobStore` or a protocol called ``BlobStoreProtocol`` (ours or
lexigram's), also as ``… | None``. Without ``Named`` it gets the primary backend. Every other parameter is the
caller's: by keyword, or by its default.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from runtime.errors import ConfigError
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
_UNKNOWN = object()


@dataclass(frozen=True, slots=True)
class Named:
    """Marks the backend that a parameter wants: ``Annotated[BlobStoreProtocol, Named("thumbnails")]``."""

    name: str


def inject(
    target: Callable[..., T],
    stores: Mapping[str, BlobStore],
    primary: Callable[[], BlobStore],
    given: Mapping[str, Any],
) -> T:
    """Call *target* with the stores that its parameters ask for.

    Args:
        target: A class or a function.
        stores: The backends by name.
        primary: Gives the backend without a name.
        given: Arguments of the caller, by name; they win over what would be injected.

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
            value = primary() if wanted == "" else _named(stores, wanted, parameter.name, target)
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
    any_target: Any = target
    function = any_target.__init__ if isinstance(target, type) else target
    names = getattr(inspect.unwrap(function), "__globals__", {})
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        annotation = parameter.annotation
        if annotation is not parameter.empty:
            annotation = _resolved(annotation, names)
        yield parameter, annotation


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, globalns=names, include_extras=True)["it"]
    except NameError:
        return _UNKNOWN  # imported for type checkers only


def _wanted(annotation: Any) -> str | None:
    """Name of the backend that an annotation asks for, "" for the primary one; None when it is no store."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if _wanted(arguments[0]) is None:
            return None
        marks = [mark for mark in arguments[1:] if type(mark).__name__ == "Named"]
        return next((mark.name for mark in marks if isinstance(getattr(mark, "name", None), str)), "")
    if arguments:  # a union, as in `BlobStoreProtocol | None`
        return next((found for part in arguments if (found := _wanted(part)) is not None), None)
    is_store = annotation is BlobStore or getattr(annotation, "__name__", None) == "BlobStoreProtocol"
    return "" if is_store else None


def _named(stores: Mapping[str, BlobStore], name: str, parameter: str, target: Callable[..., Any]) -> BlobStore:
    try:
        return stores[name]
    except ConfigError as exc:
        exc.add_note(f"asked for by parameter {parameter!r} of {_name_of(target)}")
        raise


def _hides_a_store(parameter: inspect.Parameter, annotation: Any) -> bool:
    return annotation is _UNKNOWN and "BlobStore" in str(parameter.annotation)


def _described(parameter: inspect.Parameter, annotation: Any) -> str:
    if annotation is _UNKNOWN:
        return f"{parameter.name} (its annotation {parameter.annotation!r} can not be resolved; import it at run time)"
    return parameter.name


def _name_of(target: Callable[..., Any]) -> str:
    return getattr(target, "__qualname__", type(target).__qualname__)
