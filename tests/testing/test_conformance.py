"""The suite itself: usable by strangers, and not to be weakened in silence."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from runtime.driver import Capabilities
from runtime.testing.conformance import BlobStoreConformance as Base
from runtime.testing.conformance import conformance_tests, excused

A_TEST = "test_longest_path_is_kept"

PROJECT = """
import pytest
from runtime.config import NamedStorageConfig, StorageMemoryConfig
from runtime.drivers.memory import MemoryDriver
from runtime.errors import NotFoundError
from runtime.store import BlobStore
from runtime.testing.conformance import BlobStoreConformance, excused

class TestMine(BlobStoreConformance):
    {excuses}

    @pytest.fixture
    async def store(self):
        backend = NamedStorageConfig(name="mine", driver="memory", memory=StorageMemoryConfig())
        async with BlobStore(backend, {driver}(backend)) as store:
            yield store

class Deaf(MemoryDriver):
    async def delete(self, path, *, if_match=None):
        pass
"""


def run(pytester: pytest.Pytester, *tests: str, driver: str = "MemoryDriver", excuses: str = "") -> Any:
    """The suite in a project of somebody else: no configuration, no plug-in but anyio's."""
    pytester.makepyfile(PROJECT.format(driver=driver, excuses=excuses))
    wanted = " or ".join(tests)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", wanted, "-rA", timeout=120)


def test_suite_runs_in_a_project_without_any_configuration(pytester: pytest.Pytester) -> None:
    wanted = ("test_missing_object_raises_not_found", "test_delete_removes_exactly_one_object")
    result = run(pytester, *wanted)
    result.assert_outcomes(passed=2, deselected=len(conformance_tests()) - 2)


def test_suite_runs_in_anyios_auto_mode(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nanyio_mode = auto\n")
    run(pytester, "test_deleted_object_is_gone").assert_outcomes(passed=1, deselected=len(conformance_tests()) - 1)


def test_failure_shows_the_values_that_were_compared(pytester: pytest.Pytester) -> None:
    result = run(pytester, "test_delete_removes_exactly_one_object", driver="Deaf")
    result.assert_outcomes(failed=1, deselected=len(conformance_tests()) - 1)
    result.stdout.fnmatch_lines(["*At index 0 diff: 'a!' != 'a.b'*"])


def test_excused_test_runs_and_is_expected_to_fail(pytester: pytest.Pytester) -> None:
    name = "test_deleted_object_is_gone"
    excuse = f"{name} = excused({name!r}, reason='the vendor deletes nothing')"
    result = run(pytester, name, driver="Deaf", excuses=excuse)
    result.assert_outcomes(xfailed=1, deselected=len(conformance_tests()) - 1)
    result.stdout.fnmatch_lines(["XFAIL*the vendor deletes nothing*"])


def test_excuse_without_a_failure_fails(pytester: pytest.Pytester) -> None:
    name = "test_deleted_object_is_gone"
    result = run(pytester, name, excuses=f"{name} = excused({name!r}, reason='mended long ago')")
    result.assert_outcomes(failed=1, deselected=len(conformance_tests()) - 1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*mended long ago*"])


def test_replacing_a_test_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=A_TEST):
        type("TestWeak", (Base,), {A_TEST: lambda _self: None})


def test_removing_a_test_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=A_TEST):
        type("TestWeak", (Base,), {A_TEST: None})


def test_replacing_a_test_by_a_mixin_is_a_type_error() -> None:
    mixin = type("Mixin", (), {A_TEST: lambda _self: None})
    with pytest.raises(TypeError, match=A_TEST):
        type("TestWeak", (mixin, Base), {})


def test_marks_without_a_reason_or_without_a_run_are_type_errors() -> None:
    def weak(_self: object) -> None: ...

    for mark in (pytest.mark.xfail, pytest.mark.xfail(reason=" "), pytest.mark.skip(reason="slow")):
        weak.pytestmark = [mark.mark]  # type: ignore[attr-defined] # as pytest does
        with pytest.raises(TypeError, match=A_TEST):
            type("TestWeak", (Base,), {A_TEST: weak})
    weak.pytestmark = [pytest.mark.xfail(reason="a reason", run=False).mark]  # type: ignore[attr-defined] # as above
    with pytest.raises(TypeError, match=A_TEST):
        type("TestWeak", (Base,), {A_TEST: weak})


def test_excuse_for_the_whole_suite_is_a_type_error() -> None:
    for mark in (pytest.mark.skip(reason="slow"), pytest.mark.xfail(reason="all of it")):
        with pytest.raises(TypeError, match="whole suite"):
            type("TestWeak", (Base,), {"pytestmark": [mark]})
        with pytest.raises(TypeError, match="whole suite"):
            type("TestWeak", (Base,), {"pytestmark": mark})


def test_excuse_needs_a_reason_and_a_test_that_exists() -> None:
    with pytest.raises(TypeError, match="reason"):
        excused(A_TEST, reason="")
    with pytest.raises(AttributeError):
        excused("test_that_is_not_in_the_suite", reason="a reason")


def test_unverified_signatures_need_a_reason() -> None:
    with pytest.raises(TypeError, match="signature_reason"):
        type("TestWeak", (Base,), {"server_verifies_signatures": False})


def test_subclass_of_a_subclass_keeps_its_excuses() -> None:
    base = type("OnStrangeServer", (Base,), {A_TEST: excused(A_TEST, reason="names of 255 bytes")})
    below = type("TestBelow", (base,), {})
    assert vars(base)[A_TEST] is not vars(Base).get(A_TEST)
    assert getattr(below, A_TEST).pytestmark[0].kwargs["reason"] == "names of 255 bytes"


def test_names_of_all_tests_are_sentences_and_none_hides_another() -> None:
    parts = [part for part in Base.__mro__ if part is not Base]
    named = [name for part in parts for name in vars(part) if name.startswith("test_")]
    assert sorted(named) == list(conformance_tests()), "two parts have a test of the same name"
    assert not [name for name in named if name.count("_") < 3]


def test_every_capability_is_derived_by_a_test_of_its_own() -> None:
    found = {name for name in conformance_tests() if name.startswith("test_capability_")}
    assert found == {f"test_capability_{field.name}_is_true" for field in fields(Capabilities)}


def test_suite_needs_pytest_and_nothing_else() -> None:
    script = (
        "import sys\n"
        "for name in ('hypothesis', 'httpx', 'boto3', 'starlette', 'obstore', 'moto'):\n"
        "    sys.modules[name] = None\n"
        "import runtime.testing.conformance\n"
        "print('imported')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "imported\n"


def test_servers_can_be_imported_without_pytest() -> None:
    script = "import sys\nsys.modules['pytest'] = None\nimport runtime.testing.servers\nprint('imported')\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "imported\n"
