"""Every stand-in of pulumi_aws against MiniStack: made, read, changed, drifted, repaired, deleted; seen with boto3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import boto3
import pulumi
import pulumi_aws as aws
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pulumi.provider.experimental import provider as wire

from infra.engine import Action
from infra.engine.embedded import EmbeddedEngine
from infra.engine.providers.aws import AwsProvider
from infra.engine.providers.base import UNHELD
from infra.engine.providers.values import plain_map, wire_map
from runtime.errors import AlreadyExistsError, ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra.engine import Result
    from infra.stack import Stack
    from runtime.testing.fixtures import ServerFactory
    from runtime.testing.servers import Server

REGION = "eu-west-1"


@pytest.fixture
def emulator(server: ServerFactory) -> Server:
    return server("ministack")


@pytest.fixture
def boto(emulator: Server) -> Callable[[str], Any]:
    session: Any = boto3.session.Session(emulator.access_key, emulator.secret_key, region_name=REGION)
    config = Config(s3={"addressing_style": "path"})
    return lambda service: session.client(service, endpoint_url=emulator.url, config=config)


@pytest.fixture
def s3(boto: Callable[[str], Any]) -> Any:
    return boto("s3")


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Cloud:
    """The stand-in, called the way both engines call it."""

    def __init__(self, emulator: Server) -> None:
        endpoints = json.dumps([{"s3": emulator.url, "kms": emulator.url, "iam": emulator.url}])
        keys = {"accessKey": emulator.access_key, "secretKey": emulator.secret_key}
        self.provider = AwsProvider()
        self.provider.configure_now(wire_map({"region": REGION, "endpoints": endpoints, **keys}))

    def make(self, type_: str, **inputs: Any) -> Resource:
        urn, asked = f"urn:pulumi:test::tandem::{type_}::x", wire_map(inputs)
        assert self.provider.check_now(wire.CheckRequest(urn, {}, asked, b"")).failures == []
        made = self.provider.create_now(wire.CreateRequest(urn, asked, 0, preview=False))
        assert made.resource_id
        return Resource(self.provider, urn, made.resource_id, inputs, plain_map(made.properties))


class Resource:
    def __init__(
        self, provider: AwsProvider, urn: str, id_: str, inputs: dict[str, Any], outputs: dict[str, Any]
    ) -> None:
        self.provider, self.urn, self.id, self.inputs, self.outputs = provider, urn, id_, inputs, outputs

    def read(self) -> dict[str, Any] | None:
        """The inputs as the server shows them, None when the resource is gone."""
        answer = self.provider.read_now(
            wire.ReadRequest(self.urn, self.id, wire_map(self.outputs), wire_map(self.inputs))
        )
        self.outputs = plain_map(answer.properties) or self.outputs
        return plain_map(answer.inputs) if answer.resource_id else None

    def differs(self, **inputs: Any) -> list[str]:
        request = wire.DiffRequest(self.urn, self.id, wire_map(self.outputs), wire_map({**self.inputs, **inputs}), [])
        return sorted(self.provider.diff_now(request).detailed_diff)

    def change(self, **inputs: Any) -> None:
        new = {key: value for key, value in {**self.inputs, **inputs}.items() if value is not None}
        olds, news = wire_map(self.outputs), wire_map(new)
        answer = self.provider.update_now(wire.UpdateRequest(self.urn, self.id, olds, news, 0, [], preview=False))
        self.inputs, self.outputs = new, plain_map(answer.properties)

    def delete(self) -> None:
        self.provider.delete_now(wire.DeleteRequest(self.urn, self.id, wire_map(self.outputs), 0))


@pytest.fixture
def cloud(emulator: Server) -> Cloud:
    return Cloud(emulator)


@pytest.fixture
def bucket(cloud: Cloud, unique: str) -> str:
    return cloud.make("aws:s3/bucket:Bucket", bucket=unique, forceDestroy=True).id


RULE = {"allowedMethods": ["PUT", "GET"], "allowedOrigins": ["https://a.example"], "exposeHeaders": ["ETag"]}
DAYS = {"id": "abort", "status": "Enabled", "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7}}
TAGGED = {"prefix": "p/", "tags": {"a": "b", "c": "d"}}

SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bucketPublicAccessBlock:BucketPublicAccessBlock": (
        {"blockPublicAcls": True, "blockPublicPolicy": True, "ignorePublicAcls": True, "restrictPublicBuckets": True},
        {"blockPublicPolicy": False},
    ),
    "bucketOwnershipControls:BucketOwnershipControls": (
        {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
        {"rule": {"objectOwnership": "BucketOwnerPreferred"}},
    ),
    "bucketVersioning:BucketVersioning": (
        {"versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
    ),
    "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        {
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "alias/k"},
                    "bucketKeyEnabled": True,
                }
            ]
        },
        {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]},
    ),
    "bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        {
            "rules": [
                {
                    **DAYS,
                    "noncurrentVersionExpiration": {"noncurrentDays": 30},
                    "expiration": {"expiredObjectDeleteMarker": True},
                },
                {"id": "tmp", "status": "Enabled", "filter": {"prefix": "tmp/"}, "expiration": {"days": 1}},
                {"id": "both", "status": "Disabled", "filter": {"and": TAGGED}, "expiration": {"days": 2}},
            ]
        },
        {"rules": [DAYS]},
    ),
    "bucketCorsConfiguration:BucketCorsConfiguration": (
        {"corsRules": [{**RULE, "allowedHeaders": ["content-type"], "maxAgeSeconds": 3600, "id": "web"}]},
        {"corsRules": [RULE, {"allowedMethods": ["HEAD"], "allowedOrigins": ["https://b.example"]}]},
    ),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_bucket_setting_lives_its_whole_life(cloud: Cloud, bucket: str, kind: str) -> None:
    first, second = SETTINGS[kind]
    made = cloud.make(f"aws:s3/{kind}", bucket=bucket, **first)

    assert made.outputs.get(UNHELD) is None
    assert made.read() == {"bucket": bucket, **first}
    assert made.differs() == []
    assert made.differs(**second) != []
    made.change(**second)
    assert made.read() == {"bucket": bucket, **first, **second}
    assert made.differs() == []
    made.delete()
    made.delete()  # that it is gone already is success


@pytest.mark.parametrize("kind", SETTINGS)
def test_setting_of_a_bucket_that_is_gone_is_gone(cloud: Cloud, s3: Any, unique: str, kind: str) -> None:
    cloud.make("aws:s3/bucket:Bucket", bucket=unique)
    made = cloud.make(f"aws:s3/{kind}", bucket=unique, **SETTINGS[kind][0])
    s3.delete_bucket(Bucket=unique)

    assert made.read() is None
    made.delete()


def test_cors_is_on_the_server_as_the_program_wrote_it(cloud: Cloud, s3: Any, bucket: str) -> None:
    made = cloud.make("aws:s3/bucketCorsConfiguration:BucketCorsConfiguration", bucket=bucket, corsRules=[RULE])

    (rule,) = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert {key: sorted(value) for key, value in rule.items()} == {
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["https://a.example"],
        "ExposeHeaders": ["ETag"],
    }
    rule["AllowedMethods"] = ["GET", "PUT"]  # another order is no difference
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert made.read() == made.inputs
    rule["AllowedOrigins"] = ["*"]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    made.read()
    assert made.differs() == ["corsRules[0].allowedOrigins[0]"]


def test_encryption_that_the_client_can_not_send_is_reported(cloud: Cloud, s3: Any, bucket: str) -> None:
    default = {"sseAlgorithm": "AES256"}
    rules = [{"applyServerSideEncryptionByDefault": default, "blockedEncryptionTypes": ["SSE-C"]}]

    made = cloud.make(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        bucket=bucket,
        rules=rules,
    )

    answer = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    held = "BlockedEncryptionTypes" in answer  # a newer boto3 and server may hold it
    expected = None if held else ["rules[0].blockedEncryptionTypes"]
    assert (list(made.outputs[UNHELD]) if UNHELD in made.outputs else None) == expected
    assert made.read() == made.inputs
    assert made.differs() == []


def test_bucket_with_tags_and_default_tags(emulator: Server, s3: Any, unique: str) -> None:
    cloud = Cloud(emulator)
    cloud.provider._types["aws:s3/bucket:Bucket"].cloud.default_tags = {"team": "media"}

    made = cloud.make("aws:s3/bucket:Bucket", bucket=unique, tags={"a": "1"})

    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=unique)["TagSet"]}
    assert tags == made.outputs["tagsAll"] == {"a": "1", "team": "media"}
    assert made.read() == {"bucket": unique, "tags": {"a": "1"}}
    made.change(tags={"b": "2"})
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=unique)["TagSet"]}
    assert tags == {"b": "2", "team": "media"}
    assert made.outputs["arn"] == f"arn:aws:s3:::{unique}"


def test_bucket_that_exists_is_not_taken_over(cloud: Cloud, s3: Any, unique: str) -> None:
    s3.create_bucket(Bucket=unique, CreateBucketConfiguration={"LocationConstraint": REGION})

    with pytest.raises(AlreadyExistsError, match=f"bucket '{unique}' exists already"):
        cloud.make("aws:s3/bucket:Bucket", bucket=unique)


def test_bucket_that_holds_objects_is_kept_unless_forced(cloud: Cloud, s3: Any, unique: str) -> None:
    made = cloud.make("aws:s3/bucket:Bucket", bucket=unique)
    s3.put_bucket_versioning(Bucket=unique, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket=unique, Key="x", Body=body)
    s3.delete_object(Bucket=unique, Key="x")
    s3.create_multipart_upload(Bucket=unique, Key="open")

    with pytest.raises(StorageError, match=r"still holds objects, so it was not deleted.*force_destroy"):
        made.delete()
    made.change(forceDestroy=True)
    made.delete()

    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket=unique)
    assert made.read() is None


def test_bucket_is_in_the_region_of_the_resource(cloud: Cloud, boto: Callable[[str], Any], unique: str) -> None:
    made = cloud.make("aws:s3/bucket:Bucket", bucket=unique, region="eu-central-1")

    assert boto("s3").get_bucket_location(Bucket=unique)["LocationConstraint"] == "eu-central-1"
    assert made.outputs["region"] == "eu-central-1"
    assert made.differs(region="eu-west-3") == ["region"]


def test_inline_settings_of_a_bucket_are_refused(cloud: Cloud) -> None:
    request = wire.CheckRequest("a::b::aws:s3/bucket:Bucket::x", {}, wire_map({"acl": "private"}), b"")

    failures = cloud.provider.check_now(request).failures or []

    assert [failure.property for failure in failures] == ["bucket", "acl"]


def statement(bucket: str, **more: Any) -> dict[str, Any]:
    resource = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": resource, **more}


def test_tls_only_policy_does_not_lock_a_plain_server(cloud: Cloud, s3: Any, bucket: str) -> None:
    tls = statement(bucket, Sid="tls", Condition={"Bool": {"aws:SecureTransport": "false"}})
    age = statement(bucket, Sid="age", Condition={"NumericGreaterThan": {"s3:signatureAge": "3600000"}})
    made = cloud.make("aws:s3/bucketPolicy:BucketPolicy", bucket=bucket, policy=policy(tls, age))

    assert list(made.outputs[UNHELD]) == ["policy.Statement[0]"]
    assert [s["Sid"] for s in json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]] == ["age"]
    assert made.read() == made.inputs
    s3.delete_bucket_policy(Bucket=bucket)
    assert made.read() is None
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(statement(bucket, Sid="x", Action="s3:PutObject")))
    made.read()
    assert made.differs() != []
    made.change(policy=policy(tls))
    assert made.read() == made.inputs
    assert made.differs() == []
    made.delete()


def test_key_lives_its_whole_life(cloud: Cloud, boto: Callable[[str], Any], unique: str) -> None:
    root = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "kms:*"}
    made = cloud.make(
        "aws:kms/key:Key",
        description=unique,
        enableKeyRotation=True,
        rotationPeriodInDays=365,
        deletionWindowInDays=7,
        policy=policy({**root, "Resource": "*"}),
        tags={"a": "b"},
    )

    assert made.outputs.get(UNHELD) is None
    assert made.read() == made.inputs
    assert boto("kms").get_key_rotation_status(KeyId=made.id)["RotationPeriodInDays"] == 365
    made.change(rotationPeriodInDays=90, description=f"{unique} again", tags={"c": "d"})
    assert made.read() == made.inputs
    made.change(enableKeyRotation=False, rotationPeriodInDays=None)
    assert made.differs() == []
    alias = cloud.make("aws:kms/alias:Alias", name=f"alias/{unique}", targetKeyId=made.id)
    assert alias.outputs["targetKeyArn"] == made.outputs["arn"]
    assert alias.read() == alias.inputs
    alias.delete()
    assert alias.read() is None
    made.delete()
    assert boto("kms").describe_key(KeyId=made.id)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert made.read() is None, "a key that waits for its deletion is gone"
    made.delete()


def test_interrupted_creation_of_a_key_is_found_by_its_description(cloud: Cloud, unique: str) -> None:
    made = cloud.make("aws:kms/key:Key", description=unique, tags={"a": "b"})

    assert cloud.provider.find_now("aws:kms/key:Key", wire_map(made.inputs)) == made.id
    assert cloud.provider.find_now("aws:kms/key:Key", wire_map({**made.inputs, "tags": {"x": "y"}})) is None


def test_policy_and_role_live_their_whole_life(cloud: Cloud, unique: str) -> None:
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*"}
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    grant = cloud.make("aws:iam/policy:Policy", name=unique, policy=policy(read), tags={"a": "b"})
    role = cloud.make("aws:iam/role:Role", name=unique, assumeRolePolicy=policy(trust), description="d")
    inside = cloud.make("aws:iam/rolePolicy:RolePolicy", name="in", role=unique, policy=policy(read))
    tie = cloud.make("aws:iam/rolePolicyAttachment:RolePolicyAttachment", role=unique, policyArn=grant.outputs["arn"])

    for made in (grant, role, inside, tie):
        assert made.outputs.get(UNHELD) is None
        assert made.read() == made.inputs
    assert cloud.provider.find_now("aws:iam/policy:Policy", wire_map(grant.inputs)) == grant.id
    for number in range(7):  # more than the five versions that a policy can have
        grant.change(policy=policy({**read, "Action": [f"s3:Get{number}"]}))
    role.change(description="e", maxSessionDuration=7200)
    for made in (grant, role):
        assert made.read() == made.inputs
    for made in (tie, inside, role, grant):
        made.delete()
        made.delete()
        assert made.read() is None


def test_settings_without_a_loopback_endpoint_are_refused() -> None:
    keys = {"region": REGION, "accessKey": "a", "secretKey": "b"}
    for endpoints in (
        [],
        [{"s3": "https://s3.eu-west-1.amazonaws.com"}],
        [{"s3": "http://127.0.0.1:1", "kms": "http://10.0.0.1"}],
    ):
        with pytest.raises(ConfigError, match="aws:Provider endpoints"):
            AwsProvider().configure_now(wire_map({**keys, "endpoints": json.dumps(endpoints)}))


def test_logging_lives_its_whole_life(cloud: Cloud, bucket: str) -> None:
    made = cloud.make(
        "aws:s3/bucketLogging:BucketLogging",
        bucket=bucket,
        targetBucket=bucket,
        targetPrefix="log/",
        targetObjectKeyFormat={"partitionedPrefix": {"partitionDateSource": "EventTime"}},
    )

    assert made.read() == made.inputs
    made.change(targetPrefix="logs/")
    assert made.read() == made.inputs
    made.delete()
    assert made.read() is None


# -- through the engine -------------------------------------------------------------------------------------------


def site(emulator: Server, name: str, *, origin: str = "https://a.example", kms: bool = True) -> Callable[[], None]:
    """A program with the resources that a backend of a real stack has."""

    def program() -> None:
        endpoint = aws.ProviderEndpointArgs(s3=emulator.url, kms=emulator.url, iam=emulator.url)
        provider = aws.Provider(
            "aws",
            region=REGION,
            access_key=emulator.access_key,
            secret_key=emulator.secret_key,
            endpoints=[endpoint],
            s3_use_path_style=True,
        )
        opts = pulumi.ResourceOptions(provider=provider)
        bucket = aws.s3.Bucket("bucket", bucket=name, tags={"owner": "me"}, opts=opts)
        block = aws.s3.BucketPublicAccessBlock("block", bucket=bucket.id, block_public_acls=True, opts=opts)
        after = pulumi.ResourceOptions(provider=provider, depends_on=[block])
        aws.s3.BucketCorsConfiguration(
            "cors",
            bucket=bucket.id,
            cors_rules=[aws.s3.BucketCorsConfigurationCorsRuleArgs(allowed_methods=["GET"], allowed_origins=[origin])],
            opts=after,
        )
        if kms:
            key = aws.kms.Key("key", description=name, opts=opts)
            pulumi.export("key", key.arn)
        pulumi.export("bucket", bucket.arn)

    return program


def changes(result: Result) -> dict[str, str]:
    return {step.name: step.action.value for step in result.steps if step.action is not Action.SAME}


def test_program_of_pulumi_aws_runs_again_and_again(emulator: Server, stack: Stack, s3: Any, unique: str) -> None:
    preview = EmbeddedEngine(site(emulator, unique)).preview(stack)
    assert changes(preview)["cors"] == "create"
    assert preview.outputs == {}, "ids and ARNs are not known before they exist"
    first = EmbeddedEngine(site(emulator, unique)).up(stack)
    assert changes(first) == changes(preview)
    assert first.outputs["bucket"] == f"arn:aws:s3:::{unique}"
    assert changes(EmbeddedEngine(site(emulator, unique)).up(stack)) == {}

    moved = site(emulator, unique, origin="https://b.example", kms=False)
    assert changes(EmbeddedEngine(moved).up(stack)) == {"cors": "update", "key": "delete"}
    assert s3.get_bucket_cors(Bucket=unique)["CORSRules"][0]["AllowedOrigins"] == ["https://b.example"]

    s3.delete_bucket(Bucket=unique)
    lost = {"bucket": "create", "block": "create", "cors": "create"}
    assert changes(EmbeddedEngine(moved).preview(stack)) == lost
    assert changes(EmbeddedEngine(moved).up(stack)) == lost
    assert s3.get_bucket_cors(Bucket=unique)["CORSRules"][0]["AllowedOrigins"] == ["https://b.example"]

    assert set(changes(EmbeddedEngine().destroy(stack)).values()) == {"delete"}
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket=unique)


def run_script(stack: Stack, emulator: Server, name: str, body: str) -> subprocess.Popen[str]:
    """A process that does `up` on a stack, with *body* run before."""
    script = f"""
        import pathlib, os, sys, time
        import pulumi, pulumi_aws as aws
        from infra.engine.embedded import EmbeddedEngine
        from infra.engine.providers.aws import s3
        from infra.stack import Stack

        def program():
            endpoint = aws.ProviderEndpointArgs(s3={emulator.url!r})
            provider = aws.Provider("aws", region={REGION!r}, access_key={emulator.access_key!r},
                                    secret_key={emulator.secret_key!r}, endpoints=[endpoint])
            opts = pulumi.ResourceOptions(provider=provider)
            bucket = aws.s3.Bucket("bucket", bucket={name!r}, opts=opts)
            aws.s3.BucketPublicAccessBlock("block", bucket=bucket.id, block_public_acls=True, opts=opts)

        {textwrap.indent(textwrap.dedent(body), "        ").strip()}
        stack = Stack("test", "tandem", pathlib.Path({str(stack.root)!r}), {{"tandem:emulators": {{"aws": "m"}}}})
        EmbeddedEngine(program).up(stack)
        """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.PIPE, text=True)


def small(emulator: Server, name: str) -> EmbeddedEngine:
    def program() -> None:
        endpoint = aws.ProviderEndpointArgs(s3=emulator.url)
        provider = aws.Provider(
            "aws",
            region=REGION,
            access_key=emulator.access_key,
            secret_key=emulator.secret_key,
            endpoints=[endpoint],
        )
        opts = pulumi.ResourceOptions(provider=provider)
        bucket = aws.s3.Bucket("bucket", bucket=name, opts=opts)
        aws.s3.BucketPublicAccessBlock("block", bucket=bucket.id, block_public_acls=True, opts=opts)

    return EmbeddedEngine(program)


@pytest.mark.parametrize("method", ["create", "_write"])
def test_process_killed_between_call_and_answer_loses_nothing(
    emulator: Server, stack: Stack, s3: Any, unique: str, method: str
) -> None:
    killed = run_script(
        stack,
        emulator,
        unique,
        f"""
        real = s3.PublicAccessBlock.{method}
        def die(*args, **kwargs):
            real(*args, **kwargs)
            os.kill(os.getpid(), 9)
        s3.PublicAccessBlock.{method} = die
        """,
    )
    assert killed.wait(60) == -signal.SIGKILL, killed.stderr and killed.stderr.read()
    assert killed.stderr
    killed.stderr.close()
    assert (stack.root / ".tandem" / "test" / "state.journal").exists()

    result = small(emulator, unique).up(stack)

    assert changes(result) == {"block": "create"}
    assert s3.get_public_access_block(Bucket=unique)["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True
    assert changes(small(emulator, unique).up(stack)) == {}


def test_ctrl_c_lets_the_call_under_way_end_and_writes_it_down(
    emulator: Server, stack: Stack, unique: str, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    interrupted = run_script(
        stack,
        emulator,
        unique,
        f"""
        from infra.engine.providers.aws.bucket import Bucket
        real = Bucket.create
        def slow(*args, **kwargs):
            pathlib.Path({str(begun)!r}).touch()
            time.sleep(1)
            return real(*args, **kwargs)
        Bucket.create = slow
        """,
    )
    deadline = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < deadline
        assert interrupted.poll() is None, interrupted.stderr and interrupted.stderr.read()
        time.sleep(0.02)
    os.kill(interrupted.pid, signal.SIGINT)
    _, errors = interrupted.communicate(timeout=60)

    assert "KeyboardInterrupt" in errors
    assert changes(small(emulator, unique).up(stack)) == {"block": "create"}
