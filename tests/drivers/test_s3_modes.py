"""Every way in which AWS gives credentials, on MiniStack, which checks signatures and refuses keys that ended.

The keys of a role are real ones of MiniStack's STS; only the places where they are handed out stand in `aws_modes.py`,
as botocore accepts no life below 15 minutes. botocore's own rule, that keys of an instance are used on while its
metadata service gives none that live longer, is why that mode is not shown with keys that end.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest

from runtime.drivers.s3 import S3Driver
from runtime.errors import PermissionDeniedError, StorageError, StorageUnavailableError, UnauthenticatedError
from runtime.testing.conformance.support import payload
from runtime.testing.serving import serving
from tests.drivers.aws_modes import (
    EVERYTHING,
    LASTING,
    LIFETIME,
    MIB,
    RENEWED,
    SUBJECT,
    Cloud,
    from_assumed_role,
    from_process,
    from_web_identity,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runtime.store import BlobStore
    from runtime.testing.fixtures import ServerFactory


@pytest.fixture
def cloud(server: ServerFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cloud]:
    """Nothing of this machine's own AWS settings is seen, and no metadata service but ours can be."""
    running = server("ministack")
    cloud = Cloud(running.url, running.region, running.access_key, running.secret_key)
    cloud.prepare()
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", cloud.region)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with serving(cloud.app()) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        cloud.vendor = url
        yield cloud


async def works_for(store: BlobStore, seconds: float) -> None:
    """Everything that signs in a way of its own, all the time: requests and presigned URLs."""
    until, number = monotonic() + seconds, 0
    while number == 0 or monotonic() < until:
        await store.upload("object", str(number))
        assert await store.download("object") == str(number).encode()
        await store.copy("object", "copy")
        assert [info.path async for info in store.list()] == ["copy", "object"]
        number += 1
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("mode", LASTING)
async def test_keys_that_last_are_asked_for_once(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: Any
) -> None:
    mode(cloud, monkeypatch, tmp_path)
    async with cloud.store() as store:
        await asyncio.gather(*(store.upload("object", b"x") for _ in range(20)))
        await works_for(store, 0.5)
    assert cloud.asked == LASTING[mode]


@pytest.mark.parametrize("mode", RENEWED)
async def test_keys_of_an_hour_are_asked_for_once(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: Any
) -> None:
    cloud.lifetime = 3600
    mode(cloud, monkeypatch, tmp_path)
    async with cloud.store() as store:
        await asyncio.gather(*(store.upload("object", b"x") for _ in range(20)))
        await works_for(store, 0.5)
    assert cloud.asked == [RENEWED[mode]]


@pytest.mark.parametrize("mode", RENEWED)
async def test_keys_that_end_are_renewed_and_nobody_notices(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: Any
) -> None:
    cloud.lifetime = 3 * LIFETIME if mode is from_process else LIFETIME  # a process takes its time on a busy machine
    mode(cloud, monkeypatch, tmp_path)
    async with cloud.store() as store:
        await works_for(store, 1.2 * cloud.lifetime)
    assert set(cloud.asked) == {RENEWED[mode]}
    assert len(cloud.asked) >= 3


async def ended(cloud: Cloud, keys: dict[str, Any]) -> None:
    """Wait until *keys* are refused, so that what follows can not have been signed with them."""
    old = cloud.client("s3", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    await asyncio.sleep(LIFETIME + 0.5)
    with pytest.raises(Exception, match=r"40[03]|[Ee]xpired"):
        await asyncio.to_thread(old.head_bucket, Bucket=cloud.bucket)


async def test_keys_that_end_in_the_middle_of_a_stream_disturb_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from_web_identity(cloud, monkeypatch, tmp_path)
    data = payload(16 * MIB)
    async with cloud.store() as store:
        await store.upload("large", data)
        got = bytearray()
        async for chunk in store.stream("large", MIB):
            if not got:
                await ended(cloud, cloud.given[-1])
            got += chunk
        assert bytes(got) == data
        assert (await store.info("large")).size == len(data)


async def test_keys_that_end_between_the_parts_of_an_upload_disturb_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from_assumed_role(cloud, monkeypatch, tmp_path)
    data = payload(13 * MIB)

    async def slow() -> Any:
        for begin in range(0, len(data), MIB):
            if begin == 8 * MIB:
                await ended(cloud, cloud.given[-1])
            yield data[begin : begin + MIB]

    async with cloud.store() as store:
        await store.upload("large", slow())
        assert await store.download("large") == data
    assert not cloud.s3.list_multipart_uploads(Bucket=cloud.bucket).get("Uploads")


@pytest.mark.parametrize("mode", RENEWED)
async def test_keys_that_end_sooner_than_was_told_are_renewed_by_the_request_that_is_refused(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: Any
) -> None:
    mode(cloud, monkeypatch, tmp_path)
    cloud.told = 3600
    async with cloud.store() as store:
        await store.upload("object", b"before")
        await ended(cloud, cloud.given[-1])
        cloud.lifetime = 3600
        assert await asyncio.gather(*(store.download("object") for _ in range(5))) == [b"before"] * 5
        await store.upload("object", b"after", if_match=(await store.info("object")).etag)
        await works_for(store, 0)
    assert cloud.asked == [RENEWED[mode]] * 2


async def test_keys_that_are_refused_although_they_are_new_are_asked_for_once_more_and_no_more(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from_web_identity(cloud, monkeypatch, tmp_path)
    cloud.told, cloud.lifetime = 3600, 1
    keys = cloud.keys

    def ended_already(kind: str) -> dict[str, Any]:
        given = keys(kind)
        sleep(1.5)
        return given

    monkeypatch.setattr(cloud, "keys", ended_already)
    async with cloud.store() as store:
        for _ in range(3):
            with pytest.raises(UnauthenticatedError, match="ExpiredToken"):
                await store.download("object")
    assert len(cloud.asked) == 2


async def test_keys_of_a_file_that_were_replaced_are_read_again_when_the_old_ones_are_refused(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    iam = cloud.client("iam", cloud.access_key, cloud.secret_key)
    user = cloud.bucket
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="s3", PolicyDocument=EVERYTHING)

    def written() -> str:
        key = iam.create_access_key(UserName=user)["AccessKey"]
        lines = f"aws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
        (tmp_path / "credentials").write_text(f"[media]\n{lines}")
        return str(key["AccessKeyId"])

    monkeypatch.setenv("AWS_PROFILE", "media")
    old = written()
    async with cloud.store() as store:
        await store.upload("object", b"x")
        written()
        iam.delete_access_key(UserName=user, AccessKeyId=old)
        assert await store.download("object") == b"x"


async def test_a_role_that_is_refused_is_unauthenticated_and_says_nothing_secret(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "runtime")
    from_assumed_role(cloud, monkeypatch, tmp_path)
    cloud.fails = True
    async with cloud.store() as store:
        for start in (
            lambda: store.info("a"),
            lambda: store.upload("a", b"x"),
            lambda: store.copy("a", "b"),
            lambda: store.get_presigned_url("a"),
        ):
            with pytest.raises(UnauthenticatedError, match="the AWS default chain gave no credentials: 403") as caught:
                await start()
            assert cloud.secret_key not in f"{caught.value} {caught.value!r} {store!r} {store.driver!r}"
        assert not (await store.health_check()).is_healthy()
    assert cloud.secret_key not in caplog.text


async def test_a_role_that_is_taken_away_while_we_work_is_unauthenticated(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from_web_identity(cloud, monkeypatch, tmp_path)
    async with cloud.store() as store:
        await store.upload("object", b"x")
        cloud.fails = True
        await ended(cloud, cloud.given[-1])
        with pytest.raises(UnauthenticatedError):
            await store.download("object")
        with pytest.raises(UnauthenticatedError):
            await store.copy("object", "b")
        cloud.fails = False
        assert await store.download("object") == b"x", "and works again when it is given back"


async def test_a_token_file_that_is_missing_is_unauthenticated_and_no_missing_object(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from_web_identity(cloud, monkeypatch, tmp_path)
    (tmp_path / "subject").unlink()
    async with cloud.store() as store:
        with pytest.raises(UnauthenticatedError, match="FileNotFoundError"):
            await store.exists("object")


async def test_sts_that_can_not_be_reached_is_unavailable(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from_web_identity(cloud, monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with cloud.store() as store:
        with pytest.raises(StorageUnavailableError) as caught:
            await store.download("object")
        assert caught.value.retryable


async def test_keys_that_are_wrong_are_denied(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    async with cloud.store() as store:
        with pytest.raises(PermissionDeniedError):
            await store.upload("object", b"x")


async def test_temporary_keys_are_in_no_log_no_error_and_no_repr(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "runtime")
    from_web_identity(cloud, monkeypatch, tmp_path)
    shown = []
    async with cloud.store() as store:
        await works_for(store, 0.5)
        try:
            await store.info("missing")
        except StorageError as error:
            shown += [str(error), repr(error), repr(error.__cause__)]
        driver = store.driver
        assert isinstance(driver, S3Driver)
        shown += [repr(store), repr(driver), repr(driver._credentials), repr(await driver._credentials.get())]
        shown += [repr(await store.presign("object")), str(await store.health_check()), caplog.text]
    assert cloud.given
    for keys in cloud.given:
        for secret in (keys["SecretAccessKey"], keys["SessionToken"], SUBJECT):
            assert not [text for text in shown if secret in text]
