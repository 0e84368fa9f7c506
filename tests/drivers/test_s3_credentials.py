from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from time import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiobotocore.session
import boto3
import pytest
from pydantic import SecretStr

from runtime.config import NamedStorageConfig
from runtime.drivers import _credential_cache
from runtime.drivers.s3 import S3Driver
from runtime.drivers.s3.credentials import CredentialSource
from runtime.drivers.s3.signing import Credentials
from runtime.errors import UnauthenticatedError
from runtime.store import BlobStore

if TYPE_CHECKING:
    from runtime.testing.fixtures import ServerFactory


class Chain:
    """Stands for the AWS default chain: counts how often it is asked, and gives credentials that end."""

    def __init__(self, *lives: timedelta | None) -> None:
        self.lives = list(lives)
        self.asked = 0
        self._expiry_time: datetime | None = None

    async def get_credentials(self) -> Chain:
        return self

    async def get_frozen_credentials(self) -> Any:
        life = self.lives[min(self.asked, len(self.lives) - 1)]
        self.asked += 1
        self._expiry_time = None if life is None else datetime.now(UTC) + life
        await asyncio.sleep(0)
        return type("Frozen", (), {"access_key": f"id{self.asked}", "secret_key": "s", "token": "t"})()


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    chain = Chain(timedelta(hours=1))
    monkeypatch.setattr(aiobotocore.session, "get_session", lambda: chain)
    return chain


def backend(**settings: Any) -> NamedStorageConfig:
    given = {"bucket": "media", "region": "eu-west-1", **settings}
    return NamedStorageConfig.model_validate({"name": "x", "driver": "s3", "s3": given})


async def test_keys_of_the_contract_are_used_as_they_are(chain: Chain) -> None:
    source = CredentialSource(SecretStr("id"), SecretStr("secret"))
    assert source.static
    assert source.now() == await source.get()
    assert await source.get() == Credentials("id", "secret")
    assert chain.asked == 0


async def test_many_requests_ask_the_chain_once(chain: Chain) -> None:
    source = CredentialSource(None, None)
    given = await asyncio.gather(*(source.get() for _ in range(20)))
    assert {credentials.access_key for credentials in given} == {"id1"}
    assert chain.asked == 1


async def test_temporary_credentials_are_renewed_before_they_end(chain: Chain) -> None:
    chain.lives = [timedelta(minutes=4), timedelta(hours=1)]
    source = CredentialSource(None, None)
    assert (await source.get()).access_key == "id1"
    assert (await source.get()).access_key == "id2", "four minutes are too short for a large upload"
    assert (await source.get()).access_key == "id2"


async def test_credentials_without_an_end_are_asked_for_again_some_time(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.lives = [None]
    source = CredentialSource(None, None)
    await source.get()
    assert source.now() is not None
    monkeypatch.setattr(_credential_cache, "time", lambda: time() + 3600)
    assert source.now() is None
    assert (await source.get()).access_key == "id2"


async def test_an_empty_chain_is_unauthenticated(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing() -> None:
        return None

    monkeypatch.setattr(chain, "get_credentials", nothing)
    with pytest.raises(UnauthenticatedError, match="no AWS credentials found"):
        await CredentialSource(None, None).get()


async def test_credentials_that_have_ended_when_they_come_are_unauthenticated(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended() -> None:
        raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")

    monkeypatch.setattr(chain, "get_frozen_credentials", ended)
    with pytest.raises(UnauthenticatedError, match="have ended"):
        await CredentialSource(None, None).get()


@pytest.mark.usefixtures("chain")
async def test_a_presigned_url_ends_with_the_credentials_that_signed_it() -> None:
    request = await S3Driver(backend()).presign("a", method="GET", expires_in=timedelta(days=7))
    assert request.expires_at - datetime.now(UTC) < timedelta(hours=1, seconds=5)
    assert "&X-Amz-Security-Token=t&X-Amz-Signature=" in request.url


async def test_the_token_of_an_assumed_role_goes_with_every_request(
    server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ministack = server("ministack")
    keys = {"aws_access_key_id": ministack.access_key, "aws_secret_access_key": ministack.secret_key}
    place = {"endpoint_url": ministack.url, "region_name": ministack.region}
    make: Any = boto3.client  # typed for each of 400 services, not for a name
    iam, sts, s3 = (make(service, **place, **keys) for service in ("iam", "sts", "s3"))
    name = f"tandem-{uuid4().hex[:12]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=policy)
    s3.create_bucket(Bucket=name)
    given = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", given["SessionToken"])
    entry = backend(bucket=name, region=ministack.region, endpoint_url=ministack.url)
    async with BlobStore(entry, S3Driver(entry)) as store:
        await store.upload("a", b"x")
        assert (await store.copy("a", "b")).size == 1
        assert [info.path async for info in store.list()] == ["a", "b"]
        assert given["SessionToken"][:8] in await store.get_presigned_url("a")
