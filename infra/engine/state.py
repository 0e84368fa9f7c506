"""What the embedded engine knows about a stack, kept so that a crash at any moment loses nothing.

``.tandem/<stack>/`` holds four files of mode 0600:

``state.json``
    The resources of the last finished run, replaced atomically.
``state.journal``
    One line for every step since then, written before the next step begins. A run that ends folds it into
    ``state.json``; after a crash or Ctrl-C the next run reads it and goes on from there. A last line that was cut off
    stands for a step that had not been acknowledged.
``secrets/state.json``
    The vault: every secret value of the state. ``state.json`` and the journal hold references only (a salted hash),
    so that they can be looked at and sent around.
``state.lock``
    Held by the run that changes the stack; the operating system frees it when that process ends, however it ends.

The directory is `$TANDEM_STATE`, or ``.tandem`` beside ``Pulumi.yaml``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from infra import private
from infra.endpoints import state_directory
from infra.engine.vault import Vault
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from infra.stack import Stack

FORMAT: Final = 1
"""Version of the files. One that is newer is refused."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource as last known.

    Attributes:
        urn: Pulumi's name of it.
        type: Type token.
        name: Name in the program.
        custom: Whether a provider manages it; a component is only recorded.
        id: The provider's id; empty while its creation is under way.
        provider: URN of the explicit provider.
        parent: URN of the parent.
        dependencies: URNs that it needs: it is deleted before them.
        inputs: What the program asked for.
        outputs: What the provider answered, the inputs included.
        secrets: Top-level names, in inputs or outputs, whose values are secret.
        protect: Whether it refuses to be deleted or replaced.
        retain: Whether it stays on the server when it leaves the stack.
    """

    urn: str
    type: str
    name: str
    custom: bool = True
    id: str = ""
    provider: str = ""
    parent: str = ""
    dependencies: tuple[str, ...] = ()
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    protect: bool = False
    retain: bool = False

    @property
    def needs(self) -> frozenset[str]:
        """URNs that have to outlive this resource."""
        return frozenset({*self.dependencies, self.provider, self.parent} - {"", self.urn})


@dataclass(slots=True)
class Contents:
    """What the files say.

    Attributes:
        resources: By URN, in the order of their creation.
        begun: Creations that were begun and not acknowledged, by URN.
        replaced: Old resources whose replacement exists and which are still to be deleted.
        outputs: The stack's outputs, and which of them are secret.
        serial: How often ``state.json`` was written.
    """

    resources: dict[str, Entry] = field(default_factory=dict)
    begun: dict[str, Entry] = field(default_factory=dict)
    replaced: list[Entry] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    secret_outputs: frozenset[str] = frozenset()
    serial: int = 0

    def apply(self, change: dict[str, Any]) -> None:
        """Take one step over.

        Args:
            change: ``drop`` (URNs that are gone), ``begin`` (an entry whose creation starts), ``abandon`` (one whose
                creation failed without a trace), ``retire`` (one that was replaced), ``put`` (one as it is now) and
                ``forget`` (one that was replaced, and is deleted).
        """
        for urn in change.get("drop", ()):
            self.resources.pop(urn, None)
            self.begun.pop(urn, None)
        if "abandon" in change:
            self.begun.pop(change["abandon"].urn, None)
        if "begin" in change:
            self.begun[change["begin"].urn] = change["begin"]
        if "retire" in change:
            self.replaced.append(change["retire"])
        if "put" in change:
            entry = change["put"]
            self.begun.pop(entry.urn, None)
            self.resources[entry.urn] = entry
        if "forget" in change:
            gone = change["forget"]
            self.replaced = [entry for entry in self.replaced if (entry.urn, entry.id) != (gone.urn, gone.id)]


class StateFile:
    """The state of one stack: read once, then written step by step.

    Only the holder of `infra.engine.lock.StackLock` may write. Not thread-safe by itself: the deployment calls it
    under its own lock.
    """

    def __init__(self, stack: Stack) -> None:
        self.directory = state_directory(stack)
        self.path = self.directory / "state.json"
        self._journal = self.directory / "state.journal"
        self._whose = {"project": stack.project, "stack": stack.name}
        self._vault = Vault(self.directory / "secrets" / "state.json")
        self._stream: int | None = None
        self._new_outputs = False
        self.contents = self._read()

    def record(self, **change: Any) -> None:
        """Take one step over and write it down before anything else happens (see `Contents.apply`)."""
        self.contents.apply(change)
        if self._stream is None:
            self._stream = self._begin_journal()
        _append(self._stream, self._encoded(change))

    def set_outputs(self, outputs: dict[str, Any], secrets: frozenset[str]) -> None:
        """The stack's outputs; written when the run ends."""
        contents = self.contents
        self._new_outputs = (contents.outputs, contents.secret_outputs) != (outputs, secrets)
        contents.outputs, contents.secret_outputs = outputs, secrets

    def close(self) -> None:
        """Fold the journal into ``state.json``, so that a run leaves one file behind; without news, write nothing."""
        if not (self._new_outputs or self._journal.exists()):
            return
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None
        contents = self.contents
        document = {
            "format": FORMAT,
            **self._whose,
            "serial": contents.serial + 1,
            "resources": [self._to_json(entry) for entry in contents.resources.values()],
            "begun": [self._to_json(entry) for entry in contents.begun.values()],
            "replaced": [self._to_json(entry) for entry in contents.replaced],
            "outputs": self._vault.hide(contents.outputs, contents.secret_outputs),
            "secretOutputs": sorted(contents.secret_outputs),
        }
        self._vault.save()
        private.write(self.path, json.dumps(document, indent=1, sort_keys=True) + "\n")
        contents.serial += 1
        self._journal.unlink(missing_ok=True)
        self._vault.prune(json.dumps(document))

    # -- reading ----------------------------------------------------------------------------------------------

    def _read(self) -> Contents:
        contents = Contents()
        if self.path.exists():
            document = self._parse(_text(self.path), self.path)
            if document.get("format", FORMAT) != FORMAT:
                raise self._broken(self.path, f"format {document['format']!r}; this version reads {FORMAT}")
            if any(document.get(key) != value for key, value in self._whose.items()):
                whose = f"{document.get('project')}/{document.get('stack')}"
                raise self._broken(self.path, f"it belongs to {whose}, not to {'/'.join(self._whose.values())}")
            try:
                contents = self._contents(document)
            except (KeyError, TypeError, AttributeError) as exc:
                raise self._broken(self.path, f"an entry is not complete: {exc}") from exc
        if self._journal.exists():
            self._replay(contents)
        return contents

    def _contents(self, document: dict[str, Any]) -> Contents:
        entries = [self._from_json(entry) for entry in document["resources"]]
        begun = [self._from_json(entry) for entry in document["begun"]]
        return Contents(
            resources={entry.urn: entry for entry in entries},
            begun={entry.urn: entry for entry in begun},
            replaced=[self._from_json(entry) for entry in document["replaced"]],
            outputs=self._vault.show(document["outputs"]),
            secret_outputs=frozenset(document["secretOutputs"]),
            serial=_number(document["serial"]),
        )

    def _replay(self, contents: Contents) -> None:
        whole, _, _cut_off = _text(self._journal).rpartition("\n")
        lines = whole.split("\n") if whole else []
        for number, line in enumerate(lines):
            change = self._parse(line, self._journal, number + 1)
            if number == 0:
                if change.get("serial") != contents.serial:
                    return  # folded in already: only its removal was interrupted
                continue
            try:
                contents.apply(self._decoded(change))
            except (KeyError, TypeError, AttributeError) as exc:
                raise self._broken(self._journal, f"line {number + 1} is not complete: {exc}") from exc

    def _parse(self, text: str, path: Path, line: int = 0) -> dict[str, Any]:
        try:
            document = json.loads(text)
        except ValueError as exc:
            where = f"line {line}" if line else f"line {getattr(exc, 'lineno', 1)}"
            raise self._broken(path, f"{where} is not JSON") from exc
        if not isinstance(document, dict):
            raise self._broken(path, "it is no JSON object")
        return document

    def _broken(self, path: Path, why: str) -> ConfigError:
        return ConfigError(
            f"the state can not be read: {why}",
            source=str(path),
            hint="put a copy of it back; or move it away and start the emulators empty, and `up` makes all anew",
        )

    # -- writing ----------------------------------------------------------------------------------------------

    def _begin_journal(self) -> int:
        private.directory(self.directory)
        # what an earlier journal says is in `contents`: fold it in, so that the new one starts from a known serial
        if self._journal.exists():
            self.close()
        stream = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        _append(stream, {"serial": self.contents.serial})
        return stream

    def _encoded(self, change: dict[str, Any]) -> dict[str, Any]:
        encoded = {key: self._to_json(item) if isinstance(item, Entry) else item for key, item in change.items()}
        self._vault.save()  # before the line that refers to it
        return encoded

    def _decoded(self, change: dict[str, Any]) -> dict[str, Any]:
        return {key: self._from_json(item) if isinstance(item, dict) else item for key, item in change.items()}

    def _to_json(self, entry: Entry) -> dict[str, Any]:
        hidden = replace(
            entry,
            inputs=self._vault.hide(entry.inputs, entry.secrets),
            outputs=self._vault.hide(entry.outputs, entry.secrets),
        )
        return {key: sorted(value) if key == "secrets" else value for key, value in asdict(hidden).items()}

    def _from_json(self, document: dict[str, Any]) -> Entry:
        entry = Entry(**document)
        return replace(
            entry,
            dependencies=tuple(entry.dependencies),
            inputs=self._vault.show(entry.inputs),
            outputs=self._vault.show(entry.outputs),
            secrets=frozenset(entry.secrets),
        )


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no number")
    return value


def _append(stream: int, document: dict[str, Any]) -> None:
    """Write one line, whole or not at all: behind half a line the next one could not be read either."""
    line = memoryview((json.dumps(document, sort_keys=True) + "\n").encode())
    before = os.fstat(stream).st_size
    try:
        while line:
            line = line[os.write(stream, line) :]
    except OSError:
        os.ftruncate(stream, before)
        raise


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"the state can not be read: {exc}", source=str(path)) from exc
