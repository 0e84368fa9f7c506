"""How a program is handed to Pulumi's SDK in this process."""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def begun(program: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    """The program, ended only when everything that it registered has begun to be handled.

    The SDK waits for what it knows to be under way, one after the other. Where nothing has begun yet it waits for any
    output of all instead, again and again: that is quadratic, and took half of the time of 200 backends.
    """

    async def body() -> None:
        found = program()
        if isawaitable(found):
            await found
        await asyncio.sleep(0)  # every registration is a task that is to run its first step

    return body
