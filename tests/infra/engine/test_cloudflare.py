"""Every stand-in of pulumi_cloudflare against MiniStack, which speaks R2's API: S3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from pulumi.provider.experimental import provider as wire

from infra.engine.providers.base import UNHELD
from infra.engine.providers.cloudflare import CloudflareProvider
from infra.engine.providers.values import plain_map, wire_map
from runtime.errors import AlreadyExistsError, ConfigError, StorageError

if TYPE_CHECKING:
    from runtime.testing.fixtures import ServerFactory
    from runtime.testing.servers import Server

ACCOUNT = "0123456789abcdef0123456789abcdef"
DAY = 24 * 60 * 60
ONE_DAY = {"condition": {"type": "Age", "maxAge": DAY}}


@pytest.fixture
def emulator(server: ServerFactory) -> Server:
    return server("ministack")


@pytest.fixture
def s3(emulator: Server) -> Any:
    session: Any = boto3.session.Session(emulator.access_key, emulator.secret_key, region_name="us-east-1")
    return session.client("s3", endpoint_url=emulator.url, config=Config(s3={"addressing_style": "path"}))


@pytest.fixture
def provider(emulator: Server) -> CloudflareProvider:
    provider = CloudflareProvider()
    token = f"{emulator.access_key}:{emulator.secret_key}"
    provider.configure_now(wire_map({"baseUrl": emulator.url, "apiToken": token}, frozenset({"apiToken"})))
    return provider


class Made:
    def __init__(self, provider: CloudflareProvider, kind: str, **inputs: Any) -> None:
        self.provider, self.inputs = provider, {"accountId": ACCOUNT, **inputs}
        self.urn = f"urn:pulumi:test::tandem::cloudflare:index/{kind}::x"
        request = wire.CreateRequest(self.urn, wire_map(self.inputs), 0, preview=False)
        answer = provider.create_now(request)
        self.id, self.outputs = answer.resource_id or "", plain_map(answer.properties)

    def read(self) -> dict[str, Any] | None:
        olds, inputs = wire_map(self.outputs), wire_map(self.inputs)
        answer = self.provider.read_now(wire.ReadRequest(self.urn, self.id, olds, inputs))
        self.outputs = plain_map(answer.properties) or self.outputs
        return plain_map(answer.inputs) if answer.resource_id else None

    def differs(self, **inputs: Any) -> list[str]:
        asked = wire_map({**self.inputs, **inputs})
        diff = self.provider.diff_now(wire.DiffRequest(self.urn, self.id, wire_map(self.outputs), asked, []))
        return sorted(diff.detailed_diff)

    def change(self, **inputs: Any) -> None:
        self.inputs = {**self.inputs, **inputs}
        olds, news = wire_map(self.outputs), wire_map(self.inputs)
        request = wire.UpdateRequest(self.urn, self.id, olds, news, 0, [], preview=False)
        self.outputs = plain_map(self.provider.update_now(request).properties)

    def delete(self) -> None:
        self.provider.delete_now(wire.DeleteRequest(self.urn, self.id, wire_map(self.outputs), 0))


@pytest.fixture
def bucket(provider: CloudflareProvider, unique: str) -> str:
    return Made(provider, "r2Bucket:R2Bucket", name=unique).id


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "enabled": True, "conditions": {"prefix": ""}, **more}


LIVES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "r2BucketCors:R2BucketCors": (
        {
            "rules": [
                {
                    "id": "web",
                    "allowed": {"methods": ["PUT", "GET"], "origins": ["https://a.example"], "headers": ["x-a"]},
                    "exposeHeaders": ["ETag"],
                    "maxAgeSeconds": 60,
                }
            ]
        },
        {"rules": [{"allowed": {"methods": ["GET"], "origins": ["https://b.example"]}}]},
    ),
    "r2BucketLifecycle:R2BucketLifecycle": (
        {
            "rules": [
                rule("abort", abortMultipartUploadsTransition=ONE_DAY),
                rule("tmp", conditions={"prefix": "tmp/"}, deleteObjectsTransition=ONE_DAY),
                rule("cold", storageClassTransitions=[{**ONE_DAY, "storageClass": "InfrequentAccess"}]),
            ]
        },
        {
            "rules": [
                rule("gone", deleteObjectsTransition={"condition": {"type": "Date", "date": "2030-01-01T00:00:00Z"}})
            ]
        },
    ),
    "r2ManagedDomain:R2ManagedDomain": ({"enabled": False}, {"enabled": False}),
}


@pytest.mark.parametrize("kind", LIVES)
def test_setting_lives_its_whole_life(provider: CloudflareProvider, s3: Any, bucket: str, kind: str) -> None:
    first, second = LIVES[kind]
    made = Made(provider, kind, bucketName=bucket, **first)

    assert made.outputs.get(UNHELD) is None
    assert made.read() == made.inputs
    assert made.differs() == []
    made.change(**second)
    assert made.read() == made.inputs
    assert made.differs() == []
    made.delete()
    s3.delete_bucket(Bucket=bucket)
    assert made.read() is None
    made.delete()


def test_bucket_reports_what_only_cloudflare_has(provider: CloudflareProvider, s3: Any, unique: str) -> None:
    made = Made(provider, "r2Bucket:R2Bucket", name=unique, jurisdiction="eu", storageClass="Standard")

    assert sorted(made.outputs[UNHELD]) == ["jurisdiction", "storageClass"]
    assert made.read() == made.inputs
    assert made.differs() == []
    assert made.differs(jurisdiction="us") == ["jurisdiction"]
    with pytest.raises(AlreadyExistsError):
        Made(provider, "r2Bucket:R2Bucket", name=unique)
    s3.put_object(Bucket=unique, Key="x", Body=b"1")
    with pytest.raises(StorageError, match="still holds objects"):
        made.delete()
    s3.delete_object(Bucket=unique, Key="x")
    made.delete()
    made.delete()
    assert made.read() is None


def test_age_that_is_no_whole_day_is_rounded_up_and_reported(
    provider: CloudflareProvider, s3: Any, bucket: str
) -> None:
    odd = {"condition": {"type": "Age", "maxAge": DAY + 1}}
    made = Made(
        provider,
        "r2BucketLifecycle:R2BucketLifecycle",
        bucketName=bucket,
        rules=[rule("a", deleteObjectsTransition=odd)],
    )

    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["Expiration"] == {"Days": 2}
    assert list(made.outputs[UNHELD]) == ["rules[0].deleteObjectsTransition.condition.maxAge"]
    assert made.read() == made.inputs
    assert made.differs() == []


def test_domains_and_locks_are_kept_and_reported(provider: CloudflareProvider, bucket: str) -> None:
    custom = Made(
        provider,
        "r2CustomDomain:R2CustomDomain",
        bucketName=bucket,
        domain="cdn.example.com",
        enabled=True,
        minTls="1.2",
        zoneId="z",
    )
    assert sorted(custom.outputs[UNHELD]) == ["domain", "enabled", "minTls", "zoneId"]
    assert custom.differs(minTls="1.3") == ["minTls"]
    lock = Made(provider, "r2BucketLock:R2BucketLock", bucketName=bucket, rules=[{"id": "a", "enabled": True}])
    assert list(lock.outputs[UNHELD]) == ["rules"]
    managed = Made(provider, "r2ManagedDomain:R2ManagedDomain", bucketName=bucket, enabled=True)
    assert list(managed.outputs[UNHELD]) == ["enabled"]
    for made in (custom, lock, managed):
        assert made.read() == made.inputs
        made.delete()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"apiToken": "a:b"}, "base_url: no endpoint is given"),
        (
            {"apiToken": "a:b", "baseUrl": "https://api.cloudflare.com/client/v4"},
            "base_url: 'https://api.cloudflare.com",
        ),
        ({"apiToken": "v1.0-abc", "baseUrl": "http://127.0.0.1:1"}, "api_token must be '<access key>:<secret key>'"),
    ],
)
def test_settings_of_a_real_account_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CloudflareProvider().configure_now(wire_map(settings))
    assert message in str(caught.value)
    assert "v1.0-abc" not in str(caught.value)
