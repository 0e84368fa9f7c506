from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from google.oauth2 import service_account

from runtime.config import CorsRule
from runtime.testing._goog4 import RefusedError, Signed, verify
from runtime.testing.conformance.support import Response, send_http
from runtime.testing.gcs_front import GCSFront
from runtime.testing.serving import serving
from runtime.testing.tokens import SIGNER, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ServerFactory

ENDPOINT = "http://127.0.0.1:9"
APP = "https://app.example.com"
EVIL = "https://evil.example.com"


@pytest.fixture(scope="module")
def tokens() -> TokenServer:
    return TokenServer()


@pytest.fixture(scope="module")
def credentials(tokens: TokenServer) -> service_account.Credentials:
    made: service_account.Credentials = service_account.Credentials.from_service_account_info(
        tokens.service_account_key()
    )
    return made


def sign(
    credentials: service_account.Credentials,
    *,
    endpoint: str = ENDPOINT,
    method: str = "GET",
    expires_in: timedelta = timedelta(minutes=1),
    content_type: str | None = None,
    headers: dict[str, str] | None = None,
) -> str:
    blob = Client(project="p", credentials=AnonymousCredentials()).bucket("photos").blob("a b/ü +&.txt")
    url: str = blob.generate_signed_url(
        version="v4",
        expiration=expires_in,
        method=method,
        content_type=content_type,
        headers=headers,
        credentials=credentials,
        api_access_endpoint=endpoint,
    )
    return url


def received(url: str, method: str = "GET", **headers: str) -> Signed:
    parts = urlsplit(url)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Signed(method, parts.path, parts.query, {"host": parts.netloc, **named})


def changed(url: str, **changes: str | None) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    query |= {f"X-Goog-{name}": value for name, value in changes.items() if value is not None}
    kept = {name: value for name, value in query.items() if changes.get(name.removeprefix("X-Goog-"), "") is not None}
    return parts._replace(query=urlencode(kept)).geturl()


class TestSignatures:
    @pytest.fixture
    def good(self, credentials: service_account.Credentials) -> str:
        return sign(credentials)

    def check(self, tokens: TokenServer, request: Signed, *, later: timedelta = timedelta()) -> None:
        verify(request, {SIGNER: tokens.key.public_key()}, datetime.now(UTC) + later)

    def refusal(self, tokens: TokenServer, request: Signed, *, later: timedelta = timedelta()) -> tuple[int, str]:
        with pytest.raises(RefusedError) as caught:
            self.check(tokens, request, later=later)
        return caught.value.status, caught.value.code

    def test_url_of_the_official_sdk_is_accepted(self, tokens: TokenServer, good: str) -> None:
        self.check(tokens, received(good))

    def test_it_is_refused_once_it_has_expired(self, tokens: TokenServer, good: str) -> None:
        self.check(tokens, received(good), later=timedelta(seconds=55))
        assert self.refusal(tokens, received(good), later=timedelta(seconds=61)) == (400, "ExpiredToken")

    def test_it_is_refused_long_before_its_date(self, tokens: TokenServer, good: str) -> None:
        assert self.refusal(tokens, received(good), later=-timedelta(minutes=20)) == (403, "AccessDenied")

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
    def test_other_methods_are_refused(self, tokens: TokenServer, good: str, method: str) -> None:
        assert self.refusal(tokens, received(good, method)) == (403, "SignatureDoesNotMatch")

    def test_other_path_host_and_query_are_refused(self, tokens: TokenServer, good: str) -> None:
        for other in (
            good.replace("/photos/", "/private/"),
            good.replace("127.0.0.1:9", "127.0.0.1:10"),
            good + "&response-content-type=text%2Fhtml",
            changed(good, Expires="600"),
        ):
            assert self.refusal(tokens, received(other)) == (403, "SignatureDoesNotMatch")

    def test_stranger_is_denied(self, good: str) -> None:
        other = TokenServer()
        assert self.refusal(other, received(good)) == (403, "SignatureDoesNotMatch"), "the key of somebody else"
        with pytest.raises(RefusedError, match="403 AccessDenied"):
            verify(received(good), {"other@example.com": other.key.public_key()}, datetime.now(UTC))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Algorithm", "GOOG4-HMAC-SHA256"),
            ("Credential", "no-scope"),
            ("Date", "yesterday"),
            ("Date", "20200101T000000Z"),
            ("Expires", "604801"),
            ("Expires", "0"),
            ("SignedHeaders", "content-type"),
            ("Signature", "zz"),
            ("Signature", None),
        ],
    )
    def test_malformed_parameters_are_refused(
        self, tokens: TokenServer, good: str, name: str, value: str | None
    ) -> None:
        status, _ = self.refusal(tokens, received(changed(good, **{name: value})))
        assert status in {400, 403}

    def test_parameter_given_twice_is_refused(self, tokens: TokenServer, good: str) -> None:
        assert self.refusal(tokens, received(good + "&X-Goog-Expires=60")) == (400, "InvalidArgument")

    def test_signed_headers_must_be_sent_as_they_were_signed(
        self, tokens: TokenServer, credentials: service_account.Credentials
    ) -> None:
        url = sign(credentials, method="PUT", content_type="image/png", headers={"x-goog-meta-a": "1"})
        self.check(tokens, received(url, "PUT", content_type="image/png", x_goog_meta_a="1"))
        wrong = received(url, "PUT", content_type="text/html", x_goog_meta_a="1")
        assert self.refusal(tokens, wrong) == (403, "SignatureDoesNotMatch")
        missing = received(url, "PUT", content_type="image/png")
        assert self.refusal(tokens, missing) == (400, "MalformedSecurityHeader")

    def test_extension_headers_that_are_not_signed_are_refused(self, tokens: TokenServer, good: str) -> None:
        request = received(good, x_goog_encryption_key="x")
        assert self.refusal(tokens, request) == (403, "SignatureDoesNotMatch")


RULES = (
    CorsRule(origins=(APP,), methods=("GET", "PUT"), headers=("content-type",), expose=("ETag",), max_age=600),
    CorsRule(origins=("*",), methods=("HEAD",)),
)


@pytest.fixture(scope="module")
def front(server: ServerFactory, tokens: TokenServer) -> Iterator[str]:
    upstream = server("fake-gcs-server").url
    app = GCSFront(
        upstream,
        keys={SIGNER: tokens.key.public_key()},
        knows_token=tokens.knows,
        cors={"photos": RULES},
        public={"open"},
    )
    with serving(app) as url:
        yield url


@pytest.fixture
async def filled(front: str, tokens: TokenServer) -> str:
    for bucket in ("photos", "open"):
        made = await api(front, tokens, "POST", "/storage/v1/b?project=p", json.dumps({"name": bucket}).encode())
        assert made.status in {200, 409}
        upload = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=a+b%2F%C3%BC+%2B%26.txt"
        assert (await api(front, tokens, "POST", upload, b"content")).status == 200
    return front


async def api(front: str, tokens: TokenServer, method: str, path: str, content: bytes | None = None) -> Response:
    headers = {"authorization": f"Bearer {tokens._give('test')}", "content-type": "application/json"}
    return await send_http(method, front + path, headers=headers, content=content)


class TestRequests:
    async def test_signed_get_gives_the_object(self, filled: str, credentials: service_account.Credentials) -> None:
        answer = await send_http("GET", sign(credentials, endpoint=filled))
        assert (answer.status, answer.content) == (200, b"content")

    async def test_signed_put_writes_the_object(self, filled: str, credentials: service_account.Credentials) -> None:
        url = sign(credentials, endpoint=filled, method="PUT", content_type="text/x-new")
        headers = {"content-type": "text/x-new"}
        assert (await send_http("PUT", url, headers=headers, content=b"new")).status == 200
        answer = await send_http("GET", sign(credentials, endpoint=filled))
        assert (answer.content, answer.headers["content-type"]) == (b"new", "text/x-new")

    async def test_unsigned_request_is_denied_with_the_services_xml(self, filled: str) -> None:
        answer = await send_http("GET", f"{filled}/photos/a%20b/%C3%BC%20%2B%26.txt")
        assert answer.status == 403
        assert b"<Code>AccessDenied</Code>" in answer.content

    async def test_public_bucket_is_read_and_not_written_without_a_signature(self, filled: str) -> None:
        path = f"{filled}/open/a%20b/%C3%BC%20%2B%26.txt"
        assert (await send_http("GET", path)).content == b"content"
        assert (await send_http("PUT", path, content=b"evil")).status == 403

    async def test_token_that_does_not_hold_is_refused_where_anybody_may_read_too(self, filled: str) -> None:
        answer = await send_http(
            "GET", f"{filled}/open/a%20b/%C3%BC%20%2B%26.txt", headers={"authorization": "Bearer made-up"}
        )
        assert answer.status == 401
        assert b"<Code>AuthenticationRequired</Code>" in answer.content

    async def test_json_api_wants_a_token_that_holds(self, filled: str, tokens: TokenServer) -> None:
        path = f"{filled}/storage/v1/b/photos/o"
        assert (await send_http("GET", path)).status == 401
        assert (await send_http("GET", path, headers={"authorization": "Bearer made-up"})).status == 401
        assert (await api(filled, tokens, "GET", "/storage/v1/b/photos/o")).status == 200


class TestCors:
    async def preflight(self, front: str, origin: str, method: str, headers: str = "") -> Response:
        asked = {"origin": origin, "access-control-request-method": method}
        if headers:
            asked["access-control-request-headers"] = headers
        return await send_http("OPTIONS", f"{front}/photos/any", headers=asked)

    async def test_declared_origin_method_and_headers_are_allowed(self, filled: str) -> None:
        answer = await self.preflight(filled, APP, "PUT", "Content-Type")
        assert answer.headers["access-control-allow-origin"] == APP
        assert "PUT" in answer.headers["access-control-allow-methods"]
        assert "content-type" in answer.headers["access-control-allow-headers"]
        assert answer.headers["access-control-max-age"] == "600"

    @pytest.mark.parametrize(
        ("origin", "method", "headers"), [(EVIL, "PUT", ""), (APP, "DELETE", ""), (APP, "PUT", "x-evil")]
    )
    async def test_anything_else_gets_no_permission(self, filled: str, origin: str, method: str, headers: str) -> None:
        answer = await self.preflight(filled, origin, method, headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]

    async def test_answer_to_a_declared_origin_may_be_read(
        self, filled: str, credentials: service_account.Credentials
    ) -> None:
        url = sign(credentials, endpoint=filled)
        answer = await send_http("GET", url, headers={"origin": APP})
        assert answer.headers["access-control-allow-origin"] == APP
        assert "ETag" in answer.headers["access-control-expose-headers"]
        answer = await send_http("GET", url, headers={"origin": EVIL})
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers, "the emulator's own '*' came through"

    async def test_wildcard_rule_allows_every_origin_for_its_methods(self, filled: str) -> None:
        answer = await self.preflight(filled, EVIL, "HEAD")
        assert answer.headers["access-control-allow-origin"] == "*"
