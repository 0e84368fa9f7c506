"""A backend is complete when everything that the design lists for it exists; this fails until it does."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from runtime.config import DRIVERS

ROOT = Path(__file__).parents[1]
FILES = [
    "infra/{}.py",
    "tests/drivers/test_{}.py",
    "tests/infra/test_{}.py",
]
OWN_MODULES = ["runtime/drivers/{}.py", "runtime/drivers/{}/*.py", "infra/{}.py", "infra/*/{}.py"]
# The places that may name a driver beside its own modules:
SHARED = {
    "runtime/config.py",  # the model of the contract, and the default driver
    "runtime/carriers/__init__.py",  # names of extras, one of which is a driver's too
    "runtime/forms/cosi.py",  # COSI has three protocols; a driver that speaks none of them is told, not added
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("file", FILES)
def test_every_backend_has_its_files(driver: str, file: str) -> None:
    assert (ROOT / file.format(driver)).is_file(), f"the backend {driver!r} lacks {file.format(driver)}"


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_backend_has_its_driver(driver: str) -> None:
    places = [f"runtime/drivers/{driver}.py", f"runtime/drivers/{driver}/__init__.py"]
    found = [place for place in places if (ROOT / place).is_file()]
    assert len(found) == 1, f"the backend {driver!r} needs one of {places}, found {found}"


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_backend_has_its_row_in_the_readme(driver: str) -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| `{driver}` |")]
    assert len(rows) == 1, f"README.md needs one table row that starts with | `{driver}` |, found {len(rows)}"


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_extra_that_a_backend_names_exists(driver: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    extra = DRIVERS[driver].install_extra
    assert extra is None or extra in extras


@pytest.mark.parametrize("driver", ["s3", "gcs", "azure", "r2"])
def test_no_shared_code_names_a_driver(driver: str) -> None:
    own = {path for pattern in OWN_MODULES for path in ROOT.glob(pattern.format(driver))}
    modules = [path for part in ("infra", "runtime") for path in (ROOT / part).rglob("*.py") if path not in own]
    naming = {str(path.relative_to(ROOT)) for path in modules if _names(path, driver)}
    elsewhere = naming - SHARED - _allowed(driver)
    assert not elsewhere, f"a new backend would have to be added to {sorted(elsewhere)}"


def _names(path: Path, driver: str) -> bool:
    """Whether a module holds the driver's name as a string of its own, which a longer text is not."""
    return any(
        isinstance(node, ast.Constant) and node.value == driver for node in ast.walk(ast.parse(path.read_text()))
    )


def _allowed(driver: str) -> set[str]:
    # a server of the catalogue and a provider's stand-in are found by name, and say themselves what they play
    services = {"runtime/testing/servers", "infra/engine/providers"}
    if driver == "s3":  # also the name of a service of boto3 and of a Pulumi module, where it is no driver
        services |= {"infra/adoption", "infra/engine", "infra/aws", "runtime/testing", "runtime/drivers/r2"}
    return {
        str(path.relative_to(ROOT))
        for part in ("infra", "runtime")
        for path in (ROOT / part).rglob("*.py")
        if str(path.relative_to(ROOT)).startswith(tuple(services))
    }


def test_the_table_of_drivers_is_that_of_the_conformance_suite() -> None:
    from tests.driver_table import in_readme, table  # noqa: PLC0415 - imports every driver's test module

    assert in_readme((ROOT / "README.md").read_text()) == table(), "run: python tests/driver_table.py"
