"""Key-value operations as hooks see them: which store, which keys; never a value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

from runtime.hooks import Operation, Running

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.kv.base import KVStorage

_signature = cache(signature)


def begun(
    store: KVStorage, method: Callable[..., Any], arguments: tuple[Any, ...], keywords: Mapping[str, Any]
) -> tuple[Running, tuple[Any, ...], dict[str, Any]]:
    """Tell the hooks of *store* that one of its methods begins.

    Returns:
        What is to be told of its end, and the arguments to call it with: an iterator of keys has become a list.

    Raises:
        OperationRefusedError: a hook refuses it.
        TypeError: these are no arguments of that method.
    """
    bound = _signature(method).bind(store, *arguments, **keywords)
    given = bound.arguments
    path, keys = _named(given)
    namespace = given.get("namespace")
    operation = Operation(
        backend=store.name,
        driver=store.driver,
        name=f"kv.{method.__name__}",
        path=path,
        paths=keys,
        namespace=namespace if isinstance(namespace, str) else "",
    )
    # a key may be a session's secret: it is in no error
    return Running(store.hooks, operation, tell_path=False), bound.args[1:], bound.kwargs


def _named(given: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The key (or what keys begin with) and all keys that arguments name; what is no text is refused later."""
    if "key" in given:
        key = given["key"]
        return (key, (key,)) if isinstance(key, str) else (None, ())
    if "values" in given and isinstance(given["values"], Mapping):
        return None, tuple(key for key in given["values"] if isinstance(key, str))
    if "keys" in given and not isinstance(given["keys"], str):
        given["keys"] = list(given["keys"])
        return None, tuple(key for key in given["keys"] if isinstance(key, str))
    start = given.get("prefix") or given.get("pattern")
    return (start if isinstance(start, str) else None), ()
