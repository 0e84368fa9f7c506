from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.interpolation import REFERENCE, Interpolation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.fixture
def resolve(tmp_path: Path) -> Any:
    (tmp_path / "key").write_text("from-file\n")

    def resolve(value: Any, **environ: str) -> Any:
        interpolation = Interpolation(environ, tmp_path, tmp_path)
        resolved = interpolation.resolve({"value": value})["value"]
        return interpolation.problems or resolved

    return resolve


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "a"),
        ("x${A}y${A}z", "xayaz"),
        ("${file:key}", "from-file"),
        ("a:${file:./key}:b", "a:from-file:b"),
        ("${EMPTY}", ""),
        ("${NOT_SET:text}", "text"),
        ("${NOT_SET:}", ""),
        ("${A:text}", "a"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A and $ and {A}", "$A and $ and {A}"),
        ("", ""),
    ],
)
def test_references_are_resolved(resolve: Any, text: str, result: str) -> None:
    assert resolve(text, A="a", EMPTY="") == result


def test_what_a_reference_gives_is_not_looked_at_again(resolve: Any) -> None:
    assert resolve("${A}", A="${B}", B="b") == "${B}"


def test_only_one_last_newline_of_a_file_is_cut_off(resolve: Any, tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"one\n\n")
    (tmp_path / "windows").write_bytes(b"one\r\n")

    assert resolve("${file:lines}") == "one\n"
    assert resolve("${file:windows}") == "one"


def test_values_that_are_no_text_and_keys_stay(resolve: Any) -> None:
    value = {"${A}": [1, None, True, 2.5, "${A}"]}

    assert resolve(value, A="a") == {"${A}": [1, None, True, 2.5, "a"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NOPE}", "environment variable NOPE is not set"),
        ("${file:nope}", "nope can not be read: No such file or directory"),
        ("${file:.}", "can not be read: Is a directory"),
        ("${file:binary}", "is not UTF-8 text (byte 0)"),
        ("${file:nul\0}", "can not be read: this is no path"),
        ("${a-b}", "'${' begins no reference"),
        ("${", "'${' begins no reference"),
        ("${}", "'${' begins no reference"),
        ("${file:}", "'${' begins no reference"),
    ],
)
def test_what_can_not_be_resolved_is_named(resolve: Any, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")

    (problem,) = resolve(text)

    assert problem.path == "value"
    assert message in problem.message


def test_every_problem_is_found_in_one_pass(resolve: Any) -> None:
    assert len(resolve(["${A}", {"x": "${B} ${C}"}, "${file:nope}"])) == 4


def test_files_of_values_from_outside_start_at_the_working_directory(tmp_path: Path) -> None:
    for name in ("config", "work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
    outside = frozenset({"a.from_variable"})
    interpolation = Interpolation({}, tmp_path / "config", tmp_path / "work", outside)

    resolved = interpolation.resolve({"a": {"from_variable": ["${file:key}"], "from_file": "${file:key}"}})

    assert resolved == {"a": {"from_variable": ["work"], "from_file": "config"}}
    assert interpolation.references == {"a.from_variable[0]": "${file:key}", "a.from_file": "${file:key}"}


def test_references_are_remembered_without_their_defaults(tmp_path: Path) -> None:
    interpolation = Interpolation({}, tmp_path, tmp_path)

    interpolation.resolve({"a": ["x", "${A:hunter2}/${B:}"]})

    assert interpolation.references == {"a[1]": "${A} ${B}"}


@given(st.text())
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    environ: Mapping[str, str] = {}
    interpolation = Interpolation(environ, None, None)  # type: ignore[arg-type] # no file is read

    escaped = text.replace("${", "$${")

    assert interpolation.resolve(escaped) == text
    assert not interpolation.problems


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("${A}", True),
        ("${file:../a b}", True),
        ("x${A}", False),
        ("${A:b}", False),
        ("$${A}", False),
        ("${A}\n", False),
    ],
)
def test_a_reference_is_nothing_but_a_reference(text: str, is_one: bool) -> None:
    assert bool(REFERENCE.fullmatch(text)) is is_one
