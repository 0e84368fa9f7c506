"""The outside proof of the contract: what the published lexigram-storage understands of our files, and we of its.

Nothing of it is in our own environment: `lexigram_side.py` is run where it is installed. What does *not* hold is said
here too, each in a test of its own, so that it can not change without being seen:

* an Azure backend without an account key is not read there: its `StorageAzureConfig` requires one;
* ``${file:PATH}`` is no reference there but a variable called ``file`` with the default PATH.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from infra.emit import document, write
from infra.endpoints import VERSION, key_file, state_directory
from infra.provision import plan
from infra.spec import load_spec
from infra.stack import Stack, stack_names
from runtime import config as ours
from runtime.config import DRIVERS, NamedStorageConfig, StorageConfig, StorageDocument
from runtime.loading import load_config

if TYPE_CHECKING:
    from tests.interop.conftest import Lexigram

ROOT = Path(__file__).parents[2]

SECRETS = {"MEDIA_ACCESS_KEY": "media-id", "MEDIA_SECRET_KEY": "media-secret", "REPORTS_KEY": "cmVwb3J0cw=="}

CONTRACT: dict[str, Any] = {
    "default_driver": "s3",
    "health_check_timeout": 2.5,
    "service": {"max_file_size_mb": 512, "allowed_mime_types": ["image/*", "text/plain"]},
    "backends": [
        {
            "name": "avatars",
            "driver": "s3",
            "primary": True,
            "s3": {
                "bucket": "tandem-avatars",
                "region": "eu-west-1",
                "endpoint_url": "https://s3.example.com",
                "public_url": "https://cdn.example.com",
                "encryption": {"enabled": True, "type": "aws:kms", "kms_key_id": "arn:aws:kms:eu-west-1:1:key/k"},
            },
            "transfer": {"part_size": 16 * 1024 * 1024, "concurrency": 8},
            "expect": {"versioning": True, "cors": [{"origins": ["https://a.example.com"], "methods": ["GET"]}]},
        },
        {
            "name": "exports",
            "driver": "gcs",
            "gcs": {
                "bucket": "tandem-exports",
                "project_id": "example-prod",
                "signer_email": "app@example-prod.iam.gserviceaccount.com",
                "encryption": {"enabled": True, "type": "gcs:cmek", "kms_key_id": "projects/p/cryptoKeys/k"},
            },
        },
        {
            "name": "reports",
            "driver": "azure",
            "azure": {
                "account_name": "tandemreports",
                "account_key": "${REPORTS_KEY}",
                "container": "reports",
                "encryption": {"enabled": True, "type": "azure:cmk", "kms_key_id": "https://v.vault.azure.net/keys/k"},
            },
        },
        {
            "name": "media",
            "driver": "r2",
            "r2": {
                "bucket": "tandem-media",
                "access_key": "${MEDIA_ACCESS_KEY}",
                "secret_key": "${MEDIA_SECRET_KEY}",
                "endpoint_url": "https://a.eu.r2.cloudflarestorage.com",
                "public_url": "https://media.example.com",
            },
        },
        {"name": "uploads", "driver": "local", "local": {"root_dir": "./storage/uploads"}},
        {"name": "cache", "driver": "memory"},
    ],
}

WRITTEN_FOR_LEXIGRAM = """
storage:
  name: media
  enabled: true
  env: development
  default_driver: r2
  health_check_timeout: 3.5
  drivers:
    local: {root_dir: ./files, base_url: "http://localhost:9000/files"}
    s3:
      bucket: all-of-it
      region: us-east-1
      access_key: "${MEDIA_ACCESS_KEY}"
      secret_key: "${MEDIA_SECRET_KEY}"
      endpoint_url: "https://s3.example.com"
      public_url: "https://cdn.example.com"
      encryption: {enabled: true, type: AES256}
    gcs: {bucket: all-of-it, project_id: project, credentials_path: /etc/key.json}
    azure: {account_name: account, account_key: "${REPORTS_KEY}", container: all-of-it}
    r2:
      bucket: all-of-it
      access_key: "${MEDIA_ACCESS_KEY}"
      secret_key: "${MEDIA_SECRET_KEY}"
      endpoint_url: "https://a.r2.cloudflarestorage.com"
      region: weur
  service: {max_file_size_mb: 20, allowed_mime_types: [image/png, "*/*"]}
  backends:
    - {name: avatars, driver: s3, s3: {bucket: myapp-avatars, region: us-east-1}}
    - name: exports
      driver: s3
      primary: true
      s3:
        bucket: myapp-exports
        region: us-east-1
        encryption: {enabled: true, type: "aws:kms", kms_key_id: "arn:aws:kms:us-east-1:1:key/k"}
    - {name: table, driver: gcs, gcs: {bucket: myapp-table, project_id: project}}
    - {name: disk, driver: local, local: {root_dir: ./disk}}
    - {name: quick, driver: memory, memory: {}}
"""


def understood(config: StorageConfig, like: dict[str, Any]) -> Any:
    """Our reading, as far as *like* goes: the keys that lexigram-storage knows."""
    return _shaped(_plain(config), like)


def _plain(value: Any) -> Any:
    if isinstance(value, ours.Model):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shaped(value: Any, like: Any) -> Any:
    if isinstance(like, dict) and isinstance(value, dict):
        return {key: _shaped(value[key], like[key]) for key in like if key in value}
    if isinstance(like, list) and isinstance(value, list) and len(like) == len(value):
        return [_shaped(one, other) for one, other in zip(value, like, strict=True)]
    return value


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A generated file with all six drivers and every key that both sides know."""
    text = StorageDocument(project="tandem", stack="dev", storage=StorageConfig.model_validate(CONTRACT)).to_yaml()
    path = tmp_path / "storage.dev.yaml"
    path.write_text(text)
    assert {backend.driver for backend in StorageConfig.model_validate(CONTRACT).backends} == set(DRIVERS)
    return path


def test_a_generated_file_with_all_six_drivers_means_the_same_there(contract: Path, lexigram: Lexigram) -> None:
    theirs = lexigram("load", str(contract), **SECRETS)
    assert understood(load_config(contract, environ=SECRETS), theirs) == theirs
    assert [backend["name"] for backend in theirs["backends"]] == [b["name"] for b in CONTRACT["backends"]]
    media = next(backend for backend in theirs["backends"] if backend["name"] == "media")
    assert (media["r2"]["access_key"], media["r2"]["secret_key"]) == ("media-id", "media-secret")


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_the_contract_of_an_example_stack_is_read_there(name: str, tmp_path: Path, lexigram: Lexigram) -> None:
    """Every stack without a keyless Azure backend, and every other backend of those that have one."""
    path = rendered(name, tmp_path)
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", path.read_text()), "a secret")
    content = yaml.safe_load(path.read_text())
    backends = content["storage"]["backends"]
    keyless = [b["name"] for b in backends if b["driver"] == "azure" and "account_key" not in b["azure"]]
    assert bool(keyless) is (name == "prod"), "only emulators have an account key"
    if keyless:
        assert lexigram("load", str(path), **secrets) == {"refused": [["account_key", "Field required"]]}
        content["storage"]["backends"] = [b for b in backends if b["name"] not in keyless]
        path.write_text(yaml.safe_dump(content))
    theirs = lexigram("load", str(path), **secrets)
    assert [b["name"] for b in theirs["backends"]] == [b["name"] for b in backends if b["name"] not in keyless]
    for backend in theirs["backends"]:
        mine = next(b for b in backends if b["name"] == backend["name"])
        settings = backend[backend["driver"]] or {}
        same = {key: value for key, value in mine.get(mine["driver"], {}).items() if not str(value).startswith("${")}
        assert _shaped(settings, same) == {key: value for key, value in same.items() if key in settings}


def test_a_keyless_azure_backend_is_refused_there_and_read_here(tmp_path: Path, lexigram: Lexigram) -> None:
    storage = {"backends": [{"name": "r", "driver": "azure", "azure": {"account_name": "acct", "container": "con"}}]}
    path = tmp_path / "storage.yaml"
    path.write_text(StorageDocument(storage=StorageConfig.model_validate(storage)).to_yaml())
    assert load_config(path).backends[0].settings.account_key is None
    assert lexigram("load", str(path)) == {"refused": [["account_key", "Field required"]]}


def test_a_file_reference_is_read_here_only(tmp_path: Path, lexigram: Lexigram) -> None:
    (tmp_path / "key").write_text("the-secret\n")
    keys = {"access_key": "${MEDIA_ACCESS_KEY}", "secret_key": "${file:key}"}
    r2 = {"bucket": "media", "endpoint_url": "https://a.r2.cloudflarestorage.com", **keys}
    path = tmp_path / "storage.yaml"
    path.write_text(yaml.safe_dump({"storage": {"backends": [{"name": "m", "driver": "r2", "r2": r2}]}}))
    mine = load_config(path, environ=SECRETS).backends[0].settings
    assert mine.secret_key.get_secret_value() == "the-secret"
    theirs = lexigram("load", str(path), **SECRETS)["backends"][0]["r2"]
    assert (theirs["access_key"], theirs["secret_key"]) == ("media-id", "key"), "its ${name:default} is another thing"


def test_a_file_written_for_lexigram_is_read_here_and_means_the_same(tmp_path: Path, lexigram: Lexigram) -> None:
    path = tmp_path / "application.yaml"
    path.write_text(WRITTEN_FOR_LEXIGRAM)
    theirs = lexigram("load", str(path), **SECRETS)
    assert "refused" not in theirs
    # its settings by driver are a union without a tag, in which R2's are taken for S3's
    assert theirs["drivers"]["r2"].pop("encryption") == {"enabled": False, "type": "AES256", "kms_key_id": None}
    mine = load_config(path, environ=SECRETS)
    assert understood(mine, theirs) == theirs
    assert mine.primary.name == "exports"
    assert mine.env == "development"


STRICTER = {
    # a limit that nobody asked for refused text files; here nothing is limited unless it is said
    "StorageOperationConfig.max_file_size_mb": (10, None),
    "StorageOperationConfig.allowed_mime_types": (["image/jpeg", "image/png", "image/gif", "image/webp"], None),
    "StorageConfig.service": (
        {"max_file_size_mb": 10, "allowed_mime_types": ["image/jpeg", "image/png", "image/gif", "image/webp"]},
        {"max_file_size_mb": None, "allowed_mime_types": None},
    ),
}


def test_every_key_of_lexigrams_models_is_a_key_here_with_the_same_default(lexigram: Lexigram) -> None:
    different = {}
    for name, known in lexigram("fields").items():
        model = getattr(ours, name)
        assert set(known["required"]) | set(known["defaults"]) <= set(model.model_fields), name
        needed = {key for key, field in model.model_fields.items() if field.is_required()}
        assert needed == set(known["required"]) - ({"account_key"} if name == "StorageAzureConfig" else set()), name
        for key, default in known["defaults"].items():
            mine = _plain(model.model_fields[key].get_default(call_default_factory=True))
            if mine != default:
                different[f"{name}.{key}"] = (default, mine)
    assert different == STRICTER
    assert len(lexigram("fields")) == 10, "all of its models were looked at"


def rendered(name: str, directory: Path) -> Path:
    """The contract of an example stack as the program would write it, with emulators that nobody started."""
    shutil.copy(ROOT / "Pulumi.yaml", directory)
    shutil.copytree(ROOT / "stacks", directory / "stacks", ignore=shutil.ignore_patterns("storage.*"))
    stack = Stack.read(name, directory)
    if stack.emulators:
        _pretend_emulators(stack)
    spec = load_spec(stack)
    write(stack.contract, document(spec, plan(stack, spec)).to_yaml())
    return stack.contract


def _pretend_emulators(stack: Stack) -> None:
    servers: dict[str, dict[str, Any]] = {}
    for provider, server in stack.emulators.items():
        entry = {"url": "http://127.0.0.1:9", "region": "eu-west-1", "keys": True, "providers": []}
        servers.setdefault(server, entry)["providers"].append(provider)
        for kind in ("access_key", "secret_key"):
            file = key_file(stack, provider, kind)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{provider}-{kind}")
    state = {"version": VERSION, "servers": servers, "ports": {}}
    (state_directory(stack) / "emulators.json").write_text(json.dumps(state))


def test_the_named_config_of_code_is_the_same_too() -> None:
    """The seed's documentation builds its models in code; the same words work here."""
    s3 = ours.StorageS3Config(
        bucket="myapp-secure", region="us-east-1", encryption=ours.EncryptionConfig(enabled=True, type="AES256")
    )
    config = StorageConfig(backends=(NamedStorageConfig(name="secure", driver="s3", s3=s3),))
    assert config.backend("secure").settings.encryption.enabled
