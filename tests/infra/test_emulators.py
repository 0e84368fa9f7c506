from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import boto3
import psutil
import pytest
from botocore.config import Config

from infra import emulators, processes
from infra.endpoints import Endpoint, endpoints, key_file, state_directory
from infra.stack import Stack
from runtime.errors import ConfigError, StorageError, StorageUnavailableError
from runtime.testing import servers
from runtime.testing.servers import answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.testing.fixtures import ProgramFactory

AWS_AND_R2 = {"aws": "ministack", "cloudflare": "ministack"}


class Project:
    """A project directory whose stack says what the test wants."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "Pulumi.yaml").write_text("name: demo\nstackConfigDir: stacks\nruntime: python\n")
        self.events: list[str] = []

    def stack(self, chosen: Any, name: str = "dev") -> Stack:
        return Stack(name, "demo", self.root, {"tandem:emulators": chosen})

    def up(self, chosen: Any) -> list[emulators.ServerState]:
        return emulators.up(self.stack(chosen), self.events.append)


@pytest.fixture
def project(tmp_path: Path, program: ProgramFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    for name in ("ministack", "moto"):
        program(name)
    project = Project(tmp_path)
    yield project
    emulators.down(project.stack({}))


def buckets(endpoint: Endpoint) -> list[str]:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    return [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]


def free_port() -> int:
    with servers._process.reserved() as port:
        return port


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)


def test_up_starts_one_server_for_two_providers(project: Project) -> None:
    (state,) = project.up(AWS_AND_R2)
    assert (state.server, state.providers, state.status) == ("ministack", ("aws", "cloudflare"), "running")
    found = endpoints(project.stack(AWS_AND_R2))
    assert found["aws"].url == found["cloudflare"].url == f"http://127.0.0.1:{state.port}"
    assert buckets(found["aws"]) == buckets(found["cloudflare"]) == []


def test_up_again_leaves_the_server_alone(project: Project) -> None:
    (first,) = project.up(AWS_AND_R2)
    events = len(project.events)
    (second,) = project.up(AWS_AND_R2)
    assert (second.pid, second.port, second.started_at) == (first.pid, first.port, first.started_at)
    assert project.events[events:] == []


def test_killed_server_is_started_again_on_its_port_with_working_keys(project: Project) -> None:
    (first,) = project.up(AWS_AND_R2)
    assert first.pid
    before = endpoints(project.stack(AWS_AND_R2))["aws"]
    kill(first.pid)
    assert [state.status for state in emulators.status(project.stack(AWS_AND_R2))] == ["dead"]
    (second,) = project.up(AWS_AND_R2)
    after = endpoints(project.stack(AWS_AND_R2))["aws"]
    assert f"ministack: its process {first.pid} is gone; starting it again" in project.events
    assert (after.url, after.access_key_file) == (before.url, before.access_key_file)
    assert second.pid != first.pid
    assert buckets(after) == []


def test_server_outlives_the_command_that_started_it(project: Project) -> None:
    code = (
        "import sys; from pathlib import Path; from infra import emulators; from infra.stack import Stack\n"
        "stack = Stack('dev', 'demo', Path(sys.argv[1]), {'tandem:emulators': {'aws': 'moto'}})\n"
        "print(emulators.up(stack)[0].pid)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(project.root)], capture_output=True, text=True, check=True)
    (state,) = emulators.status(project.stack({"aws": "moto"}))
    assert (state.status, state.pid) == ("running", int(done.stdout))
    assert psutil.Process(int(done.stdout)).terminal() is None


def test_interrupted_up_leaves_no_process(project: Project) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from infra import emulators; from infra.stack import Stack\n"
        "from runtime.testing import servers\n"
        "def interrupted(name, process, *_):\n"
        "    print(process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "servers.wait_until_ready = interrupted\n"
        "emulators.up(Stack('dev', 'demo', Path(sys.argv[1]), {'tandem:emulators': {'aws': 'moto'}}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(project.root)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not psutil.pid_exists(int(done.stdout))
    assert [state.status for state in emulators.status(project.stack({"aws": "moto"}))] == ["stopped"]


def test_server_that_can_not_be_recorded_is_stopped(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = set(psutil.Process().children())
    monkeypatch.setattr(emulators, "_save", full)
    with pytest.raises(OSError, match="No space left"):
        project.up({"aws": "moto"})
    assert set(psutil.Process().children()) == before


def test_down_stops_the_server_and_remembers_its_port(project: Project) -> None:
    (first,) = project.up(AWS_AND_R2)
    stack = project.stack(AWS_AND_R2)
    (stopped,) = emulators.down(stack)
    assert first.pid
    assert (stopped.status, stopped.message) == ("stopped", f"ended pid {first.pid}")
    assert not psutil.pid_exists(first.pid)
    assert list((state_directory(stack) / "secrets").iterdir()) == []
    assert endpoints(stack) == {}
    assert [state.status for state in emulators.status(stack)] == ["stopped"]
    assert emulators.down(stack) == []
    assert project.up(AWS_AND_R2)[0].port == first.port


def test_stale_pid_of_another_program_is_recognised_and_left_alone(project: Project) -> None:
    (first,) = project.up({"aws": "moto"})
    assert first.pid
    kill(first.pid)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        name = psutil.Process(stranger.pid).name()
        path = state_directory(project.stack({})) / "emulators.json"
        state = json.loads(path.read_text())
        state["servers"]["moto"]["pid"] = stranger.pid  # the id given again, the time of creation ours
        state["servers"]["moto"]["created"] -= 3600
        path.write_text(json.dumps(state))
        (second,) = project.up({"aws": "moto"})
        assert stranger.poll() is None
        stranger.kill()
    assert second.status == "running"
    message = f"its pid {stranger.pid} is stale: it belongs to {name} now, which is left alone"
    assert f"moto: {message}; starting it again" in project.events


def test_busy_port_is_left_for_another_one_with_a_message(project: Project) -> None:
    (first,) = project.up({"aws": "moto"})
    emulators.down(project.stack({"aws": "moto"}))
    with socket.create_server(("127.0.0.1", first.port or 0)):
        (second,) = project.up({"aws": "moto"})
    assert second.port != first.port
    holder = f"port {first.port} is in use by {psutil.Process().name()} (pid {os.getpid()})"
    assert [event for event in project.events if holder in event and "taking another port" in event]


def test_busy_pinned_port_is_an_error_that_names_the_holder(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StorageUnavailableError) as caught:
            project.up({"aws": {"server": "moto", "port": port}})
    assert f"port {port} is in use by {psutil.Process().name()} (pid {os.getpid()})" in str(caught.value)
    assert "stacks/Pulumi.dev.yaml" in str(caught.value)


def test_pinned_port_is_used_and_a_new_pin_moves_the_server(project: Project) -> None:
    ports = [free_port(), free_port()]
    for port in ports:
        (state,) = project.up({"aws": {"server": "moto", "port": port}})
        assert (state.port, state.status) == (port, "running")
    assert f"moto: it runs on port {ports[0]}, and the stack file says {ports[1]}; starting it again" in project.events


def test_server_that_hangs_is_replaced(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulators, "PATIENCE_SECONDS", 0.1)
    (first,) = project.up({"aws": "moto"})
    assert first.pid
    os.kill(first.pid, signal.SIGSTOP)
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    assert [state.status for state in emulators.status(project.stack({"aws": "moto"}))] == ["unresponsive"]
    (second,) = project.up({"aws": "moto"})
    assert not psutil.pid_exists(first.pid)
    assert (second.status, second.port) == ("running", first.port)


def test_server_that_the_stack_no_longer_names_is_stopped(project: Project) -> None:
    (first,) = project.up({"aws": "moto"})
    assert first.pid
    assert project.up({}) == []
    assert not psutil.pid_exists(first.pid)
    assert f"moto is not in stacks/Pulumi.dev.yaml any more: ended pid {first.pid}" in project.events


def test_provider_that_joins_gets_the_keys_of_the_running_server(project: Project) -> None:
    (first,) = project.up({"aws": "ministack"})
    (second,) = project.up(AWS_AND_R2)
    assert second.pid == first.pid
    assert buckets(endpoints(project.stack(AWS_AND_R2))["cloudflare"]) == []


def test_removed_keys_are_made_again(project: Project) -> None:
    project.up(AWS_AND_R2)
    stack = project.stack(AWS_AND_R2)
    key_file(stack, "aws", "secret_key").unlink()
    with pytest.raises(StorageError, match="tandem emulators down -s dev, then up"):
        endpoints(stack)
    project.up(AWS_AND_R2)
    assert buckets(endpoints(stack)["aws"]) == []


def test_secrets_are_in_private_files_only(project: Project) -> None:
    project.up(AWS_AND_R2)
    stack = project.stack(AWS_AND_R2)
    endpoint = endpoints(stack)["aws"]
    assert endpoint.secret_key not in repr(endpoint)
    assert endpoint.secret_key not in "\n".join(project.events)
    holders = [path for path in state_directory(stack).rglob("*") if path.is_file() and "secrets" not in path.parts]
    assert not [path for path in holders if endpoint.secret_key.encode() in path.read_bytes()]
    files = list((state_directory(stack) / "secrets").iterdir())
    assert sorted(path.name for path in files) == [
        "aws_access_key",
        "aws_secret_key",
        "cloudflare_access_key",
        "cloudflare_secret_key",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(state_directory(stack).stat().st_mode) == 0o700
    assert stat.S_IMODE((state_directory(stack) / "secrets").stat().st_mode) == 0o700


def test_two_stacks_have_servers_of_their_own(project: Project) -> None:
    one, other = project.stack({"aws": "moto"}, "one"), project.stack({"aws": "moto"}, "other")
    try:
        states = [emulators.up(one)[0], emulators.up(other)[0]]
        assert states[0].port != states[1].port
        emulators.down(one)
        assert [state.status for state in emulators.status(other)] == ["running"]
    finally:
        emulators.down(one)
        emulators.down(other)


def test_two_at_once_start_one_server(project: Project) -> None:
    found: list[emulators.ServerState] = []
    both = [threading.Thread(target=lambda: found.extend(project.up({"aws": "moto"}))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len({state.pid for state in found}) == 1
    assert len(found) == 2


def test_log_of_the_last_start_is_kept(project: Project) -> None:
    (first,) = project.up({"aws": "moto"})
    assert first.port
    assert answers(first.port, "/moto-api/")
    emulators.down(project.stack({}))
    project.up({"aws": "moto"})
    logs = state_directory(project.stack({})) / "logs"
    assert sorted(path.name for path in logs.iterdir()) == ["moto.log", "moto.log.1"]
    assert "moto-api" in (logs / "moto.log.1").read_text()


def test_state_can_be_kept_elsewhere(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_STATE", str(tmp_path / "elsewhere"))
    project.up({"aws": "moto"})
    assert (tmp_path / "elsewhere" / "dev" / "emulators.json").is_file()
    assert not (tmp_path / ".tandem").exists()
    emulators.down(project.stack({}))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"aws": "minio"}, "tandem:emulators.aws: found 'minio'; allowed: gofakes3, ministack, moto, versitygw"),
        ({"aws": "azurite"}, "tandem:emulators.aws: found 'azurite'; allowed: gofakes3"),
        ({"oracle": "ministack"}, "tandem:emulators.oracle: no emulator stands in for this provider; allowed: aws"),
        ({"aws": 7}, "tandem:emulators.aws: found 7; allowed: a server's name"),
        ({"aws": {"server": "moto", "port": 0}}, "tandem:emulators.aws: found"),
        ({"aws": {"server": "moto", "prot": 4570}}, "tandem:emulators.aws: found"),
        ("ministack", "tandem:emulators: found 'ministack'; allowed: a mapping of providers to servers"),
        (
            {"aws": {"server": "moto", "port": 4570}, "cloudflare": {"server": "moto", "port": 4571}},
            "tandem:emulators.cloudflare.port: moto has port 4570 already",
        ),
    ],
)
def test_wrong_choice_is_told_with_its_path_and_starts_nothing(chosen: Any, message: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    with pytest.raises(ConfigError) as caught:
        project.up(chosen)
    assert message in str(caught.value)
    assert str(caught.value).startswith("stacks/Pulumi.dev.yaml: ")
    assert not (tmp_path / ".tandem").exists()


@pytest.mark.parametrize("text", ["{", '{"version": 99}'])
def test_record_that_can_not_be_read_is_refused(text: str, tmp_path: Path) -> None:
    stack = Project(tmp_path).stack({"aws": "moto"})
    state_directory(stack).mkdir(parents=True)
    (state_directory(stack) / "emulators.json").write_text(text)
    with pytest.raises(StorageError, match=r"emulators\.json"):
        emulators.up(stack)


def test_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.3)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path) as child:
        assert child.stdout
        child.stdout.readline()
        begin = time.monotonic()
        assert processes.end(processes.identity(child.pid)) == f"killed pid {child.pid}, which did not end by itself"
        assert time.monotonic() - begin < 5
