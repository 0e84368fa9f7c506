"""Presigned URLs, used by plain HTTP as a browser would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import anyio
import pytest

from runtime.errors import InvalidOptionError, NotSupportedError
from runtime.testing.conformance.suite import Suite
from runtime.testing.conformance.support import Response, payload, refused

if TYPE_CHECKING:
    from runtime.store import BlobStore

MINUTE = timedelta(minutes=1)
REFUSED = frozenset({400, 401, 403, 404})


def tampered(url: str) -> str:
    """The same URL with the last character of its longest query value, the signature, exchanged."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    longest = max(range(len(query)), key=lambda index: (_is_signature(query[index][0]), len(query[index][1])))
    name, value = query[longest]
    middle = len(value) // 2
    query[longest] = (name, value[:middle] + ("0" if value[middle] != "0" else "1") + value[middle + 1 :])
    return urlunsplit(parts._replace(query=urlencode(query)))


def _is_signature(name: str) -> bool:
    return name.lower() in {"x-amz-signature", "x-goog-signature", "sig", "signature"}


def unsigned(url: str) -> str:
    """The URL without its query."""
    return urlunsplit(urlsplit(url)._replace(query=""))


class Presigning(Suite):
    """`presign` and `get_presigned_url`."""

    def _signs(self, store: BlobStore, method: str) -> bool:
        return method in store.capabilities.presign

    async def _refuses(self, store: BlobStore, method: str) -> None:
        with refused(f"presigned {method}"):
            await store.get_presigned_url("a", method=method)
        with refused(f"presigned {method}"):
            await store.presign("a", method=method)

    def _check_refusal(self, answer: Response, what: str) -> None:
        if self.server_verifies_signatures:
            assert answer.status in REFUSED, f"{what} was answered with {answer.status}"
        else:  # the excuse is a fact that is tested too: when the server learns to verify, this fails
            assert answer.status < 300, f"{what} is refused: set server_verifies_signatures = True"

    async def test_presigned_get_gives_content_and_headers(self, store: BlobStore) -> None:
        if not self._signs(store, "GET"):
            await self._refuses(store, "GET")
            return
        data = payload(10_000)
        await store.upload("signed/ü +&.txt", data, content_type="text/plain", cache_control="max-age=60")
        answer = await self.http("GET", await store.get_presigned_url("signed/ü +&.txt", MINUTE))
        assert (answer.status, answer.content) == (200, data)
        assert answer.headers["content-type"] == "text/plain"
        assert answer.headers["cache-control"] == "max-age=60"

    async def test_presigned_put_writes_an_object(self, store: BlobStore) -> None:
        if not self._signs(store, "PUT"):
            await self._refuses(store, "PUT")
            return
        request = await store.presign("signed/new.bin", method="PUT", expires_in=MINUTE)
        data = payload(10_000)
        answer = await self.http("PUT", request.url, headers=request.headers, content=data)
        assert answer.status in {200, 201}, f"{answer.status}: {answer.content[:500]!r}"
        assert await store.download("signed/new.bin") == data

    async def test_presigned_put_with_a_content_type_writes_that_type(self, store: BlobStore) -> None:
        if not self._signs(store, "PUT"):
            await self._refuses(store, "PUT")
            return
        request = await store.presign("typed", method="PUT", expires_in=MINUTE, content_type="image/png")
        answer = await self.http("PUT", request.url, headers=request.headers, content=b"png")
        assert answer.status in {200, 201}, f"{answer.status}: {answer.content[:500]!r}"
        assert (await store.info("typed")).content_type == "image/png"

    async def test_presigned_put_with_another_content_type_is_refused(self, store: BlobStore) -> None:
        if not self._signs(store, "PUT"):
            await self._refuses(store, "PUT")
            return
        request = await store.presign("typed", method="PUT", expires_in=MINUTE, content_type="image/png")
        headers = {**request.headers}
        name = next((name for name in headers if name.lower() == "content-type"), "content-type")
        headers[name] = "text/html"
        answer = await self.http("PUT", request.url, headers=headers, content=b"<script>")
        self._check_refusal(answer, "a PUT of text/html to a URL that was signed for image/png")
        assert await store.exists("typed") is not self.server_verifies_signatures

    async def test_presigned_url_is_good_for_its_own_method_only(self, store: BlobStore) -> None:
        if not self._signs(store, "GET"):
            await self._refuses(store, "GET")
            return
        await store.upload("signed", b"content")
        url = await store.get_presigned_url("signed", MINUTE, "GET")
        self._check_refusal(await self.http("DELETE", url), "a DELETE to a URL that was signed for GET")
        assert await store.exists("signed") is self.server_verifies_signatures
        self._check_refusal(await self.http("PUT", url, content=b"evil"), "a PUT to a URL that was signed for GET")
        if self.server_verifies_signatures:
            assert await store.download("signed") == b"content"

    async def test_tampered_signature_is_refused(self, store: BlobStore) -> None:
        if not self._signs(store, "GET"):
            await self._refuses(store, "GET")
            return
        await store.upload("signed", b"content")
        url = await store.get_presigned_url("signed", MINUTE)
        assert (await self.http("GET", url)).status == 200, "the control: the URL itself works"
        self._check_refusal(await self.http("GET", tampered(url)), "a tampered signature")

    async def test_signature_is_good_for_its_own_path_only(self, store: BlobStore) -> None:
        if not self._signs(store, "GET"):
            await self._refuses(store, "GET")
            return
        await store.upload("signed-1", b"one")
        await store.upload("signed-2", b"two")
        url = await store.get_presigned_url("signed-1", MINUTE)
        self._check_refusal(
            await self.http("GET", url.replace("signed-1", "signed-2")), "the signature of another path"
        )

    async def test_expired_url_is_refused(self, store: BlobStore) -> None:
        if not self._signs(store, "GET"):
            await self._refuses(store, "GET")
            return
        await store.upload("signed", b"content")
        url = await store.get_presigned_url("signed", timedelta(seconds=1))
        await anyio.sleep(2.5)
        self._check_refusal(await self.http("GET", url), "a URL that expired a second ago")

    async def test_presigned_get_of_a_deleted_object_is_404(self, store: BlobStore) -> None:
        if not self._signs(store, "GET"):
            await self._refuses(store, "GET")
            return
        await store.upload("signed", b"content")
        url = await store.get_presigned_url("signed", MINUTE)
        await store.delete("signed")
        assert (await self.http("GET", url)).status == 404

    async def test_request_tells_method_and_expiry_and_hides_its_url(self, store: BlobStore) -> None:
        if not self._signs(store, "GET"):
            await self._refuses(store, "GET")
            return
        request = await store.presign("signed", expires_in=MINUTE)
        assert request.method == "GET"
        assert request.fields is None
        assert abs(request.expires_at - datetime.now(UTC) - MINUTE) < timedelta(seconds=10)
        assert request.url not in repr(request), "a presigned URL is a secret"

    async def test_get_url_grants_nothing(self, store: BlobStore) -> None:
        await store.upload("plain", b"content")
        url = await store.get_url("plain")
        assert not urlsplit(url).query, f"an unsigned URL has no query: {url}"
        if self._signs(store, "GET"):
            assert url != await store.get_presigned_url("plain", MINUTE)

    async def test_impossible_lifetimes_are_refused(self, store: BlobStore) -> None:
        for expires_in in (timedelta(0), timedelta(seconds=-1), timedelta(days=8)):
            with pytest.raises((InvalidOptionError, NotSupportedError)):
                await store.get_presigned_url("a", expires_in)

    async def test_methods_that_are_not_declared_are_refused(self, store: BlobStore) -> None:
        for method in ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"):
            if not self._signs(store, method):
                with refused(f"presigned {method}"):
                    await store.presign("a", method=method)
        for method in ("DELETE", "POST", "PATCH"):
            with refused(f"presigned {method}"):
                await store.get_presigned_url("a", method=method)
