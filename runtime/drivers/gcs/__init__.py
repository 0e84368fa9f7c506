"""The driver of Google Cloud Storage: `driver` is the driver, every other module one part of the service's API."""

from runtime.drivers.gcs.driver import GCSDriver, driver_class

__all__ = ["GCSDriver", "driver_class"]
