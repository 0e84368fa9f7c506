"""One run of a stack: every registration of its program becomes a step, then what was left out is deleted.

Registrations come concurrently, each from a thread of its own, and in the order of their dependencies, because the
SDK resolves inputs and ``depends_on`` before it registers. For each: check the inputs, look the resource up in the
state, read it from the server (what was lost is made again, what was changed there is put right), compare, and create,
update, replace or leave it. Every step is in the journal before its answer goes back to the program.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import RLock
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from infra.engine import Action, Step
from infra.engine.connections import Connections
from infra.engine.operations import DRIFTED, Found, Operations
from infra.engine.planning import PROVIDER_PREFIX, STACK_TYPE, decide, in_deletion_order, refuse_protected
from infra.engine.providers.base import UNHELD
from infra.engine.providers.compare import top
from infra.engine.providers.values import wire_map
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pulumi.provider.experimental.property_value import PropertyValue

    from infra.engine.planning import Goal
    from infra.engine.state import Entry, StateFile

WORKERS: Final = 16
"""Calls in flight at a time: they wait for the server, not for a processor."""

KEPT: Final = "stays on the server"
SWEPT: Final = "went with what it belongs to"


class StoppedError(Exception):
    """This was not begun, because the run had failed or was interrupted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What goes back to the program: id and outputs; an empty id is one that is known only after `up`."""

    id: str
    outputs: dict[str, PropertyValue]


class Deployment:
    """See the module. One instance is one run.

    Attributes:
        steps: What was done so far, in order.
        unheld: By URN, what the emulator does not hold and why.
        failure: The first error of the run.
    """

    def __init__(self, state: StateFile, *, preview: bool, on_step: Callable[[Step], None] | None = None) -> None:
        self.steps: list[Step] = []
        self.unheld: dict[str, tuple[str, ...]] = {}
        self.failure: BaseException | None = None
        self._contents = state.contents
        self._known = dict(state.contents.resources)
        self._connections = Connections(self._known)
        self._operations = Operations(state, self._connections, preview=preview)
        self._on_step = on_step
        self._lock = RLock()
        self._registered: dict[str, str] = {}  # URN in the program -> URN in the state
        self._changed: set[str] = set()
        self._stack: Goal | None = None
        self._reads: dict[str, Future[Found]] = {}
        self._readers = ThreadPoolExecutor(WORKERS, thread_name_prefix="tandem-read")
        self._stopped = False

    def stop(self) -> None:
        """Begin nothing more; what is under way ends."""
        self._stopped = True

    def close(self) -> None:
        """Begin nothing more and wait for what is under way."""
        self.stop()
        self._readers.shutdown(wait=True, cancel_futures=True)

    def fail(self, error: BaseException, note: str) -> None:
        """Remember the first error of the run, told where it happened, and begin nothing more."""
        with self._lock:
            if self.failure is None and not isinstance(error, StoppedError):
                error.add_note(note)
                self.failure = error
        self.stop()

    # -- what the program asks for ----------------------------------------------------------------------------

    def register(self, goal: Goal) -> Outcome:
        """Do what one registration asks for.

        Raises:
            StoppedError: the run has failed elsewhere; nothing was done.
        """
        if self._stopped:
            raise StoppedError(f"{goal.urn} was not begun")
        try:
            if goal.entry.type == STACK_TYPE:
                self._stack = goal  # a program that ends without declaring anything leaves no trace
                return Outcome("", {})
            self._open_stack()
            old = self._claim(goal)
            if goal.entry.type.startswith(PROVIDER_PREFIX):
                return self._provider(goal, old)
            return self._custom(goal, old) if goal.entry.custom else self._component(goal, old)
        except BaseException as exc:
            self.fail(exc, f"while handling {goal.entry.type} {goal.entry.name!r} ({goal.urn})")
            if isinstance(exc, Exception):
                raise
            raise StoppedError(f"{goal.urn} was interrupted") from exc  # an event loop does not survive the original

    def look_up(self, entry: Entry) -> Outcome:
        """A resource that the program only reads (``Bucket.get``)."""
        try:
            live = self._operations.look_up(entry)
        except BaseException as exc:
            self.fail(exc, f"while reading {entry.type} {entry.name!r} ({entry.urn})")
            raise
        return Outcome(live.id, wire_map(live.outputs, live.secrets))

    def _open_stack(self) -> None:
        with self._lock:
            goal, self._stack = self._stack, None
            if goal is not None:
                self._component(goal, self._claim(goal))

    def _claim(self, goal: Goal) -> Entry | None:
        with self._lock:
            if goal.urn in self._registered:
                raise ConfigError(f"{goal.urn} is declared twice; a name is unique among resources of its type")
            known = (urn for urn in (goal.urn, *goal.aliases) if urn in self._known)
            self._registered[goal.urn] = next(known, goal.urn)
            return self._known.get(self._registered[goal.urn])

    def _component(self, goal: Goal, old: Entry | None) -> Outcome:
        self._operations.keep(old, goal.entry)
        self._step(Action.SAME if old else Action.CREATE, goal.entry)
        return Outcome("", goal.inputs)

    def _provider(self, goal: Goal, old: Entry | None) -> Outcome:
        self._connections.connect(goal.entry)
        inputs = goal.entry.inputs
        entry = replace(goal.entry, id=old.id if old else str(uuid4()), secrets=goal.entry.secrets & inputs.keys())
        changed = _differing(old.inputs, inputs) if old else ()
        self._operations.keep(old, entry)
        self._step(Action.UPDATE if changed else Action.SAME if old else Action.CREATE, entry, changed)
        self._prefetch(self._registered[goal.urn])
        return Outcome(entry.id, wire_map(inputs, entry.secrets))

    def _prefetch(self, provider: str) -> None:
        """Read all that this provider has in the state at once; each registration then takes its own."""
        entries = [entry for entry in self._known.values() if entry.custom and entry.provider == provider]
        with self._lock:
            for entry in entries:
                self._reads[entry.urn] = self._readers.submit(self._operations.refresh, entry)

    # -- a resource on a server -------------------------------------------------------------------------------

    def _custom(self, goal: Goal, old: Entry | None) -> Outcome:
        self._connections.of(goal.entry)  # refuses a default provider before anything is asked of anyone
        if old is not None and old.provider != goal.entry.provider:
            old = replace(
                old, provider=goal.entry.provider
            )  # renamed in the program: the recorded one may be long gone
        self._operations.check(goal, old)
        found = self._find(goal, old)
        if found is None or found.live is None:
            return self._create(goal, found)
        live = found.live
        goal = self._operations.ignoring(goal, live)
        diff = self._operations.diff(goal, live)
        action, changed = decide(goal, diff)
        if action is Action.REPLACE:
            first = goal.delete_before_replace if goal.delete_before_replace is not None else diff.delete_before_replace
            return self._replace(goal, live, changed, delete_first=first)
        note = found.note
        if action is Action.UPDATE:
            ours = {top(path) for path in changed} - _differing(live.inputs, found.recorded.inputs)
            entry = self._operations.update(goal, found, live)
            note = None if note == DRIFTED and ours else note
        else:
            entry = replace(goal.entry, id=live.id, outputs=live.outputs, secrets=live.secrets)
            self._operations.keep(found.recorded, entry)
            note = None if note == DRIFTED else note
        if old is None:  # taken over: new to this stack, whatever had to be changed about it
            action = Action.IMPORT if goal.import_id else Action.CREATE
        return self._done(action, entry, changed, note)

    def _find(self, goal: Goal, old: Entry | None) -> Found | None:
        if old is None:
            return self._operations.resume(goal, self._contents.begun.get(goal.urn))
        with self._lock:
            read = self._reads.pop(old.urn, None)
            stale = bool(self._changed & goal.entry.needs)
        before = read.result() if read is not None else None
        if before is not None and (before.live is None or not stale):
            return before
        found = self._operations.refresh(old)  # a read from before its bucket was made anew says nothing
        return replace(found, note=SWEPT) if before is not None and found.live is None else found

    def _create(self, goal: Goal, found: Found | None) -> Outcome:
        note = found.note if found else None
        entry = self._operations.create(goal, gone=found.recorded if found else None)
        return self._done(Action.REPLACE if note == SWEPT else Action.CREATE, entry, note=note)

    def _replace(self, goal: Goal, live: Entry, changed: tuple[str, ...], *, delete_first: bool) -> Outcome:
        if live.protect:
            refuse_protected([live], "replaced")
        if delete_first or live.retain:
            self._operations.delete(live)  # does nothing to one that is to stay
            entry = self._operations.create(goal, gone=live)
        else:
            entry = self._operations.create(goal, retired=live)
        return self._done(Action.REPLACE, entry, changed)

    def _done(self, action: Action, entry: Entry, changed: tuple[str, ...] = (), note: str | None = None) -> Outcome:
        unheld: Mapping[str, str] = entry.outputs.get(UNHELD) or {}
        with self._lock:
            if unheld:
                self.unheld[entry.urn] = tuple(f"{path}: {reason}" for path, reason in sorted(unheld.items()))
        self._step(action, entry, changed, note)
        return Outcome(entry.id, wire_map(entry.outputs, entry.secrets))

    def _step(self, action: Action, entry: Entry, changed: Iterable[str] = (), note: str | None = None) -> None:
        step = Step(action, entry.urn, entry.type, entry.name, tuple(sorted(changed)), note)
        with self._lock:
            if action is not Action.SAME and entry.custom and not entry.type.startswith(PROVIDER_PREFIX):
                self._changed.add(entry.urn)
            self.steps.append(step)
            if self._on_step is not None:
                self._on_step(step)

    # -- what the program no longer asks for ------------------------------------------------------------------

    def finish(self) -> None:
        """Delete what is in the state and was not registered, dependents first.

        Raises:
            ConfigError: some of it is protected; nothing was deleted.
        """
        self._open_stack()
        kept = set(self._registered.values())
        left = [entry for urn, entry in self._known.items() if urn not in kept]
        refuse_protected([entry for entry in left if entry.protect], "deleted")
        begun = [entry for urn, entry in self._contents.begun.items() if urn not in self._registered]
        replaced = list(self._contents.replaced)
        for wave in in_deletion_order([*left, *begun, *replaced]):
            futures = [self._readers.submit(self._delete, entry, replaced=entry in replaced) for entry in wave]
            errors = [error for future in futures if (error := future.exception()) is not None]
            if errors:
                raise self.failure or errors[0]

    def _delete(self, entry: Entry, *, replaced: bool) -> None:
        if self._stopped:
            raise StoppedError(f"{entry.urn} was not deleted")
        try:
            begun = not replaced and not entry.id and entry.urn in self._contents.begun
            found = self._operations.left_behind(entry) if begun else entry
            if found is not None:
                self._operations.delete(found)
            self._operations.record(**({"forget": entry} if replaced else {"drop": [entry.urn]}))
        except BaseException as exc:
            self.fail(exc, f"while deleting {entry.type} {entry.name!r} ({entry.urn})")
            raise
        if not replaced:  # its replacement was the step
            self._step(Action.DELETE, entry, note=KEPT if entry.retain and entry.custom else None)


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
