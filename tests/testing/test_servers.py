from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
import httpx
import psutil
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient
from botocore.config import Config
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from runtime.testing import servers
from runtime.testing.fixtures import may_install
from runtime.testing.servers import (
    NAMES,
    PortTakenError,
    Server,
    ServerFailedError,
    ServerUnavailableError,
    Toolbox,
    find,
    start,
)
from runtime.testing.servers import _install as install_module
from runtime.testing.servers._process import end, reserved, spawn, wait_until_ready

if TYPE_CHECKING:
    from runtime.testing.fixtures import ServerFactory

S3_SERVERS = ("gofakes3", "ministack", "moto", "versitygw")
VERIFYING = ("ministack", "versitygw")
WELL_KNOWN_AZURITE_KEY = (  # of every Azurite that was not given another
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
PINNED = ("ministack.txt", "azurite.json", "azurite-lock.json", "go.mod", "go.sum")


def s3(server: Server, *, secret_key: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=secret_key or server.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def silent(cache: Path, *, install: bool = True) -> Toolbox:
    return Toolbox(cache=cache, install=install, log=lambda _: None)


def test_catalogue_has_the_servers_of_the_design() -> None:
    s3 = ("gofakes3", "ministack", "moto", "versitygw", "versitygw-auto")
    assert sorted(NAMES) == sorted([*s3, "azurite", "fake-gcs-server", "redis-server"])


@pytest.mark.parametrize("name", NAMES)
def test_entry_of_the_catalogue_knows_its_name(name: str) -> None:
    assert find(name).name == name


def test_unknown_server_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no server 'minio'; there are azurite, fake-gcs-server, gofakes3"):
        find("minio")


@pytest.mark.parametrize("name", S3_SERVERS)
def test_s3_server_gives_back_the_bytes(server: ServerFactory, name: str) -> None:
    client = s3(server(name))
    client.create_bucket(Bucket="servers-bytes")
    client.put_object(Bucket="servers-bytes", Key="a/b", Body=b"bytes")
    assert client.get_object(Bucket="servers-bytes", Key="a/b")["Body"].read() == b"bytes"


@pytest.mark.parametrize("name", VERIFYING)
def test_verifying_server_refuses_a_wrong_secret(server: ServerFactory, name: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3(server(name), secret_key="wrong").list_buckets()
    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


@pytest.mark.parametrize("name", VERIFYING)
def test_verifying_server_refuses_a_changed_presigned_url(server: ServerFactory, name: str) -> None:
    client = s3(server(name))
    client.create_bucket(Bucket="servers-signed")
    client.put_object(Bucket="servers-signed", Key="k", Body=b"signed")
    url = client.generate_presigned_url("get_object", {"Bucket": "servers-signed", "Key": "k"})
    assert httpx.get(url).content == b"signed"
    assert httpx.get(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=3601")).status_code == 403


def test_versitygw_keeps_versions(server: ServerFactory) -> None:
    client = s3(server("versitygw"))
    client.create_bucket(Bucket="servers-versions")
    client.put_bucket_versioning(Bucket="servers-versions", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        client.put_object(Bucket="servers-versions", Key="k", Body=body)
    assert len(client.list_object_versions(Bucket="servers-versions")["Versions"]) == 2


def test_azurite_opens_with_its_own_key_only(server: ServerFactory) -> None:
    azurite = server("azurite")
    address = f"{azurite.url}/{azurite.access_key}"
    with BlobServiceClient(address, credential=azurite.secret_key) as service:
        service.create_container("servers").upload_blob("k", b"bytes")
        assert service.get_blob_client("servers", "k").download_blob().readall() == b"bytes"
    with (
        BlobServiceClient(address, credential=WELL_KNOWN_AZURITE_KEY) as stranger,
        pytest.raises(HttpResponseError, match="AuthorizationFailure"),
    ):
        stranger.get_service_properties()


def test_fake_gcs_server_gives_back_the_bytes(server: ServerFactory) -> None:
    options = ClientOptions(api_endpoint=server("fake-gcs-server").url)
    nobody = AnonymousCredentials()
    client = storage.Client("tandem", credentials=nobody, client_options=options)
    client.create_bucket("servers-gcs").blob("k").upload_from_string(b"bytes")
    assert client.bucket("servers-gcs").blob("k").download_as_bytes() == b"bytes"
    client.close()


@pytest.mark.parametrize("name", NAMES)
def test_server_listens_on_loopback_only(server: ServerFactory, name: str) -> None:
    running = server(name)
    listening = [c.laddr for c in psutil.Process(running.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", running.port)]


@pytest.mark.parametrize("name", ["azurite", "ministack", "versitygw"])
def test_secret_is_in_no_argument_log_or_repr(server: ServerFactory, name: str) -> None:
    running = server(name)
    assert len(running.secret_key) >= 40
    shown = [*psutil.Process(running.pid).cmdline(), running.log.read_text(), repr(running)]
    assert not [text for text in shown if running.secret_key in text]


def test_server_gets_no_cloud_credentials_of_ours(server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    with start("moto", server("moto").log.parent / "second") as running:
        assert "AWS_SECRET_ACCESS_KEY" not in psutil.Process(running.pid).environ()


def test_stopped_server_is_gone_and_its_port_free(server: ServerFactory, tmp_path: Path) -> None:
    server("gofakes3")  # skipped here when it can not be had
    running = start("gofakes3", tmp_path)
    running.stop()
    running.stop()
    assert not running.alive()
    assert not psutil.pid_exists(running.pid)
    with reserved(running.port):  # raises when somebody listens there
        pass


def test_server_that_ignores_the_request_to_end_is_killed_with_its_children(tmp_path: Path) -> None:
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("ready", flush=True)
time.sleep(60)
"""
    log = tmp_path / "log"
    process = spawn([sys.executable, "-c", code], {}, tmp_path, log)
    deadline = time.monotonic() + 20
    while "ready" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = psutil.Process(process.pid).children()
    begin = time.monotonic()
    end(process, 0.2)
    assert time.monotonic() - begin < 5
    assert process.returncode == -9
    assert len(children) == 1
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_server_that_ends_while_starting_shows_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = spawn([sys.executable, "-c", "raise SystemExit('no room for data')"], {}, tmp_path, log)
    with (
        reserved() as held,
        pytest.raises(ServerFailedError, match=r"(?s)toy ended with 1 while starting.*no room for data"),
    ):
        wait_until_ready("toy", process, held, "/", 20, log)


def test_server_that_never_answers_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = spawn([sys.executable, "-c", "import time; time.sleep(60)"], {}, tmp_path, log)
    try:
        with reserved() as held, pytest.raises(ServerFailedError, match="did not answer within 0 s"):
            wait_until_ready("toy", process, held, "/", 0.2, log)
    finally:
        end(process)


def test_interrupted_start_leaves_no_process(server: ServerFactory, tmp_path: Path, monkeypatch: Any) -> None:
    server("gofakes3")
    spawned: list[Any] = []

    def interrupt(_name: str, process: Any, *_: object) -> None:
        spawned.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(servers, "wait_until_ready", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start("gofakes3", tmp_path)
    assert [process.poll() for process in spawned] == [-15]


def test_named_port_that_is_taken_is_an_error(server: ServerFactory, tmp_path: Path) -> None:
    taken = server("moto").port
    with pytest.raises(PortTakenError, match=f"port {taken} is in use"):
        start("moto", tmp_path, taken)
    assert list(tmp_path.iterdir()) == []


def test_reserved_port_is_given_to_nobody_else() -> None:
    with reserved() as held, socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", held))


def test_reserved_port_can_be_listened_on_by_the_server() -> None:
    with reserved() as held, socket.create_server(("127.0.0.1", held), reuse_port=False) as listener:
        assert listener.getsockname()[1] == held


def test_missing_server_is_refused_when_installing_was_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ServerUnavailableError, match=r"ministack is not available here .*not asked for"):
        start("ministack", tmp_path / "site", toolbox=silent(tmp_path, install=False))
    assert list(tmp_path.iterdir()) == []


def test_missing_go_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerUnavailableError, match=r"versitygw is not available here .*install Go"):
        servers.install("versitygw", silent(tmp_path))
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


def test_failed_installation_shows_the_output_and_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "toy.txt").write_text("no-such-requirement-file-line ==\n")
    monkeypatch.setattr(install_module, "PINS", pins)
    with pytest.raises(ServerUnavailableError, match="toy is not available here"):
        silent(tmp_path / "cache").python_environment("toy")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_interrupted_installation_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(install_module, "_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        silent(tmp_path).python_environment("ministack")
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_two_at_once_install_once(tmp_path: Path, monkeypatch: Any) -> None:
    builds: list[str] = []

    def build(command: list[str], name: str, **_: object) -> None:
        if "-o" in command:
            builds.append(name)
            time.sleep(0.2)
            Path(command[command.index("-o") + 1]).touch()

    monkeypatch.setattr(install_module, "_run", build)
    monkeypatch.setattr("runtime.testing.servers._install.shutil.which", lambda name: name if name == "go" else None)
    both = [threading.Thread(target=silent(tmp_path).go_program, args=("gofakes3",)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert builds == ["gofakes3"]
    assert silent(tmp_path, install=False).go_program("gofakes3").is_file()


@pytest.mark.parametrize(
    ("environment", "quick", "slow"),
    [
        ({}, True, False),
        ({"TANDEM_INSTALL_SERVERS": "1"}, True, True),
        ({"TANDEM_INSTALL_SERVERS": "0"}, False, False),
        ({"TANDEM_REQUIRE_SERVERS": "1"}, True, True),
    ],
)
def test_a_test_session_builds_slow_servers_only_when_told(
    environment: dict[str, str], quick: bool, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TANDEM_INSTALL_SERVERS", "TANDEM_REQUIRE_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (may_install(quick=True), may_install(quick=False)) == (quick, slow)


@pytest.mark.parametrize(("required", "outcome"), [("0", "skipped"), ("1", "failed")])
def test_server_that_can_not_be_had_skips_or_fails(
    required: str, outcome: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_REQUIRE_SERVERS", required)
    monkeypatch.setenv("TANDEM_CACHE", str(pytester.path / "empty"))
    monkeypatch.setenv("PATH", "")
    pytester.makeconftest("pytest_plugins = ['runtime.testing.fixtures']")
    pytester.makepyfile("def test_it(server):\n    server('versitygw')")
    result = pytester.runpytest("-p", "no:cacheprovider", "-rs")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*versitygw is not available here*"])


@pytest.mark.parametrize("name", PINNED)
def test_pins_name_no_download_address(name: str) -> None:
    text = (install_module.PINS / name).read_text()
    assert "://" not in text
    assert '"resolved"' not in text


def test_every_pinned_package_has_its_checksum() -> None:
    lines = (install_module.PINS / "ministack.txt").read_text().splitlines()
    packages = [line for line in lines if line[0].isalpha()]
    assert len(packages) > 10
    assert all("==" in line and line.endswith("\\") for line in packages)
    lock = json.loads((install_module.PINS / "azurite-lock.json").read_text())
    assert all(package["integrity"].startswith("sha512-") for path, package in lock["packages"].items() if path)
