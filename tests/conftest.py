from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["runtime.testing.fixtures", "pytester"]

# A shell lets what it starts in the background ignore Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# an example that takes long, or is long in the making, tells of a busy machine and of no fault
settings.register_profile("tandem", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tandem")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The drivers' HTTP client and the SDKs are asyncio's, so nothing is run on trio."""
    return "asyncio"


# What takes long, takes long on a busy machine: that is no failure of what is tested.
settings.register_profile("tandem", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tandem")
