from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

from runtime.advice import PLACEHOLDERS, advice
from runtime.config import StorageConfig
from runtime.errors import StorageWarning
from runtime.loading import load_config

if TYPE_CHECKING:
    from pathlib import Path

LOCAL: dict[str, Any] = {"backends": [{"name": "files", "driver": "local"}]}
SHARED: dict[str, Any] = {"backends": [{"name": "files", "driver": "local", "local": {"shared": True}}]}
S3: dict[str, Any] = {"bucket": "shop-avatars", "region": "eu-west-1"}
FILE = """
storage:
  env: {env}
  backends:
    - name: avatars
      driver: s3
      s3: {{bucket: shop-avatars, region: eu-west-1, access_key: AKIA, secret_key: {secret}}}
"""


def lines(config: dict[str, Any], stack: str | None = None, **more: Any) -> list[str]:
    return advice(StorageConfig.model_validate({**config, **more}), stack)


@pytest.mark.parametrize("env", ["production", "PROD", "staging", "qa"])
def test_local_outside_dev_is_advised_against_with_both_ways_out(env: str) -> None:
    (line,) = lines(LOCAL, env=env)
    assert line.startswith("files: files of the driver local are on one machine")
    assert "use a bucket in" in line
    assert "set `shared: true`" in line
    assert lines(LOCAL, stack=env) == [line]


@pytest.mark.parametrize("env", [None, "dev", "Development", "test", "local", "ci", "emulated"])
def test_local_in_dev_is_fine(env: str | None) -> None:
    assert lines(LOCAL, env=env) == []


def test_local_on_a_declared_shared_volume_is_fine() -> None:
    assert lines(SHARED, env="production") == []


def test_a_store_of_one_machine_is_advised_against_outside_dev() -> None:
    kv = [{"name": "flags"}, {"name": "jobs", "driver": "local"}, redis("sessions")]
    found = lines({"default_driver": "memory"}, env="prod", kv=kv)
    assert [line.partition(":")[0] for line in found] == ["kv flags", "kv jobs"]
    assert all("use the driver redis in prod" in line for line in found)
    assert lines({"default_driver": "memory"}, env="dev", kv=kv) == []


def redis(name: str) -> dict[str, Any]:
    return {"name": name, "driver": "redis", "redis": {"url": "redis://127.0.0.1"}}


@pytest.mark.parametrize("secret", sorted(PLACEHOLDERS | {"CHANGE-ME"}))
def test_a_placeholder_is_no_credential(secret: str) -> None:
    backend = {"name": "avatars", "driver": "s3", "s3": S3 | {"access_key": "AKIA", "secret_key": secret}}
    assert lines({"backends": [backend]}) == [
        "avatars: secret_key is a placeholder, not a credential: set the real one by ${NAME}"
    ]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"url": "redis://app:ChangeMe@cache/0"}, "kv sessions: url has a placeholder for a password"),
        ({"url": "rediss://cache", "password": "secret"}, "kv sessions: password is a placeholder, not a credential"),
    ],
)
def test_a_placeholder_is_no_password_of_a_key_value_store(settings: dict[str, str], found: str) -> None:
    kv = [{"name": "sessions", "driver": "redis", "redis": settings}]
    assert lines({"default_driver": "memory"}, kv=kv) == [f"{found}: set the real one by ${{NAME}}"]
    kv = [{"name": "sessions", "driver": "redis", "redis": {"url": "rediss://app:7f83jdk@cache", "password": "x7f83j"}}]
    assert lines({"default_driver": "memory"}, kv=kv) == []


def test_loading_warns_of_a_literal_secret_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "storage.yaml").write_text(FILE.format(env="dev", secret="hunter2hunter2"))
    with pytest.warns(StorageWarning) as caught:
        load_config(directory=tmp_path, environ={})
    assert [str(warning.message) for warning in caught] == [
        f"storage.backends.avatars.s3.{key} is a literal secret: write ${{NAME}} or ${{file:PATH}} instead"
        for key in ("access_key", "secret_key")
    ]


def test_loading_warns_of_a_placeholder_that_a_reference_gave(tmp_path: Path) -> None:
    text = FILE.format(env="dev", secret='"${SECRET}"').replace("AKIA", '"${ID}"')
    (tmp_path / "storage.yaml").write_text(text)
    with pytest.warns(StorageWarning, match="avatars: secret_key is a placeholder"):
        load_config(directory=tmp_path, environ={"SECRET": "changeme", "ID": "x"})


def test_loading_warns_of_local_in_production() -> None:
    with pytest.warns(StorageWarning, match="files: files of the driver local are on one machine"):
        load_config(LOCAL, environ={"LEX_STORAGE__ENV": "production"})


def test_loading_warns_of_nothing_in_a_sound_config(tmp_path: Path) -> None:
    text = FILE.format(env="production", secret='"${SECRET}"').replace("AKIA", '"${ID}"')
    (tmp_path / "storage.yaml").write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_config(directory=tmp_path, environ={"SECRET": "x7f83jd", "ID": "x"})
        load_config({"backends": [{"name": "a", "driver": "s3", "s3": S3 | {"access_key": "a", "secret_key": "b"}}]})
        load_config(SHARED | {"env": "production"}, environ={})
