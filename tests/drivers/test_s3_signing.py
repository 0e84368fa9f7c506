from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from runtime.config import NamedStorageConfig
from runtime.drivers.s3 import S3Driver
from runtime.drivers.s3.address import Address
from runtime.drivers.s3.signing import EMPTY_SHA256, UNSIGNED_PAYLOAD, Credentials, Signer, encode_query

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
KEY, SECRET, TOKEN = "AKIA+ID/EXAMPLE", "s3cr3t/+key", "token/with+signs=="
PATHS = [
    "a",
    "a b+c",
    "ünï/cödé",
    "%41%",
    "~*!'()",
    "a//b",
    "a/../b",
    "q?x=1&y=#z",
    "🎉",
    "line\nfeed",
    "dir/",
    'a:@;,=$[]{}|\\^`<>"',
]
ADDRESSES = [
    Address.of("tandem-media", "eu-west-1", None),
    Address.of("tandem.media", "us-east-1", None),
    Address.of("tandem-media", "cn-north-1", None),
    Address.of("tandem-media", "auto", "https://abc.eu.r2.cloudflarestorage.com"),
    Address.of("tandem-media", "us-east-1", "http://127.0.0.1:9000/prefix/"),
]


class Botocore(S3SigV4Auth):
    """botocore's signer, kept from choosing a hash of the payload by itself."""

    def _modify_request_before_signing(self, request: Any) -> None:
        request.headers["X-Amz-Date"] = request.context["timestamp"]
        if self.credentials.token:
            request.headers["X-Amz-Security-Token"] = self.credentials.token


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: address.host)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_presigned_urls_are_botocores_byte_for_byte(method: str, address: Address, token: str | None) -> None:
    signer, theirs = Signer("eu-west-1"), BotocoreCredentials(KEY, SECRET, token)
    for path in PATHS:
        headers = {"content-type": "image/x"} if method == "PUT" else {}
        request = AWSRequest(method, address.url(path), headers=dict(headers))
        S3SigV4QueryAuth(theirs, "s3", "eu-west-1", expires=901).add_auth(request)
        sent = {"host": address.host, **headers}
        query = signer.query(Credentials(KEY, SECRET, token), NOW, method, address.target(path), sent, 901)
        assert f"{address.url(path)}?{query}" == request.url


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("address", ADDRESSES, ids=lambda address: address.host)
def test_signed_headers_are_botocores_byte_for_byte(address: Address, token: str | None) -> None:
    signer, theirs = Signer("eu-west-1"), BotocoreCredentials(KEY, SECRET, token)
    pairs = [("list-type", "2"), ("prefix", "ü b+/=&"), ("delimiter", "/"), ("uploads", "")]
    headers = {"x-amz-meta-a": "two  spaces", "content-type": "text/plain; charset=utf-8", "if-none-match": "*"}
    for path in PATHS:
        for payload in (EMPTY_SHA256, UNSIGNED_PAYLOAD):
            query = encode_query(pairs)
            request: Any = AWSRequest("PUT", f"{address.url(path)}?{query}", headers=dict(headers))
            request.headers["X-Amz-Content-SHA256"] = payload
            Botocore(theirs, "s3", "eu-west-1").add_auth(request)
            ours = signer.headers(
                Credentials(KEY, SECRET, token),
                NOW,
                "PUT",
                address.target(path),
                query,
                {"host": address.host, **headers},
                payload,
            )
            assert ours["authorization"] == request.headers["Authorization"]
            assert ours["x-amz-meta-a"] == "two  spaces", "what is signed folded is sent as it is"


def test_a_signer_follows_its_credentials_and_the_day() -> None:
    signer = Signer("eu-west-1")
    for secret, now in [("a", NOW), ("b", NOW), ("b", NOW + timedelta(days=1)), ("a", NOW)]:
        given = (Credentials(KEY, secret), now, "GET", "/b/k", {"host": "h"}, 60)
        assert signer.query(*given) == Signer("eu-west-1").query(*given)


@pytest.mark.parametrize(
    ("region", "bucket", "endpoint", "url"),
    [
        ("eu-west-1", "media", None, "https://media.s3.eu-west-1.amazonaws.com/a%20b"),
        ("us-east-1", "media", None, "https://media.s3.us-east-1.amazonaws.com/a%20b"),
        ("cn-north-1", "media", None, "https://media.s3.cn-north-1.amazonaws.com.cn/a%20b"),
        ("eu-west-1", "my.media", None, "https://s3.eu-west-1.amazonaws.com/my.media/a%20b"),
        ("eu-west-1", "media", "https://S3.example.com:443/", "https://s3.example.com/media/a%20b"),
        ("auto", "media", "http://localhost:9000", "http://localhost:9000/media/a%20b"),
        ("auto", "media", "http://localhost:80/base", "http://localhost/base/media/a%20b"),
    ],
)
def test_every_bucket_has_one_address(region: str, bucket: str, endpoint: str | None, url: str) -> None:
    assert Address.of(bucket, region, endpoint).url("a b") == url


async def test_presigned_requests_say_when_they_end_and_what_to_send() -> None:
    driver = S3Driver(backend())
    request = await driver.presign("a", method="PUT", expires_in=timedelta(minutes=5), content_type="image/png")
    assert request.method == "PUT"
    assert request.headers == {"Content-Type": "image/png"}
    assert "X-Amz-Expires=300&X-Amz-SignedHeaders=content-type%3Bhost&" in request.url
    assert timedelta(minutes=4) < request.expires_at - datetime.now(UTC) <= timedelta(minutes=5)


async def test_us_east_1_is_signed_by_version_4_too() -> None:
    request = await S3Driver(backend(region="us-east-1")).presign("a", method="GET", expires_in=timedelta(hours=1))
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in request.url
    assert "AWSAccessKeyId" not in request.url


async def test_no_secret_is_in_any_repr() -> None:
    driver = S3Driver(backend())
    request = await driver.presign("a", method="GET", expires_in=timedelta(hours=1))
    signer_state = [vars(driver), vars(driver._requests), vars(driver._credentials), vars(driver._multipart)]
    shown = repr([driver, request, *signer_state])
    assert SECRET not in shown
    assert "X-Amz-Signature" not in shown


def backend(**settings: Any) -> NamedStorageConfig:
    given = {"bucket": "media", "region": "eu-west-1", "access_key": KEY, "secret_key": SECRET, **settings}
    return NamedStorageConfig.model_validate({"name": "x", "driver": "s3", "s3": given})
