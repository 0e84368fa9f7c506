"""The slow network: a site behind `tests.bench.shaper`."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.client import Site

DELAY = 0.020
"""Seconds that a round trip takes longer."""

RATE = 20e6
"""Bytes a second of each connection, in each direction."""


@contextmanager
def slow_network(site: Site) -> Iterator[Site]:
    """*site*, as it is over a slow network."""
    command = [sys.executable, "-m", "tests.bench.shaper", str(urlsplit(site.url).port), str(DELAY), str(RATE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield replace(site, url=f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()
