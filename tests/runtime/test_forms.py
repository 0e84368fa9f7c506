"""Every form of a contract opens again as an equal contract, through the config loader and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from runtime.cli.app import build_app
from runtime.errors import ConfigError
from runtime.forms import FORMS, cosi, encode, env, kubernetes, open_contract, servicebinding
from runtime.loading import read_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.config import StorageConfig

SECRETS = {"MEDIA_ACCESS_KEY": "AK", "MEDIA_SECRET_KEY": 'it\'s $secret "and" odd', "REPORTS_SAS": "sv=1&sig=a%2Fb"}
SECRETS |= {"SESSIONS_URL": "rediss://:pass@cache.example:6379/0"}
CONTRACT: dict[str, Any] = {
    "version": 1,
    "project": "shop",
    "stack": "prod",
    "storage": {
        "default_driver": "s3",
        "service": {"max_file_size_mb": 12, "allowed_mime_types": ["image/*"]},
        "backends": [
            {
                "name": "avatars",
                "driver": "s3",
                "primary": True,
                "s3": {
                    "bucket": "shop-prod-avatars",
                    "region": "eu-west-1",
                    "public_url": "https://cdn.example.com/it's",
                    "encryption": {"enabled": True, "type": "aws:kms", "kms_key_id": "alias/shop"},
                },
                "transfer": {"part_size": 16 * 1024 * 1024, "concurrency": 8},
                "expect": {
                    "versioning": True,
                    "cors": [{"origins": ["https://app.example.com"], "methods": ["GET"], "max_age": 60}],
                    "capabilities": ["presign"],
                    "grants": [{"to": "role/app", "access": ["read", "write"]}],
                },
            },
            {
                "name": "exports",
                "driver": "gcs",
                "gcs": {"bucket": "shop-exports", "project_id": "shop-1", "signer_email": "app@shop.example"},
                "retry": {"attempts": 2},
            },
            {
                "name": "media",
                "driver": "r2",
                "r2": {
                    "bucket": "media",
                    "endpoint_url": "https://0123.eu.r2.cloudflarestorage.com",
                    "access_key": "${MEDIA_ACCESS_KEY}",
                    "secret_key": "${MEDIA_SECRET_KEY}",
                },
                "limits": {"requests": 8, "operation_timeout": 2.5},
            },
            {
                "name": "on-site",
                "driver": "s3",
                "s3": {
                    "bucket": "on-site",
                    "region": "us-east-1",
                    "endpoint_url": "https://s3.example.com",
                    "access_key": "${file:keys/access}",
                    "secret_key": "${file:keys/secret}",
                },
            },
            {
                "name": "reports",
                "driver": "azure",
                "azure": {"account_name": "shopreports", "container": "reports", "sas_token": "${REPORTS_SAS}"},
            },
            {"name": "invoices", "driver": "azure", "azure": {"account_name": "shopinvoices", "container": "all"}},
            {"name": "scratch", "driver": "memory"},
            {"name": "uploads", "driver": "local", "local": {"root_dir": "/srv/uploads", "shared": True}},
        ],
        "kv": [{"name": "sessions", "driver": "redis", "redis": {"url": "${SESSIONS_URL}"}}],
    },
}


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A generated contract, with the files that it refers to."""
    (tmp_path / "stacks/keys").mkdir(parents=True)
    (tmp_path / "stacks/keys/access").write_text("AKIA\n")
    (tmp_path / "stacks/keys/secret").write_text("hush\n")
    path = tmp_path / "stacks/storage.prod.yaml"
    path.write_text(yaml.safe_dump(CONTRACT))
    path.write_text(open_contract(path).to_yaml())
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory that nothing is relative to."""
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


@pytest.fixture
def original(contract: Path) -> StorageConfig:
    return read_config(contract, environ=SECRETS).config


def tandem(*words: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(build_app(), list(words))
    return found.exit_code, found.stdout, found.stderr


def export(contract: Path, form: str, *words: str) -> tuple[str, str]:
    code, text, told = tandem("config", "export", "--config", str(contract), "--to", form, *words)
    assert code == 0, told
    for secret in (*SECRETS.values(), "AKIA", "hush"):
        assert secret not in text
    return text, told


def opened(environ: Mapping[str, str], directory: Path) -> StorageConfig:
    loaded = read_config(environ=environ, directory=directory)
    assert loaded.notes == ()
    return loaded.config


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_file_opens_again(contract: Path, elsewhere: Path, original: StorageConfig, form: str) -> None:
    export(contract, form, "--output", str(elsewhere / f"contract.{form}"))
    assert opened({"LEX_STORAGE_CONFIG": f"contract.{form}", **SECRETS}, elsewhere) == original


def test_json_opens_again_as_the_variable_itself(contract: Path, elsewhere: Path, original: StorageConfig) -> None:
    text, _ = export(contract, "json")
    assert opened({"LEX_STORAGE_CONFIG": text, **SECRETS}, elsewhere) == original


READ = """
import json, sys
from runtime.loading import read_config
config = read_config().config
print(json.dumps([config.document(), [b.document() for b in config.named_backends()]], sort_keys=True))
"""


def test_a_env_file_opens_again_after_a_shell_has_read_it(
    contract: Path, elsewhere: Path, original: StorageConfig
) -> None:
    export(contract, "env", "--output", str(elsewhere / "app.env"))
    script = f"set -eu; set -a; . ./app.env; set +a; exec '{sys.executable}' -c '{READ}'"
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=elsewhere, env=SECRETS, capture_output=True, text=True, check=True, timeout=60
    )
    expected = [original.document(), [backend.document() for backend in original.named_backends()]]
    assert json.loads(done.stdout) == json.loads(json.dumps(expected))


def test_a_env_file_opens_again_as_a_file_and_with_its_quotes(
    contract: Path, elsewhere: Path, original: StorageConfig
) -> None:
    text, _ = export(contract, "env")
    (elsewhere / "app.env").write_text(f"OTHER=1\n{text}")
    assert opened({"LEX_STORAGE_CONFIG": "app.env", **SECRETS}, elsewhere) == original
    line = next(line for line in text.splitlines() if line.startswith(env.VARIABLE))
    kept = line.partition("=")[2]  # as `docker run --env-file` does
    assert kept.startswith("'")
    assert opened({env.VARIABLE: kept, **SECRETS}, elsewhere) == original
    assert "# it refers to MEDIA_ACCESS_KEY, MEDIA_SECRET_KEY, REPORTS_SAS, SESSIONS_URL" in text


def test_a_env_file_without_the_variable_is_an_error(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("OTHER=1\n")
    with pytest.raises(ConfigError, match="sets no LEX_STORAGE_CONFIG"):
        read_config(".env", environ={}, directory=elsewhere)


def mounted(root: Path, files: Mapping[str, str]) -> None:
    """Files as kubelet projects them: links into a directory that is replaced as a whole."""
    real = root / "..2026_11_25"
    real.mkdir(parents=True)
    (root / "..data").symlink_to(real.name)
    for name, text in files.items():
        (real / name).write_text(text)
        (root / name).symlink_to(f"..data/{name}")


def test_a_config_map_opens_again_in_the_pod_that_the_template_describes(
    contract: Path, elsewhere: Path, original: StorageConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "MOUNTED", str(tmp_path / "pod/config"))
    monkeypatch.setattr(kubernetes, "SECRETS", str(tmp_path / "pod/secrets"))
    text, _ = export(contract, "kubernetes")
    config_map, template = yaml.safe_load_all(text)
    assert [config_map["kind"], template["kind"]] == ["ConfigMap", "PodTemplate"]
    secret = {**SECRETS, "access": "AKIA\n", "secret": "hush\n"}
    assert f"# keys of the Secret storage-prod: {', '.join([*sorted(SECRETS), 'access', 'secret'])}\n" in text

    (container,) = template["template"]["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in template["template"]["spec"]["volumes"]}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        if "secret" in volume:
            assert volume["secret"]["secretName"] == "storage-prod"
            mounted(Path(mount["mountPath"]), secret)
        else:
            assert volume["configMap"]["name"] == config_map["metadata"]["name"]
            mounted(Path(mount["mountPath"]), config_map["data"])
    environ = {}
    for variable in container["env"]:
        key = variable.get("valueFrom", {}).get("secretKeyRef", {})
        environ[variable["name"]] = secret[key["key"]] if key else variable["value"]
    assert opened(environ, elsewhere) == original


def test_a_contract_that_is_too_large_for_a_config_map_is_refused(
    contract: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "MOST_BYTES", 1000)
    code, _, told = tandem("config", "export", "--config", str(contract), "--to", "kubernetes")
    assert code == 2
    assert "do not fit into a ConfigMap" in told


@pytest.mark.parametrize("source", ["", "servicebinding:"])
def test_service_bindings_open_again(contract: Path, elsewhere: Path, original: StorageConfig, source: str) -> None:
    root = elsewhere / "bindings"
    export(contract, "servicebinding", "--output", str(root))
    assert (root / "avatars/type").read_text() == "s3"
    assert (root / "avatars/bucket").read_text() == "shop-prod-avatars"
    (root / "database").mkdir()
    (root / "database/type").write_text("postgresql")
    (root / "database/provider").write_text("somebody else")
    environ = {servicebinding.ROOT_VARIABLE: str(root), **SECRETS}
    found = opened(environ | ({"LEX_STORAGE_CONFIG": source} if source else {}), elsewhere)
    # directories have no order but that of their names
    assert {backend.name: backend for backend in found.backends} == {
        backend.name: backend for backend in original.backends
    }
    rest = {"backends": ()}
    assert found.model_copy(update=rest) == original.model_copy(update=rest)
    assert found.primary == original.primary


def test_a_binding_may_hold_the_secret_itself_and_be_projected_by_kubelet(tmp_path: Path, elsewhere: Path) -> None:
    root = tmp_path / "bindings"
    files = {"type": "r2", "provider": "tandem", "bucket": "media", "endpoint_url": "https://r2.example.com"}
    mounted(root / "media", files | {"access_key": "AK", "secret_key": "hush\n"})
    (backend,) = opened({"SERVICE_BINDING_ROOT": str(root)}, elsewhere).backends
    assert backend.settings.secret_key.get_secret_value() == "hush"
    assert "hush" not in repr(backend)


def test_a_storage_file_comes_before_bindings_that_nobody_asked_for(contract: Path, elsewhere: Path) -> None:
    export(contract, "servicebinding", "--output", str(elsewhere / "bindings"))
    (elsewhere / "storage.yaml").write_text("backends: [{name: only, driver: memory}]")
    found = opened({"SERVICE_BINDING_ROOT": str(elsewhere / "bindings")}, elsewhere)
    assert [backend.name for backend in found.backends] == ["only"]


def test_bindings_are_not_written_over_others(contract: Path, elsewhere: Path) -> None:
    (elsewhere / "note").write_text("")
    words = ("config", "export", "--config", str(contract), "--to", "servicebinding")
    code, _, told = tandem(*words, "--output", str(elsewhere))
    assert code == 2
    assert "is not empty" in told
    assert tandem(*words)[0] == 2


def shell_variables(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if line)
    return {name: value.strip("'") for name, _, value in pairs}


def test_cosi_opens_again_but_for_what_it_tells(contract: Path, elsewhere: Path, original: StorageConfig) -> None:
    text, told = export(contract, "cosi")
    variables = shell_variables(text)
    assert variables["AVATARS_COSI_S3_ENDPOINT"] == "https://s3.eu-west-1.amazonaws.com"
    found = opened({"LEX_STORAGE_CONFIG": "cosi:", **variables, **SECRETS}, elsewhere)

    before = {backend.name: backend.document() for backend in original.named_backends()}
    after = {backend.name: backend.document() for backend in found.named_backends()}
    lost = _paths({"backends": before}) - _paths({"backends": after})
    untold = encode(open_contract(contract), "cosi").untold
    assert all(any(path == known or path.startswith(f"{known}.") for known in untold) for path in lost - RENAMED), lost
    assert all(f"cosi can not hold {path}: " in told.replace("\n", "") for path in untold), told
    assert {path for path in untold if path.count(".") == 1} == {
        "backends.invoices",
        "backends.scratch",
        "backends.uploads",
    }
    assert {"service", "kv", "default_driver"} <= untold.keys()
    assert before["media"]["r2"] == after["media"]["r2"]
    assert before["reports"]["azure"] == after["reports"]["azure"]
    assert before["exports"]["gcs"] == after["exports"]["gcs"]
    assert before["on-site"]["s3"] == after["on_site"]["s3"]


RENAMED = {f"backends.on-site.{key}" for key in ("name", "driver", *(f"s3.{each}" for each in (
    "bucket", "region", "endpoint_url", "access_key", "secret_key",
)))}  # fmt: skip


def _paths(node: Any, path: str = "") -> set[str]:
    if isinstance(node, dict):
        return {found for key, value in node.items() for found in _paths(value, f"{path}.{key}" if path else key)}
    return {path}


def test_one_bucket_of_cosi_without_a_prefix_is_the_default_backend(elsewhere: Path) -> None:
    variables = {
        "COSI_PROTOCOL": "S3",
        "COSI_S3_BUCKET_ID": "bucket-8f2a",
        "COSI_S3_ENDPOINT": "http://garage.example:3900",
        "COSI_S3_REGION": "garage",
        "COSI_S3_ADDRESSING_STYLE": "path",
        "COSI_S3_ACCESS_KEY_ID": "AK",
        "COSI_S3_ACCESS_SECRET_KEY": "hush",
    }
    (backend,) = opened({"LEX_STORAGE_CONFIG": "cosi:", **variables}, elsewhere).backends
    assert (backend.name, backend.driver, backend.settings.bucket) == ("default", "s3", "bucket-8f2a")


def test_every_wrong_cosi_variable_is_told(elsewhere: Path) -> None:
    variables = {
        "A_COSI_PROTOCOL": "S3",
        "A_COSI_S3_ENDPOINT": "https://s3.example.com",
        "A_COSI_S3_REGION": "eu",
        "A_COSI_S3_ADDRESSING_STYLE": "virtual",
        "B_COSI_PROTOCOL": "FTP",
        "C_COSI_PROTOCOL": "Azure",
        "C_COSI_AZURE_STORAGE_ACCOUNT": "account",
        "C_COSI_AZURE_ACCESS_TOKEN": "sv=1&sig=hush",
    }
    with pytest.raises(ConfigError) as caught:
        read_config("cosi:", environ=variables, directory=elsewhere)
    assert {problem.path for problem in caught.value.problems} == {
        "A_COSI_S3_BUCKET_ID",
        "A_COSI_S3_ADDRESSING_STYLE",
        "B_COSI_PROTOCOL",
        "C_COSI_AZURE_ACCESS_TOKEN",
    }
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError, match="no COSI variables were found"):
        cosi.read({})


@pytest.mark.parametrize("form", FORMS)
def test_no_form_is_written_of_a_contract_with_a_literal_secret(tmp_path: Path, form: str) -> None:
    path = tmp_path / "storage.yaml"
    raw = json.loads(json.dumps(CONTRACT))
    raw["storage"]["backends"][2]["r2"]["secret_key"] = "hunter2-clear"
    path.write_text(yaml.safe_dump(raw))
    code, text, told = tandem("config", "export", "--config", str(path), "--to", form, "-o", str(tmp_path / "out"))
    assert (code, text) == (2, "")
    assert "storage.backends.media.r2.secret_key: is a literal secret" in told
    assert "hunter2" not in told
    assert not (tmp_path / "out").exists()


def test_export_wants_one_contract(contract: Path) -> None:
    assert tandem("config", "export", "--to", "json")[0] == 2
    assert tandem("config", "export", "--to", "json", "--config", str(contract), "--stack", "prod")[0] == 2
