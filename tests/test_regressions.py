"""The twelve defects of the seed system, and the test that would find each of them here.

Those that a conformance test can find are rebuilt in `seed_defects.py` and the tests are shown to fail on them. The
others are named below with the tests that stand against them.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime.testing.conformance import conformance_tests

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
SOURCE = Path(__file__).with_name("seed_defects.py")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seed_defects", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CONTROL, *DEFECTS = _load().DEFECTS

ELSEWHERE = {
    5: [
        ("tests/drivers/test_s3_live.py", "test_every_way_of_writing_asks_for_the_configured_encryption"),
        ("tests/test_fields_are_read.py", "test_every_setting_of_a_driver_is_read_by_it"),
    ],
    7: [("tests/drivers/test_s3_signing.py", "test_us_east_1_is_signed_by_version_4_too")],
    8: [
        ("tests/drivers/test_local_crashes.py", "test_killed_upload_leaves_the_old_object_and_nothing_in_the_listing"),
        ("tests/drivers/test_local_crashes.py", "test_attributes_are_there_in_a_second_process"),
    ],
    9: [("tests/runtime/test_memory.py", "test_an_etag_is_that_of_the_content_however_it_came")],
    10: [
        ("runtime/testing/kv_conformance/names.py", "test_namespace_and_key_do_not_run_together"),
        ("runtime/testing/kv_conformance/expiry.py", "test_no_time_left_means_already_expired"),
        ("runtime/testing/kv_conformance/expiry.py", "test_a_second_means_a_second_for_every_method"),
        ("runtime/testing/kv_conformance/names.py", "test_clear_without_a_namespace_removes_everything"),
        ("tests/kv/test_processes.py", "test_a_damaged_file_is_an_error_of_storage"),
    ],
    11: [
        ("tests/runtime/test_hooks.py", "test_a_hook_sees_begin_and_end_of_every_operation"),
        ("tests/runtime/test_config.py", "test_one_azure_credential_is_enough"),
    ],
    12: [
        ("tests/runtime/test_overrides.py", "test_default_driver_is_set_as_the_seed_documents_it"),
        ("tests/runtime/test_loading.py", "test_process_environment_and_working_directory_are_the_default"),
    ],
}
"""Tests outside the conformance suite, for what is not portable."""


def test_every_one_of_the_twelve_defects_has_a_test() -> None:
    covered = {defect.number for defect in DEFECTS} | ELSEWHERE.keys()
    assert covered == set(range(1, 13))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: f"{defect.number}-{defect.name}")
def test_conformance_tests_that_find_a_defect_exist(defect: Any) -> None:
    missing = set(defect.tests) - set(conformance_tests())
    assert defect.tests
    assert not missing, f"defect {defect.number} is to be found by {sorted(missing)}, which do not exist"


@pytest.mark.parametrize(("file", "test"), [pair for pairs in ELSEWHERE.values() for pair in pairs])
def test_tests_against_defects_that_are_not_portable_exist(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in names, f"{file} has lost {test}"


def test_every_rebuilt_defect_fails_every_test_that_is_to_find_it(pytester: pytest.Pytester) -> None:
    wanted = [f"{defect.name}::{test}" for defect in DEFECTS for test in defect.tests]
    control = sorted({f"{CONTROL.name}::{test}" for defect in DEFECTS for test in defect.tests})
    result = pytester.runpytest_subprocess(
        *(f"{SOURCE}::{name}" for name in [*control, *wanted]), "-p", "no:cacheprovider", "-rA", timeout=300
    )
    found: dict[str, set[str]] = {"FAILED": set(), "PASSED": set()}
    for line in result.outlines:
        verdict, _, rest = line.partition(" ")
        if verdict in found:
            found[verdict].add(rest.split("seed_defects.py::", 1)[-1].split(" ", 1)[0])
    missed = sorted(set(wanted) - found["FAILED"])
    assert not missed, "\n".join(["the suite does not see:", *missed, *result.outlines[-30:]])
    assert found["PASSED"] == set(control), "without a defect every one of these tests passes"
