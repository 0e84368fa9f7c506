"""The table of drivers in README.md, from the conformance suite: ``python tests/driver_table.py`` writes it anew.

An excused test is a strict xfail, so the counts are those of the last green run: one that begins to pass, or to fail,
turns the suite red until its excuse is changed here too.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.config import DRIVERS
from runtime.testing.conformance import BlobStoreConformance, conformance_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
BEGIN: Final = "<!-- drivers: written by tests/driver_table.py -->"
END: Final = "<!-- end of drivers -->"

SERVICES: Final = {
    "azure": "Azure Blob Storage",
    "gcs": "Google Cloud Storage",
    "local": "a directory on this machine",
    "memory": "this process",
    "r2": "Cloudflare R2",
    "s3": "AWS S3 and compatible servers",
}
SERVERS: Final = {
    "TestAzurite": "Azurite",
    "TestFakeGcsServerBehindTheStrictFront": "fake-gcs-server",
    "TestLocal": "this machine",
    "TestMemory": "this process",
    "TestMiniStack": "MiniStack",
    "TestMoto": "moto",
    "TestR2": "versitygw, region auto",
    "TestVersityGateway": "versitygw",
}


def table() -> str:
    """The table, one row per driver."""
    head = ["| driver | service | install | conformance tests passed |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(driver) for driver in DRIVERS)])


def _row(driver: str) -> str:
    extra = DRIVERS[driver].install_extra
    install = f"`tandem-storage[{extra}]`" if extra else "-"
    results = "; ".join(_result(suite) for suite in suites(driver))
    return f"| `{driver}` | {SERVICES[driver]} | {install} | {results} |"


def _result(suite: type) -> str:
    names = conformance_tests()
    excused = sum(is_excused(getattr(suite, name)) for name in names)
    return f"{len(names) - excused} of {len(names)} on {SERVERS[suite.__name__]}"


def is_excused(test: Any) -> bool:
    """Whether a test of a suite is expected to fail."""
    return any(mark.name == "xfail" for mark in getattr(test, "pytestmark", []))


def suites(driver: str) -> Iterator[type]:
    """The classes that run the conformance suite on a driver."""
    path = ROOT / f"tests/drivers/test_{driver}.py"
    spec = importlib.util.spec_from_file_location(f"driver_table_{driver}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, found in sorted(vars(module).items()):
        if isinstance(found, type) and issubclass(found, BlobStoreConformance) and name.startswith("Test"):
            yield found


def in_readme(text: str) -> str:
    """What stands between the markers of a README."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    """Write the table into README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
