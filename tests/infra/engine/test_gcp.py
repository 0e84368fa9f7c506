"""Every stand-in of pulumi_gcp against fake-gcs-server, looked at with Google's own SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from infra.engine.providers.base import UNHELD
from infra.engine.providers.gcp import GcpProvider
from infra.engine.providers.values import wire_map
from runtime.errors import AlreadyExistsError, ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ServerFactory
    from runtime.testing.servers import Server
    from tests.infra.engine.conftest import Life

BUCKET = "gcp:storage/bucket:Bucket"
PROJECT = "tandem-emulated"


@pytest.fixture
def emulator(server: ServerFactory) -> Server:
    return server("fake-gcs-server")


@pytest.fixture
def google(emulator: Server) -> Iterator[storage.Client]:
    options = {"api_endpoint": emulator.url}
    client = storage.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)
    yield client
    client.close()


@pytest.fixture
def provider(emulator: Server) -> GcpProvider:
    provider = GcpProvider()
    endpoint = f"{emulator.url}/storage/v1/"
    provider.configure_now(wire_map({"storageCustomEndpoint": endpoint, "project": PROJECT, "accessToken": "x"}))
    return provider


def bucket(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "location": "EU", "project": PROJECT, **more}


def test_a_bucket_lives_its_whole_life(
    provider: GcpProvider, google: storage.Client, life: type[Life], unique: str
) -> None:
    made = life(provider, BUCKET, bucket(unique, versioning={"enabled": True}))
    assert made.id == unique
    assert made.outputs["url"] == f"gs://{unique}"
    assert google.get_bucket(unique).versioning_enabled is True
    assert made.read() == made.inputs
    assert made.differs() == []

    assert made.differs(versioning={"enabled": False}) == ["versioning"]
    made.change(versioning={"enabled": False})
    assert google.get_bucket(unique).versioning_enabled is False
    assert made.differs() == []

    made.delete()
    assert google.lookup_bucket(unique) is None
    assert made.read() is None
    made.delete()


def test_versioning_that_somebody_switched_off_is_drift(
    provider: GcpProvider, google: storage.Client, life: type[Life], unique: str
) -> None:
    made = life(provider, BUCKET, bucket(unique, versioning={"enabled": True}))
    live = google.get_bucket(unique)
    live.versioning_enabled = False
    live.patch()
    assert made.read() != made.inputs
    assert made.differs() == ["versioning"]


def test_what_the_emulator_drops_is_kept_and_told(provider: GcpProvider, life: type[Life], unique: str) -> None:
    settings: dict[str, Any] = {
        "cors": [{"origins": ["https://a.example"], "methods": ["GET"], "maxAgeSeconds": 60}],
        "encryption": {"defaultKmsKeyName": "projects/p/locations/eu/keyRings/r/cryptoKeys/k"},
        "labels": {"owner": "media"},
        "lifecycleRules": [{"action": {"type": "Delete"}, "condition": {"age": 1}}],
        "publicAccessPrevention": "enforced",
        "softDeletePolicy": {"retentionDurationSeconds": 604_800},
        "storageClass": "NEARLINE",
        "uniformBucketLevelAccess": True,
    }
    made = life(provider, BUCKET, bucket(unique, forceDestroy=True, versioning={"enabled": False}, **settings))
    assert set(made.outputs[UNHELD]) == {*settings, "location"}
    assert made.read() == made.inputs
    assert made.differs() == []
    assert made.differs(labels={"owner": "photos"}) == ["labels.owner"]
    made.change(labels={"owner": "photos"})
    assert made.outputs["labels"] == {"owner": "photos"}


def test_cors_in_another_order_is_the_same(provider: GcpProvider, life: type[Life], unique: str) -> None:
    made = life(provider, BUCKET, bucket(unique, cors=[{"origins": ["https://a", "https://b"], "methods": ["GET"]}]))
    assert made.differs(cors=[{"origins": ["https://b", "https://a"], "methods": ["GET"]}]) == []


@pytest.mark.parametrize("change", [{"name": "another-name"}, {"location": "US"}, {"project": "another"}])
def test_what_can_not_change_needs_a_new_bucket(
    provider: GcpProvider, life: type[Life], unique: str, change: dict[str, str]
) -> None:
    assert life(provider, BUCKET, bucket(unique)).replaces(**change) == list(change)


def test_a_bucket_of_somebody_else_is_not_taken_over(
    provider: GcpProvider, google: storage.Client, life: type[Life], unique: str
) -> None:
    google.create_bucket(unique)
    with pytest.raises(AlreadyExistsError, match="is not in this stack's state"):
        life(provider, BUCKET, bucket(unique))


@pytest.mark.parametrize("versioned", [False, True])
def test_a_bucket_with_objects_is_deleted_only_by_force(
    provider: GcpProvider, google: storage.Client, life: type[Life], unique: str, versioned: bool
) -> None:
    made = life(provider, BUCKET, bucket(unique, versioning={"enabled": versioned}))
    blob = google.bucket(unique).blob("a/ü b?.txt")
    blob.upload_from_string("one")
    blob.upload_from_string("two")
    if versioned:
        blob.delete()  # what is left counts too: the service does not delete versions by itself
    with pytest.raises(StorageError, match="still holds objects"):
        made.delete()
    assert google.lookup_bucket(unique) is not None
    made.change(forceDestroy=True)
    made.delete()
    assert google.lookup_bucket(unique) is None


def test_an_interrupted_creation_is_found_again(provider: GcpProvider, google: storage.Client, unique: str) -> None:
    inputs = wire_map(bucket(unique))
    assert provider.find_now(BUCKET, inputs) is None
    google.create_bucket(unique)
    assert provider.find_now(BUCKET, inputs) == unique


NOTED: dict[str, tuple[dict[str, Any], str]] = {
    "gcp:kms/keyRing:KeyRing": (
        {"name": "ring", "location": "europe", "project": "p"},
        "projects/p/locations/europe/keyRings/ring",
    ),
    "gcp:kms/cryptoKey:CryptoKey": (
        {"name": "k", "keyRing": "projects/p/locations/europe/keyRings/ring", "rotationPeriod": "7776000s"},
        "projects/p/locations/europe/keyRings/ring/cryptoKeys/k",
    ),
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": (
        {"cryptoKeyId": "k", "role": "roles/x", "member": "user:a@b.c"},
        "k/roles/x/user:a@b.c",
    ),
    "gcp:serviceaccount/iAMMember:IAMMember": (
        {"serviceAccountId": "s", "role": "roles/x", "member": "user:a@b.c"},
        "s/roles/x/user:a@b.c",
    ),
}


@pytest.mark.parametrize("kind", NOTED)
def test_keys_and_access_live_in_the_state_and_that_is_told(provider: GcpProvider, life: type[Life], kind: str) -> None:
    inputs, identity = NOTED[kind]
    made = life(provider, kind, inputs)
    assert made.id == identity
    assert made.outputs[UNHELD]
    assert made.read() == made.inputs
    assert made.differs() == []
    assert provider.find_now(kind, wire_map(inputs)) is None
    made.delete()


def test_the_rotation_of_a_key_changes_in_place_and_its_name_does_not(provider: GcpProvider, life: type[Life]) -> None:
    inputs, _ = NOTED["gcp:kms/cryptoKey:CryptoKey"]
    made = life(provider, "gcp:kms/cryptoKey:CryptoKey", inputs)
    assert made.replaces(rotationPeriod="86400s") == []
    assert made.replaces(name="other") == ["name"]
    made.change(rotationPeriod="86400s")
    assert made.outputs["rotationPeriod"] == "86400s"


def test_access_to_a_bucket_goes_with_the_bucket(
    provider: GcpProvider, google: storage.Client, life: type[Life], unique: str
) -> None:
    google.create_bucket(unique)
    access = {"bucket": unique, "role": "roles/storage.objectViewer", "member": "allUsers"}
    made = life(provider, "gcp:storage/bucketIAMMember:BucketIAMMember", access)
    assert made.id == f"b/{unique}/roles/storage.objectViewer/allUsers"
    assert made.read() == access
    google.bucket(unique).delete()
    assert made.read() is None


@pytest.mark.parametrize("endpoint", [None, "https://storage.googleapis.com/storage/v1/", "http://10.0.0.1/"])
def test_the_real_cloud_is_never_asked(endpoint: str | None) -> None:
    with pytest.raises(ConfigError, match="gcp:Provider storage_custom_endpoint"):
        GcpProvider().configure_now(wire_map({"storageCustomEndpoint": endpoint, "project": PROJECT}))


def test_a_refusal_is_told_with_the_emulators_words(provider: GcpProvider, life: type[Life]) -> None:
    with pytest.raises(StorageError, match="400"):
        life(provider, BUCKET, bucket("x"))  # too short


def test_an_emulator_that_is_gone_is_known_as_such(life: type[Life], unique: str) -> None:
    provider = GcpProvider()
    provider.configure_now(wire_map({"storageCustomEndpoint": "http://127.0.0.1:1/", "project": PROJECT}))
    with pytest.raises(Exception, match="refused") as raised:
        life(provider, BUCKET, bucket(unique))
    assert provider.unreachable(raised.value)
