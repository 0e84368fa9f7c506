"""One resource type: the API calls behind it, and how its settings compare.

A handler works on plain dicts in the provider's camelCase names; `infra.engine.providers.base` does all the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from infra.engine.providers import compare
from runtime.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Cloud = TypeVar("Cloud")


@dataclass(frozen=True, slots=True)
class Live:
    """A resource as the server shows it.

    Attributes:
        inputs: Its settings, in the names and shapes that a program writes.
        outputs: What the service computed (``arn``, …).
        unheld: Properties that were not sent, and why: path -> reason.
    """

    inputs: dict[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict)
    unheld: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Created:
    """The id of a new resource, and outputs that only the answer to its creation shows (a secret key)."""

    id: str
    outputs: dict[str, Any] = field(default_factory=dict)


class Handler(ABC, Generic[Cloud]):
    """One resource type: the API calls behind it, over plain dicts with the provider's camelCase names.

    Attributes:
        type_name: Pulumi's type token.
        required: Properties without which the service would make something up.
        held: Properties that `read` shows as they are on the server; a difference there is drift.
        kept: Properties that live in the state only: name -> why the emulator does not hold it, or None when it is no
            setting of the service at all (``forceDestroy``). Any property that is in neither is kept and reported.
        replace: Properties whose change needs a new resource.
        names: Properties that make up the physical name: with all of them unchanged the old one has to go first.
        defaults: What the service takes where the program says nothing, the same for every resource.
        filled: Properties that the service fills in by itself (``region``): compared only when the program gives them.
        policies: Properties that are JSON policies, compared by meaning.
        unordered: Names of lists, at any depth, whose order means nothing.
        secrets: Outputs that are secret whatever the inputs were.
    """

    type_name: ClassVar[str]
    required: ClassVar[frozenset[str]] = frozenset()
    held: ClassVar[frozenset[str]] = frozenset()
    kept: ClassVar[Mapping[str, str | None]] = {}
    replace: ClassVar[frozenset[str]] = frozenset()
    names: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[Mapping[str, Any]] = {}
    filled: ClassVar[frozenset[str]] = frozenset()
    policies: ClassVar[frozenset[str]] = frozenset()
    unordered: ClassVar[frozenset[str]] = frozenset()
    secrets: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def check(self, inputs: Mapping[str, Any]) -> Iterator[Problem]:
        """What is wrong with the inputs, before anything is called; unknown values are in there in a preview."""
        for name in sorted(self.required):
            if inputs.get(name) is None or inputs[name] == "":
                yield Problem(name, "is required; names are explicit here, none is made up")

    @abstractmethod
    def create(self, inputs: dict[str, Any]) -> Created:
        """Make it. Everything that `update` would set is set as well."""

    @abstractmethod
    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        """How it is now, or None when it does not exist.

        Args:
            resource_id: What `create` gave.
            state: Inputs, and after the creation the outputs too, as last known.
        """

    @abstractmethod
    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Change it from the last known state to the new inputs."""

    @abstractmethod
    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        """Remove it; that it is gone already is success."""

    def own_id(self, import_id: str) -> str:
        """The id of a resource that is imported by another one; by default they are the same."""
        return import_id

    def find(self, inputs: dict[str, Any]) -> str | None:
        """The id of what a creation that was interrupted left behind, if it can be told.

        Asked only when the state says that such a creation was begun. By default the name properties, joined by
        ``:`` in alphabetical order, are tried as an id.
        """
        parts = [inputs.get(name) for name in sorted(self.names)]
        if not parts or not all(isinstance(part, str) for part in parts):
            return None
        resource_id = ":".join(map(str, parts))
        return resource_id if self.read(resource_id, inputs) is not None else None

    def echoed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the cloud gives back in another form, in that form: for a preview, which asks no server."""
        del inputs
        return {}

    def normal(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Properties in the one spelling in which they are compared."""
        filled = {**self.defaults, **values}
        for name in self.policies & filled.keys():
            filled[name] = compare.canonical_policy(filled[name])
        return compare.tidy(filled, self.unordered) or {}
