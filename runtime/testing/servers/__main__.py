"""Install servers before they are needed: ``python -m runtime.testing.servers [NAME …]``, all without a name."""

from __future__ import annotations

import sys

from runtime.testing.servers import NAMES, ServerUnavailableError, Toolbox, install


def main(names: list[str]) -> int:
    """Install each of *names* and print its command line; 1 when one can not be had."""
    failed = False
    toolbox = Toolbox()
    for name in names or NAMES:
        try:
            toolbox.log(f"{name}: {' '.join(install(name, toolbox))}")
        except (ServerUnavailableError, ValueError) as error:
            toolbox.log(f"{name}: {error}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
