"""``python -m runtime.cli`` is ``tandem``."""

from __future__ import annotations

from runtime.cli.app import main

main()
