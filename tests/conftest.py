from __future__ import annotations

pytest_plugins = ["runtime.testing.fixtures", "pytester"]
