"""What the REST drivers share: retries, resumed reads, tokens."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from runtime.config import NamedStorageConfig
from runtime.drivers import _http
from runtime.drivers._dates import http_date, seconds_to_wait
from runtime.drivers._http import HttpClient, Request, ServiceError, transport_kind
from runtime.drivers._wire.errors import SilentError, WireError
from runtime.drivers._wire.reading import WireReader
from runtime.errors import StorageTimeoutError, StorageUnavailableError
from runtime.models import FileInfo
from runtime.store import BlobStore
from runtime.testing.conformance.support import payload
from runtime.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from starlette.requests import Request as Received

    from runtime.drivers._wire.answer import Answer
    from runtime.testing.fixtures import ServerFactory

MIB = 1024 * 1024
DATA = payload(3 * MIB)
INFO = FileInfo("a", len(DATA), "a/b", datetime.now(UTC))


class Shaky:
    """A server that answers as it is told, one answer after the other; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[int] = [200]
        self.received: list[tuple[str, str, bytes, Mapping[str, str]]] = []
        self.app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "PUT", "DELETE"])])

    async def answer(self, request: Received) -> Response:
        path = request.scope["raw_path"].decode()
        self.received.append((request.method, f"{path}?{request.url.query}", await request.body(), request.headers))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Response(b"body", status, {"x-code": "Told"})


class Breaking:
    """A server that hangs up in the middle of its answers, so many times."""

    def __init__(self, times: int, after: int = MIB) -> None:
        self.starts: list[int] = []
        self._times = times
        self._after = after

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        start = int(request.partition("range: bytes=")[2].partition("-")[0] or 0)
        self.starts.append(start)
        broken = len(self.starts) <= self._times
        end = start + self._after if broken else len(DATA)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(DATA) - start))
        writer.write(DATA[start:end])
        await writer.drain()
        writer.close()


@pytest.fixture
def shaky() -> Iterator[tuple[Shaky, str]]:
    server = Shaky()
    with serving(server.app) as url:
        yield server, url


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpClient]:
    async def authorize(request: Request) -> Request:
        return request.with_headers({"authorization": "secret"})

    def read_error(status: int, headers: Mapping[str, str], _body: bytes) -> ServiceError:
        return ServiceError(status, headers.get("x-code", ""))

    monkeypatch.setattr(_http, "PAUSE_SECONDS", 0.001)
    http = HttpClient(authorize, read_error)
    yield http
    await http.close()


class TestRetries:
    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    async def test_passing_failures_are_tried_again_with_the_whole_body(
        self, shaky: tuple[Shaky, str], client: HttpClient, status: int
    ) -> None:
        server, url = shaky
        server.answers = [status, status, 200]
        body = (b"head", memoryview(DATA), b"tail")
        reply = await client.read(Request("PUT", f"{url}/a", body=body))
        assert reply.body == b"body"
        assert [received[2] == b"head" + DATA + b"tail" for received in server.received] == [True] * 3

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 501])
    async def test_answers_that_will_not_change_are_not_asked_for_again(
        self, shaky: tuple[Shaky, str], client: HttpClient, status: int
    ) -> None:
        server, url = shaky
        server.answers = [status]
        with pytest.raises(ServiceError) as caught:
            await client.read(Request("GET", f"{url}/a"))
        assert (caught.value.status, caught.value.code, len(server.received)) == (status, "Told", 1)

    @pytest.mark.parametrize(("status", "tries"), [(503, 2), (429, 2), (500, 1), (504, 1)])
    async def test_conditional_write_is_tried_again_only_when_nothing_was_done(
        self, shaky: tuple[Shaky, str], client: HttpClient, status: int, tries: int
    ) -> None:
        server, url = shaky
        server.answers = [status, 200]
        request = Request("PUT", f"{url}/a", body=(b"x",), repeatable=False)
        if tries == 1:
            with pytest.raises(ServiceError):
                await client.read(request)
        else:
            await client.read(request)
        assert len(server.received) == tries

    async def test_there_is_an_end_to_trying(self, shaky: tuple[Shaky, str], client: HttpClient) -> None:
        server, url = shaky
        server.answers = [503]
        with pytest.raises(ServiceError):
            await client.read(Request("GET", f"{url}/a"))
        assert len(server.received) == _http.ATTEMPTS

    async def test_broken_connection_is_retried_unless_the_write_is_conditional(
        self, client: HttpClient, free_tcp_port: int
    ) -> None:
        tries = 0

        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal tries
            tries += 1
            writer.close()

        url = f"http://127.0.0.1:{free_tcp_port}/a"
        async with await asyncio.start_server(hang_up, "127.0.0.1", free_tcp_port):
            for repeatable, expected in ((True, _http.ATTEMPTS), (False, 1)):
                tries = 0
                with pytest.raises(WireError) as caught:
                    await client.read(Request("POST", url, body=(b"x",), repeatable=repeatable))
                assert tries == expected
                assert transport_kind(caught.value) is StorageUnavailableError

    async def test_url_goes_over_the_wire_as_it_was_made(self, shaky: tuple[Shaky, str], client: HttpClient) -> None:
        server, url = shaky
        await client.read(Request("GET", f"{url}/a//b/../%2E/c%2Fd", {"q": "a b+&=ü", "prefix": "x/y"}))
        assert server.received[0][1] == "/a//b/../%2E/c%2Fd?q=a%20b%2B%26%3D%C3%BC&prefix=x%2Fy"

    def test_secrets_are_in_no_repr_and_no_error(self) -> None:
        request = Request("GET", "https://h/c", raw_query="sig=secret")
        assert "sig=secret" in request.target
        assert "secret" not in repr(request)
        assert "https" not in str(ServiceError(403, "Denied"))

    def test_dates_are_utc(self) -> None:
        for month in range(1, 13):
            time_of_month = datetime(2026, month, 23, 7, 8, 9, tzinfo=UTC)
            assert http_date(format_datetime(time_of_month, usegmt=True)) == time_of_month
            assert http_date(format_datetime(time_of_month)) == time_of_month
        assert http_date("Mon, 23 Nov 2026 08:00:00 +0100").isoformat() == "2026-11-23T07:00:00+00:00"
        for text in ("", "now", "Mon, 23 Now 2026 07:00:00 GMT"):
            with pytest.raises(ValueError, match="date"):
                http_date(text)

    def test_timeouts_are_told_from_other_failures(self) -> None:
        assert transport_kind(TimeoutError()) is StorageTimeoutError
        assert transport_kind(SilentError("silent")) is StorageTimeoutError
        assert transport_kind(KeyError()) is None


class TestResumedReads:
    @asynccontextmanager
    async def reader(self, client: HttpClient, server: Breaking) -> AsyncIterator[WireReader]:
        async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
            url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/data"

            async def reopen(done: int) -> Answer:
                return await client.stream(Request("GET", url, headers={"range": f"bytes={done}-"}))

            yield WireReader(INFO, await client.stream(Request("GET", url)), reopen)

    async def test_stream_goes_on_where_the_connection_broke(self, client: HttpClient) -> None:
        server = Breaking(times=2)
        async with self.reader(client, server) as reader:
            assert b"".join([bytes(chunk) async for chunk in reader.chunks(100_000)]) == DATA
        assert server.starts == [0, MIB, 2 * MIB]

    async def test_whole_object_is_asked_for_again_when_the_connection_broke(self, client: HttpClient) -> None:
        async with self.reader(client, Breaking(times=1)) as reader:
            assert await reader.read() == DATA

    async def test_stream_gives_up_when_nothing_comes_any_more(self, client: HttpClient) -> None:
        async with self.reader(client, Breaking(times=100, after=0)) as reader:
            with pytest.raises(WireError):
                [chunk async for chunk in reader.chunks(100_000)]

    async def test_reader_that_is_closed_reads_no_more(self, client: HttpClient) -> None:
        async with self.reader(client, Breaking(times=0)) as reader:
            await reader.aclose()
            assert [chunk async for chunk in reader.chunks(10)] == []


@pytest.mark.parametrize("driver", ["azure", "gcs"])
async def test_driver_works_again_after_it_was_closed(driver: str, server: ServerFactory) -> None:
    running = server({"azure": "azurite", "gcs": "fake-gcs-server"}[driver])
    settings = {
        "azure": {
            "account_name": running.access_key,
            "account_key": running.secret_key,
            "container": "reopened",
            "endpoint_url": f"{running.url}/{running.access_key}",
        },
        "gcs": {"bucket": "reopened", "project_id": "p", "endpoint_url": running.url},
    }[driver]
    backend = NamedStorageConfig.model_validate({"name": "again", "driver": driver, driver: settings})
    store = BlobStore(backend, import_module(f"runtime.drivers.{driver}").driver_class(backend))
    for number in range(2):
        async with store:
            if number == 0 and driver == "azure":
                await store.raw.create_container("reopened")
            elif number == 0:
                await asyncio.to_thread(store.raw.create_bucket, "reopened")
            await store.upload("object", str(number))
            assert await store.download("object") == str(number).encode()
            assert (await store.health_check()).is_healthy()


def test_a_time_to_wait_is_seconds_or_a_date() -> None:
    soon, past = (format_datetime(datetime.now(UTC) + timedelta(seconds=s), usegmt=True) for s in (90, -90))
    assert seconds_to_wait("7") == 7.0
    assert 80 < (seconds_to_wait(soon) or 0) <= 90
    assert seconds_to_wait(past) == 0.0
    assert (seconds_to_wait(""), seconds_to_wait("soon"), seconds_to_wait("-1")) == (None, None, None)
