"""Google Cloud Storage: the bucket, its customer key, who may use it, and the contract's entry."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from infra import naming
from infra.backend import BackendSpec
from infra.fields import Duration, wrong
from runtime.config import EncryptionConfig, NamedStorageConfig, StorageGCSConfig
from runtime.errors import Problem
from runtime.fields import GCSBucketName

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pulumi

    from infra.context import Context
    from infra.stack import Stack

_MULTI_REGIONS: Final = {"ASIA": "asia", "EU": "europe", "US": "us"}
"""Multi-regions of buckets, and the multi-region of Cloud KMS that goes with each.

Source: https://cloud.google.com/storage/docs/encryption/customer-managed-keys#restrictions
"""

_LOCATION: Final = re.compile(r"[a-z]+-[a-z]+\d{1,2}|(?:ASIA|EUR|NAM)\d{1,2}")
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_IDENTITY: Final = re.compile(
    r"(?:serviceAccount|user|group):[^@\s]+@[a-z0-9.-]+|domain:[a-z0-9.-]+|principal(?:Set)?://\S+"
)


def _location(value: str) -> str:
    place = value.upper() if "-" not in value else value.lower()
    if place not in _MULTI_REGIONS and not _LOCATION.fullmatch(place):
        raise wrong(f"found {value!r}", "EU, US, ASIA, a dual-region such as EUR4 or a region such as europe-west1")
    return place


def _project(value: str) -> str:
    if not _PROJECT.fullmatch(value):
        raise wrong(f"found {value!r}", "a project id: 6 to 30 of a-z, 0-9 and -, a letter first")
    return value


class Spec(BackendSpec):
    """A backend on Google Cloud Storage.

    Attributes:
        location: Multi-region, dual-region or region of the bucket.
        project: Project of the bucket; that of ``tandem:accounts`` or ``gcp:project`` when it is left out.
        storage_class: Class of new objects.
        soft_delete: How long deleted objects can be restored: 0s, or 7d to 90d. It costs what they cost.
        signer_email: Service account that signs URLs by IAM where the application has no key file.
        existing: A bucket that is there already.
    """

    provider = "gcp"
    emulated_account = "tandem-emulated"
    encryptions = {"dev": "AES256", "standard": "gcs:cmek", "regulated": "gcs:cmek"}  # noqa: RUF012 - a ClassVar

    driver: Literal["gcs"]
    location: Annotated[str, AfterValidator(_location)] = Field(description="EU, US, ASIA or a region")
    project: Annotated[str, AfterValidator(_project)] = Field(
        description='here, or tandem:accounts: {gcp: "<project>"} or gcp:project for the whole stack'
    )
    storage_class: Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"] = "STANDARD"
    soft_delete: Duration | None = None
    signer_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[a-z0-9.-]+$")
    existing: GCSBucketName | None = None

    @classmethod
    def from_stack(cls, stack: Stack) -> dict[str, Any]:
        """The stack's project."""
        if cls.provider in stack.emulators:
            return {"project": cls.emulated_account}
        project = stack.accounts.get("gcp") or stack.config.get("gcp:project")
        return {} if project is None else {"project": project}

    def problems(self, context: Context) -> Iterator[Problem]:  # noqa: ARG002 - every driver's has it
        """Identities that IAM does not know, labels that are none, and a soft delete that the service refuses."""
        for index, grant in enumerate(self.grants):
            if not _IDENTITY.fullmatch(grant.to):
                allowed = "serviceAccount:<e-mail>, user:<e-mail>, group:<e-mail>, principal://…"
                yield Problem(f"grants[{index}].to", f"found {grant.to!r}", allowed)
        found = self.soft_delete
        if found and not timedelta(days=7) <= found <= timedelta(days=90):
            yield Problem("soft_delete", "found what the service refuses", "0s, or 7d to 90d")


def entry(spec: Spec, context: Context) -> NamedStorageConfig:
    """The backend as the contract has it."""
    endpoint = context.endpoint("gcp")
    settings: dict[str, Any] = {"bucket": bucket_name(spec, context), "project_id": spec.project}
    settings |= {"signer_email": spec.signer_email, "public_url": spec.public_url}
    settings["endpoint_url"] = endpoint.url if endpoint else None
    if spec.encryption is not None:
        key = (spec.encryption.kms_key_id or key_name(spec, context)) if spec.encryption.customer_key else None
        settings["encryption"] = EncryptionConfig(enabled=True, type=spec.encryption.type, kms_key_id=key)
    return spec.named(StorageGCSConfig(**settings), capabilities=("presign",))


def bucket_name(spec: Spec, context: Context) -> str:
    """The bucket's name, known before it exists."""
    return spec.existing or naming.gcs_bucket(context.stack.project, context.stack.name, spec.name, spec.project)


def key_location(location: str) -> str:
    """The Cloud KMS location of a bucket's key: a key must be where the bucket is."""
    return _MULTI_REGIONS.get(location, location.lower())


def key_name(spec: Spec, context: Context) -> str:
    """The resource name of the key that the program makes: the ring has the bucket's name."""
    ring = f"projects/{spec.project}/locations/{key_location(spec.location)}/keyRings/{bucket_name(spec, context)}"
    return f"{ring}/cryptoKeys/storage"


def provision(spec: Spec, context: Context) -> pulumi.ComponentResource:
    """Make the backend's bucket."""
    raise NotImplementedError  # issue 4, at work now
