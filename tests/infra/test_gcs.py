from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from pulumi_gcp import kms, storage

from infra import gcp
from infra.recording import SECRET, UNKNOWN
from infra.spec import load_spec
from runtime.config import StorageDocument
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra.recording import Recording
    from infra.stack import Stack
    from runtime.config import StorageGCSConfig
    from tests.infra.conftest import MakeStack, Run

APP = "serviceAccount:app@example-prod.iam.gserviceaccount.com"
FULL = f"""
exports:
  driver: gcs
  location: eu
  storage_class: NEARLINE
  cors:
    - {{origins: ["https://app.example.com"], methods: [GET, PUT], headers: [content-type, etag], expose: [etag, x-a]}}
  lifecycle:
    abort_multipart_after: 2d
    rules: [{{prefix: tmp/, expire_after: 1d}}, {{prefix: "", expire_after: 90d}}]
  soft_delete: 14d
  logging: false  # tests/infra/test_logs.py
  signer_email: signer@example-prod.iam.gserviceaccount.com
  grants:
    - {{to: "{APP}", access: [read, write, list, presign]}}
    - {{to: "group:audit@example.com", access: [list]}}
  tags: {{Team: "Photos: Films"}}
"""
CHAIN = [
    "exports-key-ring",
    "exports-key",
    "exports-key-user",
    "exports-bucket",
    "exports-objectCreator-17926333",
    "exports-objectViewer-17926333",
    "exports-signer-17926333",
    "exports-legacyBucketReader-4a9b1a73",
]
RING = "projects/example-prod/locations/europe/keyRings/"


def names(recording: Recording) -> list[str]:
    return [record.name for record in recording.records if record.custom]


def bucket(recording: Recording) -> dict[str, Any]:
    return dict(recording.one("exports-bucket").inputs)


def entry(recording: Recording) -> StorageGCSConfig:
    backend = StorageDocument.model_validate(recording.outputs["storage"]).storage.backend("exports")
    assert backend.gcs
    return backend.gcs


def problems(stack: Stack) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_spec(stack)
    return [str(problem).removeprefix("storage.backends.exports.") for problem in raised.value.problems]


def spec_of(more: str) -> str:
    return f"{{exports: {{driver: gcs, location: EU, {more}}}}}"


def test_everything_is_made_one_after_the_other_and_belongs_to_one_component(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    shared = recording.of("IAMCustomRole")  # of all backends of the stack
    assert [name for name in names(recording) if name not in {record.name for record in shared}] == CHAIN
    for before, after in pairwise(CHAIN):
        assert recording.one(before).urn in recording.one(after).dependencies
    (component,) = [record for record in recording.records if not record.custom]
    assert (component.type, component.name) == ("tandem:storage:GCSBucket", "exports")
    assert {record.parent for record in recording.records if record.custom and record not in shared} == {component.urn}


def test_the_resource_types_are_those_of_pulumi_gcp(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    assert {record.type for record in recording.records if record.custom} == {
        "gcp:projects/iAMCustomRole:IAMCustomRole",
        "gcp:kms/keyRing:KeyRing",
        "gcp:kms/cryptoKey:CryptoKey",
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
        "gcp:storage/bucket:Bucket",
        "gcp:storage/bucketIAMMember:BucketIAMMember",
        "gcp:serviceaccount/iAMMember:IAMMember",
    }


def test_a_bucket_at_standard_is_closed_encrypted_versioned_and_kept(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL, tags={"owner": "media"}))
    found = bucket(recording)
    name = found.pop("name")
    assert name.startswith("tandem-test-exports-")
    assert found == {
        "project": "example-prod",
        "location": "EU",
        "storageClass": "NEARLINE",
        "uniformBucketLevelAccess": True,
        "publicAccessPrevention": "enforced",
        "versioning": {"enabled": True},
        "softDeletePolicy": {"retentionDurationSeconds": 14 * 24 * 60 * 60},
        "encryption": {
            "defaultKmsKeyName": f"{RING}{name}/cryptoKeys/storage",
            "customerSuppliedEncryptionEnforcementConfig": {"restrictionMode": "FullyRestricted"},
        },
        "lifecycleRules": [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 2}},
            {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}},
            {
                "action": {"type": "Delete"},
                "condition": {"age": 1, "matchesPrefixes": ["tmp/"], "withState": "LIVE"},
            },
            {"action": {"type": "Delete"}, "condition": {"age": 90, "withState": "LIVE"}},
        ],
        "cors": [
            {
                "origins": ["https://app.example.com"],
                "methods": ["GET", "PUT"],
                "responseHeaders": ["content-type", "etag", "x-a"],
                "maxAgeSeconds": 3600,
            }
        ],
        "labels": {
            "owner": "media",
            "team": "photos--films",
            "tandem-project": "tandem",
            "tandem-stack": "test",
            "tandem-backend": "exports",
        },
        "forceDestroy": False,
    }


def test_the_key_rotates_and_the_projects_storage_service_may_use_it(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    name = bucket(recording)["name"]
    assert recording.one("exports-key-ring").inputs == {"project": "example-prod", "location": "europe", "name": name}
    key = recording.one("exports-key").inputs
    assert (key["keyRing"], key["name"]) == (f"{RING}{name}", "storage")
    assert key["rotationPeriod"] == "7776000s"
    assert key["destroyScheduledDuration"] == "2592000s"
    assert recording.one("exports-key-user").inputs == {
        "cryptoKeyId": f"{RING}{name}/cryptoKeys/storage",
        "role": "roles/cloudkms.cryptoKeyEncrypterDecrypter",
        "member": UNKNOWN,  # its address holds the project's number, which only the cloud knows
    }


@pytest.mark.parametrize(("location", "expected"), [("EUR4", "eur4"), ("europe-west1", "europe-west1"), ("us", "us")])
def test_a_key_is_where_its_bucket_is(make_stack: MakeStack, run: Run, location: str, expected: str) -> None:
    recording = run(make_stack(f"{{exports: {{driver: gcs, location: {location}}}}}"))
    assert recording.one("exports-key-ring").inputs["location"] == expected


def test_what_holds_data_is_protected_outside_dev(make_stack: MakeStack, run: Run) -> None:
    protected = {record.name for record in run(make_stack(FULL)).records if record.protect}
    assert protected == {"exports-bucket", "exports-key", "exports-key-ring"}


def test_a_bucket_in_dev_can_be_lost(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of("public: false"), profile="dev"))
    assert names(recording) == ["exports-bucket"]
    found = bucket(recording)
    assert found["forceDestroy"] is True
    assert found["versioning"] == {"enabled": False}
    assert found["softDeletePolicy"] == {"retentionDurationSeconds": 0}
    assert "defaultKmsKeyName" not in found["encryption"]
    assert not recording.one("exports-bucket").protect


def test_soft_delete_is_always_said(make_stack: MakeStack, run: Run) -> None:
    assert bucket(run(make_stack(spec_of("soft_delete: 0s"))))["softDeletePolicy"] == {"retentionDurationSeconds": 0}
    week = {"retentionDurationSeconds": 604_800}
    assert bucket(run(make_stack(spec_of("public: false"))))["softDeletePolicy"] == week


def test_ones_own_key_is_used_as_it_is(make_stack: MakeStack, run: Run) -> None:
    key = "projects/p/locations/europe/keyRings/r/cryptoKeys/k"
    recording = run(make_stack(spec_of(f"encryption: {{type: 'gcs:cmek', kms_key_id: {key}}}"), logging=False))
    assert names(recording) == ["exports-bucket"]
    assert bucket(recording)["encryption"]["defaultKmsKeyName"] == key
    assert entry(recording).encryption.kms_key_id == key


def test_a_public_bucket_is_read_by_all_and_listed_by_nobody(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of("public: true")))
    found = bucket(recording)
    assert found["publicAccessPrevention"] == "inherited"
    assert found["uniformBucketLevelAccess"] is True
    assert recording.one("exports-public").inputs == {
        "bucket": found["name"],
        "role": "roles/storage.legacyObjectReader",
        "member": "allUsers",
    }


def test_a_presigner_signs_in_the_name_of_the_signer(make_stack: MakeStack, run: Run) -> None:
    signer = "signer@example-prod.iam.gserviceaccount.com"
    recording = run(make_stack(FULL))
    (role,) = recording.of("IAMCustomRole")
    assert role.inputs["permissions"] == ["iam.serviceAccounts.signBlob"]  # not all that the signer itself may do
    assert recording.one("exports-signer-17926333").inputs == {
        "serviceAccountId": f"projects/example-prod/serviceAccounts/{signer}",
        "role": f"projects/example-prod/roles/{role.inputs['roleId']}",
        "member": APP,
    }
    assert role.urn in recording.one("exports-signer-17926333").dependencies
    assert entry(recording).signer_email == signer


def test_a_service_account_signs_as_itself(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of(f"grants: [{{to: '{APP}', access: [read, presign]}}]")))
    email = APP.partition(":")[2]
    found = recording.one("exports-signer-17926333").inputs
    assert found["serviceAccountId"] == f"projects/example-prod/serviceAccounts/{email}"
    assert found["role"] == "roles/iam.serviceAccountTokenCreator"
    assert entry(recording).signer_email == email


@pytest.mark.parametrize(
    ("access", "roles"),
    [
        (["read"], ["legacyObjectReader"]),
        (["list"], ["legacyBucketReader"]),
        (["write"], ["objectCreator"]),
        (["read", "list"], ["objectViewer"]),
        (["read", "write"], ["legacyObjectReader", "objectCreator"]),
        (["list", "write", "presign"], ["legacyBucketReader", "objectCreator"]),
        (["read", "write", "delete", "list"], ["objectUser"]),
        (["read", "delete"], ["legacyObjectReader"]),
        (["delete"], []),
        (["admin"], ["legacyBucketReader", "objectAdmin"]),
    ],
)
def test_access_is_the_smallest_predefined_roles(access: Sequence[str], roles: list[str]) -> None:
    assert gcp.object_roles(access) == [f"roles/storage.{role}" for role in roles]


def test_a_grant_keeps_its_resource_when_another_is_added_before_it(make_stack: MakeStack, run: Run) -> None:
    second = "{to: 'user:b@example.com', access: [read]}"
    alone = run(make_stack(spec_of(f"grants: [{second}]"), logging=False))
    behind = run(make_stack(spec_of(f"grants: [{{to: 'user:a@example.com', access: [read]}}, {second}]")))
    (kept,) = alone.of("BucketIAMMember")
    assert behind.one(kept.name).inputs == kept.inputs


def test_an_existing_bucket_is_read_and_gets_access_only(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of("existing: old-exports, public: true")))
    assert names(recording) == ["exports-bucket", "exports-public"]
    assert recording.one("exports-bucket").adopted == "old-exports"
    assert entry(recording).bucket == "old-exports"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            "existing: old-exports, versioning: false",
            (
                "versioning: GCS has no settings apart from the bucket, and this one exists already;"
                " allowed: leave it out, and set it where the bucket is managed"
            ),
        ),
        (
            "grants: [{to: 'group:a@example.com', access: [read, presign]}]",
            "signer_email: is required: group:a@example.com has no service account to sign with; allowed: one",
        ),
        (
            "tags: {team-a: x, team/a: x}",
            "tags: two of the tags have the same name as labels; allowed: names that differ in [a-z0-9_-]",
        ),
        ("soft_delete: 3d", "soft_delete: found what the service refuses; allowed: 0s, or 7d to 90d"),
    ],
)
def test_what_gcs_can_not_do_is_refused(make_stack: MakeStack, more: str, expected: str) -> None:
    assert problems(make_stack(spec_of(more))) == [expected]


def test_the_entry_names_everything_that_the_runtime_needs(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    found = entry(recording)
    assert found.bucket == bucket(recording)["name"]
    assert found.project_id == "example-prod"
    assert found.endpoint_url is None
    assert (found.encryption.enabled, found.encryption.type) == (True, "gcs:cmek")
    assert found.encryption.kms_key_id == f"{RING}{found.bucket}/cryptoKeys/storage"


def test_an_emulated_stack_asks_nobody_but_its_emulator(
    make_stack: MakeStack, run: Run, emulate: Callable[..., None]
) -> None:
    emulators: dict[str, Any] = {"tandem:emulators": {"gcp": "fake-gcs-server"}}
    stack = make_stack(spec_of("encryption: {type: 'gcs:cmek'}"), **emulators)
    emulate(stack)
    recording = run(stack)
    (provider,) = [record for record in recording.records if record.type == "pulumi:providers:gcp"]
    assert provider.inputs == {
        "project": "tandem-emulated",
        "storageCustomEndpoint": "http://127.0.0.1:4566/storage/v1/",
        "kmsCustomEndpoint": "http://127.0.0.1:4566/kms/v1/",
        "iamCustomEndpoint": "http://127.0.0.1:4566/iam/v1/",
        "accessToken": SECRET,
    }
    made = [record for record in recording.records if record.type.startswith("gcp:")]
    assert {record.provider.rpartition("::")[0] for record in made} == {provider.urn}
    assert recording.one("exports-key-user").inputs["member"].startswith("serviceAccount:service-0@gs-project-accounts")
    assert entry(recording).endpoint_url == "http://127.0.0.1:4566"
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    assert "presign" not in backend["expect"]["capabilities"]


def test_a_misspelt_property_is_an_error_of_python() -> None:
    with pytest.raises(TypeError):
        storage.BucketVersioningArgs(enable=True)
    with pytest.raises(TypeError):
        kms.CryptoKeyArgs(rotation_periods="1s")
