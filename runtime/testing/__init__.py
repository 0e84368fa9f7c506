"""What helps to test drivers and applications: the conformance suite, servers and fixtures.

`runtime.testing.conformance` proves a driver, `runtime.testing.servers` starts stand-ins for the clouds,
`runtime.testing.fixtures` is the pytest plugin that does so for a test session.
"""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError:  # the servers are also started by `tandem emulators`, where there is no pytest
    pass
else:
    pytest.register_assert_rewrite("runtime.testing.conformance")
