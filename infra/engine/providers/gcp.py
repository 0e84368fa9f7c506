"""The stand-in for ``pulumi_gcp``: buckets on an emulator that speaks the JSON API of Cloud Storage.

The provider's ``storage_custom_endpoint`` is that emulator. It holds a bucket's name and its versioning and drops every
other setting; keys and access have no emulator at all. Those are kept in the state and reported as not held.

Source:
    https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

import httpx

from infra.engine.providers.base import Created, Handler, Live, StandIn
from infra.engine.providers.loopback import require_loopback
from infra.engine.providers.noted import Noted
from runtime.errors import AlreadyExistsError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DROPPED: Final = "the emulator drops this setting"
ONE_PLACE: Final = "the emulator keeps everything on this machine"
NO_IAM: Final = "no emulator has Google's IAM: everybody may do everything"
NO_KMS: Final = "there is no emulator of Cloud KMS: nothing is encrypted"


class Gcs:
    """The JSON API of the emulator.

    Attributes:
        project: The project of resources that name none.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        url = require_loopback(settings.get("storageCustomEndpoint"), "gcp:Provider storage_custom_endpoint")
        self.project: str = settings.get("project") or ""
        once = httpx.Limits(max_keepalive_connections=0)  # nobody closes a stand-in: it must hold no socket
        self._http = httpx.Client(base_url=url, timeout=60, limits=once, trust_env=False)

    def ask(self, method: str, path: str, *, expect: int | None = None, **arguments: Any) -> dict[str, Any] | None:
        """The answer of a call; None when there is no such thing, or for a status that the caller expects.

        Raises:
            StorageError: the emulator refused; its message is the error's.
        """
        answer = self._http.request(method, path, **arguments)
        if answer.status_code in {HTTPStatus.NOT_FOUND, expect}:
            return None
        if answer.is_error:
            raise StorageError(f"{method} {answer.url}: {answer.status_code} {answer.text.strip()}")
        found: dict[str, Any] = answer.json() or {} if answer.content else {}
        return found

    def bucket(self, name: str) -> dict[str, Any] | None:
        """A bucket as the emulator shows it."""
        return self.ask("GET", _path(name))

    def objects(self, bucket: str) -> Iterator[tuple[str, str]]:
        """Name and generation of every version of every object."""
        token = ""
        while True:
            query = {"versions": "true", "pageToken": token} if token else {"versions": "true"}
            page = self.ask("GET", f"{_path(bucket)}/o", params=query) or {}
            yield from ((item["name"], item["generation"]) for item in page.get("items", ()))
            token = page.get("nextPageToken", "")
            if not token:
                return


def _path(bucket: str, item: str | None = None) -> str:
    return f"b/{quote(bucket, safe='')}" + ("" if item is None else f"/o/{quote(item, safe='')}")


class Bucket(Handler[Gcs]):
    """A bucket; its id is its name."""

    type_name = "gcp:storage/bucket:Bucket"
    required = frozenset({"name", "location"})
    names = frozenset({"name"})
    held = frozenset({"name", "versioning"})
    kept: ClassVar[Mapping[str, str | None]] = {
        "cors": DROPPED,
        "encryption": DROPPED,
        "forceDestroy": None,
        "labels": DROPPED,
        "lifecycleRules": DROPPED,
        "location": ONE_PLACE,
        "logging": DROPPED,
        "project": None,
        "publicAccessPrevention": NO_IAM,
        "retentionPolicy": DROPPED,
        "softDeletePolicy": DROPPED,
        "storageClass": DROPPED,
        "uniformBucketLevelAccess": NO_IAM,
    }
    replace = frozenset({"name", "location", "project"})
    unordered = frozenset({"methods", "origins", "responseHeaders"})

    def create(self, inputs: dict[str, Any]) -> Created:
        name = inputs["name"]
        project = inputs.get("project") or self.cloud.project
        made = self.cloud.ask(
            "POST", "b", expect=HTTPStatus.CONFLICT, params={"project": project}, json={"name": name, **_body(inputs)}
        )
        if made is None:
            raise AlreadyExistsError(
                f"bucket {name!r} exists already and is not in this stack's state",
                hint="adopt it with `existing:` in the spec, or delete it",
            )
        return Created(name)

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        found = self.cloud.bucket(resource_id)
        if found is None:
            return None
        inputs = {"name": found["name"], "versioning": {"enabled": found.get("versioning", {}).get("enabled", False)}}
        return Live(inputs, {"selfLink": found.get("selfLink", ""), "url": f"gs://{resource_id}"})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        del old
        self.cloud.ask("PATCH", _path(resource_id), json=_body(new))

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        """As the service does it: noncurrent versions count too, which the emulator itself would drop."""
        for name, generation in self.cloud.objects(resource_id):
            if not state.get("forceDestroy"):
                raise StorageError(
                    f"bucket {resource_id!r} still holds objects, so it was not deleted",
                    hint="empty it with `tandem purge`, or set force_destroy, run up, and try again",
                )
            self.cloud.ask("DELETE", _path(resource_id, name), params={"generation": generation})
        self.cloud.ask("DELETE", _path(resource_id))


def _body(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"versioning": {"enabled": bool((inputs.get("versioning") or {}).get("enabled"))}}


class KeyRing(Noted[Gcs]):
    """A group of keys."""

    type_name = "gcp:kms/keyRing:KeyRing"
    required = names = replace = frozenset({"location", "name"})
    kept: ClassVar = {"location": None, "name": NO_KMS, "project": None}

    def identity(self, inputs: Mapping[str, Any]) -> str:
        project = inputs.get("project") or self.cloud.project
        return f"projects/{project}/locations/{inputs['location']}/keyRings/{inputs['name']}"


class CryptoKey(Noted[Gcs]):
    """A key and how it rotates."""

    type_name = "gcp:kms/cryptoKey:CryptoKey"
    required = names = frozenset({"keyRing", "name"})
    kept: ClassVar = {
        "destroyScheduledDuration": NO_KMS,
        "keyRing": None,
        "labels": NO_KMS,
        "name": NO_KMS,
        "purpose": NO_KMS,
        "rotationPeriod": NO_KMS,
    }
    replace = frozenset({"keyRing", "name", "purpose", "destroyScheduledDuration"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"{inputs['keyRing']}/cryptoKeys/{inputs['name']}"


class Member(Noted[Gcs]):
    """One identity's role on something."""

    target: ClassVar[str]

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return "/".join(inputs[name] for name in (self.target, "role", "member"))


class KeyMember(Member):
    """Who may use a key."""

    type_name = "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember"
    target = "cryptoKeyId"
    required = names = replace = frozenset({"cryptoKeyId", "member", "role"})
    kept: ClassVar = {"cryptoKeyId": None, "member": NO_IAM, "role": NO_IAM}


class SignerMember(Member):
    """Who may sign in the name of a service account."""

    type_name = "gcp:serviceaccount/iAMMember:IAMMember"
    target = "serviceAccountId"
    required = names = replace = frozenset({"member", "role", "serviceAccountId"})
    kept: ClassVar = {"member": NO_IAM, "role": NO_IAM, "serviceAccountId": None}


class ServiceAccount(Noted[Gcs]):
    """A service account; its e-mail is known from its id."""

    type_name = "gcp:serviceaccount/account:Account"
    required = frozenset({"accountId"})
    names = replace = frozenset({"accountId", "project"})
    kept: ClassVar = {"accountId": NO_IAM, "description": None, "displayName": None, "project": None}

    def identity(self, inputs: Mapping[str, Any]) -> str:
        project = inputs.get("project") or self.cloud.project
        return f"projects/{project}/serviceAccounts/{inputs['accountId']}@{project}.iam.gserviceaccount.com"

    def outputs(self, resource_id: str) -> dict[str, Any]:
        email = resource_id.rpartition("/")[2]
        return {"email": email, "member": f"serviceAccount:{email}", "name": resource_id}


class CustomRole(Noted[Gcs]):
    """A role of a project's own."""

    type_name = "gcp:projects/iAMCustomRole:IAMCustomRole"
    required = frozenset({"permissions", "roleId", "title"})
    names = replace = frozenset({"project", "roleId"})
    kept: ClassVar = {"permissions": NO_IAM, "project": None, "roleId": NO_IAM, "title": None}
    unordered = frozenset({"permissions"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"projects/{inputs.get('project') or self.cloud.project}/roles/{inputs['roleId']}"

    def outputs(self, resource_id: str) -> dict[str, Any]:
        return {"name": resource_id}


class BucketMember(Member):
    """Who may use a bucket; there while the bucket is."""

    type_name = "gcp:storage/bucketIAMMember:BucketIAMMember"
    target = "bucket"
    required = names = replace = frozenset({"bucket", "member", "role"})
    kept: ClassVar = {"bucket": None, "member": NO_IAM, "role": NO_IAM}

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"b/{super().identity(inputs)}"

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        found = self.cloud.bucket(resource_id.split("/")[1])
        return super().read(resource_id, state) if found is not None else None


class GcpProvider(StandIn):
    """``pulumi_gcp.Provider`` with ``storage_custom_endpoint`` and ``project``."""

    name = "gcp"
    handlers = (Bucket, KeyRing, CryptoKey, KeyMember, BucketMember, SignerMember, ServiceAccount, CustomRole)

    def connect(self, settings: dict[str, Any]) -> Gcs:
        """The emulator at ``storage_custom_endpoint``."""
        return Gcs(settings)

    def unreachable(self, error: BaseException) -> bool:
        """Whether an error means that no server answered."""
        return isinstance(error, httpx.TransportError)


provider_class = GcpProvider
