from __future__ import annotations

import json
import os
import warnings
from typing import TYPE_CHECKING

import pytest

from runtime.config import NamedStorageConfig, StorageConfig, StorageDocument, StorageS3Config
from runtime.errors import ConfigError, StorageWarning
from runtime.loading import load_config, read_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE = "version: 1\nstorage: {name: one}\n"
TWO = "version: 1\nstorage: {name: two}\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def generated(**storage: object) -> str:
    return StorageDocument.model_validate({"project": "p", "stack": "dev", "storage": storage}).to_yaml()


def test_argument_comes_before_everything(tmp_path: Path) -> None:
    write(tmp_path / "storage.yaml", TWO)
    path = write(tmp_path / "other" / "one.yaml", ONE)
    environ = {"LEX_STORAGE_CONFIG": "storage.yaml"}

    assert load_config(path, environ=environ, directory=tmp_path).name == "one"
    assert load_config("other/one.yaml", environ=environ, directory=tmp_path).name == "one"
    assert load_config({"name": "one"}, environ=environ, directory=tmp_path).name == "one"
    assert load_config('{"name": "one"}', environ=environ, directory=tmp_path).name == "one"
    assert load_config(StorageConfig(name="one"), environ=environ, directory=tmp_path).name == "one"


def test_variable_comes_before_the_files(tmp_path: Path) -> None:
    write(tmp_path / "storage.yaml", TWO)
    write(tmp_path / "one.yaml", ONE)

    by_path = read_config(environ={"LEX_STORAGE_CONFIG": "one.yaml"}, directory=tmp_path)
    as_json = read_config(environ={"LEX_STORAGE_CONFIG": json.dumps({"storage": {"name": "one"}})}, directory=tmp_path)

    assert (by_path.config.name, by_path.source) == ("one", f"{tmp_path / 'one.yaml'} (LEX_STORAGE_CONFIG)")
    assert (as_json.config.name, as_json.source) == ("one", "LEX_STORAGE_CONFIG")


def test_storage_yaml_comes_before_the_stack_and_says_so(tmp_path: Path) -> None:
    write(tmp_path / "storage.yaml", ONE)
    write(tmp_path / "stacks" / "storage.dev.yaml", TWO)

    assert load_config(environ={}, directory=tmp_path).name == "one"
    with pytest.warns(StorageWarning, match="LEX_STORAGE_STACK=dev has no effect"):
        assert load_config(environ={"LEX_STORAGE_STACK": "dev"}, directory=tmp_path).name == "one"


def test_stack_file_is_read(tmp_path: Path) -> None:
    write(tmp_path / "stacks" / "storage.dev.yaml", generated(name="two"))

    loaded = read_config(environ={"LEX_STORAGE_STACK": "dev"}, directory=tmp_path)

    assert (loaded.config.name, loaded.stack, loaded.notes) == ("two", "dev", ())


def test_process_environment_and_working_directory_are_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "storage.yaml", "storage: {name: '${NAME_OF_IT}'}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAME_OF_IT", "here")

    loaded = read_config()

    assert (loaded.config.name, loaded.source) == ("here", "storage.yaml")


@pytest.mark.parametrize("stack", ["../evil", "a/b", ""])
def test_stack_name_can_not_leave_the_directory(tmp_path: Path, stack: str) -> None:
    with pytest.raises(ConfigError):
        load_config(environ={"LEX_STORAGE_STACK": stack}, directory=tmp_path)


def test_nothing_found_lists_every_place(tmp_path: Path) -> None:
    write(tmp_path / "stacks" / "storage.staging.yaml", ONE)

    with pytest.raises(ConfigError) as caught:
        load_config(environ={}, directory=tmp_path)

    assert [problem.path for problem in caught.value.problems] == [
        "argument",
        "LEX_STORAGE_CONFIG",
        str(tmp_path / "storage.yaml"),
        str(tmp_path / "stacks" / "storage.<stack>.yaml"),
        "LEX_STORAGE__… variables",
    ]
    assert caught.value.hint == "set LEX_STORAGE_STACK=staging"


def test_stack_that_is_asked_for_is_not_replaced_by_variables(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"storage\.dev\.yaml: does not exist"):
        load_config(environ={"LEX_STORAGE_STACK": "dev", "LEX_STORAGE__NAME": "x"}, directory=tmp_path)


@pytest.mark.parametrize(("name", "why"), [(".", "Is a directory"), ("x.yaml", "No such file or directory")])
def test_file_that_can_not_be_read_says_why(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / name, environ={})

    assert str(caught.value) == f"{tmp_path / name}: can not be read: {why}"


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root reads every file, so the test runs as somebody who does not."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    yield
    os.seteuid(user)


def test_file_without_permission_says_so(tmp_path: Path, nobody: None) -> None:  # noqa: ARG001 - used for its effect
    path = tmp_path / "storage.yaml"
    if os.geteuid() != 65534:
        write(path, ONE).chmod(0)

    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})

    assert str(caught.value) == f"{path}: can not be read: Permission denied"


def test_bare_config_and_the_file_of_an_application_are_documents_too() -> None:
    assert load_config({"name": "bare"}, environ={}).name == "bare"
    assert load_config({"storage": {"name": "ours"}, "web": {"port": 1}, "stack": ["x"]}, environ={}).name == "ours"


def test_json_file_is_read_as_json(tmp_path: Path) -> None:
    path = write(tmp_path / "storage.json", '{\n\t"storage": {"name": "tabs are fine in JSON"}}')

    assert load_config(path, environ={}).name == "tabs are fine in JSON"
    with pytest.raises(ConfigError, match="'a' is given twice"):
        load_config('{"a": 1, "a": 2}', environ={})
    with pytest.raises(ConfigError, match="line 1, column 2"):
        load_config("{nope}", environ={})


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "storage.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + ONE.encode())

    assert load_config(path, environ={}).name == "one"


def test_config_built_in_code_is_taken_as_it_is() -> None:
    config = StorageConfig(name="mine", backends=(NamedStorageConfig(name="a", driver="memory"),))

    assert load_config(config, environ={"LEX_STORAGE__NAME": "other"}) is config


def test_references_in_a_config_built_in_code_are_resolved(tmp_path: Path) -> None:
    write(tmp_path / "key", "from a file\n")
    settings = StorageS3Config.model_validate(
        {"bucket": "abc", "region": "eu-west-1", "access_key": "${ID}", "secret_key": "${file:key}"}
    )
    config = StorageConfig(backends=(NamedStorageConfig(name="a", driver="s3", s3=settings),))

    loaded = load_config(config, environ={"ID": "from a variable"}, directory=tmp_path).backends[0].s3

    assert loaded is not None
    assert loaded.access_key is not None
    assert loaded.secret_key is not None
    assert loaded.access_key.get_secret_value() == "from a variable"
    assert loaded.secret_key.get_secret_value() == "from a file"


def test_generated_file_loads_without_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "storage.dev.yaml", generated(backends=[{"name": "a", "driver": "memory"}]))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_config(path, environ={}).backend("a").driver == "memory"


def test_generated_file_edited_by_hand_warns_once(tmp_path: Path) -> None:
    path = write(tmp_path / "storage.dev.yaml", generated(name="made").replace("made", "edited"))

    with pytest.warns(StorageWarning, match="was edited by hand after it was generated") as caught:
        assert load_config(path, environ={}).name == "edited"

    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_overrides_are_no_edit_by_hand_and_may_hold_secrets(tmp_path: Path) -> None:
    s3 = {"bucket": "abc", "region": "eu-west-1", "access_key": "${KEY}", "secret_key": "${KEY}"}
    path = write(tmp_path / "storage.dev.yaml", generated(backends=[{"name": "a", "driver": "s3", "s3": s3}]))
    environ = {"KEY": "k", "LEX_STORAGE__BACKENDS__A__S3__SECRET_KEY": "literal"}

    loaded = read_config(path, environ=environ)

    assert loaded.notes == ()
    assert loaded.config.backend("a").settings.secret_key.get_secret_value() == "literal"
    assert loaded.origins == {
        "storage.backends.a.s3.access_key": "${KEY}",
        "storage.backends.a.s3.secret_key": "LEX_STORAGE__BACKENDS__A__S3__SECRET_KEY",
    }


def test_newer_minor_version_is_read_with_a_warning() -> None:
    with pytest.warns(StorageWarning, match=r"is version 1\.4, this release knows 1\.0"):
        assert load_config({"version": 1.4, "storage": {"name": "x"}}, environ={}).name == "x"


def test_unknown_keys_of_a_newer_minor_version_are_ignored_and_named() -> None:
    document = {
        "version": "1.10",
        "storage": {"color": "red", "backends": [{"name": "a", "driver": "memory", "colour": "blue"}]},
    }

    loaded = read_config(document, environ={})

    assert loaded.config.backend("a").driver == "memory"
    assert "storage.color" in loaded.notes[0]
    assert "storage.backends.a.colour" in loaded.notes[0]


def test_newer_minor_version_forgives_nothing_but_unknown_keys() -> None:
    with pytest.raises(ConfigError, match=r"storage\.enabled"):
        load_config({"version": 1.4, "storage": {"color": "red", "enabled": "perhaps"}}, environ={})
