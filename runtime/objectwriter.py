"""An object as an async file to write: it becomes visible when the block ends well, and not at all otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from runtime.driver import Bytes
    from runtime.models import FileInfo


class ObjectWriter:
    """One object being written.

    ``async with store.open_writer(path) as file: await file.write(data)``. The block's clean end commits it and
    fills `info`. An exception in the block, also a cancellation, aborts it: the old object (or none) is visible,
    and nothing is left. What the service refuses is raised by `write`, or at the end of the block. Enter and leave
    it in the same task; one task at a time may write.

    Args:
        upload: Uploads what an async iterator gives.
    """

    def __init__(self, upload: Callable[[AsyncGenerator[bytes, None]], Awaitable[FileInfo]]) -> None:
        self._upload = upload
        self._info: FileInfo | None = None
        self._failure: Exception | None = None
        self._sender: MemoryObjectSendStream[bytes] | None = None

    @property
    def info(self) -> FileInfo:
        """What was written; there when the block has ended."""
        if self._info is None:
            raise ValueError("the object is not written yet: it is when the `async with` block ends")
        return self._info

    async def __aenter__(self) -> Self:
        # no room: a piece is taken when it is wanted, so the writer adds no memory of its own
        self._sender, receiver = anyio.create_memory_object_stream[bytes](0)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run, receiver)
        return self

    async def write(self, data: Bytes) -> int:
        """Add *data*, and give its size in bytes. It waits while enough parts are on their way."""
        if self._sender is None:
            raise ValueError("the writer is not open: use `async with`")
        piece = bytes(memoryview(data))  # the caller may use the buffer again
        if piece:
            try:
                await self._sender.send(piece)
            except anyio.BrokenResourceError:
                if self._failure is not None:
                    raise self._failure from None
                raise
        return len(piece)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._tasks.cancel_scope.cancel()
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        await self._tasks.__aexit__(None, None, None)
        if error is None and self._failure is not None:
            raise self._failure

    async def _run(self, receiver: MemoryObjectReceiveStream[bytes]) -> None:
        try:
            self._info = await self._upload(_pieces(receiver))
        except Exception as exc:  # noqa: BLE001 - raised by `write` or at the end, without the group around it
            self._failure = exc
        finally:
            receiver.close()


async def _pieces(receiver: MemoryObjectReceiveStream[bytes]) -> AsyncGenerator[bytes, None]:
    async for piece in receiver:
        yield piece
