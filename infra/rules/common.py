"""What a security rule is: a pure function over the resources of one backend, which tells what it found.

A rule sees resources as the program registers them (`infra.recording`), so it needs no cloud, no credentials and no
engine, and judges the settings that will be made rather than the words that asked for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from infra.recording import Record

ALWAYS: Final = frozenset({"dev", "standard", "regulated"})
"""Profiles of a rule that costs nothing to keep."""

NOT_DEV: Final = frozenset({"standard", "regulated"})
"""Profiles of a rule that would only be in the way where everything can be lost."""

REGULATED: Final = frozenset({"regulated"})
"""Profiles of a rule that takes something away which others need: deletion, the open internet."""

PACKAGES: Final[Mapping[str, str]] = {"AWS": "aws", "AZ": "azure-native", "GCP": "gcp", "R2": "cloudflare"}
"""The package whose resources a family of rules is about; the others are about any."""

WRITTEN_ONCE: Final = "logs are written once, and by nobody but the service"

KEY_OF_LOGS: Final = "a key that is lost would take along the evidence of how"

LOGS_EXPIRE: Final = "logs are deleted by their age, and by nobody else"

NO_END: Final = "a log of the log would never end"

_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a rule looked at.

    Attributes:
        resource: Name of the resource in the program.
        type: Its type token.
        path: The property, as in ``rules[0].bucketKeyEnabled``; the type token of a resource that should be there.
        found: What it is; None when it is not set.
        expected: What it should be, in words.
        ok: Whether it is.
    """

    resource: str
    type: str
    path: str
    found: Any
    expected: str
    ok: bool

    def __str__(self) -> str:
        found = "is not set" if self.found is None else f"found {self.found!r}"
        return f"{self.resource} {self.path}: {found}; expected: {self.expected}"


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of one backend, for rules.

    Attributes:
        backend: Name of the backend.
        records: Its resources.
        kinds: How many resources of the stack are of a type and for a bucket.
        logs: Whether these are a place for the access logs of others, and no backend.
        packages: The providers' packages that they are of.
        taken_over: The bucket that was there before and has become the stack's; empty when the program makes it.
    """

    backend: str
    records: Sequence[Record]
    kinds: Mapping[tuple[str, Any], int] = field(repr=False)
    logs: bool = False
    packages: frozenset[str] = frozenset(PACKAGES.values())
    taken_over: str = ""
    _by_type: dict[str, list[Record]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Sort the resources by type once: there are sixty rules."""
        for record in self.records:
            self._by_type.setdefault(record.type, []).append(record)

    def of(self, *types: str) -> list[Record]:
        """Its resources of these types, also those that were there before."""
        return [record for kind in types for record in self._by_type.get(kind, ())]

    def made(self, *types: str) -> list[Record]:
        """Its resources of these types that the program makes; what is adopted is somebody else's."""
        return [record for record in self.of(*types) if not record.adopted]

    def beside(self, made: str, kind: str, expected: str, test: Callable[[Record], Iterable[Check]]) -> Iterator[Check]:
        """Every resource of type *kind* by *test*; where a bucket of type *made* has none, that it is missing."""
        found = self.of(kind)
        for record in found:
            yield from test(record)
        if not found:
            yield from (missing(record, kind, expected) for record in self.made(made))


@dataclass(frozen=True, slots=True)
class Rule:
    """One security rule.

    Attributes:
        id: ``AWS-01``.
        title: What holds where the rule is kept.
        sources: The published rules that say the same.
        examine: Looks at a backend; tells nothing where there is nothing of its kind.
        profiles: Profiles that it belongs to.
        not_emulated: Why an emulator can not keep it; empty when it can.
        not_of_logs: Why a place for access logs does not keep it; empty when it does.
    """

    id: str
    title: str
    sources: tuple[str, ...]
    examine: Callable[[Resources], Iterable[Check]] = field(repr=False)
    profiles: frozenset[str] = ALWAYS
    not_emulated: str = ""
    not_of_logs: str = ""

    def applies(self, resources: Resources, profile: str) -> bool:
        """Whether the rule is for these resources, under a profile."""
        package = PACKAGES.get(self.id.partition("-")[0])
        here = package is None or package in resources.packages
        return here and profile in self.profiles and not (resources.logs and self.not_of_logs)


def rule(
    identity: str,
    title: str,
    sources: str,
    *,
    profiles: frozenset[str] = ALWAYS,
    not_emulated: str = "",
    not_of_logs: str = "",
) -> Callable[[Callable[[Resources], Iterable[Check]]], Rule]:
    """Make the function below into a rule; *sources* are separated by commas."""

    def made(examine: Callable[[Resources], Iterable[Check]]) -> Rule:
        return Rule(identity, title, tuple(sources.split(", ")), examine, profiles, not_emulated, not_of_logs)

    return made


def holds(record: Record, path: str, test: Callable[[Any], bool], expected: str) -> Check:
    """Whether the property at *path* of a resource is what it should be."""
    found = value(record.inputs, path)
    return Check(record.name, record.type, path, found, expected, test(found))


def equals(record: Record, path: str, wanted: Any) -> Check:
    """Whether the property at *path* has this very value; ``1`` is not ``True``."""
    return holds(record, path, lambda found: found == wanted and type(found) is type(wanted), repr(wanted))


def protected(record: Record) -> Check:
    """Whether Pulumi refuses to delete the resource."""
    return Check(record.name, record.type, "protect", record.protect, "True", record.protect)


def missing(record: Record, kind: str, expected: str) -> Check:
    """That a resource of type *kind* should be beside another."""
    return Check(record.name, record.type, kind, None, expected, ok=False)


def present(found: Any) -> bool:
    """Whether a property is set to something, known already or not."""
    return bool(found)


def value(properties: Mapping[str, Any], path: str) -> Any:
    """A property by its path; None when it is not set.

    >>> value({"rules": [{"id": "a"}]}, "rules[0].id")
    'a'
    """
    node: Any = properties
    for key, index in _steps(path):
        if index:
            node = node[int(index)] if isinstance(node, list) and int(index) < len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) or hasattr(node, "get") else None
    return node


@cache
def _steps(path: str) -> list[tuple[str, str]]:
    return _STEP.findall(path)


def items(record: Record, path: str) -> Iterator[tuple[str, Any]]:
    """Path and value of every item of a list."""
    found = value(record.inputs, path)
    for index, item in enumerate(found if isinstance(found, list) else ()):
        yield f"{path}[{index}]", item
