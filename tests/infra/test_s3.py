from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from infra.policy import check
from infra.recording import SECRET, UNKNOWN
from infra.spec import load_spec
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.recording import Recording
    from infra.stack import Stack
    from tests.infra.conftest import MakeStack, Run

CHAIN = [
    "avatars-bucket",
    "avatars-public-access",
    "avatars-ownership",
    "avatars-key",
    "avatars-key-alias",
    "avatars-encryption",
    "avatars-versioning",
    "avatars-lifecycle",
    "avatars-cors",
    "avatars-policy",
]
FULL = """
avatars:
  driver: s3
  cors:
    - {origins: ["https://app.example.com"], methods: [GET, PUT], headers: [content-type], expose: [ETag], max_age: 2h}
  lifecycle: {rules: [{prefix: tmp/, expire_after: 1d}]}
  grants:
    - {to: role/app, access: [read, write, list, presign]}
    - {to: "arn:aws:iam::210987654321:user/bob", access: [delete]}
  presign_max_age: 12h
  logging: false  # tests/infra/test_logs.py
  tags: {team: photos}
"""


def names(recording: Recording) -> list[str]:
    return [record.name for record in recording.records if record.custom]


def statements(recording: Recording, name: str = "avatars-policy") -> dict[str, dict[str, Any]]:
    return {found["Sid"]: found for found in json.loads(recording.one(name).inputs["policy"])["Statement"]}


def inputs(recording: Recording, role: str) -> dict[str, Any]:
    found = dict(recording.one(f"avatars-{role}").inputs)
    bucket, region = found.pop("bucket"), found.pop("region")
    assert bucket.startswith("tandem-test-avatars-")
    assert region == "eu-west-1"
    return found


def test_a_bucket_gets_its_settings_one_after_the_other(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    assert names(recording) == CHAIN
    for before, after in pairwise(CHAIN):
        assert recording.one(before).urn in recording.one(after).dependencies


def test_settings_are_sidecars_and_never_inside_the_bucket(make_stack: MakeStack, run: Run) -> None:
    bucket = run(make_stack(FULL)).one("avatars-bucket")
    assert set(bucket.inputs) == {"bucket", "region", "forceDestroy", "tags"}


def test_everything_belongs_to_one_component(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    (component,) = [record for record in recording.records if not record.custom]
    assert (component.type, component.name) == ("tandem:storage:S3Bucket", "avatars")
    assert {record.parent for record in recording.records if record.custom} == {component.urn}


def test_the_resource_types_are_those_of_pulumi_aws(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    assert [recording.one(name).type for name in CHAIN] == [
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:kms/key:Key",
        "aws:kms/alias:Alias",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration",
        "aws:s3/bucketPolicy:BucketPolicy",
    ]


def test_a_bucket_at_standard_is_closed_encrypted_versioned_and_kept(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL, tags={"owner": "media"}))
    assert recording.one("avatars-bucket").inputs["forceDestroy"] is False
    assert recording.one("avatars-bucket").inputs["tags"] == {
        "owner": "media",
        "team": "photos",
        "tandem:project": "tandem",
        "tandem:stack": "test",
        "tandem:backend": "avatars",
    }
    assert inputs(recording, "public-access") == {
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert inputs(recording, "ownership") == {"rule": {"objectOwnership": "BucketOwnerEnforced"}}
    assert inputs(recording, "encryption") == {
        "rules": [
            {
                "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "arn:avatars-key"},
                "bucketKeyEnabled": True,
                "blockedEncryptionTypes": ["SSE-C"],
            }
        ]
    }
    assert inputs(recording, "versioning") == {"versioningConfiguration": {"status": "Enabled"}}


def test_the_key_rotates_and_has_a_policy_of_its_own(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    key = recording.one("avatars-key").inputs
    assert key["enableKeyRotation"] is True
    assert key["rotationPeriodInDays"] == 365
    assert key["deletionWindowInDays"] == 30
    assert key["tags"]["tandem:backend"] == "avatars"
    policy = statements(recording, "avatars-key")
    assert policy["Account"]["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert policy["Grant0"] == {
        "Sid": "Grant0",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/app"},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
    }
    assert set(policy) == {"Account", "Grant0"}  # who only deletes needs no key
    bucket = recording.one("avatars-bucket").inputs["bucket"]
    alias = recording.one("avatars-key-alias").inputs
    assert (alias["name"], alias["targetKeyId"]) == (f"alias/{bucket}", "avatars-key")


def test_a_name_can_be_of_the_accounts_own_namespace(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack("{avatars: {driver: s3, namespace: account-regional}}")
    recording = run(stack)
    bucket = recording.one("avatars-bucket").inputs
    assert bucket["bucketNamespace"] == "account-regional"
    assert bucket["bucket"].endswith("-123456789012-eu-west-1-an")
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    assert backend["s3"]["bucket"] == bucket["bucket"]
    assert check(stack).failed == ()
    with pytest.raises(ConfigError, match="namespace: is for a new bucket"):
        load_spec(make_stack("{avatars: {driver: s3, namespace: account-regional, existing: somebodys-bucket}}"))


def test_lifecycle_has_one_rule_for_each_thing(make_stack: MakeStack, run: Run) -> None:
    rules = inputs(run(make_stack(FULL)), "lifecycle")["rules"]
    assert rules == [
        {
            "id": "abort-multipart",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
        },
        {
            "id": "expire-noncurrent",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrentVersionExpiration": {"noncurrentDays": 30},
            "expiration": {"expiredObjectDeleteMarker": True},
        },
        {"id": "expire-0", "status": "Enabled", "filter": {"prefix": "tmp/"}, "expiration": {"days": 1}},
    ]


def test_cors_is_what_the_spec_says(make_stack: MakeStack, run: Run) -> None:
    assert inputs(run(make_stack(FULL)), "cors") == {
        "corsRules": [
            {
                "allowedOrigins": ["https://app.example.com"],
                "allowedMethods": ["GET", "PUT"],
                "allowedHeaders": ["content-type"],
                "exposeHeaders": ["ETag"],
                "maxAgeSeconds": 7200,
            }
        ]
    }


def test_the_policy_denies_plain_http_and_old_tls_on_bucket_and_objects(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    bucket = f"arn:aws:s3:::{recording.one('avatars-bucket').inputs['bucket']}"
    for sid, condition in {
        "DenyPlainHttp": {"Bool": {"aws:SecureTransport": "false"}},
        "DenyOldTls": {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
    }.items():
        assert statements(recording)[sid] == {
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket, f"{bucket}/*"],
            "Condition": condition,
        }


def test_the_policy_ends_presigned_urls_at_the_declared_age(make_stack: MakeStack, run: Run) -> None:
    found = statements(run(make_stack(FULL)))["DenyOldSignatures"]
    assert found["Effect"] == "Deny"
    assert found["Condition"] == {
        "NumericGreaterThan": {"s3:signatureAge": "43200000"},
        "StringEquals": {"s3:authType": "REST-QUERY-STRING"},
    }


def test_a_grant_allows_exactly_its_actions(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    bucket = f"arn:aws:s3:::{recording.one('avatars-bucket').inputs['bucket']}"
    found = statements(recording)
    role = {"AWS": "arn:aws:iam::123456789012:role/app"}
    assert found["Grant0Bucket"] == {
        "Sid": "Grant0Bucket",
        "Effect": "Allow",
        "Principal": role,
        "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
        "Resource": [bucket],
    }
    assert found["Grant0Objects"]["Principal"] == role
    assert found["Grant0Objects"]["Action"] == [
        "s3:AbortMultipartUpload",
        "s3:GetObject",
        "s3:GetObjectTagging",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
        "s3:PutObjectTagging",
    ]
    assert found["Grant1Objects"]["Action"] == ["s3:DeleteObject"]
    assert found["Grant1Objects"]["Principal"] == {"AWS": "arn:aws:iam::210987654321:user/bob"}
    assert "Grant1Bucket" not in found


def test_a_policy_is_the_same_text_on_every_run(make_stack: MakeStack, run: Run) -> None:
    texts = {run(make_stack(FULL)).one("avatars-policy").inputs["policy"] for _ in range(2)}
    assert len(texts) == 1
    assert " " not in texts.pop()


@pytest.mark.parametrize(
    ("profile", "protected"),
    [("dev", set()), ("standard", {"avatars-bucket", "avatars-key"}), ("regulated", {"avatars-bucket", "avatars-key"})],
)
def test_what_holds_data_is_protected_outside_dev(
    make_stack: MakeStack, run: Run, profile: str, protected: set[str]
) -> None:
    recording = run(
        make_stack("{avatars: {driver: s3, logging: false, encryption: {type: 'aws:kms'}}}", profile=profile)
    )
    assert {record.name for record in recording.records if record.protect} == protected


def test_a_bucket_in_dev_is_simple_and_can_go(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{avatars: {driver: s3}}", profile="dev"))
    assert "avatars-key" not in names(recording)
    assert recording.one("avatars-bucket").inputs["forceDestroy"] is True
    assert inputs(recording, "encryption")["rules"] == [
        {
            "applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"},
            "bucketKeyEnabled": False,
            "blockedEncryptionTypes": ["SSE-C"],
        }
    ]
    assert inputs(recording, "versioning") == {"versioningConfiguration": {"status": "Suspended"}}
    assert "DenyPlainHttp" in statements(recording)


def test_a_key_that_exists_is_used_as_it_is(make_stack: MakeStack, run: Run) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    recording = run(make_stack(f"{{avatars: {{driver: s3, encryption: {{type: 'aws:kms', kms_key_id: '{key}'}}}}}}"))
    assert "avatars-key" not in names(recording)
    rule = inputs(recording, "encryption")["rules"][0]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
    backend = recording.outputs["storage"]["storage"]["backends"][0]
    assert backend["s3"]["encryption"] == {"enabled": True, "type": "aws:kms", "kms_key_id": key}


def test_a_public_bucket_is_opened_by_its_policy_and_never_by_acls(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{avatars: {driver: s3, public: true}}"))
    assert inputs(recording, "public-access") == {
        "blockPublicAcls": True,
        "blockPublicPolicy": False,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": False,
    }
    default = inputs(recording, "encryption")["rules"][0]["applyServerSideEncryptionByDefault"]
    assert default == {"sseAlgorithm": "AES256"}  # anonymous readers could not use a key
    found = statements(recording)["PublicRead"]
    assert (found["Effect"], found["Principal"], found["Action"]) == ("Allow", "*", "s3:GetObject")
    backend = recording.outputs["storage"]["storage"]["backends"][0]
    assert backend["expect"]["public"] is True


def test_an_existing_bucket_is_read_and_otherwise_left_alone(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{avatars: {driver: s3, existing: photos-2019}}"))
    (bucket,) = [record for record in recording.records if record.custom]
    assert (bucket.type, bucket.adopted, bucket.protect) == ("aws:s3/bucket:Bucket", "photos-2019", False)
    backend = recording.outputs["storage"]["storage"]["backends"][0]
    assert backend["s3"]["bucket"] == "photos-2019"
    assert backend["expect"] == {"public": False, "capabilities": ["presign"]}  # the rest is not ours to promise


def test_an_existing_bucket_gets_what_the_spec_says(make_stack: MakeStack, run: Run) -> None:
    recording = run(
        make_stack("""
        avatars:
          driver: s3
          existing: photos-2019
          versioning: true
          grants: [{to: role/app, access: [read]}]
        """)
    )
    assert names(recording) == ["avatars-bucket", "avatars-versioning", "avatars-policy"]
    assert recording.one("avatars-versioning").inputs["bucket"] == "photos-2019"


@pytest.mark.parametrize(
    ("region", "partition", "domain"),
    [
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("ap-southeast-2", "aws", "amazonaws.com"),
    ],
)
def test_arns_are_those_of_the_regions_partition(
    make_stack: MakeStack, run: Run, region: str, partition: str, domain: str
) -> None:
    recording = run(
        make_stack(f"{{avatars: {{driver: s3, region: {region}, grants: [{{to: role/app, access: [read]}}]}}}}")
    )
    assert statements(recording)["Grant0Objects"]["Principal"]["AWS"] == f"arn:{partition}:iam::123456789012:role/app"
    via = statements(recording, "avatars-key")["Grant0"]["Condition"]["StringEquals"]["kms:ViaService"]
    assert via == f"s3.{region}.{domain}"


def test_the_contract_says_what_was_provisioned(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL.replace("driver: s3", "driver: s3\n  public_url: https://cdn.example.com/")))
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    bucket = recording.one("avatars-bucket").inputs["bucket"]
    assert backend["s3"] == {
        "bucket": bucket,
        "region": "eu-west-1",
        "public_url": "https://cdn.example.com",
        "encryption": {
            "enabled": True,
            "type": "aws:kms",
            "kms_key_id": f"arn:aws:kms:eu-west-1:123456789012:alias/{bucket}",
        },
    }
    held = ["cors", "customer_key", "presign", "public_blocked", "tls_only", "versioning"]
    assert backend["expect"]["capabilities"] == held
    assert backend["expect"]["presign_max_age"] == 12 * 3600  # FULL says so
    assert backend["expect"]["grants"][0] == {"to": "role/app", "access": ["read", "write", "list", "presign"]}


def test_in_a_preview_only_the_keys_own_id_is_unknown(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL), preview=True)
    assert names(recording) == CHAIN
    unknown = [record.name for record in recording.records if UNKNOWN in json.dumps(dict(record.inputs))]
    assert unknown == ["avatars-key-alias", "avatars-encryption"]


@pytest.fixture
def emulated(make_stack: MakeStack, emulate: Callable[[Stack], None]) -> Stack:
    emulators: dict[str, Any] = {"tandem:emulators": {"aws": "moto"}}
    stack = make_stack("{avatars: {driver: s3}, b: {driver: s3}}", profile="dev", **emulators)
    emulate(stack)
    return stack


def test_an_emulated_stack_has_one_provider_that_asks_no_aws(emulated: Stack, run: Run) -> None:
    recording = run(emulated)
    provider = recording.one("aws")
    assert provider.type == "pulumi:providers:aws"
    (endpoints,) = json.loads(provider.inputs["endpoints"])
    assert endpoints == dict.fromkeys(("iam", "kms", "s3"), "http://127.0.0.1:4566")
    assert provider.inputs["secretKey"] == SECRET
    for flag in ("s3UsePathStyle", "skipCredentialsValidation", "skipMetadataApiCheck", "skipRequestingAccountId"):
        assert provider.inputs[flag] == "true"
    used = {record.provider for record in recording.records if record.type.startswith("aws:")}
    assert used == {f"{provider.urn}::{provider.name}-id"}


def test_an_emulated_stack_leaves_tls_only_out_and_says_so_once(
    emulated: Stack, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    recording = run(emulated)
    assert "avatars-policy" not in names(recording)
    backend = recording.outputs["storage"]["storage"]["backends"][0]
    assert "tls_only" not in backend["expect"]["capabilities"]
    said = [record for record in caplog.records if "TLS-only policy" in record.message]
    assert [record.levelname for record in said] == ["WARNING"]


def test_an_emulator_that_speaks_tls_gets_the_whole_policy(
    make_stack: MakeStack, emulate: Callable[..., None], run: Run
) -> None:
    emulators: dict[str, Any] = {"tandem:emulators": {"aws": "moto"}}
    stack = make_stack("{avatars: {driver: s3}}", profile="dev", **emulators)
    emulate(stack, url="https://127.0.0.1:4566")
    assert set(statements(run(stack))) == {"DenyPlainHttp", "DenyOldTls"}


def test_an_emulated_stacks_contract_refers_to_key_files(emulated: Stack, run: Run) -> None:
    backend = run(emulated).outputs["storage"]["storage"]["backends"][0]
    assert backend["s3"]["endpoint_url"] == "http://127.0.0.1:4566"
    assert backend["s3"]["access_key"] == "${file:../.tandem/test/secrets/aws_access_key}"
    assert backend["s3"]["secret_key"] == "${file:../.tandem/test/secrets/aws_secret_key}"
