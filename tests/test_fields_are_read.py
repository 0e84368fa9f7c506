"""A setting that no driver reads is a promise that nobody keeps: the seed's encryption was one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from runtime.config import DRIVERS, LimitsConfig, RetryConfig, TransferConfig

ROOT = Path(__file__).parents[1]
INHERITS = {"r2": ["s3"]}  # R2 is S3 with other manners
FIELDS = [(driver, field) for driver, model in DRIVERS.items() for field in model.model_fields]


def attributes_read_by(*files: Path) -> set[str]:
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def modules_of(driver: str) -> list[Path]:
    drivers = ROOT / "runtime/drivers"
    stems = [driver, *INHERITS.get(driver, [])]
    return [file for stem in stems for file in [*drivers.glob(f"{stem}.py"), *drivers.glob(f"{stem}/*.py")]]


@pytest.mark.parametrize(("driver", "field"), FIELDS)
def test_every_setting_of_a_driver_is_read_by_it(driver: str, field: str) -> None:
    assert field in attributes_read_by(*modules_of(driver)), f"{driver} declares {field} and never reads it"


@pytest.mark.parametrize("field", TransferConfig.model_fields)
def test_every_transfer_setting_is_read_by_the_portable_type(field: str) -> None:
    files = [ROOT / "runtime/store.py", ROOT / "runtime/multipart.py"]
    assert field in attributes_read_by(*files), f"nothing reads transfer.{field}"


@pytest.mark.parametrize("field", [*RetryConfig.model_fields, *LimitsConfig.model_fields])
def test_every_setting_of_retries_and_limits_is_read_around_every_call(field: str) -> None:
    files = [ROOT / "runtime/store.py", ROOT / "runtime/calls.py"]
    assert field in attributes_read_by(*files), f"nothing reads {field}"


@pytest.mark.parametrize("field", [*RetryConfig.model_fields, "attempt_timeout"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_that_repeats_by_itself_reads_the_same_settings(driver: str, field: str) -> None:
    modules = modules_of(driver)
    if not any("repeats" in module.read_text() for module in modules):
        return  # the portable type repeats for it, see above
    shared = [ROOT / "runtime/drivers/_http.py"] if driver in {"azure", "gcs"} else []
    assert field in attributes_read_by(*modules, *shared), f"{driver} repeats by itself and never reads {field}"
