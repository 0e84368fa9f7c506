"""What can be done to one resource: look at it, make it, change it, remove it; each written down as it happens."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from pulumi.provider.experimental import provider as wire_protocol

from infra.engine.planning import PROVIDER_PREFIX
from infra.engine.providers.compare import keep_old
from infra.engine.providers.values import plain_map, secret_names, wire_map
from runtime.errors import AlreadyExistsError, ConfigError, NotFoundError, Problem, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi.provider.experimental.property_value import PropertyValue

    from infra.engine.connections import Connections
    from infra.engine.planning import Goal
    from infra.engine.providers.base import StandIn
    from infra.engine.state import Entry, StateFile

LOST: Final = "was gone from the server"
DRIFTED: Final = "was changed outside of this stack"
UNREAD: Final = "the server does not answer: compared with the state"
RESUMED: Final = "its creation was interrupted and is completed"
IMPORTED: Final = "existed already and is taken over"


@dataclass(frozen=True, slots=True)
class Found:
    """A resource that is known, as recorded and as it is.

    Attributes:
        recorded: What the state says.
        live: What the server shows; None when it does not have the resource.
        note: What the reader should know about it.
    """

    recorded: Entry
    live: Entry | None
    note: str | None = None


class Operations:
    """Calls to the stand-in providers, with the state kept in step. Safe to use from many threads."""

    def __init__(self, state: StateFile, connections: Connections, *, preview: bool) -> None:
        self._state = state
        self._connections = connections
        self._preview = preview
        self._lock = RLock()

    def record(self, **change: Any) -> None:
        """Write a change of the state down; nothing in a preview."""
        if not self._preview:
            with self._lock:
                self._state.record(**change)

    def keep(self, old: Entry | None, new: Entry) -> None:
        """Record how a resource is now, when that is news."""
        if new != old:
            renamed = [old.urn] if old is not None and old.urn != new.urn else []
            self.record(put=new, drop=renamed)

    def check(self, goal: Goal, old: Entry | None) -> None:
        """Have the provider look at the inputs.

        Raises:
            ConfigError: they are not valid; all that is wrong.
        """
        provider = self._connections.of(goal.entry)
        olds = wire_map(old.inputs, old.secrets) if old else {}
        answer = provider.check_now(wire_protocol.CheckRequest(goal.urn, olds, goal.inputs, b""))
        if answer.failures:
            raise ConfigError(
                f"{goal.entry.type} {goal.entry.name!r} is not valid",
                problems=[Problem(failure.property, failure.reason) for failure in answer.failures],
            )

    def refresh(self, entry: Entry) -> Found:
        """How a recorded resource is on the server; a preview goes by the state when no server answers."""
        provider = self._connections.of(entry)
        request = wire_protocol.ReadRequest(
            entry.urn, entry.id, wire_map(entry.outputs, entry.secrets), wire_map(entry.inputs, entry.secrets)
        )
        try:
            with self._connections.reaching(provider):
                answer = provider.read_now(request)
        except StorageUnavailableError:
            if not self._preview:
                raise
            return Found(entry, entry, UNREAD)
        if not answer.resource_id:
            return Found(entry, None, LOST)
        live = replace(
            entry,
            id=answer.resource_id,  # an import id may be another one than the resource's own
            inputs=plain_map(answer.inputs),
            outputs=plain_map(answer.properties),
            secrets=entry.secrets | secret_names(answer.properties),
        )
        return Found(entry, live, DRIFTED if live.inputs != entry.inputs else None)

    def resume(self, goal: Goal, begun: Entry | None) -> Found | None:
        """What an interrupted creation of this resource, or somebody else (``import_``), left on the server."""
        provider = self._connections.of(goal.entry)
        resource_id, note = goal.import_id, IMPORTED
        if begun is not None and not resource_id:
            with self._connections.reaching(provider):
                resource_id = provider.find_now(begun.type, wire_map(begun.inputs, begun.secrets)) or ""
            note = RESUMED
        if not resource_id:
            return None
        inputs = {} if goal.import_id else goal.entry.inputs
        found = self.refresh(replace(goal.entry, id=resource_id, inputs=inputs, outputs=inputs))
        if found.live is None:
            if goal.import_id:
                raise NotFoundError(f"{goal.entry.type} {goal.import_id!r} does not exist, so it can not be taken over")
            return None
        return Found(found.recorded, found.live, note)

    def ignoring(self, goal: Goal, live: Entry) -> Goal:
        """The goal with the present values of everything whose changes the program ignores."""
        if not goal.ignore_changes:
            return goal
        inputs = keep_old(plain_map(goal.inputs), live.inputs, goal.ignore_changes)
        secrets = goal.entry.secrets
        return replace(goal, entry=replace(goal.entry, inputs=inputs), inputs=wire_map(inputs, secrets))

    def diff(self, goal: Goal, live: Entry) -> wire_protocol.DiffResponse:
        """How the resource differs from what is asked for."""
        olds = wire_map(live.outputs, live.secrets)
        return self._connections.of(goal.entry).diff_now(
            wire_protocol.DiffRequest(goal.urn, live.id, olds, goal.inputs, [])
        )

    def create(self, goal: Goal, *, retired: Entry | None = None, gone: Entry | None = None) -> Entry:
        """Make the resource.

        Args:
            goal: What to make.
            retired: The one that it replaces, to be deleted later.
            gone: The one that it replaces, and that was deleted already.
        """
        provider, entry = self._connections.of(goal.entry), goal.entry
        self.record(begin=entry, drop=[gone.urn] if gone else [])
        request = wire_protocol.CreateRequest(goal.urn, goal.inputs, 0, self._preview)
        try:
            with self._writing(provider):
                answer = provider.create_now(request)
        except AlreadyExistsError:
            self.record(abandon=entry)  # what is there is not ours: never take it over later
            raise
        made = _answered(entry, answer.properties, answer.resource_id or "")
        change: dict[str, Any] = {"put": made}
        if retired is not None:
            change |= {"retire": retired, "drop": [retired.urn] if retired.urn != made.urn else []}
        self.record(**change)
        return made

    def update(self, goal: Goal, found: Found, live: Entry) -> Entry:
        """Change the resource into what is asked for."""
        provider = self._connections.of(goal.entry)
        olds = wire_map(live.outputs, live.secrets)
        request = wire_protocol.UpdateRequest(goal.urn, live.id, olds, goal.inputs, 0, [], self._preview)
        with self._writing(provider):
            answer = provider.update_now(request)
        made = _answered(goal.entry, answer.properties, live.id)
        self.keep(found.recorded, made)
        return made

    def delete(self, entry: Entry) -> None:
        """Remove a resource from its server, if it is on one and not to stay there."""
        if self._preview or not entry.custom or entry.retain or entry.type.startswith(PROVIDER_PREFIX):
            return
        provider = self._connections.of(entry)
        request = wire_protocol.DeleteRequest(entry.urn, entry.id, wire_map(entry.outputs, entry.secrets), 0)
        with self._connections.reaching(provider):
            provider.delete_now(request)

    def _writing(self, provider: StandIn) -> AbstractContextManager[None]:
        """Around a call that asks the server for something, which those of a preview do not."""
        return nullcontext() if self._preview else self._connections.reaching(provider)

    def left_behind(self, begun: Entry) -> Entry | None:
        """What an interrupted creation left on the server, to be deleted; in a preview that is not looked for."""
        if self._preview:
            return None
        provider = self._connections.of(begun)
        with self._connections.reaching(provider):
            resource_id = provider.find_now(begun.type, wire_map(begun.inputs, begun.secrets))
        return replace(begun, id=resource_id, outputs=begun.inputs) if resource_id else None

    def look_up(self, entry: Entry) -> Entry:
        """A resource that the program only reads (``Bucket.get``).

        Raises:
            NotFoundError: it does not exist.
        """
        found = self.refresh(replace(entry, outputs=entry.inputs, inputs={}))
        if found.live is None:
            raise NotFoundError(f"{entry.type} {entry.id!r} does not exist")
        return found.live


def _answered(entry: Entry, properties: Mapping[str, PropertyValue], resource_id: str) -> Entry:
    secrets = entry.secrets | secret_names(properties)
    return replace(entry, id=resource_id, outputs=plain_map(properties), secrets=secrets)
