"""Resources that no emulator has: they live in the state only."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from infra.engine.providers.handler import Cloud, Created, Handler, Live

if TYPE_CHECKING:
    from collections.abc import Mapping


class Noted(Handler[Cloud]):
    """A resource that is nowhere but in the state; a subclass names what is therefore not held in ``kept``."""

    @abstractmethod
    def identity(self, inputs: Mapping[str, Any]) -> str:
        """The id that the cloud would give."""

    def outputs(self, resource_id: str) -> dict[str, Any]:
        """What the cloud would compute."""
        del resource_id
        return {}

    def create(self, inputs: dict[str, Any]) -> Created:
        return Created(self.identity(inputs))

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        return Live({}, self.outputs(resource_id))

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Nothing to call."""

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        """Nothing to call."""

    def find(self, inputs: dict[str, Any]) -> str | None:
        del inputs
        return None  # an interrupted creation left nothing behind
