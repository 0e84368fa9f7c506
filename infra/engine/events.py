"""What the Pulumi engine tells of a run, in the words of `infra.engine`."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from pulumi.automation.events import OpType

from infra.engine import Action, Step
from infra.engine.planning import STACK_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pulumi.automation.events import DiagnosticEvent, EngineEvent, StepEventMetadata

log = logging.getLogger("tandem.engine")

ACTIONS: Final = {
    OpType.CREATE: Action.CREATE,
    OpType.DELETE: Action.DELETE,
    OpType.DISCARD: Action.DELETE,
    OpType.IMPORT: Action.IMPORT,
    OpType.IMPORT_REPLACEMENT: Action.REPLACE,
    OpType.READ: Action.SAME,
    OpType.READ_REPLACEMENT: Action.REPLACE,
    OpType.REPLACE: Action.REPLACE,
    OpType.SAME: Action.SAME,
    OpType.UPDATE: Action.UPDATE,
}
"""The engine's operations; those that are missing are the halves of a replacement, which is one step here."""

NOTES: Final = {
    OpType.DISCARD: "is no longer managed, and was left as it is",
    OpType.IMPORT: "was there already and is managed from now on",
    OpType.READ: "is only read",
}

LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING}
"""What the program and its providers say goes where the embedded engine puts it (`infra.engine.monitor.Log`)."""

_COLOURS: Final = re.compile(r"<\{%[^%]*%\}>")
_PREFIXES: Final = ("an unhandled error occurred: ", "python inline source runtime error: ")


class Recorder:
    """Collects the steps and the errors of one run.

    Attributes:
        steps: Every resource once, in the order in which it was handled.
        errors: The engine's messages, without repetitions and tracebacks.
        outputs: What the stack exports, as far as it is known; secrets are masked.
    """

    def __init__(self, on_step: Callable[[Step], None] | None, *, deleting: bool = False) -> None:
        self.steps: list[Step] = []
        self.errors: list[str] = []
        self.outputs: Mapping[str, Any] = {}
        self._deleting = deleting  # a destroy also tells of the program that it runs for its providers' sake
        self._on_step = on_step
        self._seen: set[str] = set()
        self._lock = Lock()  # the SDK hands events over in threads of its own

    def __call__(self, event: EngineEvent) -> None:
        """Take one event of the engine."""
        if event.diagnostic_event:
            self._said(event.diagnostic_event)
        # what stays as it is has no second event; the rest counts when it is done
        elif event.resource_pre_event and event.resource_pre_event.metadata.op is OpType.SAME:
            self._step(event.resource_pre_event.metadata)
        elif event.res_outputs_event:
            done = event.res_outputs_event.metadata
            if done.type == STACK_TYPE and done.new:
                self.outputs = done.new.outputs or {}
            self._step(done)

    def _step(self, done: StepEventMetadata) -> None:
        action = ACTIONS.get(done.op)
        with self._lock:
            unwanted = self._deleting and action is not Action.DELETE
            if action is Action.UPDATE and done.urn in self._seen:
                self._changed(done.urn, tuple(sorted(done.detailed_diff or done.diffs or ())))
            if action is None or unwanted or done.urn in self._seen:
                return
            self._seen.add(done.urn)
            changed = done.detailed_diff or done.diffs or ()
            paths = tuple(sorted(changed)) if action in {Action.UPDATE, Action.REPLACE} else ()
            step = Step(action, done.urn, done.type, done.urn.rpartition("::")[2], paths, NOTES.get(done.op))
            self.steps.append(step)
            if self._on_step:
                self._on_step(step)

    def _changed(self, urn: str, paths: tuple[str, ...]) -> None:
        """An import is followed by an update of what the program wants otherwise: one step here."""
        for index, step in enumerate(self.steps):
            if step.urn == urn and step.action is Action.IMPORT:
                self.steps[index] = replace(step, changed=paths)

    def _said(self, told: DiagnosticEvent) -> None:
        text = _COLOURS.sub("", told.message)
        if told.severity == "error":
            self._error(text)
        elif told.severity in LEVELS and not told.ephemeral:
            log.log(LEVELS[told.severity], "%s", text.strip())

    def _error(self, message: str) -> None:
        text = message.partition("\nTraceback (most recent call last)")[0].strip()
        for prefix in _PREFIXES:
            text = text.removeprefix(prefix)
        with self._lock:
            if text and text not in self.errors:
                self.errors.append(text)
