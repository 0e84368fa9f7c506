"""Finding the code of a driver: a module of ours, or an entry point of another distribution."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from runtime.config import DRIVERS, ENTRY_POINT_GROUP
from runtime.errors import ConfigError, StorageError
from runtime.extras import MissingDriver, is_missing_extra
from runtime.validation import did_you_mean

if TYPE_CHECKING:
    from runtime.config import NamedStorageConfig
    from runtime.driver import Driver


def built_in(backend: NamedStorageConfig) -> Driver | MissingDriver:
    """The driver from ``runtime.drivers``, or its stand-in when its extra is not installed."""
    extra = DRIVERS[backend.driver].install_extra
    try:
        module = import_module(f"runtime.drivers.{backend.driver}")
    except ModuleNotFoundError as exc:
        if extra is None or not is_missing_extra(exc, extra):
            raise
        return MissingDriver(backend, extra, exc)
    return cast("Driver", module.driver_class(backend))


def plugged_in(backend: NamedStorageConfig, known: list[str]) -> Any:
    """What another distribution makes for this backend.

    Args:
        backend: The entry of the contract.
        known: Names of all drivers, for the message.

    Raises:
        ConfigError: no distribution registers the driver, two do, or its code fails; names the culprit.
    """
    name = backend.driver
    points = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not points:
        raise ConfigError(
            f"unknown driver {name!r}{did_you_mean(name, known)}; one of {', '.join(known)}", backend=backend.name
        )
    if len(points) > 1:
        who = " and ".join(_origin(point) for point in points)
        raise ConfigError(f"driver {name!r} is registered twice: by {who}", backend=backend.name)
    point = points[0]
    try:
        factory = point.load()
    except Exception as exc:
        raise _broken(point, "can not be loaded", exc, backend) from exc
    if not callable(factory):
        raise _broken(point, f"is {type(factory).__name__}, not a Driver class or a factory", None, backend)
    try:
        return factory(backend)
    except StorageError:
        raise
    except Exception as exc:
        raise _broken(point, "can not be made", exc, backend) from exc


def _broken(point: EntryPoint, what: str, error: Exception | None, backend: NamedStorageConfig) -> ConfigError:
    why = ""
    if error is not None:
        why = f": {type(error).__name__}"
        if isinstance(error, ImportError | AttributeError):  # these name modules, never settings
            why += f": {error}"
    return ConfigError(
        f"the driver plug-in {_origin(point)} {what}{why}",
        backend=backend.name,
        hint="upgrade or remove that distribution",
    )


def _origin(point: EntryPoint) -> str:
    owner = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
    return f"{point.name!r} = {point.value!r} of {owner}"
