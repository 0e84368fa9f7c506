"""A module that was written for another version of what it stands on."""

from runtime.driver import AncientDriver as Driver  # type: ignore[attr-defined] # this is what is broken

__all__ = ["Driver"]
