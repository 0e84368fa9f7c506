"""Configs that are wrong in one way each: the exact place and words that a reader gets, in Python and on the CLI."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from runtime.cli.app import build_app
from runtime.errors import ConfigError
from runtime.loading import load_config

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2-do-not-print"  # in every config below that holds a secret; must be in no message

GENERATED = """\
version: 1
stack: dev
fingerprint: sha256:0000000000000000000000000000000000000000000000000000000000000000
storage:
  backends:
  - name: media
    driver: s3
    s3: {bucket: media-bucket, region: eu-west-1, access_key: "%s", secret_key: "${file:../secrets/key}"}
"""


@dataclass(frozen=True)
class WrongConfig:
    """One wrong config.

    Attributes:
        says: What is wrong, as the id of the test.
        text: The file.
        path: Where the problem is, as the message writes it.
        message: What the problem's line holds.
        environ: Variables that are set.
    """

    says: str
    text: str | bytes
    path: str
    message: str
    environ: dict[str, str] = field(default_factory=dict)


def _backend(lines: str) -> str:
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"version: 1\nstorage:\n  backends:\n  -\n{indented}"


WRONG_CONFIGS = (
    WrongConfig(
        "typo in a key",
        _backend("name: a\ndriver: s3\ns3: {buckett: abc, region: eu-west-1, bucket: abc}"),
        "storage.backends.a.s3.buckett",
        "unknown key (did you mean 'bucket'?); allowed: bucket, region",
    ),
    WrongConfig(
        "typo in a key at the top",
        "version: 1\nstorage: {backends: []}\nstak: dev\n",
        "stak",
        "unknown key (did you mean 'stack'?); allowed: version, project, stack, fingerprint, storage",
    ),
    WrongConfig(
        "typo in the settings of all backends of a driver",
        "version: 1\nstorage: {default_driver: local, drivers: {local: {rootdir: x}}}\n",
        "storage.drivers.local.rootdir",
        "unknown key (did you mean 'root_dir'?); allowed: root_dir, base_url",
    ),
    WrongConfig(
        "wrong type",
        "version: 1\nstorage: {health_check_timeout: soon}\n",
        "storage.health_check_timeout",
        "must be a valid number, unable to parse string as a number, found 'soon'",
    ),
    WrongConfig(
        "a value where keys belong",
        _backend("name: a\ndriver: local\nlocal: ./here"),
        "storage.backends.a.local",
        "must be a mapping of keys to values, found './here'",
    ),
    WrongConfig(
        "missing required key",
        _backend("name: a\ndriver: gcs\ngcs: {bucket: abc}"),
        "storage.backends.a.gcs.project_id",
        "is required",
    ),
    WrongConfig(
        "no settings for a driver that needs some",
        _backend("name: a\ndriver: s3"),
        "storage.backends.a.s3",
        "is required, with bucket, region",
    ),
    WrongConfig(
        "no settings for the default driver",
        "version: 1\nstorage: {default_driver: r2}\n",
        "storage.drivers.r2",
        "is required, with bucket, access_key, secret_key, endpoint_url",
    ),
    WrongConfig(
        "missing variable",
        _backend("name: a\ndriver: s3\ns3: {bucket: '${MEDIA_BUCKET}', region: eu-west-1}"),
        "storage.backends.a.s3.bucket",
        "environment variable MEDIA_BUCKET is not set",
    ),
    WrongConfig(
        "missing file of a reference",
        _backend("name: a\ndriver: local\nlocal: {root_dir: '${file:no-such-file}'}"),
        "storage.backends.a.local.root_dir",
        "no-such-file can not be read: No such file or directory",
    ),
    WrongConfig(
        "malformed reference",
        _backend("name: a\ndriver: local\nlocal: {root_dir: '/x/${not-a-name}'}"),
        "storage.backends.a.local.root_dir",
        "'${' begins no reference; write $${ for a literal one; allowed: ${NAME} or ${file:PATH}",
    ),
    WrongConfig(
        "duplicate name",
        "version: 1\nstorage: {backends: [{name: a, driver: memory}, {name: a, driver: memory}]}\n",
        "storage.backends[1].name",
        "is the name of entry 0 already, found 'a'",
    ),
    WrongConfig(
        "two primaries",
        "version: 1\nstorage: {backends: [{name: a, driver: memory, primary: true},"
        " {name: b, driver: memory, primary: true}]}\n",
        "storage.backends.b.primary",
        "entry 0 is primary already; at most one may be",
    ),
    WrongConfig(
        "unknown driver",
        _backend("name: a\ndriver: azzure"),
        "storage.backends.a.driver",
        "no such driver is known here (did you mean 'azure'?), found 'azzure'; allowed: local, s3, gcs, azure",
    ),
    WrongConfig(
        "unknown default driver",
        "version: 1\nstorage: {default_driver: loca1}\n",
        "storage.default_driver",
        "no such driver is known here (did you mean 'local'?), found 'loca1'; allowed: local",
    ),
    WrongConfig(
        "newer major version",
        "version: 2\nstores: {}\n",
        "version",
        "is 2, and this release reads version 1: upgrade tandem-storage",
    ),
    WrongConfig(
        "older major version",
        "version: 0.9\nstorage: {}\n",
        "version",
        "is 0.9, and this release reads version 1: run `tandem up` again to write it anew",
    ),
    WrongConfig("no version at all", "version: latest\nstorage: {}\n", "version", "'latest' is not a version"),
    WrongConfig(
        "literal secret in a generated file",
        GENERATED % SECRET,
        "storage.backends.media.s3.access_key",
        "is a literal secret; allowed: ${NAME} or ${file:PATH}",
    ),
    WrongConfig(
        "literal secret as a default in a generated file",
        GENERATED % f"${{KEY:{SECRET}}}",
        "storage.backends.media.s3.access_key",
        "is a literal secret; allowed: ${NAME} or ${file:PATH}",
    ),
    WrongConfig(
        "bad bucket name",
        _backend("name: a\ndriver: s3\ns3: {bucket: My_Bucket, region: eu-west-1}"),
        "storage.backends.a.s3.bucket",
        "can not name an S3 bucket, found 'My_Bucket'; allowed: 3 to 63 lower-case letters",
    ),
    WrongConfig(
        "bad backend name",
        _backend("name: My Backend\ndriver: memory"),
        "storage.backends.My Backend.name",
        "can not name a backend, found 'My Backend'; allowed: 1 to 63 lower-case letters",
    ),
    WrongConfig(
        "settings for another driver",
        _backend("name: a\ndriver: memory\nlocal: {root_dir: x}"),
        "storage.backends.a.local",
        "the driver is 'memory', so settings for 'local' are never used",
    ),
    WrongConfig(
        "access key without its secret",
        _backend(f"name: a\ndriver: s3\ns3: {{bucket: abc, region: eu-west-1, access_key: {SECRET}}}"),
        "storage.backends.a.s3.secret_key",
        "is required with access_key; leave both out for the AWS default chain",
    ),
    WrongConfig(
        "a secret that is no text",
        _backend(f"name: a\ndriver: s3\ns3: {{bucket: abc, region: eu-west-1, access_key: [{SECRET}], secret_key: x}}"),
        "storage.backends.a.s3.access_key",
        "must be a valid string",
    ),
    WrongConfig(
        "an empty secret",
        _backend("name: a\ndriver: s3\ns3: {bucket: abc, region: eu-west-1, access_key: '${KEY}', secret_key: x}"),
        "storage.backends.a.s3.access_key",
        "must have at least 1",
        {"KEY": ""},
    ),
    WrongConfig(
        "customer's key without its id",
        _backend("name: a\ndriver: s3\ns3: {bucket: abc, region: eu-west-1, encryption: {type: 'aws:kms'}}"),
        "storage.backends.a.s3.encryption.kms_key_id",
        "is required when the type is aws:kms",
    ),
    WrongConfig(
        "encryption of another service",
        _backend("name: a\ndriver: s3\ns3: {bucket: abc, region: x, encryption: {type: 'gcs:cmek', kms_key_id: k}}"),
        "storage.backends.a.s3.encryption.type",
        "is another service's, found 'gcs:cmek'; allowed: AES256, aws:kms",
    ),
    WrongConfig(
        "password in a URL",
        _backend(f"name: a\ndriver: local\nlocal: {{base_url: 'https://me:{SECRET}@example.com'}}"),
        "storage.backends.a.local.base_url",
        "holds credentials, which belong into the backend's own keys; allowed: http:// or https://",
    ),
    WrongConfig(
        "query in a URL",
        _backend(f"name: a\ndriver: local\nlocal: {{base_url: 'https://example.com/?sig={SECRET}'}}"),
        "storage.backends.a.local.base_url",
        "holds a query or a fragment; allowed: http:// or https://",
    ),
    WrongConfig(
        "URL of another scheme",
        _backend("name: a\ndriver: local\nlocal: {base_url: 'ftp://example.com'}"),
        "storage.backends.a.local.base_url",
        "is not an HTTP URL, found 'ftp://example.com'; allowed: http:// or https://",
    ),
    WrongConfig(
        "parts that S3 refuses",
        _backend("name: a\ndriver: s3\ns3: {bucket: abc, region: eu-west-1}\ntransfer: {part_size: 1MiB}"),
        "storage.backends.a.transfer.part_size",
        "must be at least 5MiB on s3, found '1MiB'",
    ),
    WrongConfig("bad YAML", "version: 1\nstorage: [\n", "line 3, column 1", "expected the node content"),
    WrongConfig(
        "key given twice",
        "version: 1\nstorage: {}\nstorage: {}\n",
        "line 3, column 1",
        "'storage' is given twice (first on line 2)",
    ),
    WrongConfig(
        "override of an unknown backend",
        _backend("name: avatars\ndriver: memory"),
        "LEX_STORAGE__BACKENDS__AVATRS__PRIMARY",
        "no backend is called 'avatrs' (did you mean 'avatars'?)",
        {"LEX_STORAGE__BACKENDS__AVATRS__PRIMARY": "true"},
    ),
    WrongConfig(
        "override of an unknown key",
        _backend("name: avatars\ndriver: memory"),
        "LEX_STORAGE__BACKENDS__AVATARS__TRANSFER__PARTSIZE",
        "unknown key 'partsize' (did you mean 'part_size'?); allowed: part_size, concurrency",
        {"LEX_STORAGE__BACKENDS__AVATARS__TRANSFER__PARTSIZE": SECRET},
    ),
    WrongConfig(
        "override of a wrong type",
        _backend("name: avatars\ndriver: memory"),
        "storage.backends.avatars.transfer.concurrency",
        "found 'many' (set by LEX_STORAGE__BACKENDS__AVATARS__TRANSFER__CONCURRENCY)",
        {"LEX_STORAGE__BACKENDS__AVATARS__TRANSFER__CONCURRENCY": "many"},
    ),
    WrongConfig(
        "override that fits two backends",
        "version: 1\nstorage: {backends: [{name: a-b, driver: memory}, {name: a_b, driver: memory}]}\n",
        "LEX_STORAGE__BACKENDS__A_B__PRIMARY",
        "'a_b' fits several backends: a-b, a_b; rename one of them",
        {"LEX_STORAGE__BACKENDS__A_B__PRIMARY": "true"},
    ),
    WrongConfig("nothing in it", "", "", "is empty"),
    WrongConfig("a list", "- a\n- b\n", "", "is not a mapping of keys to values"),
    WrongConfig("not UTF-8", b"version: 1\nstorage: {name: \xff}\n", "", "is not UTF-8 text (byte 27)"),
    WrongConfig("control characters", "version: 1\nstorage: {name: \x07}\n", "character 28", "0x07 is not allowed"),
)


@pytest.fixture
def config_file(tmp_path: Path, wrong: WrongConfig) -> Path:
    path = tmp_path / "storage.yaml"
    path.write_bytes(wrong.text if isinstance(wrong.text, bytes) else wrong.text.encode())
    return path


each = pytest.mark.parametrize("wrong", WRONG_CONFIGS, ids=lambda wrong: wrong.says.replace(" ", "-"))


@each
def test_wrong_config_gives_one_error_with_the_exact_place(wrong: WrongConfig, config_file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config_file, environ=wrong.environ)

    error = caught.value
    assert error.source == str(config_file)
    assert str(error).startswith(f"{config_file}: ")
    if wrong.path:
        lines = [f"{problem.path}: {problem.message}; allowed: {problem.allowed}" for problem in error.problems]
        here = [line for line in lines if line.startswith(f"{wrong.path}: ")]
        assert len(here) == 1, lines
        assert wrong.message in here[0]
    else:
        assert wrong.message in str(error)


@each
def test_wrong_config_error_holds_no_secret(wrong: WrongConfig, config_file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config_file, environ=wrong.environ)

    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "storage.yaml"
    path.write_text(
        "version: 1\n"
        "storage:\n"
        "  enabled: perhaps\n"
        "  backends:\n"
        "  - {name: a, driver: s3, s3: {bucket: '${NO_SUCH}', region: eu-west-1, buckett: x}}\n"
        "  - {name: b, driver: nope}\n"
        "  - {name: c, driver: memory, transfer: {concurrency: 0}}\n"
    )

    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={"LEX_STORAGE__NO_SUCH": "x"})

    assert {problem.path for problem in caught.value.problems} == {
        "LEX_STORAGE__NO_SUCH",
        "storage.enabled",
        "storage.backends.a.s3.bucket",
        "storage.backends.a.s3.buckett",
        "storage.backends.b.driver",
        "storage.backends.c.transfer.concurrency",
    }


@each
def test_wrong_config_ends_the_command_with_code_2_and_one_message(
    wrong: WrongConfig, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in wrong.environ.items():
        monkeypatch.setenv(name, value)
    app = build_app(plug_ins=[])

    result = CliRunner().invoke(app, ["ls", "a:", "--config", str(config_file)])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {config_file}: ")
    assert wrong.message in result.stderr
    assert "Traceback" not in result.stderr
    assert SECRET not in result.stderr
    assert list(config_file.parent.iterdir()) == [config_file], "nothing is written"
