"""What is recorded offline is what Pulumi's own machinery gives the engine, record for record."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pytest

from infra import offline, recording
from infra.endpoints import placeholders
from infra.provision import register
from infra.spec import context_of, load_spec
from infra.stack import Stack, stack_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.recording import Record, Recording
    from tests.infra.conftest import MakeStack

ROOT = Path(__file__).parents[2]

CORS = [{"origins": ["https://app.example.com"], "methods": ["GET", "PUT"], "headers": ["x-a"], "max_age": "1h"}]
LIFECYCLE = {"abort_multipart_after": "7d", "rules": [{"prefix": "tmp/", "expire_after": "1d"}]}
GCP_ROLE = "serviceAccount:app@example-prod.iam.gserviceaccount.com"
AZURE_ROLE = "11111111-2222-4333-8444-555555555555"
SUBNET = (
    "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/net/providers/Microsoft.Network"
    "/virtualNetworks/hub/subnets/storage"
)
VARIANTS: dict[str, dict[str, list[Any]]] = {
    "s3": {
        "cors": [CORS],
        "lifecycle": [LIFECYCLE],
        "grants": [[{"to": "role/app", "access": ["read", "list"]}, {"to": "user/b", "access": ["write", "delete"]}]],
        "versioning": [True, False],
        "encryption": [{"type": "AES256"}, {"type": "aws:kms"}],
        "region": ["eu-central-1"],
        "existing": ["somebody-elses-bucket"],
        "tags": [{"owner": "a"}],
        "presign_max_age": ["1h"],
    },
    "gcs": {
        "location": ["EU", "europe-west1"],
        "presign_max_age": ["1h"],
        "cors": [CORS],
        "lifecycle": [LIFECYCLE],
        "grants": [[{"to": GCP_ROLE, "access": ["read", "write", "list", "presign"]}]],
        "versioning": [True, False],
        "encryption": [{"type": "AES256"}, {"type": "gcs:cmek"}],
        "soft_delete": ["7d", "30d"],
    },
    "azure": {
        "location": ["westeurope"],
        "network": ["public", "private"],
        "subnet": [SUBNET],
        "cors": [CORS],
        "lifecycle": [LIFECYCLE],
        "grants": [[{"to": AZURE_ROLE, "access": ["read", "list"]}]],
        "versioning": [True, False],
        "resource_group": ["a-group"],
    },
    "r2": {"jurisdiction": ["eu", "default"], "cors": [CORS], "lifecycle": [LIFECYCLE]},
    "local": {"root_dir": ["/srv/files"], "base_url": ["https://app.example.com/files"]},
}
REQUIRED = {"location", "network", "root_dir", "base_url"}
ALONE = {"existing"}


def generated(seed: int) -> dict[str, Any]:
    """Backends of every driver with whatever keys come up."""
    dice = random.Random(seed)  # noqa: S311 - not a secret
    backends = {}
    for number in range(15):
        driver = list(VARIANTS)[number % len(VARIANTS)]
        keys = {
            key: dice.choice(values)
            for key, values in VARIANTS[driver].items()
            if key in REQUIRED or (key not in ALONE and dice.random() < 0.5)
        }
        backends[f"{driver}-{number}"] = {"driver": driver, **keys}
    backends["adopted"] = {"driver": "s3", "existing": "somebody-elses-bucket", "cors": CORS}
    return backends


def both(program: Callable[[Stack], None], stack: Stack) -> tuple[Recording, Recording]:
    return offline.record(program, stack), recording.record(program, stack, preview=True)


def assert_same(fast: Recording, slow: Recording) -> None:
    found, expected = _by_urn(fast), _by_urn(slow)
    assert found.keys() == expected.keys()
    for urn, record in expected.items():
        assert found[urn] == record
        assert repr(found[urn].inputs) == repr(dict(record.inputs)) or _types(found[urn].inputs) == _types(
            record.inputs
        )


def _by_urn(recorded: Recording) -> dict[str, Record]:
    """The order of registrations is the event loop's choice; the order of dependencies is in the records."""
    assert len({record.urn for record in recorded.records}) == len(recorded.records)
    return {record.urn: record for record in recorded.records}


def _types(node: Any) -> Any:
    """Classes of all values: ``1`` and ``True`` and ``1.0`` are equal, and rules tell them apart."""
    if isinstance(node, dict):
        return {key: _types(value) for key, value in node.items()}
    return [_types(value) for value in node] if isinstance(node, list) else type(node)


def of_spec(stack: Stack) -> Callable[[Stack], None]:
    spec = load_spec(stack)
    context = replace(context_of(stack, spec), endpoints=placeholders(stack))

    def program(_: Stack) -> None:
        register(spec, context)

    return program


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_an_example_stack_is_recorded_as_pulumi_registers_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    stack = Stack.read(name, ROOT)
    assert_same(*both(of_spec(stack), stack))


@pytest.mark.parametrize("profile", ["dev", "standard"])
@pytest.mark.parametrize("seed", range(4))
def test_a_generated_stack_is_recorded_as_pulumi_registers_it(make_stack: MakeStack, seed: int, profile: str) -> None:
    stack = make_stack(generated(seed), profile=profile, tags={"cost-center": "1"})
    fast, slow = both(of_spec(stack), stack)
    assert len(fast.records) > 60
    assert_same(fast, slow)


def test_an_emulated_stack_of_every_cloud_is_recorded_as_pulumi_registers_it(make_stack: MakeStack) -> None:
    servers = {"aws": "ministack", "azure": "azurite", "cloudflare": "ministack", "gcp": "fake-gcs-server"}
    emulators: dict[str, Any] = {"tandem:emulators": servers}
    stack = make_stack(generated(7), profile="dev", **emulators)
    fast, slow = both(of_spec(stack), stack)
    assert_same(fast, slow)
    providers = {record.provider for record in fast.records if record.custom and record.provider}
    assert len(providers) == 4
    assert recording.SECRET in repr([record.inputs for record in fast.records])


class Group(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tandem:test:Group", name, {}, opts)
        first = aws.s3.Bucket(f"{name}-first", opts=pulumi.ResourceOptions(parent=self))
        aws.s3.Bucket(f"{name}-second", bucket=first.bucket, opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({"first": first.id})


def everything(_: Stack) -> None:
    """What a program may do with Pulumi beyond what ours does now."""
    provider = aws.Provider("aws", region="eu-west-1", secret_key=pulumi.Output.secret("hunter2"))
    group = Group("group", pulumi.ResourceOptions(providers=[provider], protect=True))
    log = aws.s3.Bucket("log", bucket="log", tags={"snake_case": "kept", "camelCase": "kept"}, force_destroy=False)
    key = aws.kms.Key("key", opts=pulumi.ResourceOptions(depends_on=group))
    secret = pulumi.Output.secret("password").apply(lambda word: f"{word}!")
    aws.s3.Bucket(
        "made",
        bucket=log.bucket.apply(lambda name: f"{name}-copy"),
        bucket_prefix=key.arn.apply(lambda arn: arn + "/*"),
        acl=secret,
        request_payer=pulumi.Output.concat("a", log.bucket, "b"),
        opts=pulumi.ResourceOptions(depends_on=[log, group], provider=provider),
    )
    aws.s3.BucketLifecycleConfiguration(
        "rules",
        bucket=log.id,
        rules=[
            aws.s3.BucketLifecycleConfigurationRuleArgs(
                id="a",
                status="Enabled",
                filter={"prefix": "tmp/", "object_size_greater_than": 1},
                expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=pulumi.Output.from_input(3)),
            )
        ],
    )
    aws.s3.Bucket.get("adopted", "theirs", opts=pulumi.ResourceOptions(protect=True))
    identity = aws.get_caller_identity_output()
    aws.s3.BucketPolicy("policy", bucket=log.bucket, policy=identity.account_id)
    pulumi.export("bucket", log.bucket)


def test_whatever_a_program_does_is_recorded_as_pulumi_registers_it(make_stack: MakeStack) -> None:
    fast, slow = both(everything, make_stack("{a: {driver: memory}}"))
    assert_same(fast, slow)
    assert fast.outputs.keys() == slow.outputs.keys() == {"bucket"}
    made = fast.one("made")
    assert made.inputs == {
        "bucket": "log-copy", "bucketPrefix": recording.UNKNOWN, "acl": recording.SECRET, "requestPayer": "alogb"
    }  # fmt: skip
    assert {urn.rpartition("::")[2] for urn in made.dependencies} == {"log", "key", "group-first", "group-second"}


def test_the_error_of_a_program_is_its_own(make_stack: MakeStack) -> None:
    def wrong(_: Stack) -> None:
        raise LookupError("no such thing")

    def late(_: Stack) -> None:
        bucket = aws.s3.Bucket("a", bucket="a")
        bucket.bucket.apply(lambda name: [][len(name)])

    stack = make_stack("{a: {driver: memory}}")
    with pytest.raises(LookupError, match="no such thing"):
        offline.record(wrong, stack)
    with pytest.raises(IndexError):
        offline.record(late, stack)


def test_what_can_not_be_recorded_is_an_error_and_not_a_guess(make_stack: MakeStack) -> None:
    def reads_a_mapping(_: Stack) -> None:
        aws.s3.Bucket("b", bucket=aws.s3.Bucket("a", tags={"a": "b"}).tags.apply(str))

    with pytest.raises(NotImplementedError, match="gives no outputs that are lists or mappings"):
        offline.record(reads_a_mapping, make_stack("{a: {driver: memory}}"))


def test_programs_that_nobody_records_register_as_before(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: s3}}")
    offline.record(of_spec(stack), stack)

    def other(_: Stack) -> None:
        aws.s3.Bucket("one", opts=pulumi.ResourceOptions(protect=True))

    assert [record.name for record in recording.record(other, stack).records] == ["one"]
