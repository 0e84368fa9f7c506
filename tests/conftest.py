from __future__ import annotations

import signal

pytest_plugins = ["runtime.testing.fixtures", "pytester"]

# A shell lets what it starts in the background ignore Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
