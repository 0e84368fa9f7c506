"""``python -m runtime.cli`` is ``tandem``."""

from __future__ import annotations

from runtime.cli import main

main()
