"""Resource ids and roles of Azure Resource Manager, from plain strings: known in preview and offline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

from infra.fields import wrong

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

EMULATED_SUBSCRIPTION: Final = str(UUID(int=0))

READER: Final = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
OWNER: Final = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
SETTINGS_READER: Final = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
CONTRIBUTOR: Final = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
DELEGATOR: Final = "db58b8e5-c6ad-4a2a-8342-4190687cbf4a"
"""Asks for the keys that user-delegation signatures are made with; means nothing below an account.

Source: https://learn.microsoft.com/en-us/azure/role-based-access-control/built-in-roles/storage
"""

KEY_OPERATIONS: Final = ("get", "unwrapKey", "wrapKey")
"""What a storage account does with a customer's key."""

PRINCIPAL_TYPES: Final[Mapping[str, str]] = {"": "ServicePrincipal", "group": "Group", "user": "User"}

ROLE_NAMES: Final[Mapping[str, str]] = {
    READER: "reader",
    CONTRIBUTOR: "contributor",
    OWNER: "owner",
    DELEGATOR: "delegator",
    SETTINGS_READER: "settings-reader",
}

_CONTAINERS: Final = "Microsoft.Storage/storageAccounts/blobServices/containers"
_DATA_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "read": ("read", "tags/read"),
    "write": ("add/action", "tags/write", "write"),
    "delete": ("delete",),
}
"""What a verb is of ``…/containers/blobs``; to list is to read.

Source: https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-azure-active-directory
"""

_PRIVATE: Final = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_SMALLEST: Final = 30

PRINCIPAL: Final = re.compile(r"(?:(?:user|group):)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
KEY: Final = re.compile(r"https://[a-z0-9-]+\.vault\.azure\.net/keys/[0-9A-Za-z-]+(?:/[0-9a-f]{32})?")
IDENTITY: Final = (
    r"^/subscriptions/[0-9a-fA-F-]{36}/resource[gG]roups/[^/]+/providers/Microsoft\.ManagedIdentity"
    r"/userAssignedIdentities/[\w-]+$"
)

_READS: Final = frozenset({"read", "list"})
_EVERYTHING: Final = frozenset({"read", "write", "delete", "list"})
BUILT_IN: Final[Mapping[frozenset[str], str]] = {_READS: READER, _EVERYTHING: CONTRIBUTOR}
"""The built-in roles that are as small as these verbs."""

_NAMESPACE: Final = UUID("5f0c6f0e-3a2f-5d0e-9a57-6a1f0f0e7c11")


_EXISTING: Final = re.compile(r"[a-z0-9]{3,24}/(?=.{3,63}$)[a-z0-9](?:-?[a-z0-9])*")


def address(value: str) -> str:
    """A public address or range, as the network rules of an account take them; a validator.

    Source:
        https://learn.microsoft.com/en-us/azure/storage/common/storage-network-security#grant-access-from-an-internet-ip-range
    """
    try:
        network = IPv4Network(value)
    except ValueError:
        raise wrong(f"found {value!r}", "a public IPv4 address or range: 203.0.113.7, 203.0.113.0/24") from None
    if any(network.overlaps(private) for private in _PRIVATE):
        raise wrong(f"found {value!r}", "a public IPv4 address or range; Azure refuses private ones")
    if "/" in value and network.prefixlen > _SMALLEST:
        raise wrong(f"found {value!r}", f"a range of /{_SMALLEST} or larger; single addresses without a slash")
    return value


def existing(value: str) -> str:
    """``<account>/<container>``; a validator."""
    if not _EXISTING.fullmatch(value):
        raise wrong(f"found {value!r}", "<account>/<container>")
    return value


@dataclass(frozen=True, slots=True)
class Home:
    """Where a backend's container is.

    Attributes:
        subscription: Id of the subscription; empty when the stack names none.
        group: Its resource group.
        account: Its storage account.
        container: Its name.
    """

    subscription: str
    group: str
    account: str
    container: str

    @property
    def group_id(self) -> str:
        """Resource id of the resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"

    @property
    def account_id(self) -> str:
        """Resource id of the account."""
        return f"{self.group_id}/providers/Microsoft.Storage/storageAccounts/{self.account}"

    @property
    def container_id(self) -> str:
        """Resource id of the container."""
        return f"{self.account_id}/blobServices/default/containers/{self.container}"

    def role_id(self, role: str) -> str:
        """Resource id of a built-in role."""
        return f"/subscriptions/{self.subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"

    def assignments(self, access: Collection[str]) -> list[tuple[str, str]]:
        """Built-in role and scope of what *access* needs; what only a custom role allows is in `custom_verbs`."""
        if "admin" in access:
            account = [(DELEGATOR, self.account_id), (SETTINGS_READER, self.account_id)]
            return [(OWNER, self.container_id), *account]
        role = BUILT_IN.get(_EVERYTHING & set(access))
        found = [(role, self.container_id)] if role else []
        return [*found, (DELEGATOR, self.account_id)] if "presign" in access else found


def custom_verbs(access: Collection[str]) -> tuple[str, ...]:
    """The verbs for which there has to be a custom role: the built-in ones can not write without deleting."""
    verbs = _EVERYTHING & set(access)
    if "admin" in access or verbs in BUILT_IN:
        return ()
    return tuple(verb for verb in _DATA_ACTIONS if verb in verbs)


def actions(verbs: Collection[str]) -> tuple[list[str], list[str]]:
    """Actions and data actions of a custom role; who reads may see that the container is there."""
    data = sorted(f"{_CONTAINERS}/blobs/{action}" for verb in verbs for action in _DATA_ACTIONS[verb])
    return [f"{_CONTAINERS}/read"] if "read" in verbs else [], data


def custom_id(scope: str, verbs: Collection[str]) -> str:
    """The id of a custom role: a UUID, the same one on every run."""
    return str(uuid5(_NAMESPACE, f"{scope}\0{','.join(sorted(verbs))}"))


def possible(access: Collection[str]) -> bool:
    """Whether Azure can grant exactly this: whoever reads a container's blobs lists them too."""
    return "admin" in access or ("read" in access) is ("list" in access)


def assignment_name(scope: str, role: str, principal: str) -> str:
    """A role assignment's name has to be a UUID: the same one on every run."""
    return str(uuid5(_NAMESPACE, f"{scope}\0{role}\0{principal}"))


def key_parts(url: str) -> tuple[str, str, str | None]:
    """Vault, name and version of a key's URL; without a version the newest is followed.

    >>> key_parts("https://v.vault.azure.net/keys/k")
    ('https://v.vault.azure.net', 'k', None)
    """
    vault, _, rest = url.partition("/keys/")
    name, _, version = rest.partition("/")
    return vault, name, version or None
