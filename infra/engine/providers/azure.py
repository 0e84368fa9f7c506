"""The stand-in for ``pulumi_azure_native``: containers and CORS on Azurite.

The provider's ``metadata_host`` is the emulator, ``client_id`` and ``client_secret`` are its account and that account's
key. Azurite has no resource manager: of what Azure has there, containers, their public access and the account's CORS
rules are set in the Blob service itself; everything else is kept in the state and reported as not held.

Every storage account of a program is the emulator's one account. CORS rules of several are therefore all in force
there; each resource adds, looks at and removes its own.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Final

from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError, ServiceRequestError
from azure.storage.blob import BlobServiceClient, CorsRule

from infra import azure_rm
from infra.engine.providers.base import Created, Handler, Live, StandIn
from infra.engine.providers.compare import tidy
from infra.engine.providers.loopback import require_loopback
from infra.engine.providers.noted import Noted
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_ACCOUNT: Final = "the emulator has one account, with settings of its own"
NO_VERSIONS: Final = "the emulator keeps no versions and nothing that was deleted"
NO_FEED: Final = "the emulator writes no change feed"
NO_LIFECYCLE: Final = "the emulator expires nothing"
NO_ROLES: Final = "the emulator knows its account's key and no identities"

LISTS: Final = ("allowedOrigins", "allowedMethods", "allowedHeaders", "exposedHeaders")


class Blobs:
    """The Blob service of the emulator.

    Attributes:
        subscription: Id that resource ids are made with.
        service: The SDK's client.
        url: Address of the emulator's account.
        lock: Held while the account's CORS rules are read and written.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        host = require_loopback(settings.get("metadataHost"), "azure-native:Provider metadata_host")
        account, key = settings.get("clientId"), settings.get("clientSecret")
        if not account or not key:
            raise ConfigError(
                "azure-native:Provider client_id and client_secret must be the emulator's account and key"
            )
        self.subscription: str = settings.get("subscriptionId") or azure_rm.EMULATED_SUBSCRIPTION
        self.url = f"{host.rstrip('/')}/{account}"
        self.service = BlobServiceClient(self.url, AzureNamedKeyCredential(account, key), retry_total=2)
        self.lock = Lock()

    def home(self, inputs: Mapping[str, Any]) -> azure_rm.Home:
        """Where Azure would have a resource with these properties."""
        names = ("resourceGroupName", "accountName", "containerName")
        return azure_rm.Home(self.subscription, *(inputs.get(name, "") for name in names))

    def cors(self) -> list[dict[str, Any]]:
        """The CORS rules of the account."""
        return [_rule(rule) for rule in self.service.get_service_properties()["cors"] or ()]

    def replace_cors(self, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
        """Take rules out of the account's, and add others."""
        with self.lock:
            others = [rule for rule in self.cors() if not _among(rule, [*old, *new])]
            self.service.set_service_properties(cors=[_sdk_rule(rule) for rule in [*others, *new]])


class Container(Handler[Blobs]):
    """A container. Deleting it deletes what is in it, on Azure too."""

    type_name = "azure-native:storage:BlobContainer"
    required = frozenset({"accountName", "containerName", "resourceGroupName"})
    names = replace = required
    held = frozenset({"containerName", "publicAccess"})
    kept: ClassVar = {"accountName": None, "resourceGroupName": None}  # the account reports itself
    defaults: ClassVar = {"publicAccess": "None"}

    def create(self, inputs: dict[str, Any]) -> Created:
        self.cloud.service.create_container(inputs["containerName"], public_access=_public(inputs))
        return Created(self.cloud.home(inputs).container_id)

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del state
        name = resource_id.rpartition("/")[2]
        try:
            found = self.cloud.service.get_container_client(name).get_container_properties()
        except ResourceNotFoundError:
            return None
        shown = {"containerName": name, "publicAccess": str(found.public_access or "None").capitalize()}
        return Live(shown, {"name": name})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        del old
        container = self.cloud.service.get_container_client(resource_id.rpartition("/")[2])
        container.set_container_access_policy(signed_identifiers={}, public_access=_public(new))

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del state
        try:
            self.cloud.service.delete_container(resource_id.rpartition("/")[2])
        except ResourceNotFoundError:
            return

    def find(self, inputs: dict[str, Any]) -> str | None:
        resource_id = self.cloud.home(inputs).container_id
        return resource_id if self.read(resource_id, inputs) is not None else None


def _public(inputs: Mapping[str, Any]) -> str | None:
    access = inputs.get("publicAccess") or "None"
    return None if access == "None" else access.lower()


class Service(Handler[Blobs]):
    """The settings of an account's Blob service; they are there while the account is."""

    type_name = "azure-native:storage:BlobServiceProperties"
    required = frozenset({"accountName", "blobServicesName", "resourceGroupName"})
    names = replace = required
    held = frozenset({"cors"})
    kept: ClassVar = {
        "accountName": None,
        "blobServicesName": None,
        "changeFeed": NO_FEED,
        "containerDeleteRetentionPolicy": NO_VERSIONS,
        "deleteRetentionPolicy": NO_VERSIONS,
        "isVersioningEnabled": NO_VERSIONS,
        "resourceGroupName": None,
    }
    unordered = frozenset({*LISTS, "corsRules"})

    def create(self, inputs: dict[str, Any]) -> Created:
        self.cloud.replace_cors([], _rules(inputs))
        return Created(f"{self.cloud.home(inputs).account_id}/blobServices/default")

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        del resource_id
        there = self.cloud.cors()
        own = [rule for rule in _rules(state) if _among(rule, there)]
        return Live({"cors": {"corsRules": own}}, {"name": "default"})

    def update(self, resource_id: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        del resource_id
        self.cloud.replace_cors(_rules(old), _rules(new))

    def delete(self, resource_id: str, state: dict[str, Any]) -> None:
        del resource_id
        self.cloud.replace_cors(_rules(state), [])

    def find(self, inputs: dict[str, Any]) -> str | None:
        return f"{self.cloud.home(inputs).account_id}/blobServices/default"


def _rules(properties: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = (properties.get("cors") or {}).get("corsRules") or []
    return rules


def _among(rule: dict[str, Any], rules: list[dict[str, Any]]) -> bool:
    return any(tidy(rule, LISTS) == tidy(other, LISTS) for other in rules)


def _sdk_rule(rule: Mapping[str, Any]) -> CorsRule:
    origins, methods, headers, exposed = (rule.get(name) or [] for name in LISTS)
    age = rule.get("maxAgeInSeconds", 0)
    return CorsRule(origins, methods, allowed_headers=headers, exposed_headers=exposed, max_age_in_seconds=age)


def _rule(rule: CorsRule) -> dict[str, Any]:
    texts = (rule.allowed_origins, rule.allowed_methods, rule.allowed_headers, rule.exposed_headers)
    lists = ([item for item in (text or "").split(",") if item] for text in texts)
    return {**dict(zip(LISTS, lists, strict=True)), "maxAgeInSeconds": rule.max_age_in_seconds}


class Group(Noted[Blobs]):
    """A resource group."""

    type_name = "azure-native:resources:ResourceGroup"
    required = frozenset({"location", "resourceGroupName"})
    names = frozenset({"resourceGroupName"})
    kept: ClassVar = {"location": None, "resourceGroupName": ONE_ACCOUNT, "tags": ONE_ACCOUNT}
    replace = frozenset({"location", "resourceGroupName"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"/subscriptions/{self.cloud.subscription}/resourceGroups/{inputs['resourceGroupName']}"


class Account(Noted[Blobs]):
    """A storage account: on the emulator, its one."""

    type_name = "azure-native:storage:StorageAccount"
    required = frozenset({"accountName", "kind", "resourceGroupName", "sku"})
    names = frozenset({"accountName", "resourceGroupName"})
    kept: ClassVar = {
        **dict.fromkeys(
            (
                "accountName", "allowBlobPublicAccess", "allowCrossTenantReplication", "allowedCopyScope",
                "defaultToOAuthAuthentication", "enableHttpsTrafficOnly", "encryption", "identity",
                "isLocalUserEnabled", "isSftpEnabled", "location", "minimumTlsVersion", "networkRuleSet",
                "publicNetworkAccess", "sasPolicy", "sku", "tags",
            ),
            ONE_ACCOUNT,
        ),
        "allowSharedKeyAccess": None,  # programs here allow it on an emulator, which knows nothing else
        "kind": None,
        "resourceGroupName": None,
    }  # fmt: skip
    replace = frozenset({"accountName", "location", "resourceGroupName"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return self.cloud.home(inputs).account_id

    def outputs(self, resource_id: str) -> dict[str, Any]:
        return {"name": resource_id.rpartition("/")[2], "primaryEndpoints": {"blob": f"{self.cloud.url}/"}}


class Lifecycle(Noted[Blobs]):
    """What expires when."""

    type_name = "azure-native:storage:ManagementPolicy"
    required = frozenset({"accountName", "managementPolicyName", "policy", "resourceGroupName"})
    names = replace = frozenset({"accountName", "managementPolicyName", "resourceGroupName"})
    kept: ClassVar = {
        "accountName": None,
        "managementPolicyName": None,
        "policy": NO_LIFECYCLE,
        "resourceGroupName": None,
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"{self.cloud.home(inputs).account_id}/managementPolicies/{inputs['managementPolicyName']}"


class Assignment(Noted[Blobs]):
    """Who has a role on something."""

    type_name = "azure-native:authorization:RoleAssignment"
    required = frozenset({"principalId", "roleAssignmentName", "roleDefinitionId", "scope"})
    names = frozenset({"roleAssignmentName", "scope"})
    kept: ClassVar = {
        "principalId": NO_ROLES,
        "principalType": None,
        "roleAssignmentName": None,
        "roleDefinitionId": NO_ROLES,
        "scope": NO_ROLES,
    }
    replace = frozenset({"principalId", "roleAssignmentName", "roleDefinitionId", "scope"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        kind = "/providers/Microsoft.Authorization/roleAssignments/"
        return f"{inputs['scope']}{kind}{inputs['roleAssignmentName']}"


class AzureProvider(StandIn):
    """``pulumi_azure_native.Provider`` with ``metadata_host``, ``client_id`` and ``client_secret``."""

    name = "azure-native"
    handlers = (Group, Account, Service, Container, Lifecycle, Assignment)

    def connect(self, settings: dict[str, Any]) -> Blobs:
        """The emulator at ``metadata_host``."""
        return Blobs(settings)

    def unreachable(self, error: BaseException) -> bool:
        """Whether an error means that no server answered."""
        return isinstance(error, ServiceRequestError)

    def conflict(self, error: BaseException) -> bool:
        """Whether an error means that something of this name exists already."""
        return isinstance(error, ResourceExistsError)


provider_class = AzureProvider
