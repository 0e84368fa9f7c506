"""A bucket's live settings where no emulator has them: a server that answers as Google's and Azure's documents say."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest

import runtime
from runtime.config import CorsRule, LifecycleConfig, LifecycleRule
from runtime.drivers._http import HttpClient, Request
from runtime.drivers.gcs.errors import read_error
from runtime.drivers.gcs.settings import live_settings
from runtime.live import LiveEncryption, LiveSettings, Unseen
from tests.drivers.answering import answering

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
BUCKET = {
    "name": "bucket",
    "location": "EU",
    "versioning": {"enabled": True},
    "encryption": {"defaultKmsKeyName": f"{KEY}/cryptoKeyVersions/3"},
    "cors": [{"origin": ["https://a.example.com"], "method": ["GET"], "responseHeader": ["ETag"], "maxAgeSeconds": 60}],
    "lifecycle": {
        "rule": [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
            {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}},
            {"action": {"type": "Delete"}, "condition": {"age": 1, "matchesPrefix": ["tmp/"], "withState": "LIVE"}},
            {"action": {"type": "SetStorageClass", "storageClass": "NEARLINE"}, "condition": {"age": 90}},
        ]
    },
    "iamConfiguration": {"publicAccessPrevention": "inherited"},
    "logging": {"logBucket": "logs", "logObjectPrefix": "bucket/"},
}
PUBLIC = {"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}
ROLES = Unseen("roles also come from the project and from groups", "roles/iam.securityReviewer")
DENIED = {"error": {"code": 403, "errors": [{"reason": "forbidden"}]}}


@contextmanager
def serving(answers: dict[str, tuple[int, Any]]) -> Iterator[str]:
    """A server on loopback that answers each path as given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = answers[self.path.partition("?")[0]]
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with answering(Handler) as url:
        yield url


async def google(answers: dict[str, tuple[int, Any]], *, emulator: bool = False) -> LiveSettings:
    async def nobody(request: Request) -> Request:
        return request

    with serving(answers) as url:
        http = HttpClient(nobody, read_error)
        try:
            return await live_settings(http, f"{url}/b", KEY, emulator=emulator)
        finally:
            await http.close()


async def test_gcs_settings_are_read_from_the_buckets_resource() -> None:
    assert await google({"/b": (200, BUCKET), "/b/iam": (200, PUBLIC)}) == LiveSettings(
        region="EU",
        versioning=True,
        encryption=LiveEncryption(customer_key=True, key=f"{KEY}/cryptoKeyVersions/3", same_key=True),
        cors=(CorsRule(origins=("https://a.example.com",), methods=("GET",), headers=("ETag",), max_age=60),),
        public=True,
        public_blocked=False,
        logging=True,
        lifecycle=LifecycleConfig(
            abort_multipart_days=7,
            expire_noncurrent_days=30,
            rules=(LifecycleRule(prefix="tmp/", expire_days=1),),
        ),
        unseen={"grants": ROLES},
        one_header_list=True,
    )


async def test_a_gcs_bucket_that_can_not_be_public_is_not_asked_for_its_roles() -> None:
    closed = {"name": "bucket", "iamConfiguration": {"publicAccessPrevention": "enforced"}}
    found = await google({"/b": (200, closed)})
    assert (found.public, found.public_blocked, found.versioning, found.cors) == (False, True, False, ())
    assert found.logging is False
    assert found.encryption == LiveEncryption(customer_key=False)


async def test_gcs_rights_that_are_missing_are_named() -> None:
    found = await google({"/b": (200, BUCKET), "/b/iam": (403, DENIED)})
    assert found.versioning is True
    assert found.unseen == {"public": Unseen("403 forbidden", "storage.buckets.getIamPolicy"), "grants": ROLES}
    found = await google({"/b": (403, DENIED)})
    assert set(found.unseen.values()) == {Unseen("403 forbidden", "storage.buckets.get")}
    assert {"cors", "encryption", "lifecycle", "public", "versioning"} <= set(found.unseen)


async def test_on_a_gcs_emulator_silence_is_no_answer() -> None:
    found = await google({"/b": (200, {"name": "bucket", "versioning": {"enabled": True}})}, emulator=True)
    assert found.versioning is True
    assert set(found.unseen) == {
        "cors", "encryption", "grants", "lifecycle", "logging", "public", "public_blocked", "region",
    }  # fmt: skip


@pytest.mark.parametrize("denied", ["container", "service"])
async def test_azure_rights_that_are_missing_are_named(denied: str) -> None:
    """A shared access signature of one container may not look at the account."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            refused = f"restype={denied}" in self.path
            body = b"" if refused else b"<StorageServiceProperties><Cors/></StorageServiceProperties>"
            self.send_response(403 if refused else 200)
            self.send_header("x-ms-error-code", "AuthorizationPermissionMismatch") if refused else None
            self.send_header("x-ms-blob-public-access", "blob")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with answering(Handler) as url:
        settings = {
            "account_name": "account", "container": "container", "sas_token": "sig=x",
            "endpoint_url": f"{url}/account",
        }  # fmt: skip
        async with runtime.open_storage({"backends": [{"name": "a", "driver": "azure", "azure": settings}]}) as opened:
            found = await opened["a"].live_settings()
    why = "403 AuthorizationPermissionMismatch"
    if denied == "container":
        right = "Microsoft.Storage/storageAccounts/blobServices/containers/read"
        assert (found.public, found.cors) == (None, ())
        assert found.unseen["public"] == Unseen(why, right)
    else:
        assert (found.public, found.cors) == (True, None)
        assert found.unseen["cors"] == Unseen(why, "Microsoft.Storage/storageAccounts/blobServices/read")
