"""What helps to test drivers and applications: the conformance suite, servers and fixtures.

`runtime.testing.conformance` proves a driver, `runtime.testing.servers` starts stand-ins for the clouds,
`runtime.testing.fixtures` is the pytest plugin that does so for a test session. An application tests itself with
`fake_storage`, which is also a fixture of that plugin.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.testing.fakes import Clock, FakeStorage, fake_storage

__all__ = ["Clock", "FakeStorage", "fake_storage"]

try:
    import pytest
except ModuleNotFoundError:  # the servers are also started by `tandem emulators`, where there is no pytest
    pass
else:
    pytest.register_assert_rewrite("runtime.testing.conformance")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("runtime.testing.fakes"), name)
    globals()[name] = value
    return value
