"""Entry points that name something, and not what is asked for."""

from __future__ import annotations

from typing import Any

NOT_A_FACTORY = "a text"


class Provider:
    """As lexigram's plug-ins of a container are: made without arguments, and useful to that container only."""

    async def register(self, container: Any) -> None:  # noqa: ARG002 - as there
        raise AssertionError("nobody registers it here")


def give_something(config: Any) -> list[Any]:
    return [config.name]
