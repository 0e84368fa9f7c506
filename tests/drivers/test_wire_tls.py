"""Our HTTP/1.1 client through TLS and through proxies, against servers on this machine."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import ssl
from base64 import b64encode
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from runtime.drivers._wire.client import Wire
from runtime.drivers._wire.errors import DisconnectedError, NotConnectedError, NotConnectedInTimeError
from runtime.testing.conformance.support import payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 1024 * 1024
DATA = payload(3 * MIB)
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for 127.0.0.1 and its key."""
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tandem")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = serialization.Encoding.PEM
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(made.public_bytes(pem) + secret)
    return file


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(h[15:]) for h in head.split(b"\r\n") if h.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


class Echo:
    """Answers every request with its body, or with `DATA`."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.asked.append(await request(reader))
                body = self.asked[-1].partition(b"\r\n\r\n")[2] or DATA
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
                writer.write(body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client went away
        finally:
            writer.close()


@asynccontextmanager
async def echoing(certificate: Path | None) -> AsyncIterator[tuple[Echo, str]]:
    echo, context = Echo(), None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0, ssl=context) as server:
        yield echo, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def proxying(answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> AsyncIterator[tuple[list[bytes], str]]:
    """A proxy: passes on what comes behind CONNECT, answers everything else itself, and keeps what it was asked."""
    asked: list[bytes] = []
    passing: list[asyncio.Task[None]] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked.append(await request(reader))
                method, target, _ = asked[-1].split(b" ", 2)
                if method != b"CONNECT":
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy")
                    continue
                writer.write(answer)
                if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"\r\n\r\n"):
                    return
                host, _, port = target.decode().rpartition(":")
                upstream = await asyncio.open_connection(host, int(port))
                passing.append(asyncio.create_task(copy(upstream[0], writer)))
                await copy(reader, upstream[1])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield asked, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*passing, return_exceptions=True)


class TestTls:
    async def test_bodies_of_any_size_go_both_ways(self, certificate: Path) -> None:
        async with echoing(certificate) as (echo, netloc):
            wire = Wire("https", netloc, silence=5.0, ca_file=str(certificate))
            for body in (b"x", DATA):
                assert (await wire.send("PUT", "/a", {}, [body])).body == body
            answer = await wire.send("GET", "/a", {}, whole=False)
            pieces = []
            while piece := await answer.take(100_000):
                pieces.append(piece)
                await asyncio.sleep(0.001)
            assert b"".join(pieces) == DATA
            assert echo.connections == 1
            await wire.close()
        gc.collect()  # a forgotten transport warns here, and warnings are errors

    async def test_many_at_once(self, certificate: Path) -> None:
        async with echoing(certificate) as (_, netloc):
            wire = Wire("https", netloc, silence=5.0, ca_file=str(certificate))
            bodies = [b"%d" % number * 1000 for number in range(20)]
            for _ in range(3):
                answers = await asyncio.gather(*(wire.send("PUT", "/", {}, [body]) for body in bodies))
                assert [answer.body for answer in answers] == bodies
            await wire.close()

    async def test_an_answer_that_is_given_up_leaves_nothing(self, certificate: Path) -> None:
        async with echoing(certificate) as (_, netloc):
            wire = Wire("https", netloc, silence=5.0, ca_file=str(certificate))
            answer = await wire.send("GET", "/", {}, whole=False)
            await answer.take(10)
            answer.close()
            await wire.close()
            assert not wire._open
        gc.collect()

    async def test_a_server_that_nobody_vouches_for_is_refused(self, certificate: Path) -> None:
        async with echoing(certificate) as (echo, netloc):
            wire = Wire("https", netloc, silence=5.0)
            with pytest.raises(NotConnectedError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                await wire.send("GET", "/secret", {"authorization": "secret"})
            assert "secret" not in str(caught.value)
            assert not echo.asked

    async def test_a_name_that_is_not_the_certificates_is_refused(self, certificate: Path) -> None:
        async with echoing(certificate) as (echo, netloc):
            wire = Wire("https", netloc.replace("127.0.0.1", "localhost"), silence=5.0, ca_file=str(certificate))
            with pytest.raises((NotConnectedError, NotConnectedInTimeError)):
                await wire.send("GET", "/", {})
            assert not echo.asked

    async def test_the_environment_names_certificates_to_trust(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with echoing(certificate) as (_, netloc):
            wire = Wire("https", netloc, silence=5.0)
            assert (await wire.send("PUT", "/", {}, [b"x"])).body == b"x"
            await wire.close()

    async def test_certificates_that_are_not_there_are_told(self, certificate: Path) -> None:
        async with echoing(certificate) as (_, netloc):
            wire = Wire("https", netloc, silence=5.0, ca_file=str(certificate.with_name("missing.pem")))
            with pytest.raises(NotConnectedError, match="certificates can not be read"):
                await wire.send("GET", "/", {})

    async def test_a_server_without_tls_is_told(self) -> None:
        async with echoing(None) as (_, netloc):
            wire = Wire("https", netloc, silence=5.0, connect_seconds=1.0)
            with pytest.raises((NotConnectedError, NotConnectedInTimeError)):
                await wire.send("GET", "/", {})


class TestProxies:
    @pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
    async def test_http_goes_to_the_proxy_with_its_whole_url(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        async with proxying() as (asked, url):
            monkeypatch.setenv(name, url.replace("//", "//us%40er:pass@"))
            wire = Wire("http", "bucket.example:8080", silence=5.0)
            answer = await wire.send("GET", "/a//b?c=d", {"host": "bucket.example:8080"})
            assert answer.body == b"proxy"
            secret = b64encode(b"us@er:pass").decode()
            assert asked == [
                f"GET http://bucket.example:8080/a//b?c=d HTTP/1.1\r\nhost: bucket.example:8080\r\n"
                f"proxy-authorization: Basic {secret}\r\n\r\n".encode()
            ]
            assert "pass" not in repr(wire._proxy)
            await wire.close()

    async def test_https_goes_through_a_tunnel_in_which_the_proxy_sees_nothing(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with echoing(certificate) as (echo, netloc), proxying() as (asked, url):
            monkeypatch.setenv("HTTPS_PROXY", url)
            wire = Wire("https", netloc, silence=5.0, ca_file=str(certificate))
            for _ in range(2):
                assert (await wire.send("PUT", "/secret", {"host": netloc}, [DATA])).body == DATA
            await wire.close()
        assert asked == [f"CONNECT {netloc} HTTP/1.1\r\nhost: {netloc}\r\n\r\n".encode()]
        assert echo.connections == 1
        gc.collect()

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", NotConnectedError),
            (b"HTTP/1.1 407 X\r\n\r\n", NotConnectedError),
            (b"what?\r\n\r\n", NotConnectedError),
            (b"HTTP/1.1 200 OK\r\n", NotConnectedError),
            (b"HTTP/1.1 200 OK\r\n\r\nmore", NotConnectedError),
        ],
    )
    async def test_a_proxy_that_does_not_connect_is_told(
        self, answer: bytes, error: type[Exception], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with proxying(answer) as (_, url):
            monkeypatch.setenv("HTTPS_PROXY", url)
            wire = Wire("https", "bucket.example", silence=5.0)
            with pytest.raises(error):
                await wire.send("GET", "/", {})
            assert not wire._open
        gc.collect()

    async def test_a_server_behind_a_tunnel_that_hangs_up_is_told(
        self, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server, proxying() as (_, url):
            monkeypatch.setenv("HTTPS_PROXY", url)
            netloc = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            wire = Wire("https", netloc, silence=5.0, ca_file=str(certificate))
            with pytest.raises((NotConnectedError, DisconnectedError)):
                await wire.send("GET", "/", {})
            assert not wire._open

    @pytest.mark.parametrize("exempt", ["127.0.0.1", "*"])
    async def test_some_servers_are_reached_without_it(self, exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", exempt)
        async with echoing(None) as (echo, netloc):
            wire = Wire("http", netloc, silence=5.0)
            assert (await wire.send("PUT", "/", {}, [b"x"])).body == b"x"
            assert echo.asked[0].startswith(b"PUT / HTTP/1.1\r\n")
            await wire.close()

    async def test_a_proxy_that_is_not_there_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with pytest.raises(NotConnectedError):
            await Wire("http", "bucket.example", silence=5.0).send("GET", "/", {})

    def test_a_proxy_of_another_kind_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "socks5://user:secret@127.0.0.1:1")
        with pytest.raises(ValueError, match="HTTP_PROXY is not http") as caught:
            Wire("http", "bucket.example", silence=None)
        assert "secret" not in str(caught.value)
