"""The driver of Azure Blob Storage: `driver` is the driver, every other module one part of the service's API."""

from runtime.drivers.azure.driver import AzureDriver, driver_class

__all__ = ["AzureDriver", "driver_class"]
