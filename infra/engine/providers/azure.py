"""The stand-in for ``pulumi_azure_native``: containers and CORS on Azurite.

The provider's ``metadata_host`` is the emulator, ``client_id`` and ``client_secret`` are its account and that account's
key. Azurite has no resource manager: of what Azure has there, containers, their public access and the account's CORS
rules are set in the Blob service itself; everything else is kept in the state and reported as not held.

Every storage account of a program is the emulator's one account. CORS rules of several are therefore all in force
there; each resource adds, looks at and removes its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import NAMESPACE_URL, uuid5

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError, ServiceRequestError

from infra.engine.providers.azurite import LISTS, Blobs, among
from infra.engine.providers.base import Created, Handler, Live, StandIn
from infra.engine.providers.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE_ACCOUNT: Final = "the emulator has one account, with settings of its own"
NO_VERSIONS: Final = "the emulator keeps no versions and nothing that was deleted"
NO_FEED: Final = "the emulator writes no change feed"
NO_LIFECYCLE: Final = "the emulator expires nothing"
NO_MONITOR: Final = "the emulator tells no monitor"
NO_KEYS: Final = "the emulator has no vault: it encrypts nothing"
NO_NETWORK: Final = "the emulator is on this machine, and in no virtual network"
NO_IDENTITIES: Final = "no emulator has Entra ID: nobody takes this identity"
NO_ROLES: Final = "the emulator knows its account's key and no identities"
ENDPOINTS: Final = "Microsoft.Network/privateEndpoints"
VAULTS: Final = "Microsoft.KeyVault/vaults"
IDENTITIES: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"


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
        own = [rule for rule in _rules(state) if among(rule, there)]
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


class Group(Noted[Blobs]):
    """A resource group."""

    type_name = "azure-native:resources:ResourceGroup"
    required = frozenset({"location", "resourceGroupName"})
    names = frozenset({"resourceGroupName"})
    kept: ClassVar = {"location": None, "resourceGroupName": ONE_ACCOUNT, "tags": ONE_ACCOUNT}
    replace = frozenset({"location", "resourceGroupName"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return self.cloud.home(inputs).group_id


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
                "immutableStorageWithVersioning",
                "isLocalUserEnabled", "isSftpEnabled", "keyPolicy", "location", "minimumTlsVersion", "networkRuleSet",
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

    def create(self, inputs: dict[str, Any]) -> Created:
        return Created(self.identity(inputs), self.echoed(inputs))

    def read(self, resource_id: str, state: dict[str, Any]) -> Live | None:
        return Live({}, {**self.outputs(resource_id), **self.echoed(state)})

    def echoed(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The account's identities: a list goes in, a mapping comes out."""
        given = inputs.get("identity") or {}
        identities = given.get("userAssignedIdentities")
        if not identities:
            return {}
        return {"identity": {**given, "userAssignedIdentities": {name: {} for name in identities}}}

    def normal(self, values: Mapping[str, Any]) -> dict[str, Any]:
        identity = values.get("identity")
        if isinstance(identity, dict):
            names = sorted(identity.get("userAssignedIdentities") or ())  # a list that was given, or a mapping back
            values = {**values, "identity": {**identity, "userAssignedIdentities": names}}
        return super().normal(values)

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


class Diagnostics(Noted[Blobs]):
    """What of a service is logged, and where to."""

    type_name = "azure-native:monitor:DiagnosticSetting"
    required = frozenset({"name", "resourceUri"})
    names = replace = required
    kept: ClassVar = {
        "logs": NO_MONITOR,
        "name": None,
        "resourceUri": None,
        "storageAccountId": NO_MONITOR,
        "workspaceId": NO_MONITOR,
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"{inputs['resourceUri']}/providers/microsoft.insights/diagnosticSettings/{inputs['name']}"


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


class RoleDefinition(Noted[Blobs]):
    """A role of the subscription's own."""

    type_name = "azure-native:authorization:RoleDefinition"
    required = frozenset({"permissions", "roleDefinitionId", "roleName", "scope"})
    names = frozenset({"roleDefinitionId", "scope"})
    kept: ClassVar = {
        "assignableScopes": NO_ROLES,
        "permissions": NO_ROLES,
        "roleDefinitionId": None,
        "roleName": NO_ROLES,
        "roleType": None,
        "scope": NO_ROLES,
    }
    replace = frozenset({"roleDefinitionId", "scope"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"{inputs['scope']}/providers/Microsoft.Authorization/roleDefinitions/{inputs['roleDefinitionId']}"


def _in_group(cloud: Blobs, inputs: Mapping[str, Any], kind: str, name: str) -> str:
    """Resource id of what the input *name* names in its resource group."""
    return f"{cloud.home(inputs).group_id}/providers/{kind}/{inputs[name]}"


class Endpoint(Noted[Blobs]):
    """The address of an account in a virtual network."""

    type_name = "azure-native:network:PrivateEndpoint"
    required = frozenset({"privateEndpointName", "privateLinkServiceConnections", "resourceGroupName", "subnet"})
    names = frozenset({"privateEndpointName", "resourceGroupName"})
    kept: ClassVar = {
        "location": None,
        "privateEndpointName": None,
        "privateLinkServiceConnections": NO_NETWORK,
        "resourceGroupName": None,
        "subnet": NO_NETWORK,
        "tags": None,
    }
    replace = frozenset({*names, "location", "privateLinkServiceConnections", "subnet"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return _in_group(self.cloud, inputs, ENDPOINTS, "privateEndpointName")


class EndpointNames(Noted[Blobs]):
    """The DNS zones that name an endpoint."""

    type_name = "azure-native:network:PrivateDnsZoneGroup"
    required = frozenset(
        {
            "privateDnsZoneConfigs",
            "privateDnsZoneGroupName",
            "privateEndpointName",
            "resourceGroupName",
        }
    )
    names = replace = frozenset({"privateDnsZoneGroupName", "privateEndpointName", "resourceGroupName"})
    kept: ClassVar = {
        "privateDnsZoneConfigs": NO_NETWORK,
        "privateDnsZoneGroupName": None,
        "privateEndpointName": None,
        "resourceGroupName": None,
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        owner = _in_group(self.cloud, inputs, ENDPOINTS, "privateEndpointName")
        return f"{owner}/privateDnsZoneGroups/{inputs['privateDnsZoneGroupName']}"


class Vault(Noted[Blobs]):
    """A vault of keys."""

    type_name = "azure-native:keyvault:Vault"
    required = frozenset({"properties", "resourceGroupName", "vaultName"})
    names = frozenset({"resourceGroupName", "vaultName"})
    kept: ClassVar = {
        "location": None,
        "properties": NO_KEYS,
        "resourceGroupName": None,
        "tags": None,
        "vaultName": None,
    }
    replace = frozenset({*names, "location"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return _in_group(self.cloud, inputs, VAULTS, "vaultName")


class Key(Noted[Blobs]):
    """A key in a vault."""

    type_name = "azure-native:keyvault:Key"
    required = frozenset({"keyName", "properties", "resourceGroupName", "vaultName"})
    names = replace = frozenset({"keyName", "resourceGroupName", "vaultName"})
    kept: ClassVar = {
        "keyName": None,
        "properties": NO_KEYS,
        "resourceGroupName": None,
        "tags": None,
        "vaultName": None,
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return f"{_in_group(self.cloud, inputs, VAULTS, 'vaultName')}/keys/{inputs['keyName']}"


class UserIdentity(Noted[Blobs]):
    """A user-assigned identity; its principal is made up, and the same on every run."""

    type_name = "azure-native:managedidentity:UserAssignedIdentity"
    required = names = frozenset({"resourceGroupName", "resourceName"})
    kept: ClassVar = {"location": None, "resourceGroupName": None, "resourceName": NO_IDENTITIES, "tags": None}
    replace = frozenset({"location", "resourceGroupName", "resourceName"})

    def identity(self, inputs: Mapping[str, Any]) -> str:
        return _in_group(self.cloud, inputs, IDENTITIES, "resourceName")

    def outputs(self, resource_id: str) -> dict[str, Any]:
        kinds = ("clientId", "principalId", "tenantId")
        named = {kind: str(uuid5(NAMESPACE_URL, f"{kind}:{resource_id}")) for kind in kinds}
        return {"name": resource_id.rpartition("/")[2], **named}


class FederatedCredential(Noted[Blobs]):
    """Whose tokens an identity may be taken with."""

    type_name = "azure-native:managedidentity:FederatedIdentityCredential"
    required = frozenset({"audiences", "issuer", "resourceGroupName", "resourceName", "subject"})
    names = replace = frozenset({"federatedIdentityCredentialResourceName", "resourceGroupName", "resourceName"})
    kept: ClassVar = {
        "audiences": NO_IDENTITIES,
        "federatedIdentityCredentialResourceName": None,
        "issuer": NO_IDENTITIES,
        "resourceGroupName": None,
        "resourceName": None,
        "subject": NO_IDENTITIES,
    }

    def identity(self, inputs: Mapping[str, Any]) -> str:
        owner = _in_group(self.cloud, inputs, IDENTITIES, "resourceName")
        return f"{owner}/federatedIdentityCredentials/{inputs['federatedIdentityCredentialResourceName']}"


class AzureProvider(StandIn):
    """``pulumi_azure_native.Provider`` with ``metadata_host``, ``client_id`` and ``client_secret``."""

    name = "azure-native"
    handlers = (
        Group,
        Account,
        Service,
        Container,
        Lifecycle,
        Diagnostics,
        Assignment,
        RoleDefinition,
        Endpoint,
        EndpointNames,
        Vault,
        Key,
        UserIdentity,
        FederatedCredential,
    )

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
