from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.errors import InvalidPathError
from runtime.models import FileInfo
from runtime.paths import checked_new_path, checked_path, checked_prefix, guess_content_type

STRANGE = FileInfo("a//b/", 0, "text/plain", datetime.now(UTC))


@pytest.mark.parametrize(
    "path",
    ["a", "a/b.txt", ".hidden", "..a/b..", "a/...", "ünï/cödé +&?#%", "a\\b", "x" * 1024, "é" * 512, "😀" * 256, " "],
)
def test_a_path_that_can_name_an_object_is_given_back_unchanged(path: str) -> None:
    assert checked_path(path) == path


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "not empty"),
        ("/a", "begin or end with '/'"),
        ("a/", "begin or end with '/'"),
        ("/", "begin or end with '/'"),
        ("a//b", "empty segment"),
        (".", "no segment '.'"),
        ("..", "no segment '..'"),
        ("../x", "no segment '..'"),
        ("a/../b", "no segment '..'"),
        ("a/./b", "no segment '.'"),
        ("a/..", "no segment '..'"),
        ("a\nb", "control characters"),
        ("a\x00", "control characters"),
        ("a\x7f", "control characters"),
        ("a\x85b", "control characters"),
        ("a\ud800", "valid UTF-8"),
        ("x" * 1025, "at most 1,024 bytes, this one has 1,025"),
        ("é" * 513, "at most 1,024 bytes, this one has 1,026"),
        ("😀" * 257, "at most 1,024 bytes, this one has 1,028"),
    ],
)
def test_a_path_that_can_not_name_an_object_is_refused_with_the_reason(path: str, reason: str) -> None:
    with pytest.raises(InvalidPathError, match=reason) as caught:
        checked_path(path)
    assert str(caught.value).isprintable(), "a refused path must not break a log line"


@given(st.text(st.characters(codec=None), max_size=12) | st.text(alphabet="./a\n", max_size=8))
@example("a/" * 600)
def test_the_fast_check_agrees_with_the_rule_written_out(path: str) -> None:
    allowed = not any(unicodedata.category(char) in {"Cc", "Cs"} for char in path)
    allowed = allowed and 1 <= len(path.encode()) <= 1024
    allowed = allowed and not any(part in {"", ".", ".."} for part in path.split("/"))
    if allowed:
        assert checked_path(path) == path
    else:
        with pytest.raises(InvalidPathError):
            checked_path(path)


def test_a_listed_object_is_accepted_under_its_own_strange_path() -> None:
    assert checked_path(STRANGE) == "a//b/"


def test_a_listed_object_is_no_path_to_write_to() -> None:
    with pytest.raises(InvalidPathError, match=r"give its \.path"):
        checked_new_path(STRANGE)


@pytest.mark.parametrize("path", [None, 3, b"a"])
def test_what_is_no_string_is_no_path(path: object) -> None:
    with pytest.raises(InvalidPathError, match="a path is a string"):
        checked_new_path(path)


@pytest.mark.parametrize("prefix", ["", "a/", "/", "..", "a//", "\n"])
def test_a_prefix_is_any_string(prefix: str) -> None:
    assert checked_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["\ud800", "x" * 1025, None])
def test_a_prefix_that_no_path_can_start_with_is_refused(prefix: object) -> None:
    with pytest.raises(InvalidPathError, match="prefix"):
        checked_prefix(prefix)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("u/1.jpg", "image/jpeg"),
        ("A.JPEG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.tar.gz", "application/gzip"),
        ("page.html", "text/html"),
        ("a.json", "application/json"),
        ("README", "application/octet-stream"),
        ("a.b/c", "application/octet-stream"),
        ("x.unknown-suffix", "application/octet-stream"),
    ],
)
def test_the_content_type_is_guessed_from_the_suffix(path: str, content_type: str) -> None:
    assert guess_content_type(path) == content_type
