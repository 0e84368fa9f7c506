"""Carriers over HTTP: MiniStack's Parameter Store and Secrets Manager, and servers of ours for Google and Azure."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest
import yaml
from typer.testing import CliRunner

from runtime.carriers import Carriers, put
from runtime.cli.app import build_app
from runtime.errors import ConfigError, StorageError
from runtime.loading import load_config, read_config
from runtime.testing.secret_managers import SecretManagers
from runtime.testing.serving import serving
from runtime.testing.tokens import TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

HIDDEN = "hunter2-never-shown"


@dataclass
class Place:
    """One carrier at work: its scheme, and how a name of it looks."""

    scheme: str
    prefix: str
    managers: SecretManagers | None = None

    def name(self, word: str = "") -> str:
        return f"{self.scheme}:{self.prefix}{word or 't' + token_hex(6)}"


@pytest.fixture
def aws(server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    ministack = server("ministack")
    settings = {
        "AWS_ENDPOINT_URL": ministack.url,
        "AWS_ACCESS_KEY_ID": ministack.access_key,
        "AWS_SECRET_ACCESS_KEY": ministack.secret_key,
        "AWS_DEFAULT_REGION": ministack.region,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    app = TokenServer()
    with serving(app) as app.url:
        yield app


@pytest.fixture
def google(tokens: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    key = tmp_path / "key.json"
    key.write_text(json.dumps(tokens.service_account_key()))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    managers = SecretManagers(tokens.knows)
    with serving(managers) as url:
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", f"{url}/")
        yield Place("gcp-sm", "projects/shop/secrets/", managers)


@pytest.fixture
def azure(tokens: TokenServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tokens.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", tokens.secret)
    managers = SecretManagers(tokens.knows)
    with serving(managers) as url:
        yield Place("azure-kv", f"{url}/", managers)


@pytest.fixture(params=["ssm", "aws-sm", "gcp-sm", "azure-kv"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each carrier in turn."""
    scheme: str = request.param
    if scheme in {"gcp-sm", "azure-kv"}:
        found: Place = request.getfixturevalue({"gcp-sm": "google", "azure-kv": "azure"}[scheme])
        return found
    request.getfixturevalue("aws")
    return Place(scheme, "/shop/" if scheme == "ssm" else "shop/")


def contract(secret: str) -> str:
    media = {"bucket": "media", "endpoint_url": "https://r2.example.com", "access_key": secret, "secret_key": secret}
    backends = [{"name": "media", "driver": "r2", "r2": media}]
    return json.dumps({"version": 1, "storage": {"default_driver": "r2", "backends": backends}})


def test_a_carrier_gives_back_what_it_was_given_and_then_the_newer(place: Place) -> None:
    name = place.name()
    put(name, "first")
    assert Carriers().get(name) == "first"
    put(name, "é\n")
    assert Carriers().get(name) == "é\n"


def test_a_config_is_opened_out_of_a_carrier(place: Place, tmp_path: Path) -> None:
    name = place.name()
    put(name, contract("${MEDIA_KEY}"))
    environ = {"LEX_STORAGE_CONFIG": name, "MEDIA_KEY": HIDDEN}
    loaded = read_config(environ=environ, directory=tmp_path)
    assert loaded.source == f"{name} (LEX_STORAGE_CONFIG)"
    assert loaded.config.backend("media").settings.secret_key.get_secret_value() == HIDDEN
    put(name, yaml.safe_dump(json.loads(contract("${MEDIA_KEY}"))))
    assert read_config(name, environ=environ, directory=tmp_path).config == loaded.config


def test_references_are_resolved_and_each_secret_is_asked_for_once(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = place.name()
    put(name, json.dumps({"key": HIDDEN, "number": 7}))
    path = tmp_path / "storage.yaml"
    path.write_text(contract(f"${{{name}#key}}"))
    if place.managers:
        place.managers.asked.clear()
    with caplog.at_level("DEBUG"):
        loaded = read_config(path, environ={})
    settings = loaded.config.backend("media").settings
    assert settings.access_key.get_secret_value() == settings.secret_key.get_secret_value() == HIDDEN
    assert loaded.origins["storage.backends.media.r2.secret_key"] == f"${{{name}#key}}"
    if place.managers:
        assert len(place.managers.asked) == 1
    ours = [record for record in caplog.records if record.name.startswith("runtime")]
    assert HIDDEN not in repr((loaded, ours))


def test_a_generated_file_may_hold_such_references(place: Place, tmp_path: Path) -> None:
    name = place.name()
    put(name, HIDDEN)
    source, generated = tmp_path / "source.yaml", tmp_path / "generated.yaml"
    source.write_text(contract(f"${{{name}}}"))
    words = ["config", "export", "--config", str(source), "--to", "yaml", "--output", str(generated)]
    assert CliRunner().invoke(build_app(), words).exit_code == 0
    assert "fingerprint" in generated.read_text()
    assert load_config(generated, environ={}) == load_config(source, environ={})


def test_everything_that_can_not_be_fetched_is_told_at_once_by_reference_and_reason(
    place: Place, tmp_path: Path
) -> None:
    there, missing = place.name(), place.name("missing")
    put(there, json.dumps({"key": HIDDEN}))
    path = tmp_path / "storage.yaml"
    raw = json.loads(contract(f"${{{missing}}}"))
    raw["storage"]["backends"][0]["r2"]["secret_key"] = f"${{{there}#other}}"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    told = {problem.path: problem.message for problem in caught.value.problems}
    assert told.keys() == {"storage.backends.media.r2.access_key", "storage.backends.media.r2.secret_key"}
    assert told["storage.backends.media.r2.access_key"].startswith(f"{missing} ")
    assert told["storage.backends.media.r2.access_key"].endswith(
        ("ParameterNotFound", "ResourceNotFoundException", "does not exist")
    )
    assert told["storage.backends.media.r2.secret_key"] == f"{there}#other has no key 'other'"
    assert HIDDEN not in str(caught.value)
    put(there, HIDDEN)
    with pytest.raises(ConfigError, match="is no JSON object, so it has no keys") as caught:
        load_config(path, environ={})
    assert HIDDEN not in str(caught.value)


def test_export_keeps_a_contract_in_a_carrier(place: Place, tmp_path: Path) -> None:
    path, name = tmp_path / "storage.yaml", place.name()
    path.write_text(contract("${MEDIA_KEY}"))
    words = ["config", "export", "--config", str(path), "--to", place.scheme, "--output", name]
    found = CliRunner().invoke(build_app(), words)
    assert (found.exit_code, found.stdout) == (0, f"LEX_STORAGE_CONFIG={name}\n"), found.stderr
    environ = {"MEDIA_KEY": HIDDEN}
    assert load_config(name, environ=environ) == load_config(path, environ=environ)


@pytest.mark.parametrize("name", ["google", "azure"])
def test_what_may_not_be_read_is_said_to_be_that(name: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(name)
    assert place.managers
    place.managers.forbidden.add("closed")
    with pytest.raises(ConfigError, match="may not be read with this identity"):
        load_config(place.name("closed"), environ={})
    with pytest.raises(StorageError, match="may not be read with this identity"):
        put(place.name("closed"), "text")


def test_a_certain_version_is_read(google: Place, azure: Place) -> None:
    for place, version in ((google, "/versions/1"), (azure, "/1")):
        name = place.name()
        put(name, "old")
        put(name, "new")
        assert Carriers().get(name + version) == "old"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("gcp-sm:shop/media", "is no secret's name; allowed: projects/"),
        ("azure-kv:media", "is no secret's name; allowed: <vault>/<secret>"),
    ],
)
def test_a_wrong_name_is_told_without_asking_anybody(source: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_config(source, environ={})


def test_no_token_goes_out_without_tls(azure: Place) -> None:
    with pytest.raises(ConfigError, match="a token goes over https only"):
        load_config("azure-kv:http://vault.example.com/media", environ={})
    assert azure.managers
    assert azure.managers.asked == []


@pytest.mark.usefixtures("aws")
def test_nobody_who_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"ssm:/shop can not be asked for: EndpointConnectionError"):
        load_config("ssm:/shop", environ={})


def test_no_sdk_is_imported_for_a_config_without_carriers(tmp_path: Path) -> None:
    (tmp_path / "storage.yaml").write_text("backends: [{name: a, driver: memory}]")
    code = (
        "import sys; from runtime.loading import load_config; load_config();"
        "print([name for name in ('boto3', 'requests', 'google.auth', 'azure.identity') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
