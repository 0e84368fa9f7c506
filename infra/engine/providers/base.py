"""What every stand-in provider shares: one handler per resource type, everything else here, once.

A stand-in speaks Pulumi's provider protocol and does the real API call against an emulator on this machine. The
embedded engine calls the ``*_now`` methods in its own threads; the real Pulumi engine calls the coroutines through
`pulumi.provider.experimental.server` (``python -m infra.engine.providers aws``). To add a type, write a `Handler`
and list it in its provider's `StandIn.handlers`.

What an emulator can not hold is kept in the state and named, with the reason, in the output property ``__unheld``:
after every write the settings are read back, and what does not come back as it was sent is such a property too.
"""

from __future__ import annotations

import asyncio
import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pulumi.provider.experimental import provider as wire_protocol

from infra.engine.providers import compare
from infra.engine.providers.handler import Created, Handler, Live
from infra.engine.providers.values import plain_map, secret_names, wire_map
from runtime.errors import AlreadyExistsError, ConfigError, Problem, StorageError
from runtime.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pulumi.provider.experimental.property_value import PropertyValue

__all__ = ["NOT_READ_BACK", "UNHELD", "Created", "Handler", "Live", "StandIn"]

TAKEN_OVER: Final = "__takenOver"
"""Output property of what was imported and not changed yet: what its emulator does not hold is not known of it."""

UNHELD: Final = "__unheld"
"""Output property that names what the emulator does not hold: path -> reason. Pulumi hides names with ``__``."""

NOT_READ_BACK: Final = "is not there when the settings are read back"


class StandIn(wire_protocol.Provider):
    """A Pulumi provider whose resources live on an emulator.

    Attributes:
        name: Pulumi's package name.
        handlers: The types it knows.
    """

    name: ClassVar[str]
    handlers: ClassVar[tuple[type[Handler[Any]], ...]]

    def __init__(self) -> None:
        self._types: dict[str, Handler[Any]] = {}

    @abstractmethod
    def connect(self, settings: dict[str, Any]) -> Any:
        """What the handlers work with, made from the provider's arguments.

        Raises:
            ConfigError: an endpoint is not on this machine.
        """

    def unreachable(self, error: BaseException) -> bool:
        """Whether an error means that no server answered."""
        return isinstance(error, ConnectionError | TimeoutError)

    def conflict(self, error: BaseException) -> bool:
        """Whether an error means that something of this name exists already."""
        del error
        return False

    def handler(self, token: str) -> Handler[Any]:
        """The handler of a type; a clear error when there is none, or the provider was not configured."""
        if not self._types:
            raise ConfigError(f"the {self.name} provider is not configured")
        found = self._types.get(token)
        if found is None:
            known = sorted(handler.type_name for handler in self.handlers)
            raise ConfigError(
                f"there is no stand-in for the resource type {token!r}{did_you_mean(token, known)}",
                problems=[Problem("", f"the {self.name} stand-in knows {', '.join(known)}")],
                hint="use the pulumi CLI with the real provider for it",
            )
        return found

    # -- what the embedded engine calls ---------------------------------------------------------------------------

    def configure_now(self, args: Mapping[str, PropertyValue]) -> None:
        """Connect with the explicit provider's arguments, where everything but a string is JSON."""
        cloud = self.connect({key: _decoded(value) for key, value in plain_map(args).items()})
        self._types = {handler.type_name: handler(cloud) for handler in self.handlers}

    def check_now(self, request: wire_protocol.CheckRequest) -> wire_protocol.CheckResponse:
        """The inputs as they are, and what is wrong with them."""
        token = request.type.rpartition("$")[2]
        problems = self.handler(token).check(plain_map(request.new_inputs))
        failures = [wire_protocol.CheckFailure(problem.path, problem.message) for problem in problems]
        return wire_protocol.CheckResponse(inputs=request.new_inputs, failures=failures)

    def diff_now(self, request: wire_protocol.DiffRequest) -> wire_protocol.DiffResponse:
        """What has to change, and whether that needs a new resource."""
        handler = self._of(request)
        old, new = plain_map(request.old_state), plain_map(request.new_inputs)
        new = compare.keep_old(new, old, request.ignore_changes)
        before, after = _comparable(handler, old, new)
        paths = list(compare.differences(before, after))
        unknown = handler.kept.keys() - old.keys() if TAKEN_OVER in old else set()
        replaces = sorted(({compare.top(path) for path in paths} & handler.replace) - unknown)
        same_name = bool(handler.names) and all(old.get(name) == new.get(name) for name in handler.names)
        return wire_protocol.DiffResponse(
            changes=bool(paths),
            replaces=replaces,
            diffs=sorted({compare.top(path) for path in paths}),
            detailed_diff={path: _kind(before, after, path, replaces) for path in paths},
            delete_before_replace=same_name,
        )

    def create_now(self, request: wire_protocol.CreateRequest) -> wire_protocol.CreateResponse:
        """Make the resource; in a preview only echo what is known."""
        handler, inputs = self._of(request), plain_map(request.properties)
        if request.preview:
            given_back = _marked(handler, handler.echoed(inputs), request.properties)
            return wire_protocol.CreateResponse("", {**request.properties, **given_back})
        created = self._created(handler, inputs)
        state = {**inputs, **created.outputs}
        outputs = self._read_back(handler, created.id, inputs, state)
        return wire_protocol.CreateResponse(created.id, _marked(handler, outputs, request.properties))

    def _created(self, handler: Handler[Any], inputs: dict[str, Any]) -> Created:
        try:
            return handler.create(inputs)
        except Exception as exc:
            if not self.conflict(exc):
                raise
            raise AlreadyExistsError(f"{handler.type_name}: {exc}", hint="it is not in this stack's state") from exc

    def find_now(self, token: str, inputs: Mapping[str, PropertyValue]) -> str | None:
        """The id of what an interrupted creation left behind, or None."""
        return self.handler(token).find(plain_map(inputs))

    def read_now(self, request: wire_protocol.ReadRequest) -> wire_protocol.ReadResponse:
        """The resource as the server shows it; without an id when it is gone."""
        handler, known = self._of(request), plain_map(request.inputs)
        state = {**plain_map(request.properties), **known}
        if not state:
            state[TAKEN_OVER] = True
        resource_id = handler.own_id(request.resource_id)
        live = handler.read(resource_id, state)
        if live is None:
            return wire_protocol.ReadResponse(resource_id="")
        inputs = _seen(handler, live, state, known)
        lost = handler.held & known.keys() - inputs.keys()
        outputs = {**_only(state, state.keys() - lost), **inputs, **live.outputs}
        secrets = {**request.properties, **request.inputs}
        return wire_protocol.ReadResponse(
            resource_id, _marked(handler, outputs, secrets), _marked(handler, inputs, secrets)
        )

    def update_now(self, request: wire_protocol.UpdateRequest) -> wire_protocol.UpdateResponse:
        """Change the resource; in a preview only say how it will look."""
        handler, old, new = self._of(request), plain_map(request.olds), plain_map(request.news)
        new = compare.keep_old(new, old, request.ignore_changes)
        gone = _settable(handler, old) - new.keys() - handler.filled | {UNHELD, TAKEN_OVER}
        state = {key: value for key, value in old.items() if key not in gone} | new
        if request.preview:
            state |= handler.echoed(state)
        else:
            handler.update(request.resource_id, old, new)
            state = self._read_back(handler, request.resource_id, new, state)
        return wire_protocol.UpdateResponse(_marked(handler, state, {**request.olds, **request.news}))

    def delete_now(self, request: wire_protocol.DeleteRequest) -> None:
        """Remove the resource."""
        self._of(request).delete(request.resource_id, plain_map(request.properties))

    def _of(self, request: Any) -> Handler[Any]:
        return self.handler(request.type.rpartition("$")[2])  # a child's URN carries its parents' types before its own

    def _read_back(
        self, handler: Handler[Any], resource_id: str, inputs: dict[str, Any], state: dict[str, Any]
    ) -> dict[str, Any]:
        live = handler.read(resource_id, state)
        if live is None:
            raise StorageError(f"{handler.type_name} {resource_id!r} was written and the server does not show it")
        unheld = dict(live.unheld)
        for name in inputs.keys() - handler.held:
            reason = handler.kept.get(name, f"the {self.name} stand-in does not know this property")
            if reason is not None:
                unheld[name] = reason
        shown, asked = (_only(handler.normal(values), handler.held) for values in (live.inputs, inputs))
        for path in compare.differences(shown, asked):
            if compare.look_up(asked, path) is not None and path not in unheld:
                unheld[path] = NOT_READ_BACK
        return {**state, **live.outputs, **({UNHELD: unheld} if unheld else {})}

    # -- what the real engine calls -------------------------------------------------------------------------------

    async def configure(self, request: wire_protocol.ConfigureRequest) -> wire_protocol.ConfigureResponse:
        """Connect; from now on preview is supported and secrets are accepted."""
        self.configure_now(request.args)
        return await super().configure(request)

    async def check(self, request: wire_protocol.CheckRequest) -> wire_protocol.CheckResponse:
        """See `check_now`."""
        return self.check_now(request)

    async def diff(self, request: wire_protocol.DiffRequest) -> wire_protocol.DiffResponse:
        """See `diff_now`."""
        return self.diff_now(request)

    async def create(self, request: wire_protocol.CreateRequest) -> wire_protocol.CreateResponse:
        """See `create_now`."""
        return await asyncio.to_thread(self.create_now, request)

    async def read(self, request: wire_protocol.ReadRequest) -> wire_protocol.ReadResponse:
        """See `read_now`."""
        return await asyncio.to_thread(self.read_now, request)

    async def update(self, request: wire_protocol.UpdateRequest) -> wire_protocol.UpdateResponse:
        """See `update_now`."""
        return await asyncio.to_thread(self.update_now, request)

    async def delete(self, request: wire_protocol.DeleteRequest) -> None:
        """See `delete_now`."""
        await asyncio.to_thread(self.delete_now, request)


def _decoded(value: Any) -> Any:
    """A provider's argument: Pulumi sends every one that is not a string as JSON text."""
    if isinstance(value, str) and (value[:1] in {"[", "{"} or value in {"true", "false"}):
        return json.loads(value)
    return value


def _only(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in names}


def _settable(handler: Handler[Any], state: Mapping[str, Any]) -> set[str]:
    """Names in a state that were inputs; the rest was computed."""
    return {*handler.held, *handler.kept, *(compare.top(path) for path in state.get(UNHELD, {}))}


def _comparable(
    handler: Handler[Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was and what is asked for, without what only the service decides."""
    names = (_settable(handler, old) | new.keys()) - (handler.filled - new.keys())
    before, after = (handler.normal(_only(values, names)) for values in (old, new))
    return before, after


def _seen(handler: Handler[Any], live: Live, state: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as the server shows them, in the program's own spelling wherever that means the same."""
    if not known:
        return live.inputs
    shown, asked = (_only(handler.normal(values), handler.held) for values in (live.inputs, known))
    for path in {**state.get(UNHELD, {}), **live.unheld}:
        compare.put_at(shown, path, compare.look_up(asked, path))
    drifted = {compare.top(path) for path in compare.differences(shown, asked)} - (handler.filled - known.keys())
    inputs = {key: value for key, value in known.items() if key not in drifted}
    return inputs | {name: live.inputs[name] for name in drifted & live.inputs.keys()}


def _marked(
    handler: Handler[Any], values: Mapping[str, Any], source: Mapping[str, PropertyValue]
) -> dict[str, PropertyValue]:
    return wire_map(values, secret_names(source) | handler.secrets)


def _kind(before: Any, after: Any, path: str, replaces: Collection[str]) -> wire_protocol.PropertyDiff:
    verb = "UPDATE"
    if compare.look_up(before, path) is None:
        verb = "ADD"
    elif compare.look_up(after, path) is None:
        verb = "DELETE"
    suffix = "_REPLACE" if compare.top(path) in replaces else ""
    return wire_protocol.PropertyDiff(wire_protocol.PropertyDiffKind[verb + suffix], input_diff=True)
