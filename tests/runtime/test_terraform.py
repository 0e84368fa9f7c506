"""A contract of Terraform's outputs: the same as anybody else's, and every wrong thing told by its path."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from runtime.cli.app import build_app
from runtime.errors import ConfigError
from runtime.forms import terraform
from runtime.loading import load_config

if TYPE_CHECKING:
    from pathlib import Path

VALUE: dict[str, Any] = {
    "project": "shop",
    "stack": "prod",
    "service": None,
    "backends": {
        "media": {
            "driver": "r2",
            "primary": None,
            "r2": {
                "bucket": "media",
                "endpoint_url": "https://0123.r2.cloudflarestorage.com",
                "access_key": "${MEDIA_ACCESS_KEY}",
                "secret_key": "${MEDIA_SECRET_KEY}",
                "public_url": None,
            },
        },
        "avatars": {
            "driver": "s3",
            "primary": True,
            "s3": {"bucket": "shop-avatars", "region": "eu-west-1", "access_key": None},
            "expect": {"cors": [{"origins": ["https://a.example"], "methods": ["GET"], "headers": None}]},
        },
    },
}


def outputs(value: Any) -> str:
    """What ``terraform output -json`` prints: every output with its type."""
    found = {"sensitive": False, "type": ["object", {}], "value": value}
    return json.dumps({"bucket_arn": {"sensitive": False, "type": "string", "value": "arn:a"}, terraform.OUTPUT: found})


def tandem(*words: str, given: str = "") -> tuple[int, str, str]:
    found = CliRunner().invoke(build_app(), list(words), input=given)
    return found.exit_code, found.stdout, found.stderr


def test_outputs_become_a_contract_that_opens(tmp_path: Path) -> None:
    (tmp_path / "outputs.json").write_text(outputs(VALUE))
    path = tmp_path / "storage.yaml"
    code, _, told = tandem("config", "from-terraform", str(tmp_path / "outputs.json"), "-o", str(path))
    assert code == 0, told
    config = load_config(path, environ={"MEDIA_ACCESS_KEY": "a", "MEDIA_SECRET_KEY": "b"})
    assert [backend.name for backend in config.backends] == ["avatars", "media"]
    assert config.primary.name == "avatars"
    assert config.default_driver == "s3"
    assert config.backend("media").settings.secret_key.get_secret_value() == "b"
    text = path.read_text()
    assert text.startswith("# generated from stack prod")
    assert "fingerprint: sha256:" in text


def test_outputs_come_from_standard_input_and_go_to_standard_output() -> None:
    code, text, told = tandem("config", "from-terraform", "-", given=outputs(VALUE))
    assert code == 0, told
    assert text == terraform.read(json.load(io.StringIO(outputs(VALUE))), "x").to_yaml()


def problems(value: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        terraform.read(json.loads(outputs(value)), "outputs.json")
    assert caught.value.source == "outputs.json"
    return {problem.path: problem.message for problem in caught.value.problems}


def test_every_wrong_value_is_told_with_its_path() -> None:
    value = json.loads(json.dumps(VALUE))
    value["backends"]["avatars"]["s3"] = {"bucket": "No Such Name", "regoin": "eu-west-1"}
    value["backends"]["media"]["r2"]["secret_key"] = "hunter2-clear"
    value["backends"]["media"]["transfer"] = {"concurrency": 0}
    found = problems(value)
    assert found.keys() == {
        "tandem_storage.value.backends.avatars.s3.bucket",
        "tandem_storage.value.backends.avatars.s3.region",
        "tandem_storage.value.backends.avatars.s3.regoin",
        "tandem_storage.value.backends.media.transfer.concurrency",
    }
    assert "did you mean 'region'?" in found["tandem_storage.value.backends.avatars.s3.regoin"]
    assert "hunter2" not in str(found)


def test_a_secret_in_clear_is_refused() -> None:
    value = json.loads(json.dumps(VALUE))
    value["backends"]["media"]["r2"]["secret_key"] = "hunter2-clear"
    found = problems(value)
    assert found == {"tandem_storage.value.backends.media.r2.secret_key": "is a literal secret"}


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (None, {"tandem_storage.value"}),
        ({"backends": {}}, {"tandem_storage.value.backends"}),
        (
            {"backends": {"a": 1, "b": {"name": "b", "driver": "memory"}}, "buckets": {}},
            {
                "tandem_storage.value.buckets",
                "tandem_storage.value.backends.a",
                "tandem_storage.value.backends.b.name",
            },
        ),
        ({"backends": {"a": {"driver": "memroy"}}}, {"tandem_storage.value.backends.a.driver"}),
    ],
)
def test_a_wrong_shape_is_told_with_all_its_paths(value: Any, paths: set[str]) -> None:
    assert problems(value).keys() == paths


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "is not what `terraform output -json` prints"),
        ('{"tandem_storge": {"value": 1}}', "did you mean 'tandem_storge'?"),
        ('{"tandem_storage": {"backends": {}}}', "give all of `terraform output -json`, not one output of it"),
        ("{", "this is not valid JSON"),
    ],
)
def test_other_files_are_refused(text: str, told: str) -> None:
    code, out, err = tandem("config", "from-terraform", "-", given=text)
    assert (code, out) == (2, "")
    assert told in " ".join(err.split())
