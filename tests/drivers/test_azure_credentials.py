"""Microsoft Entra: tokens that end, on Azurite, which takes them over HTTPS only; and what they sign."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from base64 import b64encode
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import aiohttp.connector
import pytest
from azure.storage.blob.aio import BlobServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from runtime.config import NamedStorageConfig
from runtime.drivers.azure import AzureDriver
from runtime.drivers.azure.credentials import Token
from runtime.errors import UnauthenticatedError
from runtime.store import BlobStore
from runtime.testing.conformance.support import payload
from runtime.testing.servers._process import end, reserved, spawn
from runtime.testing.serving import serving
from runtime.testing.tokens import TENANT, TokenServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from runtime.testing.fixtures import ProgramFactory

ACCOUNT = "devstoreaccount1"
LIFETIME = 4.0
MINUTE = timedelta(minutes=1)
MIB = 1024 * 1024
NO_OTHER_IDENTITY = (
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Certificate and key of 127.0.0.1, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - MINUTE)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    home = tmp_path_factory.mktemp("tls")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (home / "cert.pem").write_bytes(made.public_bytes(pem))
    (home / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return str(home / "cert.pem"), str(home / "key.pem")


@pytest.fixture(scope="module")
def trusted(certificate: tuple[str, str]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


@pytest.fixture(autouse=True)
def trust(certificate: tuple[str, str], trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    # the SDK's HTTP client reads it when it is imported
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusted)


@pytest.fixture(scope="module")
def azurite(
    program: ProgramFactory,
    certificate: tuple[str, str],
    trusted: ssl.SSLContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, str]]:
    """Account URL and key of an Azurite that takes Entra tokens."""
    home = tmp_path_factory.mktemp("azurite")
    key = b64encode(secrets.token_bytes(64)).decode()
    with reserved(0) as port:
        options = [
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            str(port),
            "--cert",
            certificate[0],
            "--key",
            certificate[1],
        ]
        options += [
            "--oauth",
            "basic",
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
            "--inMemoryPersistence",
        ]
        environment = {"TMPDIR": str(home), "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
        process = spawn([*program("azurite"), *options], environment, home, home / "log")
        try:
            _wait_for(port, trusted)
            yield f"https://127.0.0.1:{port}/{ACCOUNT}", key
        finally:
            end(process)


def _wait_for(port: int, trusted: ssl.SSLContext) -> None:
    import http.client  # noqa: PLC0415 - used here only

    deadline = monotonic() + 60
    while True:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=trusted, timeout=2)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except OSError:
            if monotonic() > deadline:
                raise
            sleep(0.1)
        else:
            return
        finally:
            connection.close()


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    app = TokenServer(LIFETIME)
    for name in NO_OTHER_IDENTITY:
        monkeypatch.delenv(name, raising=False)
    with serving(app) as url:
        app.url = url
        yield app


@pytest.fixture
def managed(tokens: TokenServer, monkeypatch: pytest.MonkeyPatch) -> TokenServer:
    """The machine has a managed identity."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", tokens.url)
    return tokens


@asynccontextmanager
async def opened(azurite: tuple[str, str], **settings: Any) -> AsyncIterator[BlobStore]:
    url, key = azurite
    container = f"t-{secrets.token_hex(8)}"
    async with BlobServiceClient(url, credential={"account_name": ACCOUNT, "account_key": key}) as owner:
        await owner.create_container(container)
    azure = {"account_name": ACCOUNT, "container": container, "endpoint_url": url, **settings}
    backend = NamedStorageConfig.model_validate({"name": "reports", "driver": "azure", "azure": azure})
    async with BlobStore(backend, AzureDriver(backend)) as store:
        yield store


async def works_for(store: BlobStore, seconds: float) -> None:
    """Write and read all the time; Azurite refuses a token that has ended."""
    until, number = monotonic() + seconds, 0
    while monotonic() < until:
        await store.upload("object", str(number))
        assert await store.download("object") == str(number).encode()
        number += 1
        await asyncio.sleep(0.05)


class TestModes:
    async def test_managed_identity_of_a_virtual_machine(self, azurite: tuple[str, str], managed: TokenServer) -> None:
        async with opened(azurite) as store:
            await works_for(store, 2 * LIFETIME)
        assert set(managed.asked) == {"azure-imds"}
        assert len(managed.asked) >= 2

    async def test_managed_identity_of_app_service(
        self, azurite: tuple[str, str], tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tokens.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", tokens.secret)
        async with opened(azurite) as store:
            await works_for(store, 2 * LIFETIME)
        assert set(tokens.asked) == {"azure-app-service"}
        assert len(tokens.asked) >= 2

    async def test_workload_identity_of_kubernetes(
        self,
        azurite: tuple[str, str],
        certificate: tuple[str, str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        app = TokenServer(LIFETIME)
        (tmp_path / "subject").write_text(app.subject_token)
        with serving(app, certificate=certificate) as url:
            app.url = url
            monkeypatch.setenv("AZURE_AUTHORITY_HOST", url)
            monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
            monkeypatch.setenv("AZURE_CLIENT_ID", TENANT)
            monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "subject"))
            async with opened(azurite) as store:
                await works_for(store, 2 * LIFETIME)
        assert set(app.asked) == {"azure-workload"}
        assert len(app.asked) >= 2

    async def test_account_key(self, azurite: tuple[str, str]) -> None:
        async with opened(azurite, account_key=azurite[1]) as store:
            await works_for(store, 0.5)

    async def test_no_identity_at_all_is_unauthenticated(
        self, azurite: tuple[str, str], tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokens.fails = True
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tokens.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")
        async with opened(azurite) as store:
            with pytest.raises(UnauthenticatedError):
                await store.info("object")


class TestRefresh:
    async def test_many_requests_at_once_ask_for_one_token(
        self, azurite: tuple[str, str], managed: TokenServer
    ) -> None:
        managed.lifetime = 3600
        async with opened(azurite) as store:
            await asyncio.gather(*(store.upload(f"object-{number}", b"x") for number in range(20)))
        assert managed.asked == ["azure-imds"]

    async def test_token_that_ends_in_the_middle_of_a_stream_disturbs_nothing(
        self, azurite: tuple[str, str], managed: TokenServer
    ) -> None:
        data = payload(16 * MIB)
        async with opened(azurite) as store:
            await store.upload("large", data)
            first = store.driver._credential._tokens._current  # type: ignore[attr-defined] # ours, made by `opened`
            got = bytearray()
            async for chunk in store.stream("large", MIB):
                if not got:
                    await asyncio.sleep(LIFETIME + 0.5)
                    assert not managed.knows(first), "this test needs a token that has ended"
                got += chunk
            assert bytes(got) == data
            assert (await store.info("large")).size == len(data)

    async def test_token_that_is_refused_is_renewed_once_and_nobody_notices(
        self, azurite: tuple[str, str], managed: TokenServer
    ) -> None:
        managed.lifetime, managed.told = -60, 3600  # as it is for a machine whose clock is behind
        async with opened(azurite) as store:
            with pytest.raises(UnauthenticatedError):
                await store.upload("object", b"x")
            assert managed.asked == ["azure-imds"] * 2, "once more, and no more"
            with pytest.raises(UnauthenticatedError, match="AuthenticationFailed"):
                await store.upload("object", b"x")
            assert managed.asked == ["azure-imds"] * 2, "the new one was refused as the old one was"
        managed.asked.clear()
        async with opened(azurite) as store:
            made = store.driver._credential._tokens  # type: ignore[attr-defined] # ours, made by `opened`
            await made.get()
            managed.lifetime = 3600
            await asyncio.gather(*(store.upload(f"object-{number}", b"x", if_not_exists=True) for number in range(5)))
            assert [await store.download(f"object-{number}") for number in range(5)] == [b"x"] * 5
            assert await store.get_presigned_url("object-0", MINUTE)
        assert managed.asked == ["azure-imds"] * 2

    async def test_given_credential_is_closed_once(self) -> None:
        class Given:
            closed = 0

            async def get_token(self, *_scopes: str, **_options: Any) -> Any:
                raise AssertionError("no request was made")

            async def close(self) -> None:
                self.closed += 1

        given = Given()
        token = Token(given)
        await token.close()
        await token.close()
        assert given.closed == 1


class TestUserDelegation:
    async def get(self, url: str) -> tuple[int, bytes]:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.read()

    async def test_urls_are_signed_with_a_key_that_is_asked_for_once(
        self, azurite: tuple[str, str], managed: TokenServer
    ) -> None:
        managed.lifetime = 3600
        async with opened(azurite) as store:
            request = await store.presign("new ü.txt", method="PUT", expires_in=MINUTE)
            async with (
                aiohttp.ClientSession() as session,
                session.put(request.url, data=b"content", headers=request.headers) as answer,
            ):
                assert answer.status == 201
            url = await store.get_presigned_url("new ü.txt", MINUTE)
            assert await self.get(url) == (200, b"content")
            assert (await self.get(url.replace("sig=", "sig=A")))[0] == 403
            query = [parse_qs(urlsplit(signed).query) for signed in (request.url, url)]
            assert query[0]["skt"] == query[1]["skt"], "each URL asked for a key of its own"
            assert (query[1]["skoid"], query[1]["spr"]) == ([TENANT], ["https"])

    async def test_url_that_outlives_the_key_gets_a_new_key(
        self, azurite: tuple[str, str], managed: TokenServer
    ) -> None:
        managed.lifetime = 3600
        async with opened(azurite) as store:
            short = await store.get_presigned_url("a", timedelta(hours=1))
            long = await store.get_presigned_url("a", timedelta(days=7))
            again = await store.get_presigned_url("a", timedelta(days=3))
        ends = [parse_qs(urlsplit(url).query)["ske"][0] for url in (short, long, again)]
        assert ends[0] < ends[1] == ends[2]
        assert parse_qs(urlsplit(long).query)["se"][0] <= ends[1]
