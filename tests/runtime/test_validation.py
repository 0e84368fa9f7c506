from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

from runtime.errors import ConfigError
from runtime.validation import Wrong, dotted, keys_at, parse_json, parse_yaml, problems_of, read_yaml, rejection

if TYPE_CHECKING:
    from pathlib import Path


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int = 0
    api_token: SecretStr | None = None


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parts: tuple[Part, ...] = ()
    extra: Part | None = None
    anything: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Whole:
        if self.extra and self.extra.size > 9:
            raise rejection(Wrong(("extra", "size"), "is {too} large"), Wrong(("extra",), "really"))
        return self


def problems(document: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(document)
    return [str(problem) for problem in problems_of(caught.value, document, model=Whole)]


def test_paths_are_as_a_reader_would_type_them() -> None:
    document = {"backends": [{"name": "a"}, {"name": "b"}, {"name": "b"}, {}], "cors": [[1]]}

    assert dotted(("backends", 0, "s3"), document) == "backends.a.s3"
    assert dotted(("backends", 1, "s3"), document) == "backends[1].s3", "a name that two have is no address"
    assert dotted(("backends", 3), document) == "backends[3]"
    assert dotted(("cors", 0, 0), document) == "cors[0][0]"
    assert dotted(("gone", 5, "x"), document) == "gone[5].x"
    assert dotted((), document) == ""


def test_problems_name_path_value_and_what_is_allowed() -> None:
    assert problems({"parts": [{"name": "a", "sise": 1}, {"size": "big"}], "extra": "x", "wohle": 1}) == [
        "parts.a.sise: unknown key (did you mean 'size'?); allowed: name, size, api_token",
        "parts[1].name: is required",
        "parts[1].size: must be a valid integer, unable to parse string as an integer, found 'big'",
        "extra: must be a mapping of keys to values, found 'x'",
        "wohle: unknown key; allowed: parts, extra, anything",
    ]


def test_a_validator_can_report_several_problems_with_paths_of_their_own() -> None:
    assert problems({"extra": {"name": "x", "size": 10}}) == ["extra.size: is {too} large, found 10", "extra: really"]


@pytest.mark.parametrize(
    "value", [{"api_token": ["hunter2"]}, {"size": "https://me:hunter2@example.com"}, {"size": "http://h/?sig=hunter2"}]
)
def test_values_that_may_be_secrets_are_not_repeated(value: dict[str, Any]) -> None:
    (problem,) = problems({"extra": {"name": "x"} | value})

    assert "hunter2" not in problem


def test_long_values_are_cut() -> None:
    (problem,) = problems({"extra": {"name": "x", "size": "9" * 5000}})

    assert len(problem) < 300


def test_allowed_keys_are_found_below_lists_and_optional_models() -> None:
    assert keys_at(Whole, ()) == ["parts", "extra", "anything"]
    assert keys_at(Whole, ("parts", 3)) == ["name", "size", "api_token"]
    assert keys_at(Whole, ("extra",)) == ["name", "size", "api_token"]
    assert keys_at(Whole, ("anything", "x")) == []
    assert keys_at(Whole, ("nothing",)) == []


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1", "'a' is given twice (first on line 1)"),
        ("x: {a: 1, a: 2}\n", "line 1, column 11", "'a' is given twice (first on line 1)"),
        ("a: 'open\n", "line 2, column 1", "found unexpected end of stream"),
        ("a: !!python/object:os.system x\n", "line 1, column 4", "could not determine a constructor"),
        ("a: \x00", "character 4", "0x00 is not allowed"),
        ("[" * 5000, "", "is nested too deeply"),
    ],
)
def test_wrong_yaml_says_where(text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "here")

    (problem,) = caught.value.problems
    assert (caught.value.source, problem.path) == ("here", where)
    assert message in problem.message


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ('{\n"a" 1}', "line 2, column 5", "Expecting ':' delimiter"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "", "'c' is given twice"),
        ("[" * 200_000, "", "is nested too deeply"),
    ],
)
def test_wrong_json_says_where(text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_json(text, "here")

    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (where, message)


def test_yaml_of_every_kind_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("base: &base {a: 1}\nmore: {<<: *base, b: 2}\n")

    assert read_yaml(path) == {"base": {"a": 1}, "more": {"a": 1, "b": 2}}
