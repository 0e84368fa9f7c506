"""The stand-in of R2's tokens: a user of the emulator's IAM, with exactly the token's rights until it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.engine.providers.base import UNHELD
from infra.engine.providers.cloudflare import CloudflareProvider
from infra.engine.providers.cloudflare_token import NO_USERS, Token
from infra.engine.providers.values import wire_map
from infra.identities.r2 import EMULATED_GROUPS, READS, WRITES

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.testing.fixtures import ServerFactory
    from runtime.testing.servers import Server
    from tests.infra.engine.conftest import Life

ACCOUNT = "0" * 32


@pytest.fixture
def emulator(server: ServerFactory) -> Server:
    return server("ministack")


def client(emulator: Server, service: str, access_key: str = "", secret_key: str = "") -> Any:
    session: Any = boto3.session.Session(
        access_key or emulator.access_key, secret_key or emulator.secret_key, region_name="us-east-1"
    )
    return session.client(service, endpoint_url=emulator.url, config=Config(s3={"addressing_style": "path"}))


def provider(emulator: Server) -> CloudflareProvider:
    made = CloudflareProvider()
    keys = f"{emulator.access_key}:{emulator.secret_key}"
    made.configure_now(wire_map({"baseUrl": emulator.url, "apiToken": keys}, frozenset({"apiToken"})))
    return made


@pytest.fixture
def bucket(emulator: Server, unique: str) -> str:
    client(emulator, "s3").create_bucket(Bucket=unique)
    client(emulator, "s3").put_object(Bucket=unique, Key="a", Body=b"1")
    return unique


def asked(bucket: str, permission: str = READS, expires: str = "2035-12-31T00:00:00Z") -> dict[str, Any]:
    resources = {f"com.cloudflare.edge.r2.bucket.{ACCOUNT}_default_{bucket}": "*"}
    group = {"id": EMULATED_GROUPS[permission]}
    policy = {"effect": "allow", "permissionGroups": [group], "resources": json.dumps(resources)}
    return {"accountId": ACCOUNT, "name": f"{bucket} app", "expiresOn": expires, "policies": [policy]}


def token(emulator: Server, life: type[Life], bucket: str, permission: str = READS, **more: str) -> Life:
    return life(provider(emulator), Token.type_name, asked(bucket, permission, **more))


def may(emulator: Server, made: Life, bucket: str) -> dict[str, bool]:
    s3 = client(emulator, "s3", made.id, made.outputs["value"])
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: s3.get_object(Bucket=bucket, Key="a"),
        "list": lambda: s3.list_objects_v2(Bucket=bucket),
        "write": lambda: s3.put_object(Bucket=bucket, Key="b", Body=b"2"),
        "delete": lambda: s3.delete_object(Bucket=bucket, Key="b"),
    }
    found = {}
    for name, call in calls.items():
        try:
            call()
        except ClientError as exc:
            found[name] = exc.response["Error"]["Code"] not in {"AccessDenied", "InvalidAccessKeyId"}
        else:
            found[name] = True
    return found


READER = {"read": True, "list": True, "write": False, "delete": False}
EVERYTHING = dict.fromkeys(READER, True)
NOTHING = dict.fromkeys(READER, False)


def test_token_has_the_rights_of_its_permission_and_keeps_its_key(
    emulator: Server, life: type[Life], bucket: str
) -> None:
    made = token(emulator, life, bucket)
    assert may(emulator, made, bucket) == READER
    key = made.id, made.outputs["value"]
    assert UNHELD not in made.outputs
    assert made.differs() == []

    made.change(policies=asked(bucket, WRITES)["policies"])
    assert may(emulator, made, bucket) == EVERYTHING
    assert (made.id, made.outputs["value"]) == key

    made.change(expiresOn="2020-01-01T00:00:00Z")
    assert may(emulator, made, bucket) == NOTHING, "a token that has ended"

    made.delete()
    assert may(emulator, made, bucket) == NOTHING
    assert made.read() is None
    made.delete()


def test_rights_that_somebody_changed_and_keys_that_are_gone_are_found(
    emulator: Server, life: type[Life], bucket: str
) -> None:
    made = token(emulator, life, bucket)
    iam, user = client(emulator, "iam"), made.outputs["userName"]
    everything = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::*"]}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName=user, PolicyName="token", PolicyDocument=document)
    made.read()
    assert [path.partition("[")[0] for path in made.differs()] == ["policies"]

    made.change()
    assert made.differs() == []
    assert may(emulator, made, bucket) == READER

    iam.delete_access_key(UserName=user, AccessKeyId=made.id)
    assert made.read() is None
    again = token(emulator, life, bucket)
    assert again.id != made.id
    assert may(emulator, again, bucket) == READER


def test_creation_that_was_interrupted_leaves_no_second_key(emulator: Server, life: type[Life], bucket: str) -> None:
    lost = token(emulator, life, bucket)
    made = token(emulator, life, bucket)
    keys = client(emulator, "iam").list_access_keys(UserName=made.outputs["userName"])["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in keys] == [made.id]
    assert lost.id != made.id


@pytest.mark.parametrize("name", ["versitygw", "gofakes3"])
def test_server_without_users_gives_its_own_key_and_says_so(
    server: ServerFactory, life: type[Life], unique: str, name: str
) -> None:
    emulator = server(name)
    made = token(emulator, life, unique)
    assert (made.id, made.outputs["value"]) == (emulator.access_key, emulator.secret_key)
    assert made.outputs[UNHELD] == {"expiresOn": NO_USERS, "policies": NO_USERS}
    assert made.read() is not None
    made.change(policies=asked(unique, WRITES)["policies"])
    made.delete()
