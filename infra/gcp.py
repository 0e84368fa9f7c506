"""Roles, labels and resource names of Google Cloud, from plain strings: known in preview and offline."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from infra.fields import wrong

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

KEY_USER: Final = "roles/cloudkms.cryptoKeyEncrypterDecrypter"

TOKEN_CREATOR: Final = "roles/iam.serviceAccountTokenCreator"  # noqa: S105 - a role
"""Lets a service account sign as itself (``signBlob``), which presigned URLs need where there is no key file. On
another account it would give everything that this one may do, so there it is `SIGNER`."""

WORKLOAD_USER: Final = "roles/iam.workloadIdentityUser"
"""Lets a Kubernetes service account act as a Google one."""

DELETER: Final = ("deleter", ("storage.objects.delete",))
SIGNER: Final = ("signer", ("iam.serviceAccounts.signBlob",))
"""Custom roles, where no predefined one is small enough: name and permissions."""

PUBLIC_READER: Final = "roles/storage.legacyObjectReader"
"""Reads objects and lists nothing.

Source: https://cloud.google.com/storage/docs/access-control/making-data-public#buckets
"""

ALL: Final = frozenset({"read", "write", "delete", "list"})

ADMIN: Final = ("roles/storage.legacyBucketReader", "roles/storage.objectAdmin")
"""Everything with objects, and a look at the bucket's settings."""

_ROLES: Final[Mapping[str, str]] = {
    "read": "roles/storage.legacyObjectReader",
    "list": "roles/storage.legacyBucketReader",
    "write": "roles/storage.objectCreator",  # creates and can not overwrite: that needs the right to delete
}
"""The smallest predefined role of each verb.

Source: https://cloud.google.com/storage/docs/access-control/iam-roles
"""

_MULTI_REGIONS: Final = {"ASIA": "asia", "EU": "europe", "US": "us"}
"""Multi-regions of buckets, and the multi-region of Cloud KMS that goes with each.

Source: https://cloud.google.com/storage/docs/encryption/customer-managed-keys#restrictions
"""

_LOCATION: Final = re.compile(r"[a-z]+-[a-z]+\d{1,2}|(?:ASIA|EUR|NAM)\d{1,2}")
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
IDENTITY: Final = re.compile(
    r"(?:serviceAccount|user|group):[^@\s]+@[a-z0-9.-]+|domain:[a-z0-9.-]+|principal(?:Set)?://\S+"
)

_VIEWER: Final = frozenset({"read", "list"})
_LONGEST: Final = 63


def location(value: str) -> str:
    """A place of buckets, as GCS spells it; a validator."""
    place = value.upper() if "-" not in value else value.lower()
    if place not in _MULTI_REGIONS and not _LOCATION.fullmatch(place):
        raise wrong(f"found {value!r}", "EU, US, ASIA, a dual-region such as EUR4 or a region such as europe-west1")
    return place


def project(value: str) -> str:
    """A project's id; a validator."""
    if not _PROJECT.fullmatch(value):
        raise wrong(f"found {value!r}", "a project id: 6 to 30 of a-z, 0-9 and -, a letter first")
    return value


def key_location(location: str) -> str:
    """The Cloud KMS location of a bucket's key: a key must be where the bucket is."""
    return _MULTI_REGIONS.get(location, location.lower())


def object_roles(access: Collection[str]) -> list[str]:
    """The predefined roles on a bucket that together allow *access* and nothing else, but for what `deletes_apart`.

    >>> object_roles(["read", "write", "list", "presign"])
    ['roles/storage.objectCreator', 'roles/storage.objectViewer']
    """
    if "admin" in access:
        return list(ADMIN)
    verbs = ALL & set(access)
    if verbs == ALL:
        return ["roles/storage.objectUser"]
    roles = {"roles/storage.objectViewer"} if verbs >= _VIEWER else {_ROLES[verb] for verb in verbs & _VIEWER}
    return sorted(roles | {_ROLES[verb] for verb in verbs & {"write"}})


def deletes_apart(access: Collection[str]) -> bool:
    """Whether *access* takes `DELETER`: no predefined role deletes without reading, writing and listing too."""
    return "delete" in access and not set(access) >= ALL


def custom_role(project: str, role_id: str) -> str:
    """Resource name of a project's own role."""
    return f"projects/{project}/roles/{role_id}"


def signers(to: str, signer_email: str | None) -> Iterator[str]:
    """The service accounts in whose name *to* has to sign URLs: the backend's signer, or else itself."""
    kind, _, email = to.partition(":")
    if signer_email is not None:
        yield signer_email
    elif kind == "serviceAccount":
        yield email


def service_account(email: str) -> str:
    """Resource name of a service account; its project is in its address, where it is not Google's own."""
    return f"projects/{home_of(email) or '-'}/serviceAccounts/{email}"


def home_of(email: str) -> str | None:
    """The project of a service account; None where its address does not tell."""
    project, _, rest = email.partition("@")[2].partition(".")
    return project if rest == "iam.gserviceaccount.com" else None


def labels(tags: Mapping[str, str]) -> dict[str, str]:
    """Owner tags as labels: lower case, ``-`` for every character that a label can not have, at most 63 of them.

    >>> labels({"tandem:stack": "prod", "owner": "Media Team"})
    {'tandem-stack': 'prod', 'owner': 'media-team'}

    Source:
        https://cloud.google.com/storage/docs/tags-and-labels#bucket-labels
    """
    return {_label(key): _label(value) for key, value in tags.items()}


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LONGEST]
