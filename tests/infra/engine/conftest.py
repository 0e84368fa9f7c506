"""A toy cloud in memory behind a real stand-in provider, and fixtures for engines that run on it or on MiniStack."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import psutil
import pulumi
import pytest
from pulumi.provider.experimental import provider as wire

from infra import emulators
from infra.engine import Action, connections
from infra.engine.embedded import EmbeddedEngine
from infra.engine.providers import stand_in
from infra.engine.providers.base import Created, Handler, Live, StandIn
from infra.engine.providers.loopback import require_loopback
from infra.engine.providers.values import plain_map, wire_map
from infra.stack import Stack
from runtime.errors import AlreadyExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.engine import Result, Step
    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[3]


@dataclass
class Toys:
    """The cloud: things by name, a diary of calls, and what shall go wrong."""

    things: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    broken: dict[str, BaseException] = field(default_factory=dict)
    slow: dict[str, threading.Event] = field(default_factory=dict)
    down: bool = False

    def call(self, verb: str, name: str) -> None:
        if self.down:
            raise ConnectionRefusedError("no answer")
        self.calls.append(f"{verb} {name}")
        event = self.slow.get(f"{verb} {name}")
        if event is not None:
            assert event.wait(30), "the test never let this call go on"
        error = self.broken.get(f"{verb} {name}")
        if error is not None:
            raise error


class ThingHandler(Handler[Toys]):
    type_name = "toy:index:Thing"
    required = names = frozenset({"name"})
    held = frozenset({"name", "size", "labels", "kind", "password"})
    kept: ClassVar = {"shade": "toys have no colours", "mode": None}
    replace = frozenset({"name", "kind"})

    def create(self, inputs: dict[str, Any]) -> Created:
        name = inputs["name"]
        if name in self.cloud.things:
            raise AlreadyExistsError(f"thing {name!r} exists already")
        self.cloud.call("begin", name)
        self.cloud.things[name] = {key: value for key, value in inputs.items() if key in self.held}
        self.cloud.call("create", name)
        return Created(name, {"receipt": f"receipt of {name}"})

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        self.cloud.call("read", resource_id)
        thing = self.cloud.things.get(resource_id)
        return Live(dict(thing), {"address": f"toy://{resource_id}"}) if thing is not None else None

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        del old
        self.cloud.call("update", resource_id)
        self.cloud.things[resource_id] = {key: value for key, value in new.items() if key in self.held}

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        self.cloud.call("delete", resource_id)
        self.cloud.things.pop(resource_id, None)


class ToyProvider(StandIn):
    name = "toy"
    handlers = (ThingHandler,)
    cloud: ClassVar[Toys]

    def connect(self, settings: dict[str, Any]) -> Toys:
        require_loopback(settings.get("url"), "toy:Provider url")
        return self.cloud


class Thing(pulumi.CustomResource):
    address: pulumi.Output[str]
    receipt: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        provider: pulumi.ProviderResource | None,
        opts: pulumi.ResourceOptions | None = None,
        *,
        physical: str | None = None,
        **props: Any,
    ) -> None:
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(provider=provider))
        asked = {"name": physical or name, **props, "address": None, "receipt": None}
        super().__init__("toy:index:Thing", name, asked, opts)


Declaration = Callable[[pulumi.ProviderResource], Thing]


class Play:
    """Runs programs of things in one stack."""

    def __init__(self, stack: Stack, toys: Toys) -> None:
        self.stack = stack
        self.toys = toys
        self.url = "http://127.0.0.1:9"
        self.seen: list[Step] = []

    @staticmethod
    def thing(name: str, opts: pulumi.ResourceOptions | None = None, **props: Any) -> Declaration:
        """Declare a thing, later, with the provider of the program."""
        return lambda provider: Thing(name, provider, opts, **props)

    @staticmethod
    def resource(name: str, provider: pulumi.ProviderResource | None, *args: Any, **props: Any) -> Thing:
        """A thing, now; its physical name may be another one."""
        return Thing(name, provider, *args, **props)

    @staticmethod
    def actions(result: Result) -> dict[str, str]:
        """What happened to things, by name."""
        return {step.name: step.action.value for step in result.steps if step.type == ThingHandler.type_name}

    @staticmethod
    def news(result: Result) -> list[str]:
        """Everything that was not left as it is, the stack and its components included."""
        return sorted(f"{step.action} {step.name}" for step in result.steps if step.action is not Action.SAME)

    def provider(self, **props: Any) -> pulumi.ProviderResource:
        return pulumi.ProviderResource("toy", "toys", {"url": self.url, **props})

    def engine(self, *declare: Declaration) -> EmbeddedEngine:
        def program() -> None:
            provider = self.provider()
            for one in declare:
                one(provider)

        return EmbeddedEngine(program)

    def up(self, *declare: Declaration) -> Result:
        return self.engine(*declare).up(self.stack, self.seen.append)

    def preview(self, *declare: Declaration) -> Result:
        return self.engine(*declare).preview(self.stack, self.seen.append)

    def destroy(self) -> Result:
        return EmbeddedEngine().destroy(self.stack, self.seen.append)


class Life:
    """One resource of a stand-in provider, from its creation to its end."""

    def __init__(self, provider: StandIn, kind: str, inputs: dict[str, Any]) -> None:
        self.provider, self.inputs = provider, inputs
        self.urn = f"urn:pulumi:test::tandem::{kind}::x"
        answer = provider.create_now(wire.CreateRequest(self.urn, wire_map(inputs), 0, preview=False))
        self.id, self.outputs = answer.resource_id or "", plain_map(answer.properties)

    def read(self) -> dict[str, Any] | None:
        """Its inputs as the server shows them; None when it is gone."""
        olds, inputs = wire_map(self.outputs), wire_map(self.inputs)
        answer = self.provider.read_now(wire.ReadRequest(self.urn, self.id, olds, inputs))
        self.outputs = plain_map(answer.properties) or self.outputs
        return plain_map(answer.inputs) if answer.resource_id else None

    def differs(self, **inputs: Any) -> list[str]:
        asked = wire_map({**self.inputs, **inputs})
        diff = self.provider.diff_now(wire.DiffRequest(self.urn, self.id, wire_map(self.outputs), asked, []))
        return sorted(diff.detailed_diff)

    def replaces(self, **inputs: Any) -> list[str]:
        asked = wire_map({**self.inputs, **inputs})
        return list(
            self.provider.diff_now(wire.DiffRequest(self.urn, self.id, wire_map(self.outputs), asked, [])).replaces
        )

    def change(self, **inputs: Any) -> None:
        self.inputs = {**self.inputs, **inputs}
        olds, news = wire_map(self.outputs), wire_map(self.inputs)
        request = wire.UpdateRequest(self.urn, self.id, olds, news, 0, [], preview=False)
        self.outputs = plain_map(self.provider.update_now(request).properties)

    def delete(self) -> None:
        self.provider.delete_now(wire.DeleteRequest(self.urn, self.id, wire_map(self.outputs), 0))


class Project:
    """A project of its own, with the repository's program and one stack."""

    def __init__(self, root: Path, text: str) -> None:
        self.root = root
        (root / "infra").mkdir()
        (root / "stacks").mkdir()
        shutil.copy(ROOT / "infra" / "__main__.py", root / "infra")
        shutil.copy(ROOT / "Pulumi.yaml", root)
        (root / "stacks" / "Pulumi.dev.yaml").write_text(text)

    @property
    def stack(self) -> Stack:
        return Stack.read("dev", self.root)

    def replace(self, old: str, new: str) -> None:
        text = self.stack.file.read_text()
        assert old in text
        self.stack.file.write_text(text.replace(old, new, 1))

    def files(self) -> dict[str, bytes]:
        """What a person keeps in version control."""
        mine = [path for path in self.root.rglob("*") if path.is_file() and ".tandem" not in path.parts]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in mine if path != self.stack.contract}

    def restart_server(self) -> None:
        """Kill the server, with everything in it, and start another."""
        pid = emulators.status(self.stack)[0].pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
        emulators.up(self.stack)


@pytest.fixture
def new_project() -> type[Project]:
    """The class that makes a project of its own, with one stack."""
    return Project


@pytest.fixture
def cli(program: ProgramFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """The real ``pulumi`` on PATH, and nothing of the user's Pulumi settings."""
    folder = str(Path(program("pulumi")[0]).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([folder, os.environ["PATH"]]))
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    return program("pulumi")[0]


@pytest.fixture
def life() -> type[Life]:
    """The class that makes one resource with a provider and follows it."""
    return Life


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Toys:
    toys = Toys()
    monkeypatch.setattr(ToyProvider, "cloud", toys, raising=False)
    monkeypatch.setattr(connections, "stand_in", lambda name: ToyProvider() if name == "toy" else stand_in(name))
    return toys


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    return Stack("test", "tandem", tmp_path, {"tandem:emulators": {"aws": "ministack"}, "aws:region": "eu-west-1"})


@pytest.fixture
def play(stack: Stack, toys: Toys) -> Iterator[Play]:
    before = set(threading.enumerate())
    yield Play(stack, toys)
    assert set(threading.enumerate()) <= before, "a run left threads behind"


@pytest.fixture
def unique() -> str:
    """A name that no other test uses on the session's server."""
    return f"t{uuid4().hex[:12]}"
