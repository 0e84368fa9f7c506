from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from pydantic import SecretStr, ValidationError

from runtime.config import (
    DRIVERS,
    SECRET_KEYS,
    EncryptionConfig,
    NamedStorageConfig,
    StorageAzureConfig,
    StorageConfig,
    StorageDocument,
    StorageLocalConfig,
    StorageMemoryConfig,
    StorageS3Config,
    fingerprint,
    is_secret,
    json_schema,
    literal_secrets,
    registered_drivers,
)
from runtime.errors import ConfigError, UnknownBackendError
from runtime.loading import load_config

if TYPE_CHECKING:
    from pathlib import Path

S3 = {"bucket": "my-bucket", "region": "eu-west-1"}
KEYS = {"access_key": "${ID}", "secret_key": "${file:../secrets/key}"}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed distribution that registers the driver ``toy``."""
    info = tmp_path / "toy_driver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-driver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lexigram.storage.backends]\ntoy = toy_driver:ToyDriver\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "toy"


def document(*backends: dict[str, Any], **storage: Any) -> StorageDocument:
    content = {"project": "shop", "stack": "dev", "storage": {**storage, "backends": list(backends)}}
    return StorageDocument.model_validate(content)


def test_drivers_are_the_fields_of_a_backend() -> None:
    assert list(DRIVERS) == ["local", "s3", "gcs", "azure", "r2", "memory"]
    assert DRIVERS["azure"] is StorageAzureConfig


def test_secret_keys_are_those_that_are_typed_secret() -> None:
    typed = {
        name
        for model in DRIVERS.values()
        for name, field in model.model_fields.items()
        if SecretStr in {field.annotation, *getattr(field.annotation, "__args__", ())} or "SecretStr" in str(field)
    }
    assert typed == SECRET_KEYS == {"access_key", "secret_key", "account_key", "sas_token"}


@pytest.mark.parametrize("key", ["password", "api_key", "AUTH_TOKEN", "client_secret", "key", "credentials"])
def test_keys_that_look_secret_are(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["kms_key_id", "keyspace", "bucket", "credentials_path", "tokens_per_second"])
def test_keys_that_only_sound_like_it_are_not(key: str) -> None:
    assert not is_secret(key)


def test_models_work_when_built_in_code() -> None:
    # as the seed's guide does it
    config = StorageS3Config(
        bucket="myapp-secure", region="us-east-1", encryption=EncryptionConfig(enabled=True, type="AES256")
    )

    assert StorageConfig(default_driver="s3", drivers={"s3": config}).named_backends() == (
        NamedStorageConfig(name="default", driver="s3", primary=True, s3=config),
    )


def test_without_backends_there_is_one_called_default() -> None:
    (backend,) = StorageConfig().named_backends()

    assert (backend.name, backend.driver, backend.primary) == ("default", "local", True)
    assert backend.local == StorageLocalConfig()


def test_backend_without_settings_takes_those_of_its_driver_then_the_defaults() -> None:
    config = StorageConfig.model_validate(
        {
            "drivers": {"s3": S3},
            "backends": [
                {"name": "own", "driver": "s3", "s3": S3 | {"bucket": "own-bucket"}},
                {"name": "shared", "driver": "s3"},
                {"name": "scratch", "driver": "memory"},
            ],
        }
    )

    own, shared, scratch = config.named_backends()

    assert (own.settings.bucket, shared.settings.bucket) == ("own-bucket", "my-bucket")
    assert scratch.settings == StorageMemoryConfig()


def test_settings_of_a_backend_alone_are_its_own_or_the_defaults() -> None:
    assert NamedStorageConfig(name="a", driver="memory").settings == StorageMemoryConfig()
    with pytest.raises(ConfigError, match="driver 's3' needs bucket, region"):
        _ = NamedStorageConfig(name="a", driver="s3").settings


def test_primary_is_the_marked_backend_else_the_first() -> None:
    first, second = {"name": "a", "driver": "memory"}, {"name": "b", "driver": "memory"}

    assert StorageConfig.model_validate({"backends": [first, second]}).primary.name == "a"
    assert StorageConfig.model_validate({"backends": [first, second | {"primary": True}]}).primary.name == "b"


def test_unknown_backend_lists_the_names() -> None:
    config = document({"name": "avatars", "driver": "memory"}, {"name": "exports", "driver": "memory"}).storage

    with pytest.raises(UnknownBackendError) as caught:
        config.backend("avatar")

    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == (
        "no backend is called 'avatar' (did you mean 'avatars'?) (there are: avatars, exports)"
    )


def test_document_has_what_was_set_in_a_fixed_order() -> None:
    text = document({"s3": KEYS | S3, "primary": True, "driver": "s3", "name": "avatars"}).to_yaml()

    assert text.splitlines()[0] == "# generated from stack dev — do not edit"
    assert "\n".join(line for line in text.splitlines()[1:] if "fingerprint" not in line) == (
        "version: 1\nproject: shop\nstack: dev\nstorage:\n  backends:\n  - name: avatars\n    driver: s3\n"
        "    primary: true\n    s3:\n      bucket: my-bucket\n      region: eu-west-1\n"
        "      access_key: ${ID}\n      secret_key: ${file:../secrets/key}"
    )


def test_document_gives_the_same_bytes_however_it_was_written() -> None:
    one = document({"name": "a", "driver": "s3", "s3": S3 | KEYS})
    other = document({"s3": dict(reversed((S3 | KEYS).items())), "driver": "s3", "name": "a"})

    assert one.to_yaml() == other.to_yaml()


def test_document_reads_back_as_it_was_with_a_fitting_fingerprint() -> None:
    written = document({"name": "a", "driver": "s3", "s3": S3 | KEYS}, health_check_timeout=2.5)

    content = yaml.safe_load(written.to_yaml())

    assert content == json.loads(json.dumps(content)), "only what JSON can hold"
    assert content["fingerprint"] == fingerprint(content)
    assert StorageDocument.model_validate(content).storage == written.storage


def test_fingerprint_is_of_the_content_only() -> None:
    content = {"version": 1, "storage": {"name": "ü", "enabled": True}}

    assert fingerprint(content) == fingerprint(
        {"fingerprint": "x", "storage": {"enabled": True, "name": "ü"}, "version": 1}
    )
    assert fingerprint(content) != fingerprint(content | {"version": 2})


def test_text_that_looks_like_something_else_stays_text() -> None:
    tricky = ["no", "1e3", "2026-01-01", "~", "0x10", "a: b", "# c", "'", "é\u2028"]
    grants = [{"to": to, "access": ["read"]} for to in tricky]
    written = document({"name": "a", "driver": "memory", "expect": {"grants": grants}})

    backend = load_config(yaml.safe_load(written.to_yaml()), environ={}).backends[0]

    assert backend.expect is not None
    assert [grant.to for grant in backend.expect.grants] == tricky


def test_literal_secret_is_never_written() -> None:
    secret = {"access_key": "AKIA", "secret_key": "hunter2"}

    with pytest.raises(ConfigError) as caught:
        document({"name": "a", "driver": "s3", "s3": S3 | secret}).to_yaml()

    assert [problem.path for problem in caught.value.problems] == [
        "storage.backends.a.s3.access_key",
        "storage.backends.a.s3.secret_key",
    ]
    assert "hunter2" not in str(caught.value)


def test_literal_secrets_are_found_wherever_they_stand() -> None:
    raw = {
        "storage": {
            "drivers": {"azure": {"account_key": "x"}},
            "backends": [
                {"name": "ok", "r2": {"access_key": "${A}", "secret_key": "${file:a b}"}},
                {"name": "partly", "r2": {"access_key": "x${A}", "secret_key": 5}},
                {"name": "toy", "toy": {"password": "x", "nested": [{"api_key": "x", "limit": 5}]}},
            ],
        }
    }

    assert [problem.path for problem in literal_secrets(raw)] == [
        "storage.drivers.azure.account_key",
        "storage.backends.partly.r2.access_key",
        "storage.backends.partly.r2.secret_key",
        "storage.backends.toy.toy.password",
        "storage.backends.toy.toy.nested[0].api_key",
    ]


def test_no_repr_and_no_dump_shows_a_secret() -> None:
    config = document({"name": "a", "driver": "s3", "s3": S3 | {"access_key": "hunter2", "secret_key": "hunter2"}})

    assert "hunter2" not in repr(config) + str(config) + config.model_dump_json()


def test_driver_from_elsewhere_is_read_and_written_under_its_own_name(toy: str) -> None:
    backend = {"name": "a", "driver": toy, toy: {"size": 3, "password": "${PASSWORD}"}}
    written = document(backend, drivers={toy: {"size": 1}})

    assert registered_drivers() == [*DRIVERS, toy]
    assert yaml.safe_load(written.to_yaml())["storage"]["backends"] == [backend]
    loaded = load_config(written.to_dict(), environ={"PASSWORD": "x"})
    assert loaded.backend("a").settings == {"size": 3, "password": "x"}


def test_driver_from_elsewhere_takes_the_settings_of_its_driver(toy: str) -> None:
    config = document({"name": "a", "driver": toy}, drivers={toy: {"size": 1}}).storage

    assert config.backend("a").settings == {"size": 1}
    assert StorageConfig(default_driver=toy).named_backends()[0].settings == {}


def test_settings_of_a_plugin_that_is_not_the_driver_are_refused(toy: str) -> None:
    with pytest.raises(ValidationError, match="toy"):
        NamedStorageConfig.model_validate({"name": "a", "driver": "memory", toy: {}})
    with pytest.raises(ValidationError, match="never used"):
        NamedStorageConfig.model_validate({"name": "a", "driver": "memory", "plugin": {}})


def test_schema_accepts_what_we_write_and_refuses_a_typo() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    good = document({"name": "a", "driver": "s3", "s3": S3 | KEYS}).to_dict()
    bad = document({"name": "a", "driver": "s3", "s3": S3 | KEYS}).to_dict() | {"stak": "dev"}

    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError, match="stak"):
        jsonschema.validate(bad, schema)


def test_schema_describes_every_key() -> None:
    schema = json_schema()
    models = [schema, *schema["$defs"].values()]

    silent = [
        f"{model['title']}.{name}"
        for model in models
        for name, field in model.get("properties", {}).items()
        if not field.get("description")
    ]

    assert silent == []
    assert (
        schema["$defs"]["TransferConfig"]["properties"]["concurrency"]["description"]
        == "Parts of one object in flight."
    )


@pytest.mark.parametrize(
    ("part_size", "accepted"),
    [("1", True), ("1KiB", True), ("5GiB", True), ("0", False), ("6GiB", False), ("-1", False), ("much", False)],
)
def test_part_size_has_a_range(part_size: str, accepted: bool) -> None:
    backend = {"name": "a", "driver": "memory", "transfer": {"part_size": part_size}}
    if accepted:
        NamedStorageConfig.model_validate(backend)
    else:
        with pytest.raises(ValidationError):
            NamedStorageConfig.model_validate(backend)


@pytest.mark.parametrize("mime_type", ["image", "image/", "a b/c", ""])
def test_mime_types_have_a_shape(mime_type: str) -> None:
    with pytest.raises(ValidationError):
        StorageConfig.model_validate({"service": {"allowed_mime_types": [mime_type]}})


def test_key_id_without_a_customers_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="uses keys of the service"):
        EncryptionConfig(kms_key_id="arn:aws:kms:eu-west-1:1:key/x")


def test_one_azure_credential_is_enough() -> None:
    with pytest.raises(ValidationError, match="one of them is enough"):
        StorageAzureConfig.model_validate(
            {"account_name": "acc", "container": "con", "account_key": "x", "sas_token": "y"}
        )
