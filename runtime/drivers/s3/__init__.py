"""The driver of S3: `driver` is the driver, every other module one part of the service's API."""

from runtime.drivers.s3.driver import S3Driver, driver_class

__all__ = ["S3Driver", "driver_class"]
