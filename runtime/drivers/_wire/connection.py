"""One connection to an HTTP/1.1 server: one request at a time, written in one piece, read in large ones.

An asyncio protocol that receives into buffers of its own (`asyncio.BufferedProtocol`). What is small costs one system
call each way and wakes its task once; of what is large neither side is held in memory, as both sides can be paused.
Silence is watched by one timer of the connection, not by one of every read.

Source:
    https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from runtime.drivers._wire.answer import ALL, Answer
from runtime.drivers._wire.body import Body
from runtime.drivers._wire.errors import BadAnswerError, DisconnectedError, SilentError
from runtime.drivers._wire.parser import Parser
from runtime.drivers._wire.watch import KEPT_SECONDS, Watch

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from runtime.driver import Bytes

SCRATCH: Final = 64 * 1024
"""Bytes of the buffer that heads, small bodies and bodies in chunks are received into."""

HELD: Final = 256 * 1024
"""Bytes of a body in chunks that are kept while nobody wants them; then reading is paused."""

SLICE: Final = 256 * 1024
"""Bytes of one write: the transport copies what the kernel does not take at once."""


class Connection(asyncio.BufferedProtocol):
    """One connection.

    Attributes:
        open: Whether it can be used.
        moved: When something moved last, by the clock of the event loop.

    Args:
        silence: Seconds of silence within an exchange after which it is given up; None for any.
        on_idle: Called when another request can be sent.
        on_lost: Called when it is closed.
    """

    def __init__(
        self, silence: float | None, on_idle: Callable[[Connection], None], on_lost: Callable[[Connection], None]
    ) -> None:
        self.open = True
        self._loop = asyncio.get_running_loop()
        self.moved = self._loop.time()
        self._silence = silence
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._scratch = memoryview(bytearray(SCRATCH))
        self._parser = Parser()
        self._busy = self._paused = self._sending = self._whole = False
        self._most = ALL
        self._body: Body | None = None
        self._waiter: Future[Answer | None] | None = None
        self._writable: Future[None] | None = None
        self._watch = Watch(self._loop, silence, self._due, self._overdue)

    @property
    def rested(self) -> float:
        """Seconds since something moved."""
        return self._loop.time() - self.moved

    @property
    def bodyless(self) -> bool:
        """Whether no body is on its way: the last one was taken to its end."""
        return self._body is None

    # requests

    async def exchange(
        self, head: bytes, body: Sequence[Bytes], *, bodyless: bool, whole: bool, most: int = ALL
    ) -> Answer:
        """Send one request and give its answer.

        Whatever is raised, a cancellation too, closes the connection, unless the answer was whole already.

        Args:
            head: The head, whole.
            body: Buffers that make up the body.
            bodyless: Whether the answer has no body, whatever its head says: HEAD.
            whole: Whether to wait for the whole body; else it is taken from the answer.
            most: Bytes that a whole body may have.
        """
        self._parser.expect(bodyless=bodyless)
        self._busy, self._whole, self._most = True, whole, most
        self.moved = self._loop.time()
        self._watch.begin(self.moved)
        waiter: Future[Answer | None] = self._loop.create_future()
        self._waiter = waiter
        try:
            if not body:
                self._transport.write(head)
            elif sum(map(len, body)) <= SCRATCH:
                self._transport.write(b"".join((head, *body)))
            else:
                await self._send(head, body, waiter)
            answer = await waiter
        except BaseException:
            if self._waiter is waiter:  # else the answer was whole, and the connection may be another request's by now
                self.abort()
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()  # it was seen, or does not matter any more
            raise
        # the connection may have begun with another request meanwhile, unless this one's body is still on it
        if answer is not None:
            return answer
        data = b"" if self._body is None else self._taken(self._body)
        return Answer(self._parser.status, self._parser.headers, data, None)

    async def _send(self, head: bytes, body: Sequence[Bytes], waiter: Future[Answer | None]) -> None:
        self._sending = True
        self._transport.write(head)
        for buffer in body:
            view = memoryview(buffer).cast("B")
            for start in range(0, len(view), SLICE):
                if self._writable is not None:
                    await self._writable
                if waiter.done():  # answered or broken: nobody reads the rest
                    return
                self.moved = self._loop.time()
                self._transport.write(view[start : start + SLICE])
        self._sending = False

    # bodies

    async def take(self, size: int) -> bytes:
        """The next *size* bytes of the body; fewer only at its end, or where it breaks off."""
        body = self._body
        if body is None:
            return b""
        waiter: Future[None] = self._loop.create_future()
        if not body.want(size, waiter):
            self._resume()
            try:
                await waiter
            except BaseException:
                self.abort()
                raise
        data = self._taken(body)
        if not data and body.error is not None:
            raise body.error
        return data

    async def read(self, most: int) -> bytes:
        """All that is left of the body, when it is no more than *most* bytes."""
        if self._body is None:
            return b""
        try:
            self._body.limit(most)
        except BaseException:
            self.abort()
            raise
        self._most = most
        body, data = self._body, await self.take(ALL)
        if body.error is not None:
            raise body.error
        return data

    def give_up(self) -> None:
        """Close, unless the body was taken to its end."""
        if self._body is not None:
            self.abort()

    def _taken(self, body: Body) -> bytes:
        data = body.take()
        if body.direct and body.left == 0:
            body.ended = True
        if body.ended and not body.held:
            self._body = None
            self._finished()
        return data

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        body = self._body
        if body is not None and body.target is not None and body.filled < len(body.target):
            return body.target[body.filled :]
        return self._scratch  # never an empty buffer: asyncio's TLS would take it for the end

    def buffer_updated(self, nbytes: int) -> None:
        self.moved = self._loop.time()
        body = self._body
        if body is not None and body.direct:
            if body.target is not None and body.filled < len(body.target):
                body.arrived(nbytes)
            else:
                self._unwanted(body, nbytes)
        elif self._busy:
            self._parse(self._scratch[:nbytes])
        else:
            self.abort()  # nobody asked

    def _unwanted(self, body: Body, count: int) -> None:
        extra = count + body.held - (body.left or 0)
        if extra > 0:
            self._parser.keep = False  # bytes behind the answer
            count -= extra
        body.hold(bytes(self._scratch[:count]))
        self._pause()

    def _parse(self, data: memoryview) -> None:
        parser = self._parser
        try:
            parser.feed(data)
        except BadAnswerError as exc:
            self._fail(exc)
            return
        if not parser.headed:
            return
        body = self._body
        if body is None:
            if parser.ended:  # all at once: the usual case
                self._answered(Answer(parser.status, parser.headers, b"".join(parser.body), None))
                self._finished()
                return
            self._begin_body(parser)
            return
        for piece in parser.body:
            body.hold(piece)
        parser.body.clear()
        if body.held > self._most:
            self._fail(BadAnswerError(f"the server's answer has more than {self._most:,} bytes"))
        elif parser.ended:
            body.end()
        elif body.held >= HELD and not body.wanted:
            self._pause()

    def _begin_body(self, parser: Parser) -> None:
        body = self._body = Body(parser.length)
        for piece in parser.body:
            body.hold(piece)
        parser.body.clear()
        if parser.length is not None:
            parser.take_over()
        waiter = self._waiter
        if not self._whole or waiter is None:
            self._answered(Answer(parser.status, parser.headers, b"", self))
            return
        try:
            body.limit(self._most)
        except BadAnswerError as exc:
            self._fail(exc)
        else:
            body.want(ALL, waiter)

    def _answered(self, answer: Answer) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)
        if self._writable is not None:
            self._wake(self._writable)  # nobody reads the rest of the request

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self.moved = self._loop.time()
        writable, self._writable = self._writable, None
        self._wake(writable)

    def connection_lost(self, exc: Exception | None) -> None:
        by_server, self.open = self.open and exc is None, False
        self._watch.end()
        body, waiter = self._body, self._waiter
        if body is not None and self._parser.until_closed and by_server:
            body.end()
        else:
            error = DisconnectedError(answered=self._parser.touched)
            error.__cause__ = exc
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
            elif body is not None:
                body.fail(error)
        self._wake(self._writable)
        self._on_lost(self)

    # the end of things

    def abort(self) -> None:
        """Close at once."""
        self.open = False
        self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        elif self._body is not None:
            self._body.fail(error)
        self._wake(self._writable)
        self.abort()

    def _finished(self) -> None:
        """The answer is whole."""
        self._busy, self._waiter = False, None
        if self._parser.keep and not self._sending and self.open:
            self._resume()  # the end of a body may have been held while nobody wanted it
            self._on_idle(self)
        else:
            self.abort()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.moved = self._loop.time()
            self._transport.resume_reading()

    @staticmethod
    def _wake(waiter: Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _due(self) -> float | None:
        """When the watch has to end this connection, as things stand; None when nothing is due to the server."""
        if not self._busy:
            return self.moved + KEPT_SECONDS
        if self._silence is None or self._paused or (self._body is not None and not self._body.wanted):
            return None
        return self.moved + self._silence

    def _overdue(self) -> None:
        if self._busy:
            self._fail(SilentError(f"the server was silent for {self._silence:g} s"))
        else:
            self.abort()
