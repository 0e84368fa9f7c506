"""Every way in which Google gives tokens, against a token server whose tokens really end."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from runtime.config import NamedStorageConfig
from runtime.drivers.gcs import GCSDriver
from runtime.errors import StorageUnavailableError, UnauthenticatedError
from runtime.store import BlobStore
from runtime.testing.conformance.support import payload, send_http
from runtime.testing.gcs_front import GCSFront
from runtime.testing.serving import serving
from runtime.testing.tokens import SIGNER, TokenServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

LIFETIME = 2.0
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def upstream(server: ServerFactory) -> str:
    return server("fake-gcs-server").url


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    app = TokenServer(LIFETIME)
    with serving(app) as url:
        app.url = url
        yield app


@pytest.fixture
def front(upstream: str, tokens: TokenServer) -> Iterator[str]:
    with serving(GCSFront(upstream, keys={SIGNER: tokens.key.public_key()}, knows_token=tokens.knows)) as url:
        yield url


@pytest.fixture
def key_file(tokens: TokenServer, tmp_path: Path) -> str:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(tokens.service_account_key()))
    return str(path)


@asynccontextmanager
async def opened(front: str, upstream: str, credentials_path: str | None) -> AsyncIterator[BlobStore]:
    bucket = f"t-{secrets.token_hex(8)}"
    body = json.dumps({"name": bucket}).encode()
    assert (await send_http("POST", f"{upstream}/storage/v1/b?project=p", content=body)).status == 200
    gcs: dict[str, Any] = {"bucket": bucket, "project_id": "p", "endpoint_url": front}
    if credentials_path:
        gcs["credentials_path"] = credentials_path
    backend = NamedStorageConfig.model_validate({"name": "exports", "driver": "gcs", "gcs": gcs})
    driver = GCSDriver(backend)
    driver._auth.anonymous = False  # as away from emulators, where application default credentials are looked for
    if not credentials_path:
        driver._auth._credentials = None
    async with BlobStore(backend, driver) as store:
        yield store


async def works_for(store: BlobStore, seconds: float) -> None:
    """Write and read all the time; any stale token is refused by the front and fails the test."""
    end, number = monotonic() + seconds, 0
    while monotonic() < end:
        await store.upload("object", str(number))
        assert await store.download("object") == str(number).encode()
        number += 1
        await asyncio.sleep(0.05)


class TestModes:
    async def test_key_file(self, front: str, upstream: str, tokens: TokenServer, key_file: str) -> None:
        async with opened(front, upstream, key_file) as store:
            await works_for(store, 2.2 * LIFETIME)
        assert set(tokens.asked) == {"google-key"}
        assert 2 <= len(tokens.asked) <= 5

    @pytest.mark.parametrize("impersonate", [False, True])
    async def test_workload_identity_federation(
        self, front: str, upstream: str, tokens: TokenServer, tmp_path: Path, *, impersonate: bool
    ) -> None:
        (tmp_path / "subject").write_text(tokens.subject_token)
        path = tmp_path / "federation.json"
        path.write_text(json.dumps(tokens.federation(str(tmp_path / "subject"), impersonate=impersonate)))
        async with opened(front, upstream, str(path)) as store:
            await works_for(store, 2.2 * LIFETIME)
        assert set(tokens.asked) == {"google-sts"} | ({"google-impersonation"} if impersonate else set())
        assert len(tokens.asked) >= 2

    async def test_application_default_credentials_of_a_file(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key_file)
        async with opened(front, upstream, None) as store:
            await works_for(store, 1)
        assert set(tokens.asked) == {"google-key"}

    async def test_metadata_server_of_a_machine(
        self,
        front: str,
        upstream: str,
        tokens: TokenServer,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # no login of a developer
        host = tokens.url.removeprefix("http://")
        monkeypatch.setenv("GCE_METADATA_IP", host)
        monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", host)
        async with opened(front, upstream, None) as store:
            await works_for(store, 2.2 * LIFETIME)
        assert set(tokens.asked) == {"google-metadata"}
        assert len(tokens.asked) >= 2


class TestRefresh:
    async def test_many_requests_at_once_ask_for_one_token(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str
    ) -> None:
        tokens.lifetime = 3600
        async with opened(front, upstream, key_file) as store:
            await asyncio.gather(*(store.upload(f"object-{number}", b"x") for number in range(20)))
        assert tokens.asked == ["google-key"]

    async def test_token_that_ends_in_the_middle_of_a_stream_disturbs_nothing(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str
    ) -> None:
        data = payload(16 * MIB)
        async with opened(front, upstream, key_file) as store:
            await store.upload("large", data)
            first = await store.driver._auth._tokens.get()  # type: ignore[attr-defined] # ours, see `opened`
            got = bytearray()
            async for chunk in store.stream("large", MIB):
                if not got:
                    await asyncio.sleep(LIFETIME + 0.3)
                    assert not tokens.knows(first), "this test needs a token that has ended"
                got += chunk
            assert bytes(got) == data
            assert (await store.info("large")).size == len(data)
        assert len(tokens.asked) >= 2

    async def test_token_that_ends_between_parts_disturbs_nothing(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str
    ) -> None:
        async def slow() -> AsyncIterator[bytes]:
            yield payload(9 * MIB)
            await asyncio.sleep(LIFETIME + 0.3)
            yield payload(9 * MIB)

        async with opened(front, upstream, key_file) as store:
            info = await store.upload("slow", slow())
        assert info.size == 18 * MIB
        assert len(tokens.asked) >= 2

    async def test_tokens_that_were_taken_back_are_renewed_once_and_nobody_notices(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str
    ) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield payload(9 * MIB)
            tokens.revoke()
            yield payload(9 * MIB)

        tokens.lifetime = 3600
        async with opened(front, upstream, key_file) as store:
            await store.upload("object", b"x")
            tokens.revoke()
            assert await asyncio.gather(*(store.download("object") for _ in range(5))) == [b"x"] * 5
            assert tokens.asked == ["google-key"] * 2
        tokens.asked.clear()
        async with opened(front, upstream, key_file) as store:
            assert (await store.upload("slow", parts(), if_not_exists=True)).size == 18 * MIB
        assert tokens.asked == ["google-key"] * 2

    async def test_a_new_token_that_is_refused_as_well_is_the_last(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str
    ) -> None:
        tokens.lifetime, tokens.told = -60, 3600
        async with opened(front, upstream, key_file) as store:
            for _ in range(3):
                with pytest.raises(UnauthenticatedError, match="401"):
                    await store.info("object")
        assert tokens.asked == ["google-key"] * 2

    async def test_token_endpoint_that_fails_for_a_while_is_not_noticed(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        tokens.lifetime = 10
        async with opened(front, upstream, key_file) as store:
            await store.upload("object", b"x")
            tokens.fails = True
            cache = store.driver._auth._tokens  # type: ignore[attr-defined] # ours, see `opened`
            cache._renew_at = 0
            assert await store.download("object") == b"x"
            assert "no new credential" in caplog.text
            assert cache._current not in caplog.text

    async def test_no_token_at_all_is_a_clear_error(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str
    ) -> None:
        other = {**tokens.service_account_key(), "private_key": TokenServer().service_account_key()["private_key"]}
        async with opened(front, upstream, key_file) as store:
            store.driver._auth._path = _written(key_file, other)  # type: ignore[attr-defined] # ours, see `opened`
            with pytest.raises(UnauthenticatedError) as caught:
                await store.info("object")
        assert "BEGIN PRIVATE KEY" not in f"{caught.value} {caught.value.__cause__!r}"

    async def test_token_endpoint_that_is_gone_is_unavailable(
        self, front: str, upstream: str, tokens: TokenServer, tmp_path: Path, free_tcp_port: int
    ) -> None:
        nowhere = {**tokens.service_account_key(), "token_uri": f"http://127.0.0.1:{free_tcp_port}/token"}
        async with opened(front, upstream, _written(str(tmp_path / "other.json"), nowhere)) as store:
            with pytest.raises(StorageUnavailableError):
                await store.info("object")

    async def test_waiting_for_a_token_does_not_stop_the_event_loop(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str
    ) -> None:
        gaps, done = [], asyncio.Event()

        async def heart() -> None:
            while not done.is_set():
                before = monotonic()
                await asyncio.sleep(0.01)
                gaps.append(monotonic() - before)

        tokens.lifetime, tokens.delay = 3600, 4.0
        async with opened(front, upstream, key_file) as store:
            beating = asyncio.create_task(heart())
            await store.upload("object", b"x")
            done.set()
            await beating
        assert len(gaps) > 20, "the token came too soon for this test"
        assert max(gaps) < 3, f"the event loop stood still for {max(gaps):.2f} s"

    async def test_tokens_are_in_no_log(
        self, front: str, upstream: str, tokens: TokenServer, key_file: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "runtime")
        async with opened(front, upstream, key_file) as store:
            await works_for(store, LIFETIME)
        assert tokens.asked
        assert not [token for token in tokens._ends if token in caplog.text]


def _written(path: str, content: object) -> str:
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - the driver takes a string
        json.dump(content, file)
    return path
