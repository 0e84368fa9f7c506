"""What only S3 has, proved on servers that keep it: encryption, multiparts left behind, credentials, strange names."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anyio
import boto3
import pytest
from botocore.config import Config

from runtime.config import NamedStorageConfig
from runtime.drivers.s3 import S3Driver
from runtime.drivers.s3.errors import ServiceError
from runtime.drivers.s3.signing import Credentials
from runtime.errors import ChecksumMismatchError, UnauthenticatedError
from runtime.models import UploadOptions
from runtime.store import BlobStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.testing.fixtures import ServerFactory
    from runtime.testing.servers import Server

MIB = 1024 * 1024
OPTIONS = UploadOptions(
    content_type="image/x-test",
    metadata={"a": "two  spaces", "b": "=?not-encoded?="},
    cache_control="no-cache",
    content_disposition='attachment; filename="a"',
)
STRANGE = ["s//x", "s/../x", "s/dir/", "s/\x01", "s/\x7f"]


def client(server: Server, service: str = "s3") -> Any:
    make: Any = boto3.client  # typed for each of 400 services, not for a name
    return make(
        service,
        endpoint_url=server.url,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )


def backend(server: Server, bucket: str, **settings: Any) -> NamedStorageConfig:
    given = {
        "bucket": bucket,
        "region": server.region,
        "endpoint_url": server.url,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        **settings,
    }
    transfer = {"part_size": 5 * MIB}
    return NamedStorageConfig.model_validate({"name": "x", "driver": "s3", "s3": given, "transfer": transfer})


@asynccontextmanager
async def opened(server: Server, **settings: Any) -> AsyncIterator[tuple[S3Driver, BlobStore, str]]:
    bucket = f"tandem-{uuid4().hex[:12]}"
    client(server).create_bucket(Bucket=bucket)
    entry = backend(server, bucket, **settings)
    driver = S3Driver(entry)
    async with BlobStore(entry, driver) as store:
        yield driver, store, bucket


async def multipart(driver: S3Driver, path: str, options: UploadOptions = OPTIONS) -> None:
    upload_id = await driver.start_multipart(path, options)
    token = await driver.put_part(path, upload_id, 1, [b"part"])
    await driver.complete_multipart(path, upload_id, [token], 4, options)


@pytest.mark.parametrize("algorithm", ["AES256", "aws:kms"])
async def test_every_way_of_writing_asks_for_the_configured_encryption(server: ServerFactory, algorithm: str) -> None:
    ministack = server("ministack")
    encryption = {"enabled": True, "type": algorithm}
    if algorithm == "aws:kms":
        encryption["kms_key_id"] = client(ministack, "kms").create_key()["KeyMetadata"]["Arn"]
    async with opened(ministack, encryption=encryption) as (driver, _, bucket):
        await driver.put("plain", b"x", OPTIONS)
        await driver.put("strange//name", b"x", OPTIONS)
        await driver.put("checked", b"x", replace(OPTIONS, checksum=checksum("sha256", b"x")))
        await multipart(driver, "parts")
        await driver.copy("plain", "copied")
        await driver._multipart.copy("plain", f"/{bucket}/plain", "copied-in-parts", OPTIONS)
        for key in ("plain", "strange//name", "checked", "parts", "copied", "copied-in-parts"):
            head = client(ministack).head_object(Bucket=bucket, Key=key)
            assert head["ServerSideEncryption"] == algorithm, key
            assert head.get("SSEKMSKeyId") == encryption.get("kms_key_id"), key


async def test_nothing_is_asked_for_when_encryption_is_left_to_the_bucket() -> None:
    driver = S3Driver(config_without_server(encryption={"enabled": False, "type": "aws:kms", "kms_key_id": "k"}))
    assert driver._sse == {}


async def test_the_key_of_a_customer_goes_with_a_bucket_key() -> None:
    driver = S3Driver(config_without_server(encryption={"enabled": True, "type": "aws:kms", "kms_key_id": "k"}))
    assert driver._sse == {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "k",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
    }


def config_without_server(**settings: Any) -> NamedStorageConfig:
    given = {"bucket": "media", "region": "eu-west-1", **settings}
    return NamedStorageConfig.model_validate({"name": "x", "driver": "s3", "s3": given})


@pytest.mark.parametrize("name", ["ministack", "versitygw"])
@pytest.mark.parametrize("how", ["raises", "is cancelled"])
async def test_no_upload_stays_open_when_its_source_fails(server: ServerFactory, name: str, how: str) -> None:
    reached = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (5 * MIB)
        reached.set()
        if how == "raises":
            raise LookupError("the source broke")
        await asyncio.sleep(60)

    async with opened(server(name)) as (_, store, bucket):
        task = asyncio.create_task(store.upload("a", broken()))
        await reached.wait()
        if how == "is cancelled":
            task.cancel()
        with pytest.raises((LookupError, asyncio.CancelledError)):
            await task
        assert "Uploads" not in client(server(name)).list_multipart_uploads(Bucket=bucket)
        assert not await store.exists("a")


@pytest.mark.parametrize("name", ["ministack", "moto"])
async def test_strange_names_are_listed_and_can_be_read_copied_and_deleted(server: ServerFactory, name: str) -> None:
    async with opened(server(name)) as (driver, store, bucket):
        theirs = client(server(name))
        strange = STRANGE if name == "moto" else [*STRANGE, "s/a\nb"]  # moto's URL router knows no line feed
        for key in strange:
            theirs.put_object(Bucket=bucket, Key=key, Body=key.encode(), Metadata={"k": "v"})
        page = await driver.list_objects("s/")
        assert sorted(info.path for info in page.objects) == sorted(strange)
        for number, info in enumerate(page.objects):
            assert await store.download(info) == info.path.encode()
            assert await store.download(info, range=(1, 3)) == info.path.encode()[1:3]
            assert (await store.copy(info, f"copy/{number}")).metadata == {"k": "v"}
        await store.delete(page.objects[0])
        assert all(result.error is None for result in await store.delete_batch(page.objects))
        assert (await driver.list_objects("s/")).objects == ()


def checksum(algorithm: str, data: bytes) -> str:
    digest = {"sha256": sha256, "md5": md5}[algorithm](data).digest()
    return f"{algorithm}:{b64encode(digest).decode()}"


@pytest.mark.parametrize("name", ["ministack", "moto", "versitygw"])
@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
async def test_a_wrong_checksum_is_refused_at_any_size(server: ServerFactory, name: str, algorithm: str) -> None:
    async with opened(server(name)) as (_, store, bucket):
        for data in (b"small", b"large" * (2 * MIB)):
            await store.upload("right", data, checksum=checksum(algorithm, data))
            with pytest.raises(ChecksumMismatchError):
                await store.upload("wrong", data, checksum=checksum(algorithm, data + b"!"))
            assert not await store.exists("wrong")
        assert "Uploads" not in client(server(name)).list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("name", ["versitygw", "moto"])  # MiniStack drops the tags of multipart uploads
async def test_a_copy_in_parts_keeps_attributes_and_tags(server: ServerFactory, name: str) -> None:
    async with opened(server(name)) as (driver, _, bucket):
        data = b"0123456789abcdef" * (MIB // 16) * 11
        await driver.put("big", data, replace(OPTIONS, tags={"team": "a b", "x": "1+1=2"}))
        send, refused = driver._requests.send, []

        async def limited(method: str, path: str | None = None, **arguments: Any) -> Any:
            if "x-amz-copy-source" in (arguments.get("headers") or {}) and not arguments.get("query"):
                refused.append(path)
                raise ServiceError(400, "InvalidRequest")  # as S3 does above 5 GiB
            return await send(method, path, **arguments)

        driver._requests.send = limited  # type: ignore[method-assign] # a server with 5 GiB is too slow
        driver.capabilities = replace(driver.capabilities, max_part_size=5 * MIB)
        driver._multipart.copy_part = 5 * MIB
        info = await driver.copy("big", "copy")
        assert refused == ["copy"]
        assert (info.size, info.metadata, info.cache_control) == (len(data), OPTIONS.metadata, OPTIONS.cache_control)
        assert info.etag is not None
        assert info.etag.endswith("-3")
        assert await (await driver.get("copy")).read() == data
        tags = client(server(name)).get_object_tagging(Bucket=bucket, Key="copy")["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "a b", "x": "1+1=2"}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("moment", ["begin", "part"])
async def test_a_copy_in_parts_that_is_cancelled_leaves_no_upload_open(
    server: ServerFactory, moment: str, *, native: bool
) -> None:
    async with opened(server("versitygw")) as (driver, store, bucket):
        await driver.put("big", bytes(11 * MIB), OPTIONS)
        driver._multipart.copy_part = 5 * MIB
        send, scope = driver._requests.send, anyio.CancelScope()

        async def seen(method: str, path: str | None = None, **arguments: Any) -> Any:
            names = [name for name, _ in arguments.get("query", ())]
            if names == (["uploads"] if moment == "begin" else ["partNumber", "uploadId"]):
                asyncio.get_running_loop().call_soon(copying.cancel if native else scope.cancel)
            return await send(method, path, **arguments)

        async def copy() -> None:
            with scope:
                await store.copy("big", "copy", if_not_exists=True)

        driver._requests.send = seen  # type: ignore[method-assign] # kept for the test
        copying = asyncio.create_task(copy())
        await asyncio.wait([copying], timeout=60)
        assert copying.cancelled() if native else scope.cancelled_caught
        assert not await store.exists("copy")
        assert not client(server("versitygw")).list_multipart_uploads(Bucket=bucket).get("Uploads")


async def test_the_default_chain_signs_everything(server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    ministack = server("ministack")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ministack.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ministack.secret_key)
    async with opened(ministack, access_key=None, secret_key=None) as (driver, store, bucket):
        await store.upload("a", b"x")
        assert await store.download("a") == b"x"
        assert [info.path async for info in store.list()] == ["a"]
        assert ministack.access_key in await store.get_presigned_url("a")
        assert (await driver.raw.head_bucket(Bucket=bucket))["ResponseMetadata"]["HTTPStatusCode"] == 200


async def test_no_credentials_at_all_is_unauthenticated(server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    ministack = server("ministack")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    async with opened(ministack, access_key=None, secret_key=None) as (_, store, _bucket):
        for call in (store.upload("a", b"x"), store.info("a"), store.list_page(), store.get_presigned_url("a")):
            with pytest.raises(UnauthenticatedError, match="no AWS credentials found"):
                await call


async def test_the_raw_client_is_the_sdks_own(server: ServerFactory) -> None:
    async with opened(server("ministack")) as (driver, store, bucket):
        await store.upload("a", b"x")
        assert (await store.raw.list_objects_v2(Bucket=bucket))["KeyCount"] == 1
        real = await driver.raw
        pages = [page async for page in real.get_paginator("list_objects_v2").paginate(Bucket=bucket)]
        assert [item["Key"] for page in pages for item in page["Contents"]] == ["a"]
        assert store.raw.meta.region_name == server("ministack").region


async def test_closing_leaves_nothing_open(server: ServerFactory) -> None:
    async with opened(server("ministack")) as (driver, store, bucket):
        await store.upload("a", b"x" * MIB)
        reader = await driver.get("a")
        await reader.aclose()
        stranger = await driver.put("a//b", b"x" * MIB, OPTIONS)
        await (await driver.get(stranger.path)).aclose()
        await store.raw.head_bucket(Bucket=bucket)
    gc.collect()  # a forgotten session warns here, and warnings are errors


def test_the_sdk_is_not_loaded_until_it_is_wanted() -> None:
    code = "import runtime.drivers.s3, sys; print(sorted({'aioboto3', 'aiohttp', 'botocore'} & sys.modules.keys()))"
    assert run(code) == "[]"


@pytest.mark.parametrize("package", ["aioboto3", "httptools", "lxml"])
def test_a_missing_package_of_the_extra_is_named(package: str) -> None:
    code = f"""
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{package}":
            raise ModuleNotFoundError(f"No module named '{package}'", name="{package}")
sys.meta_path.insert(0, Missing())
try:
    import runtime.drivers.s3
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(code) == package


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_credentials_show_nothing_but_their_id() -> None:
    assert repr(Credentials("id", "secret", "token")) == "Credentials(access_key='id', expires_at=None)"
