"""Between Pulumi's property values and the plain Python that handlers work on.

Handlers see dicts, lists, strings, booleans, ints and floats with the provider's camelCase names. Secrets are
unwrapped for them; which top-level properties held one is remembered beside the values and restored on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.runtime import rpc


class Unknown:
    """A value that will exist only after `up`; equal to nothing, so it always counts as a change."""

    def __repr__(self) -> str:
        return "<known after up>"


UNKNOWN: Final = Unknown()


def plain(value: PropertyValue) -> Any:
    """The Python value inside; whole numbers become ints, what is not known yet becomes `UNKNOWN`."""
    inner = value.value
    if isinstance(inner, Computed) or inner == rpc.UNKNOWN:  # the SDK hands the sentinel string through as it came
        return UNKNOWN
    if isinstance(inner, str | bool) or inner is None:
        return inner
    if isinstance(inner, float):
        return int(inner) if inner.is_integer() else inner
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in sorted(inner.items())}  # protobuf's maps have no order
    if isinstance(inner, list | tuple):
        return [plain(item) for item in inner]
    raise TypeError(f"{type(inner).__name__} can not be a property of an emulated resource")


def plain_map(values: Mapping[str, PropertyValue]) -> dict[str, Any]:
    """Properties as plain Python, without those that are null."""
    return {key: item for key, value in sorted(values.items()) if (item := plain(value)) is not None}


def secret_names(values: Mapping[str, PropertyValue]) -> frozenset[str]:
    """Names of the top-level properties that are or hold a secret."""
    return frozenset(key for key, value in values.items() if value.contains_secret())


def wire(value: Any) -> PropertyValue:
    """A plain Python value as Pulumi carries it."""
    if value is UNKNOWN:
        return PropertyValue(rpc.UNKNOWN)
    if isinstance(value, Mapping):
        return PropertyValue({key: wire(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return PropertyValue([wire(item) for item in value])
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value))
    return PropertyValue(value)


def wire_map(values: Mapping[str, Any], secrets: frozenset[str] = frozenset()) -> dict[str, PropertyValue]:
    """Plain properties as Pulumi carries them; those named in *secrets* are marked as secret."""
    return {
        key: wire(value).with_secret(True) if key in secrets else wire(value)
        for key, value in values.items()
        if value is not None
    }


def has_unknown(value: Any) -> bool:
    """Whether any part of a plain value is known only after `up`."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN
