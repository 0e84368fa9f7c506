from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runtime.config import NamedStorageConfig, StorageConfig
from runtime.errors import ConfigError
from runtime.loading import load_config, read_config

if TYPE_CHECKING:
    from pathlib import Path

S3 = {"bucket": "my-bucket", "region": "eu-west-1"}


def load(storage: dict[str, Any], **environ: str) -> StorageConfig:
    return load_config({"version": 1, "storage": storage}, environ={f"LEX_STORAGE__{k}": v for k, v in environ.items()})


def refused(storage: dict[str, Any], **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(storage, **environ)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def test_every_kind_of_value_can_be_set() -> None:
    config = load(
        {},
        ENABLED="false",
        NAME="other",
        HEALTH_CHECK_TIMEOUT="2.5",
        SERVICE__MAX_FILE_SIZE_MB="7",
        SERVICE__ALLOWED_MIME_TYPES='["image/*"]',
        DRIVERS__LOCAL='{"root_dir": "/data"}',
    )

    assert (config.enabled, config.name, config.health_check_timeout) == (False, "other", 2.5)
    assert (config.service.max_file_size_mb, config.service.allowed_mime_types) == (7, ("image/*",))
    assert config.primary.settings.root_dir == "/data"


def test_default_driver_is_set_as_the_seed_documents_it() -> None:
    config = load({}, DEFAULT_DRIVER="s3", DRIVERS__S3__BUCKET="my-bucket", DRIVERS__S3__REGION="eu-west-1")

    assert config.primary.driver == "s3"
    assert config.primary.settings.bucket == "my-bucket"


def test_backends_are_addressed_by_name() -> None:
    backends = [{"name": "avatars", "driver": "s3", "s3": S3}, {"name": "user-files", "driver": "memory"}]

    config = load(
        {"backends": backends},
        BACKENDS__AVATARS__S3__ENDPOINT_URL="http://127.0.0.1:9000",
        BACKENDS__AVATARS__S3__ENCRYPTION__ENABLED="true",
        BACKENDS__USER_FILES__TRANSFER__PART_SIZE="1MiB",
    )

    avatars = config.backend("avatars").settings
    assert (avatars.endpoint_url, avatars.encryption.enabled, avatars.bucket) == (
        "http://127.0.0.1:9000",
        True,
        "my-bucket",
    )
    assert config.backend("user-files").transfer.part_size == 1024 * 1024


def test_text_stays_text_whatever_it_looks_like() -> None:
    backends = [{"name": "a", "driver": "s3", "s3": S3}]

    config = load({"backends": backends}, BACKENDS__A__S3__ACCESS_KEY="007", BACKENDS__A__S3__SECRET_KEY="true")

    assert config.backend("a").settings.access_key.get_secret_value() == "007"
    assert config.backend("a").settings.secret_key.get_secret_value() == "true"


def test_an_application_can_start_from_variables_alone(tmp_path: Path) -> None:
    environ = {
        "LEX_STORAGE__BACKENDS__MEDIA__DRIVER": "s3",
        "LEX_STORAGE__BACKENDS__MEDIA__S3__BUCKET": "my-bucket",
        "LEX_STORAGE__BACKENDS__MEDIA__S3__REGION": "eu-west-1",
        "LEX_STORAGE__BACKENDS__MEDIA__PRIMARY": "true",
        "LEX_STORAGE__BACKENDS__CACHE_2": '{"driver": "memory"}',
    }

    loaded = read_config(environ=environ, directory=tmp_path)

    assert loaded.source == "LEX_STORAGE__… variables"
    assert [backend.name for backend in loaded.config.backends] == ["cache_2", "media"]
    assert loaded.config.primary.settings.bucket == "my-bucket"


def test_setting_the_driver_drops_the_settings_of_the_other_one() -> None:
    backends = [{"name": "a", "driver": "s3", "s3": S3}]

    config = load({"backends": backends}, BACKENDS__A__DRIVER="local", BACKENDS__A__LOCAL__ROOT_DIR="/x")

    assert config.backend("a").settings.root_dir == "/x"
    assert config.backend("a").s3 is None


def test_whole_blocks_come_before_single_keys() -> None:
    config = load(
        {},
        BACKENDS='[{"name": "a", "driver": "memory"}]',
        BACKENDS__A__TRANSFER__CONCURRENCY="9",
        BACKENDS__A__TRANSFER='{"concurrency": 2, "part_size": "1MiB"}',
    )

    assert (config.backend("a").transfer.concurrency, config.backend("a").transfer.part_size) == (9, 1024 * 1024)


def test_empty_value_takes_the_key_away() -> None:
    backends = [{"name": "a", "driver": "s3", "s3": S3 | {"public_url": "https://cdn.example.com"}}]

    assert load({"backends": backends}, BACKENDS__A__S3__PUBLIC_URL="").backend("a").settings.public_url is None
    assert refused({"backends": backends}, BACKENDS__A__S3__BUCKET="") == [
        "storage.backends.a.s3.bucket: is required (set by LEX_STORAGE__BACKENDS__A__S3__BUCKET)"
    ]


def test_references_work_in_variables(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    environ = {
        "LEX_STORAGE__BACKENDS__A__DRIVER": "s3",
        "LEX_STORAGE__BACKENDS__A__S3": '{"bucket": "abc", "region": "x", "access_key": "${ID}"}',
        "LEX_STORAGE__BACKENDS__A__S3__SECRET_KEY": "${file:key}",
        "ID": "from a variable",
    }

    settings = load_config(environ=environ, directory=tmp_path).backend("a").settings

    assert settings.access_key.get_secret_value() == "from a variable"
    assert settings.secret_key.get_secret_value() == "from a file"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DEFAULT_DRIVR", "s3", "unknown key 'default_drivr' (did you mean 'default_driver'?)"),
        ("", "x", "unknown key ''"),
        ("NAME__X", "x", "'name' has no keys below it"),
        ("BACKENDS__A__EXPECT__CORS__0", "x", "'cors' is a list: set all of it, as JSON"),
        ("BACKENDS__A__NAME", "x", "unknown key 'name'"),
        ("BACKENDS__A__PLUGIN__X", "x", "unknown key 'plugin'"),
        ("BACKENDS__NEW__PRIMARY", "true", "no backend is called 'new'; to add one, set its driver too"),
        ("BACKENDS__A", "memory", "sets a whole backend, so it must be a JSON mapping"),
        ("DRIVERS__GCSS__BUCKET", "x", "unknown driver 'gcss' (did you mean 'gcs'?)"),
        ("SERVICE", "{nope", "is not valid JSON"),
    ],
)
def test_what_addresses_nothing_is_refused_by_the_variables_name(variable: str, value: str, message: str) -> None:
    (problem,) = refused({"backends": [{"name": "a", "driver": "memory"}]}, **{variable: value})

    assert problem.startswith(f"LEX_STORAGE__{variable}: ")
    assert message in problem


@pytest.mark.parametrize("storage", [{"backends": 5}, {"drivers": 5}, {"service": 5}, {"drivers": {"s3": 5}}])
def test_wrong_document_below_an_override_is_reported_as_such(storage: dict[str, Any]) -> None:
    problems = refused(
        storage, BACKENDS__A__DRIVER="memory", DRIVERS__S3__BUCKET="my-bucket", SERVICE__MAX_FILE_SIZE_MB="1"
    )

    key = next(iter(storage))
    assert any(problem.startswith(f"storage.{key}") for problem in problems), problems


def test_an_override_does_not_change_what_was_given() -> None:
    given = {"backends": [{"name": "a", "driver": "memory"}]}

    load_config(given, environ={"LEX_STORAGE__BACKENDS__A__DRIVER": "local"})

    assert given == {"backends": [{"name": "a", "driver": "memory"}]}


def test_models_inside_a_mapping_can_be_overridden_too() -> None:
    given = {"backends": [NamedStorageConfig(name="a", driver="memory")]}

    config = load_config(given, environ={"LEX_STORAGE__BACKENDS__A__TRANSFER__CONCURRENCY": "2"})

    assert config.backend("a").transfer.concurrency == 2
