"""The driver of a folder: `driver` is the driver, every other module one part of what it does on the disk."""

from runtime.drivers.local.driver import LocalDriver, driver_class

__all__ = ["LocalDriver", "driver_class"]
