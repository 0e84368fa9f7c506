"""Every promise of the data plane has its tests, and they run on all six drivers."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from runtime.config import DRIVERS
from runtime.testing.conformance import conformance_tests
from tests.driver_table import is_excused, suites
from tests.sentences import SENTENCES

ROOT = Path(__file__).parents[1]


@cache
def defined_in(file: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse((ROOT / file).read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("sentence", SENTENCES)
def test_tests_that_are_named_exist(sentence: str) -> None:
    for name in SENTENCES[sentence]:
        file, _, own = name.rpartition("::")
        assert own in (defined_in(file) if file else conformance_tests()), f"{sentence}: there is no test {name}"


EXCUSED = {
    "azure": {
        "test_two_uploads_in_parts_to_one_path_do_not_disturb_each_other",
        "test_paths_are_in_the_order_of_their_utf_8_bytes",
    },
    "r2": {"test_strange_names_of_others_are_listed_as_they_are_and_can_be_used"},
}
"""What no server here can show; the reason is with the excuse in the driver's own test."""


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_sentence_is_proved_on_every_driver(driver: str) -> None:
    on = tuple(suites(driver))
    assert on, "no class runs the suite on this driver"
    named = {name for names in SENTENCES.values() for name in names if "::" not in name}
    unproved = {name for name in named if all(is_excused(getattr(suite, name)) for suite in on)}
    assert unproved == EXCUSED.get(driver, set())
