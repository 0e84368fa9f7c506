"""Our HTTP/1.1 client against a server that answers as it is told, byte by byte where that matters."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from runtime.drivers._wire.client import Wire
from runtime.drivers._wire.connection import HELD, SCRATCH, SLICE
from runtime.drivers._wire.errors import (
    BadAnswerError,
    DisconnectedError,
    NotConnectedError,
    NotConnectedInTimeError,
    SilentError,
    WireError,
)
from runtime.drivers._wire.parser import MOST_HEAD, MOST_HEADERS
from runtime.drivers._wire.watch import Watch
from runtime.testing.conformance.support import payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
DATA = payload(3 * MIB)


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request, with its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((int(h[15:]) for h in head.split(b"\r\n") if h.startswith(b"content-length:")), 0)
        return head + await self.reader.readexactly(length)

    async def say(self, *pieces: bytes, pause: float = 0.01) -> None:
        """Write the pieces, each as a segment of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(pause)


class Server:
    """Serves each connection with the next of its scripts; the last one serves all further ones."""

    def __init__(self, *scripts: Callable[[Peer], Awaitable[None]]) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.asked: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        peer = Peer(reader, writer)
        ask = peer.request

        async def request() -> bytes:
            self.asked.append(await ask())
            return self.asked[-1]

        peer.request = request  # type: ignore[method-assign] # kept for the test
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, as some tests want
        finally:
            writer.close()


def says(*pieces: bytes, close: bool = False) -> Callable[[Peer], Awaitable[None]]:
    """A script: the same pieces to every request of the connection."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(*pieces)
            if close:
                return

    return script


@asynccontextmanager
async def serving(
    *scripts: Callable[[Peer], Awaitable[None]], silence: float | None = 5.0
) -> AsyncIterator[tuple[Wire, Server]]:
    server = Server(*scripts)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        netloc = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        wire = Wire("http", netloc, silence=silence)
        try:
            yield wire, server
        finally:
            await wire.close()


def counts(wire: Wire) -> tuple[int, int]:
    """Connections that are kept, and connections at all."""
    return len(wire._idle), len(wire._open)


class TestAnswers:
    @pytest.mark.parametrize("size", [1, 7, 10_000])
    async def test_it_does_not_matter_where_the_segments_end(self, size: int) -> None:
        text = b"HTTP/1.1 200 OK\r\nX-One: a\r\nx-one: b\r\nEmpty:\r\ncontent-length: 5\r\n\r\nhello"
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        async with serving(says(*pieces)) as (wire, server):
            for _ in range(2):
                answer = await wire.send("GET", "/a", {"host": "h"})
                assert (answer.status, answer.body) == (200, b"hello")
                assert answer.headers == {"x-one": "a, b", "empty": "", "content-length": "5"}
            assert server.connections == 1

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("split", [0, 3, MIB])
    async def test_large_bodies_come_whole(self, split: int, *, whole: bool) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)
        async with serving(says(head + DATA[:split], DATA[split:])) as (wire, server):
            for _ in range(3):
                answer = await wire.send("GET", "/", {}, whole=whole)
                assert (answer.body if whole else await answer.read()) == DATA
            assert server.connections == 1

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("chunk", [1, 100, 100_000])
    async def test_bodies_in_chunks_come_whole(self, chunk: int, *, whole: bool) -> None:
        data = DATA[: min(len(DATA), chunk * 1000)]
        body = b"".join(
            b"%x;ext=1\r\n%s\r\n" % (len(data[start : start + chunk]), data[start : start + chunk])
            for start in range(0, len(data), chunk)
        )
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        trailer = b"0\r\nx-trailer: 1\r\n\r\n"
        async with serving(says(head + body[:5], body[5:], trailer)) as (wire, server):
            for _ in range(2):
                answer = await wire.send("GET", "/", {}, whole=whole)
                assert (answer.body if whole else await answer.read()) == data
            assert server.connections == 1

    async def test_pieces_have_the_size_that_was_asked_for(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)
        async with serving(says(head + DATA)) as (wire, _):
            answer = await wire.send("GET", "/", {}, whole=False)
            pieces = []
            while piece := await answer.take(100_000):
                pieces.append(piece)
            assert b"".join(pieces) == DATA
            assert {len(piece) for piece in pieces[:-1]} == {100_000}
            assert await answer.take(1) == b""
            assert counts(wire) == (1, 1)

    @pytest.mark.parametrize(
        ("method", "head"),
        [
            ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n"),
            ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
            ("HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n"),
            ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n"),
            ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
            ("PUT", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ],
    )
    async def test_answers_without_a_body_have_none(self, method: str, head: bytes) -> None:
        async with serving(says(head)) as (wire, server):
            for _ in range(2):
                assert (await wire.send(method, "/", {})).body == b""
            assert server.connections == 1

    async def test_interim_answers_are_not_the_answer(self) -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        async with serving(says(interim[:30], interim[30:] + OK)) as (wire, server):
            answer = await wire.send("PUT", "/", {}, [b"x"])
            assert (answer.status, answer.headers, answer.body) == (200, {"content-length": "2"}, b"ok")
            assert server.connections == 1

    @pytest.mark.parametrize("whole", [True, False])
    async def test_a_body_may_end_with_the_connection(self, *, whole: bool) -> None:
        async with serving(says(b"HTTP/1.1 200 OK\r\n\r\nfirst", b"second", close=True)) as (wire, server):
            for _ in range(2):
                answer = await wire.send("GET", "/", {}, whole=whole)
                assert (answer.body if whole else await answer.read()) == b"firstsecond"
            assert server.connections == 2

    async def test_nothing_is_decompressed_and_no_redirect_is_followed(self) -> None:
        text = (
            b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nraw"
        )
        async with serving(says(text)) as (wire, _):
            answer = await wire.send("GET", "/", {})
            assert (answer.status, answer.body) == (307, b"raw")


class TestBadAnswers:
    @pytest.mark.parametrize(
        "text",
        [
            b"\x00\x01\x02\x03\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"y" * MOST_HEAD,
            b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(MOST_HEADERS + 1)) + b"\r\n",
        ],
    )
    async def test_what_is_no_answer_is_an_error_and_ends_the_connection(self, text: bytes) -> None:
        async with serving(says(text)) as (wire, server):
            with pytest.raises(BadAnswerError):
                await wire.send("GET", "/secret-path?sig=secret", {"authorization": "secret"}, twice=True)
            await asyncio.sleep(0.01)
            assert counts(wire) == (0, 0)
            assert server.connections == 1

    @pytest.mark.parametrize("behind", [b"x", OK, b"\x00" * 100_000])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_bytes_behind_an_answer_are_given_to_nobody(self, behind: bytes, method: str) -> None:
        first = OK if method == "GET" else OK[:-2]
        async with serving(says(first + behind)) as (wire, server):
            for number in (1, 2):
                answer = await wire.send(method, "/", {})
                assert (answer.status, answer.body) == (200, b"ok" if method == "GET" else b"")
                assert server.connections == number

    async def test_bytes_behind_a_large_body_are_given_to_nobody(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)
        async with serving(says(head, DATA + OK)) as (wire, server):
            for number in (1, 2):
                answer = await wire.send("GET", "/", {}, whole=number == 1)
                assert (await answer.read()) == DATA
                await asyncio.sleep(0.05)
                assert server.connections == number

    async def test_an_unasked_answer_ends_a_kept_connection(self) -> None:
        async with serving(says(OK, OK)) as (wire, server):
            await wire.send("GET", "/", {})
            await asyncio.sleep(0.05)
            assert counts(wire) == (0, 0)
            assert (await wire.send("GET", "/", {})).body == b"ok"
            assert server.connections == 2

    @pytest.mark.parametrize(
        "text",
        [
            b"HTTP/1.1 200 OK\r\ncontent-length: 2001\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"3e8\r\n%s\r\n" % (b"x" * 1000) * 3,
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2001,
        ],
    )
    @pytest.mark.parametrize("whole", [True, False])
    async def test_no_more_is_read_than_is_accepted(self, text: bytes, *, whole: bool) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(text[:60], text[60:])
            await peer.reader.read()

        async with serving(script) as (wire, _):
            with pytest.raises(BadAnswerError, match=r"more than 2,000 bytes"):
                await (await wire.send("GET", "/", {}, whole=whole, most=2000)).read(2000)
            await asyncio.sleep(0.01)
            assert counts(wire) == (0, 0)

    async def test_half_an_answer_is_an_error(self) -> None:
        for text in (OK[:10], OK[:-1], b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"):
            for whole in (True, False):
                async with serving(says(text, close=True)) as (wire, server):
                    with pytest.raises(DisconnectedError) as caught:
                        await (await wire.send("GET", "/", {}, whole=whole, twice=True)).read()
                    assert caught.value.answered
                    assert server.connections == 1

    async def test_what_came_before_the_break_is_given_then_the_error(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)
        async with serving(says(head, DATA[:MIB], close=True)) as (wire, _):
            answer = await wire.send("GET", "/", {}, whole=False)
            got = b""
            while len(got) < MIB:
                got += await answer.take(300_000)
            assert got == DATA[:MIB]
            with pytest.raises(DisconnectedError):
                await answer.take(300_000)


class TestRequests:
    async def test_a_request_is_what_was_given_and_no_more(self) -> None:
        async with serving(says(OK)) as (wire, server):
            await wire.send("GET", "/a//b/../%2E?q=a%20b", {"host": "h", "x-a": " b "})
            await wire.send("PUT", "/", {"host": "h"}, [b"ab", memoryview(b"cd"), bytearray(b"e")])
            await wire.send("POST", "/", {"host": "h"})
            assert server.asked == [
                b"GET /a//b/../%2E?q=a%20b HTTP/1.1\r\nhost: h\r\nx-a:  b \r\n\r\n",
                b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nabcde",
                b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n",
            ]

    @pytest.mark.parametrize(
        ("target", "headers"),
        [
            ("/a\r\nx: y", {}),
            ("/a b", {}),
            ("/ä", {}),
            ("/", {"x": "a\r\nb: c"}),
            ("/", {"x": "a\nb: c"}),
            ("/", {"x": "a\rb"}),
            ("/", {"x\r\ny": "a"}),
            ("/", {"x": "a\0"}),
        ],
    )
    async def test_what_would_end_a_header_is_not_sent(self, target: str, headers: dict[str, str]) -> None:
        async with serving(says(OK)) as (wire, server):
            with pytest.raises(ValueError, match=r"target|header"):
                await wire.send("GET", target, headers)
            assert server.connections == 0

    async def test_large_bodies_are_sent_whole_from_any_buffers(self) -> None:
        async with serving(says(OK)) as (wire, server):
            bodies: list[list[Any]] = [[DATA], [b"x", memoryview(DATA)[1:], bytearray(DATA)]]
            for body in bodies:
                await wire.send("PUT", "/", {}, body)
                assert server.asked[-1].partition(b"\r\n\r\n")[2] == b"".join(body)
            assert server.connections == 1

    async def test_a_body_is_not_held_by_the_transport(self) -> None:
        begun = asyncio.Event()

        async def script(peer: Peer) -> None:
            begun.set()
            await asyncio.sleep(0.1)
            await peer.request()
            await peer.say(OK)

        async with serving(script) as (wire, _):
            body = bytes(64 * MIB)
            task = asyncio.create_task(wire.send("PUT", "/", {}, [body]))
            await begun.wait()
            await asyncio.sleep(0.05)
            (connection,) = wire._open
            assert connection._transport.get_write_buffer_size() <= 2 * SLICE
            assert (await task).body == b"ok"

    async def test_an_answer_before_the_end_of_the_request_is_the_answer(self) -> None:
        refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\ndenied"
        answered = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            await peer.say(refused)
            await answered.wait()  # the rest is not read

        async with serving(script, says(OK)) as (wire, server):
            async with asyncio.timeout(30):
                answer = await wire.send("PUT", "/", {}, [bytes(64 * MIB)])
            answered.set()
            assert (answer.status, answer.body) == (403, b"denied")
            assert (await wire.send("GET", "/", {})).body == b"ok", "on another connection"
            assert server.connections == 2

    async def test_a_server_that_hangs_up_within_the_request_is_an_error(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")

        async with serving(script) as (wire, _):
            with pytest.raises(DisconnectedError) as caught:
                await wire.send("PUT", "/", {}, [bytes(64 * MIB)])
            assert not caught.value.answered


class TestKeptConnections:
    async def test_many_at_once_have_one_each_and_keep_them(self) -> None:
        async with serving(says(OK)) as (wire, server):
            for _ in range(5):
                answers = await asyncio.gather(*(wire.send("GET", "/", {}) for _ in range(10)))
                assert {answer.body for answer in answers} == {b"ok"}
            assert server.connections == 10
            assert counts(wire) == (10, 10)

    async def test_answers_are_not_mixed_up_when_connections_change_hands(self) -> None:
        async def script(peer: Peer) -> None:
            while True:
                name = (await peer.request()).split(b" ")[1]
                peer.writer.write(b"HTTP/1.1 200 OK\r\nx-name: %s\r\ncontent-length: %d\r\n\r\n" % (name, len(name)))
                peer.writer.write(name)

        async with serving(script) as (wire, _):

            async def ask(worker: int) -> None:
                for number in range(200):
                    name = f"/{worker}-{number}"
                    answer = await wire.send("GET", name, {})
                    assert (answer.headers["x-name"], answer.body.decode()) == (name, name)

            await asyncio.gather(*map(ask, range(16)))

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        ],
    )
    async def test_a_server_that_closes_is_connected_to_again(self, head: bytes) -> None:
        async with serving(says(head)) as (wire, server):
            for number in (1, 2):
                assert (await wire.send("GET", "/", {})).status == 200
                assert counts(wire)[0] == 0
                assert server.connections == number

    async def test_a_closed_one_is_not_used(self) -> None:
        async with serving(says(OK, close=True)) as (wire, server):
            for number in (1, 2, 3):
                await wire.send("GET", "/", {})
                await asyncio.sleep(0.05)
                assert counts(wire) == (0, 0)
                assert server.connections == number

    @staticmethod
    async def once_then_hang_up(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK)
        await peer.request()

    async def test_one_that_closes_as_we_send_is_replaced_where_twice_is_as_good_as_once(self) -> None:
        async with serving(self.once_then_hang_up, says(OK)) as (wire, server):
            await wire.send("GET", "/", {})
            assert (await wire.send("PUT", "/", {}, [b"x"], twice=True)).body == b"ok"
            assert [asked[:3] for asked in server.asked] == [b"GET", b"PUT", b"PUT"]

    async def test_what_must_not_be_sent_twice_is_not(self) -> None:
        async with serving(self.once_then_hang_up, says(OK)) as (wire, server):
            await wire.send("GET", "/", {})
            with pytest.raises(DisconnectedError) as caught:
                await wire.send("PUT", "/", {}, [b"x"], twice=False)
            assert caught.value.sent
            assert [asked[:3] for asked in server.asked] == [b"GET", b"PUT"]

    async def test_it_is_replaced_once_and_not_for_ever(self) -> None:
        async def hang_up(peer: Peer) -> None:
            await peer.request()

        async with serving(self.once_then_hang_up, hang_up) as (wire, server):
            await wire.send("GET", "/", {})
            with pytest.raises(DisconnectedError):
                await wire.send("GET", "/", {}, twice=True)
            assert server.connections == 2

    async def test_one_that_has_begun_to_answer_is_not_replaced(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(OK)
            await peer.request()
            await peer.say(b"H")

        async with serving(script, says(OK)) as (wire, server):
            await wire.send("GET", "/", {})
            with pytest.raises(DisconnectedError):
                await wire.send("GET", "/", {}, twice=True)
            assert server.connections == 1

    async def test_what_must_not_be_sent_twice_gets_no_connection_that_has_rested_long(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with serving(says(OK)) as (wire, server):
            await wire.send("GET", "/", {})
            await wire.send("PUT", "/", {}, twice=False)
            assert server.connections == 1
            monkeypatch.setattr("runtime.drivers._wire.client.FRESH_SECONDS", 0.0)
            await asyncio.sleep(0.01)
            await wire.send("PUT", "/", {}, twice=False)
            assert server.connections == 2

    async def test_one_that_nobody_uses_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("runtime.drivers._wire.watch.KEPT_SECONDS", 0.05)
        monkeypatch.setattr("runtime.drivers._wire.connection.KEPT_SECONDS", 0.05)
        async with serving(says(OK)) as (wire, _):
            await wire.send("GET", "/", {})
            assert counts(wire) == (1, 1)
            await asyncio.sleep(0.2)
            assert counts(wire) == (0, 0)

    async def test_closing_leaves_nothing(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
        async with serving(says(head)) as (wire, _):
            answer = await wire.send("GET", "/", {}, whole=False)
            waiting = asyncio.create_task(wire.send("GET", "/", {}))
            await asyncio.sleep(0.05)
            await wire.close()
            assert counts(wire) == (0, 0)
            for failing in (answer.read(), waiting):
                with pytest.raises(DisconnectedError):
                    await failing
        gc.collect()  # a forgotten transport warns here, and warnings are errors

    async def test_answer_that_was_taken_to_its_end_never_touches_the_next_one_of_its_connection(self) -> None:
        first, second = payload(200_000, 1), payload(200_000, 2)
        contents = [first, second]

        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + contents.pop(0), pause=0)

        async with serving(script) as (wire, server):
            one = await wire.send("GET", "/1", {}, (), whole=False)
            assert await one.take(200_000) == first
            two = await wire.send("GET", "/2", {}, (), whole=False)
            await asyncio.sleep(0.05)  # its beginning is here and waits to be taken
            assert server.connections == 1, "else this test shows nothing"
            assert await one.take(200_000) == b""
            one.close()
            assert await two.take(200_000) == second


class TestPatience:
    async def test_a_server_that_never_answers_is_given_up(self) -> None:
        async with serving(says(), silence=0.1) as (wire, server):
            with pytest.raises(SilentError) as caught:
                await wire.send("GET", "/", {}, twice=True)
            assert isinstance(caught.value, TimeoutError)
            assert server.connections == 1

    async def test_silence_counts_and_not_the_whole_time(self) -> None:
        async def steady(peer: Peer) -> None:
            await peer.request()
            await peer.say(*(OK[start : start + 4] for start in range(0, len(OK), 4)), pause=0.25)

        async with serving(steady, silence=2.0) as (wire, _):
            begin = monotonic()
            assert (await wire.send("GET", "/", {})).body == b"ok"
            assert monotonic() - begin > 2.0, "this test needs an answer that takes longer than silence may"
        slow = says(OK[:-1], b"", b"", b"", OK[-1:])

        async def script(peer: Peer) -> None:
            peer.say = lambda *pieces, pause=0.1: Peer.say(peer, *pieces, pause=pause)  # type: ignore[method-assign] # slower
            await slow(peer)

        async with serving(script, silence=0.15) as (wire, _):
            with pytest.raises(SilentError):
                await wire.send("GET", "/", {})

    @pytest.mark.parametrize("whole", [True, False])
    async def test_silence_within_a_body_counts(self, *, whole: bool) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA), DATA[:MIB])
            await peer.reader.read()

        async with serving(script, silence=0.2) as (wire, _):
            async with asyncio.timeout(30):
                with pytest.raises(SilentError):
                    await (await wire.send("GET", "/", {}, whole=whole)).read()

    async def test_silence_within_a_request_counts(self) -> None:
        given_up = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            await given_up.wait()  # the rest is not read

        async with serving(script, silence=0.2) as (wire, _):
            async with asyncio.timeout(30):
                with pytest.raises(SilentError):
                    await wire.send("PUT", "/", {}, [bytes(64 * MIB)])
            given_up.set()

    async def test_a_reader_that_takes_its_time_is_not_the_servers_silence(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)
        async with serving(says(head + DATA), silence=0.1) as (wire, _):
            answer = await wire.send("GET", "/", {}, whole=False)
            await asyncio.sleep(0.3)
            got = await answer.take(MIB)
            await asyncio.sleep(0.3)
            assert got + await answer.read() == DATA

    async def test_any_silence_is_borne_where_none_is_too_long(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await asyncio.sleep(0.3)
            await peer.say(OK)

        async with serving(script, silence=None) as (wire, _):
            assert (await wire.send("GET", "/", {})).body == b"ok"

    async def test_a_connection_has_one_timer_however_much_is_read(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)
        made: list[float] = []
        loop: Any = asyncio.get_running_loop()
        call_at = loop.call_at

        def counting(when: float, *arguments: Any, **options: Any) -> Any:
            if getattr(arguments[0], "__self__", None).__class__ is Watch:
                made.append(when)
            return call_at(when, *arguments, **options)

        async with serving(says(head + DATA)) as (wire, _):
            loop.call_at = counting  # undone below
            try:
                for _ in range(5):
                    answer = await wire.send("GET", "/", {}, whole=False)
                    while await answer.take(10_000):
                        pass
            finally:
                del loop.call_at
        assert len(made) == 1


class TestReadingAhead:
    async def test_what_nobody_wants_stays_with_the_server(self) -> None:
        sent = 0

        async def script(peer: Peer) -> None:
            nonlocal sent
            await peer.request()
            peer.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (256 * MIB))
            piece = bytes(MIB)
            for _ in range(256):
                peer.writer.write(piece)
                await peer.writer.drain()
                sent += len(piece)

        async with serving(script) as (wire, _):
            answer = await wire.send("GET", "/", {}, whole=False)
            for _ in range(3):
                assert len(await answer.take(MIB)) == MIB
            await asyncio.sleep(0.2)
            (connection,) = wire._open
            assert connection._body is not None
            assert connection._body.held <= SCRATCH
            assert sent < 64 * MIB, "the kernel's buffers, and no more"
            answer.close()

    @pytest.mark.parametrize("chunked", [True, False])
    async def test_a_connection_is_read_again_after_a_body_whose_end_nobody_wanted_for_a_while(
        self, *, chunked: bool
    ) -> None:
        size = 400_000
        plain = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (size, DATA[:size])
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % size
        text = head + DATA[:size] + b"\r\n0\r\n\r\n" if chunked else plain
        async with serving(says(text)) as (wire, server):
            for piece in (size - 10_000, size - 1, 1000, size):
                answer = await wire.send("GET", "/", {}, whole=False)
                got = b""
                while data := await answer.take(piece):
                    got += data
                    await asyncio.sleep(0.002)
                assert got == DATA[:size]
            assert server.connections == 1

    async def test_what_nobody_wants_of_a_body_in_chunks_is_bounded(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            peer.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            piece = b"%x\r\n%s\r\n" % (MIB, bytes(MIB))
            for _ in range(64):
                peer.writer.write(piece)
                await peer.writer.drain()
            peer.writer.write(b"0\r\n\r\n")

        async with serving(script) as (wire, _):
            answer = await wire.send("GET", "/", {}, whole=False)
            await answer.take(1)
            await asyncio.sleep(0.2)
            (connection,) = wire._open
            assert connection._body is not None
            assert connection._body.held <= HELD + SCRATCH
            assert len(await answer.read()) == 64 * MIB - 1


class TestGivingUp:
    async def test_an_answer_that_is_closed_early_closes_its_connection(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)
        async with serving(says(head + DATA)) as (wire, server):
            answer = await wire.send("GET", "/", {}, whole=False)
            await answer.take(10)
            answer.close()
            answer.close()
            assert await answer.take(10) == b""
            assert (await (await wire.send("GET", "/", {}, whole=False)).read()) == DATA
            assert server.connections == 2

    async def test_an_answer_that_was_read_does_not(self) -> None:
        async with serving(says(OK[:-2], b"ok")) as (wire, server):
            for _ in range(2):
                answer = await wire.send("GET", "/", {}, whole=False)
                assert await answer.read() == b"ok"
                answer.close()
            assert server.connections == 1

    @pytest.mark.parametrize("steps", range(12))
    @pytest.mark.parametrize("whole", [True, False])
    async def test_a_cancelled_request_leaves_no_connection_that_another_could_get(
        self, steps: int, *, whole: bool
    ) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(DATA)

        async def fetch(wire: Wire) -> bytes:
            answer = await wire.send("PUT", "/", {}, [DATA], whole=whole)
            try:
                return answer.body if whole else await answer.read()
            finally:
                answer.close()

        async with serving(says(head, DATA)) as (wire, _):
            task = asyncio.create_task(fetch(wire))
            for _ in range(steps):
                await asyncio.sleep(0 if steps < 6 else 0.004)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.02)
            assert counts(wire) in ((0, 0), (1, 1))
            if task.cancelled():
                assert counts(wire) == (0, 0)
            assert await fetch(wire) == DATA
        gc.collect()

    async def test_one_that_is_cancelled_when_its_answer_is_there_leaves_the_next_on_its_connection_alone(self) -> None:
        wrote = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            peer.writer.write(OK)
            wrote.set()
            await peer.request()
            await peer.say(OK)

        async with serving(script, says(OK)) as (wire, server):
            first = asyncio.create_task(wire.send("POST", "/first", {}))

            async def second() -> bytes:
                first.cancel()  # it has its answer already, and no turn of the loop since
                return (await wire.send("POST", "/second", {})).body  # must not be sent twice

            await wrote.wait()
            assert await asyncio.create_task(second()) == b"ok"
            await asyncio.wait([first])
            assert first.cancelled()
            assert server.connections == 1

    async def test_a_body_without_a_length_does_not_end_with_our_own_closing(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            peer.writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + DATA[:1000])
            await peer.reader.read()

        async with serving(script) as (wire, _):
            answer = await wire.send("GET", "/", {}, whole=False)
            assert await answer.take(1000) == DATA[:1000]
            await wire.close()
            with pytest.raises(DisconnectedError):
                await answer.take(1000)

    async def test_a_cancelled_connect_leaves_nothing(self) -> None:
        async with serving(says(OK)) as (wire, _):
            task = asyncio.create_task(wire.send("GET", "/", {}))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert counts(wire) == (0, 0)
        gc.collect()


class TestConnecting:
    async def test_a_server_that_is_not_there_is_told_and_nothing_was_sent(self, free_tcp_port: int) -> None:
        wire = Wire("http", f"127.0.0.1:{free_tcp_port}", silence=1.0)
        with pytest.raises(NotConnectedError, match="Connection refused") as caught:
            await wire.send("GET", "/", {})
        assert not caught.value.sent
        assert isinstance(caught.value, ConnectionError)

    async def test_a_host_that_does_not_exist_is_told_without_its_name(self) -> None:
        wire = Wire("http", "no-such-host.invalid", silence=1.0)
        with pytest.raises(WireError) as caught:
            await wire.send("GET", "/", {})
        assert isinstance(caught.value, NotConnectedError | NotConnectedInTimeError)
        assert "no-such-host" not in str(caught.value)

    async def test_a_connection_that_takes_too_long_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wire = Wire("http", "127.0.0.1:1", silence=1.0, connect_seconds=0.05)

        async def never(*_arguments: Any, **_options: Any) -> None:
            await asyncio.sleep(5)

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
        with pytest.raises(NotConnectedInTimeError) as caught:
            await wire.send("GET", "/", {})
        assert isinstance(caught.value, TimeoutError)
        assert not caught.value.sent

    @pytest.mark.parametrize(("scheme", "netloc"), [("ftp", "h"), ("http", ""), ("https", "user:secret@h"), ("", "h")])
    def test_what_is_no_server_is_refused(self, scheme: str, netloc: str) -> None:
        with pytest.raises(ValueError, match="http://host:port") as caught:
            Wire(scheme, netloc, silence=None)
        assert "secret" not in str(caught.value)
