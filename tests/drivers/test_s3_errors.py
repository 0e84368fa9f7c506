from __future__ import annotations

import asyncio
import hashlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import botocore.exceptions
import pytest
from botocore.exceptions import ClientError

from runtime import errors
from runtime.config import LimitsConfig, NamedStorageConfig, RetryConfig
from runtime.drivers.s3 import S3Driver
from runtime.drivers.s3.errors import CODES, STATUSES, ServiceError, classify, detail, from_answer, kind_of
from runtime.drivers.s3.requests import _AGAIN
from runtime.models import UploadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runtime.driver import Bytes

OPTIONS = UploadOptions(content_type="text/plain")
XML = '<?xml version="1.0"?><Error><Code>{}</Code><Message>m</Message><RequestId>r1</RequestId></Error>'


class Scripted:
    """A server that gives the answers it was told, the last one for ever, and keeps what it was asked."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.asked: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
                self.asked.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if not answer:
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()


def answer(status: int, body: str = "", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@asynccontextmanager
async def opened(*answers: bytes, **settings: Any) -> AsyncIterator[tuple[S3Driver, Scripted]]:
    script = Scripted(list(answers))
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    driver = S3Driver(backend(f"http://127.0.0.1:{port}", **settings))
    await driver.open()
    try:
        yield driver, script
    finally:
        await driver.close()
        server.close()


def backend(endpoint_url: str, **settings: Any) -> NamedStorageConfig:
    given = {"bucket": "media", "region": "eu-west-1", "access_key": "id", "secret_key": "shh", **settings}
    return NamedStorageConfig.model_validate(
        {"name": "x", "driver": "s3", "s3": {"endpoint_url": endpoint_url, **given}}
    )


@pytest.mark.parametrize(("code", "kind"), CODES.items())
async def test_every_code_means_its_kind(code: str, kind: type[errors.StorageError]) -> None:
    refusal = answer(400, XML.format(code))
    assert from_answer(400, {}, XML.format(code).encode()).kind is kind
    if kind in _AGAIN:
        return  # those are repeated; see below
    async with opened(refusal) as (driver, _):
        for call in (driver.put("a", b"", OPTIONS), driver.list_objects(""), driver.get("a"), driver.get("a//b")):
            with pytest.raises(ServiceError) as caught:
                await call
            assert driver.error_type(caught.value) is kind
            assert driver.error_detail(caught.value) == f"400 {code}"
            assert caught.value.request_id == "r1"


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
async def test_every_status_without_a_code_means_its_kind(status: int, kind: type[errors.StorageError]) -> None:
    assert from_answer(status, {}, b"<html>a proxy</html>").kind is kind
    if kind in _AGAIN:
        return
    location = ("Location: http://127.0.0.1:1/",) if status in {301, 307} else ()
    async with opened(answer(status, "", *location)) as (driver, _):
        for call in (driver.check(), driver.head("a//b"), driver.head("a")):
            with pytest.raises(ServiceError) as caught:
                await call
            assert driver.error_type(caught.value) is kind


def test_unknown_refusals_have_no_special_kind_and_unknown_failures_are_unavailable() -> None:
    assert kind_of(400, "NewCode") is errors.StorageError
    assert kind_of(599, "NewCode") is errors.StorageUnavailableError
    assert kind_of(None, "") is errors.StorageUnavailableError
    assert kind_of(None, "NewCode") is errors.StorageError


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "404", errors.NotFoundError),
        (404, "NoSuchBucket", errors.NotFoundError),
        (403, "403", errors.PermissionDeniedError),
        (403, "InvalidAccessKeyId", errors.UnauthenticatedError),
        (412, "PreconditionFailed", errors.PreconditionFailedError),
        (503, "SlowDown", errors.RateLimitedError),
        (400, "RequestTimeout", errors.StorageTimeoutError),
    ],
)
def test_errors_of_the_sdk_client_are_classified_too(status: int, code: str, kind: type[errors.StorageError]) -> None:
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = ClientError(response, "GetObject")
    assert classify(error) is kind
    assert detail(error) == f"{status} {code}"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (botocore.exceptions.NoCredentialsError(), errors.UnauthenticatedError),
        (botocore.exceptions.PartialCredentialsError(provider="p", cred_var="v"), errors.UnauthenticatedError),
        (botocore.exceptions.UnauthorizedSSOTokenError(), errors.UnauthenticatedError),
        (botocore.exceptions.ProfileNotFound(profile="p"), errors.ConfigError),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="u"), errors.StorageUnavailableError),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="u"), errors.StorageUnavailableError),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="u"), errors.StorageTimeoutError),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="u"), errors.StorageTimeoutError),
        (aiohttp.ServerTimeoutError(), errors.StorageTimeoutError),
        (aiohttp.ServerDisconnectedError(), errors.StorageUnavailableError),
        (aiohttp.ClientPayloadError(), errors.StorageUnavailableError),
        (TimeoutError(), errors.StorageTimeoutError),
        (ValueError(), None),
        (KeyError(), None),
        (FileNotFoundError(), None),
    ],
)
def test_errors_of_the_layers_below_are_classified(error: Exception, kind: type[errors.StorageError] | None) -> None:
    assert classify(error) is kind


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        driver = S3Driver(backend(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        await driver.open()
        for call in (driver.head("a"), driver.head("a//b")):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - the kind is what is tested
                await call
            assert driver.error_type(caught.value) is errors.StorageUnavailableError
        await driver.close()


async def test_a_server_that_never_answers_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        patience = {"retry": RetryConfig(attempts=1), "limits": LimitsConfig(attempt_timeout=0.1)}
        driver = S3Driver(backend(f"http://127.0.0.1:{silent.getsockname()[1]}").model_copy(update=patience))
        await driver.open()
        for call in (driver.head("a"), driver.head("a//b")):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - the kind is what is tested
                await call
            assert driver.error_type(caught.value) is errors.StorageTimeoutError
        await driver.close()


@pytest.mark.parametrize("call", [lambda d: d.put("a", b"x", OPTIONS), lambda d: d.put("a//b", b"x", OPTIONS)])
async def test_a_busy_service_is_asked_again_with_the_same_bytes(call: Callable[[S3Driver], Any]) -> None:
    busy = answer(503, XML.format("SlowDown"))
    async with opened(busy, busy, answer(200, "", 'ETag: "e"')) as (driver, script):
        assert (await call(driver)).etag == "e"
        assert [asked.rpartition(b"\r\n\r\n")[2] for asked in script.asked] == [b"x"] * 3


async def test_a_part_of_several_buffers_is_sent_again_whole() -> None:
    part: list[Bytes] = [b"a" * 70_000, memoryview(b"-b-")[1:2], bytearray(b"c" * 300_000)]
    busy = answer(503, XML.format("SlowDown"))
    async with opened(busy, b"", answer(200, "", 'ETag: "e"')) as (driver, script):  # b"": the connection breaks
        assert await driver.put_part("a", "upload", 1, part) == "e"
        bodies = [asked.rpartition(b"\r\n\r\n")[2] for asked in script.asked]
        assert bodies == [b"a" * 70_000 + b"b" + b"c" * 300_000] * 3
        sent = hashlib.sha256(bodies[0]).hexdigest().encode()
        assert all(b"x-amz-content-sha256: " + sent in asked for asked in script.asked)


async def test_a_service_that_stays_busy_is_rate_limited() -> None:
    async with opened(answer(503, XML.format("SlowDown"))) as (driver, script):
        with pytest.raises(ServiceError) as caught:
            await driver.list_objects("")
        assert driver.error_type(caught.value) is errors.RateLimitedError
        assert len(script.asked) == driver.backend.retry.attempts


async def test_an_error_behind_status_200_is_an_error() -> None:
    async with opened(answer(200, XML.format("InternalError"))) as (driver, _):
        calls = [
            driver.copy("a", "b"),
            driver.complete_multipart("a", "u", ["e"], 1, OPTIONS),
            driver.delete_batch(["a"]),
        ]
        for call in calls:
            with pytest.raises(ServiceError) as caught:
                await call
            assert driver.error_type(caught.value) is errors.StorageUnavailableError


async def test_a_batch_falls_back_to_single_deletes_where_there_are_none() -> None:
    async with opened(answer(501, XML.format("NotImplemented")), answer(204)) as (driver, script):
        assert list(await driver.delete_batch(["a", "b"])) == []
        assert list(await driver.delete_batch(["c"])) == []
        assert sorted(asked.split()[0] for asked in script.asked) == [b"DELETE", b"DELETE", b"DELETE", b"POST"]


async def test_a_batch_tells_which_objects_are_left_and_why() -> None:
    ns = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    refusal = f"<DeleteResult {ns}><Error><Key>b&amp;</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    async with opened(answer(200, refusal)) as (driver, script):
        (failure,) = await driver.delete_batch(["a", "b&", "c\r"])
        assert failure.path == "b&"
        assert driver.error_type(failure.error) is errors.PermissionDeniedError
        assert b"<Key>c&#13;</Key>" in script.asked[0]


async def test_names_that_xml_can_not_carry_are_deleted_one_by_one() -> None:
    async with opened(answer(204)) as (driver, script):
        assert list(await driver.delete_batch(["a\x01", "b\ufffe"])) == []
        assert sorted(asked.split()[:2] for asked in script.asked) == [
            [b"DELETE", b"/media/a%01"],
            [b"DELETE", b"/media/b%EF%BF%BE"],
        ]


async def test_a_commit_whose_answer_was_lost_is_recognised() -> None:
    gone, head = (
        answer(404, XML.format("NoSuchUpload")),
        answer(200, "", 'ETag: "abc-2"', "Last-Modified: Tue, 03 Feb 2026 04:05:06 GMT"),
    )
    head = head.replace(b"Content-Length: 0", b"Content-Length: 12")
    async with opened(b"", gone, head) as (driver, _):
        info = await driver.complete_multipart("a", "u", ["e1", "e2"], 12, OPTIONS)
        assert (info.etag, info.size) == ("abc-2", 12)


async def test_a_commit_of_an_upload_that_is_gone_is_an_error() -> None:
    async with opened(answer(404, XML.format("NoSuchUpload"))) as (driver, script):
        with pytest.raises(ServiceError):
            await driver.complete_multipart("a", "u", ["e1"], 12, OPTIONS)
        assert len(script.asked) == 1


async def test_secrets_are_in_no_error() -> None:
    async with opened(answer(403, XML.format("SignatureDoesNotMatch")), secret_key="do-not-show") as (driver, script):
        for call in (driver.put("a", b"", OPTIONS), driver.list_objects("")):
            with pytest.raises(ServiceError) as caught:
                await call
            shown = f"{caught.value!r} {caught.value} {driver.error_detail(caught.value)} {caught.value.__cause__!r}"
            assert "do-not-show" not in shown
            assert "Signature=" not in shown
        assert all(b"do-not-show" not in asked for asked in script.asked)


async def test_environment_variables_do_not_change_where_requests_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-other-keys")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    async with opened(answer(200, "", 'ETag: "e"')) as (driver, script):
        await driver.put("a", b"", OPTIONS)
        assert b"authorization: AWS4-HMAC-SHA256 Credential=id/" in script.asked[0]
        assert b"a-token-of-other-keys" not in script.asked[0]
