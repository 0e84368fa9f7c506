"""Run a program without any engine and see everything that it registers: for tests, and for rules over resources.

The monitor of `pulumi.runtime.mocks` hides protection, parents and dependencies; this one keeps them. Nothing is
created, no cloud and no emulator is asked.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks, rpc, settings, stack
from pulumi.runtime.proto import resource_pb2

from infra.begun import begun
from infra.garbage import no_collections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.stack import Stack

log = logging.getLogger("tandem.recording")

SECRET: Final = "[secret]"  # noqa: S105 - what hides one
"""What stands in a record where the program gave a secret."""

UNKNOWN: Final = "[unknown]"
"""What stands in a record for what is only known once another resource exists."""

_STANDS_FOR: Final = "4dabf18193072939515e22adb298388d"
_A_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - Pulumi's mark of a secret, not one


@dataclass(frozen=True, slots=True)
class Record:
    """One resource as the program registered it.

    Attributes:
        type: Pulumi's type token.
        name: Its name in the program.
        urn: Pulumi's name of it, unique in the stack.
        inputs: Its properties in wire form: camelCase, without those that are not set; secrets as `SECRET`.
        parent: URN of its parent.
        provider: Reference of its explicit provider; empty for the default one.
        protect: Whether Pulumi refuses to delete it.
        dependencies: URNs that it waits for.
        custom: Whether a provider makes it; components are not made.
        adopted: Id of what is only read, for a resource that is there already.
    """

    type: str
    name: str
    urn: str
    inputs: Mapping[str, Any]
    parent: str = ""
    provider: str = ""
    protect: bool = False
    dependencies: frozenset[str] = frozenset()
    custom: bool = True
    adopted: str = ""


@dataclass
class Recording:
    """What one run of a program registered.

    Attributes:
        records: In the order of their registration.
        outputs: The stack's exports.
    """

    records: list[Record] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[Record]:
        """The records whose type ends with *kind*: ``Bucket``, ``key:Key``."""
        return [record for record in self.records if record.type.rpartition("/")[2].endswith(kind)]

    def one(self, name: str) -> Record:
        """The record of this name."""
        (found,) = [record for record in self.records if record.name == name and record.custom]
        return found


def record(
    program: Callable[[Stack], None],
    selected: Stack,
    *,
    preview: bool = False,
    create: Callable[[Record], Mapping[str, Any]] | None = None,
) -> Recording:
    """Run *program* for a stack and give what it registered.

    Args:
        program: What the engines run: `infra.provision.program`.
        selected: The stack.
        preview: Whether ids and outputs stay unknown, as before anything exists.
        create: Called for every resource that would be made; gives its outputs, or raises as a cloud would.
    """
    # a thread and a context of its own: Pulumi keeps its settings, its stack and its event loop in them
    with ThreadPoolExecutor(1) as pool, no_collections():
        return pool.submit(Context().run, _run, program, selected, Monitor(preview, create), preview).result()


def _run(program: Callable[[Stack], None], selected: Stack, monitor: Monitor, preview: bool) -> Recording:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # an output that nobody waits for because the program failed: the error itself is raised
    loop.set_exception_handler(lambda _loop, context: log.debug("%s", context.get("message")))

    def body() -> None:
        program(selected)
        root = settings.get_root_resource()
        monitor.recording.outputs = dict(root.outputs) if isinstance(root, stack.Stack) else {}

    try:
        settings.configure(settings_of(selected, monitor, preview=preview))
        loop.run_until_complete(stack.run_in_stack(begun(body)))
        return monitor.recording
    finally:
        end(loop)


def settings_of(selected: Stack, monitor: mocks.MockMonitor, *, preview: bool) -> settings.Settings:
    """What Pulumi has to know of a run without an engine."""
    return settings.Settings(
        project=selected.project,
        stack=selected.name,
        monitor=monitor,
        engine=mocks.MockEngine(log),
        dry_run=preview,
        root_directory=str(selected.root),
    )


def end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still waits, and close the loop of this thread."""
    loop.run_until_complete(loop.shutdown_default_executor())
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    asyncio.set_event_loop(None)


class _Mocks(mocks.Mocks):
    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise NotImplementedError(args.token)  # the monitor answers itself

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise NotImplementedError(args.typ)  # the monitor answers itself


class Monitor(mocks.MockMonitor):
    """What the program takes for the engine: keeps what is registered, and knows nothing that only a cloud knows."""

    def __init__(self, preview: bool, create: Callable[[Record], Mapping[str, Any]] | None) -> None:
        super().__init__(_Mocks())
        self.preview, self.create, self.recording = preview, create, Recording()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - Pulumi's protocol
        """Keep what the program makes."""
        if request.type == "pulumi:pulumi:Stack":
            return super().RegisterResource(request)  # type: ignore[no-untyped-call] # Pulumi's own
        return self._answer(request, request.object, "")

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - Pulumi's protocol
        """Unknown: only the cloud could answer."""
        del request
        return resource_pb2.ResourceInvokeResponse(unknown=True)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802 - Pulumi's protocol
        """Keep what the program only reads."""
        answer = self._answer(request, request.properties, request.id)
        return resource_pb2.ReadResourceResponse(urn=answer.urn, properties=answer.object)

    def _answer(self, request: Any, properties: struct_pb2.Struct, adopted: str) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        made = Record(
            type=request.type,
            name=request.name,
            urn=urn,
            inputs=plain(MessageToDict(properties)),
            parent=request.parent,
            provider=request.provider,
            protect=not adopted and request.protect,
            dependencies=frozenset(request.dependencies),
            custom=bool(adopted) or request.custom,
            adopted=adopted,
        )
        self.recording.records.append(made)
        state = struct_pb2.Struct()
        identity = adopted
        if made.custom and not self.preview:
            identity = adopted or f"{made.name}-id"
            state.update(
                {
                    "arn": f"arn:{made.name}",
                    "keyId": made.name,
                    "principalId": made.name,
                    "clientId": made.name,
                    "value": made.name,
                }
            )
            state.update(self.create(made) if self.create else {})
        state.MergeFrom(properties)
        if made.type == "azure-native:storage:StorageAccount" and "identity" in made.inputs:
            # the one property here that is a list when it is given and a mapping when it comes back
            given = made.inputs["identity"]
            names = given.get("userAssignedIdentities", ())
            state.update({"identity": {**given, "userAssignedIdentities": {name: {} for name in names}}})
        return resource_pb2.RegisterResourceResponse(urn=urn, id=identity, object=state)


def plain(value: Any) -> Any:
    """A property as a person would write it: whole numbers whole, text without its enumeration, secrets hidden."""
    if isinstance(value, dict):
        if value.get(_STANDS_FOR) == _A_SECRET:
            return SECRET
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return UNKNOWN if value == rpc.UNKNOWN else str.__str__(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
