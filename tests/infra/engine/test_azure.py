"""Every stand-in of pulumi_azure_native against Azurite, looked at with Azure's own SDK."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
from pulumi.provider.experimental import provider as wire_protocol

from infra import azure_rm
from infra.engine.providers.azure import AzureProvider
from infra.engine.providers.base import UNHELD
from infra.engine.providers.values import plain_map, wire_map
from runtime.errors import AlreadyExistsError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ServerFactory
    from runtime.testing.servers import Server
    from tests.infra.engine.conftest import Life

CONTAINER = "azure-native:storage:BlobContainer"
SERVICE = "azure-native:storage:BlobServiceProperties"
ACCOUNT = "azure-native:storage:StorageAccount"
PLACE = {"accountName": "acct", "resourceGroupName": "group"}


@pytest.fixture
def emulator(server: ServerFactory) -> Server:
    return server("azurite")


@pytest.fixture
def azure(emulator: Server) -> Iterator[BlobServiceClient]:
    credential = AzureNamedKeyCredential(emulator.access_key, emulator.secret_key)
    with BlobServiceClient(f"{emulator.url}/{emulator.access_key}", credential) as client:
        client.set_service_properties(cors=[])
        yield client


def configured(emulator: Server) -> AzureProvider:
    provider = AzureProvider()
    keys = {"clientId": emulator.access_key, "clientSecret": emulator.secret_key}
    provider.configure_now(wire_map({"metadataHost": emulator.url, **keys}, frozenset({"clientSecret"})))
    return provider


@pytest.fixture
def provider(emulator: Server, azure: BlobServiceClient) -> AzureProvider:
    del azure  # asked for its fresh account only
    return configured(emulator)


def rule(origin: str, *methods: str) -> dict[str, Any]:
    return {
        "allowedOrigins": [origin],
        "allowedMethods": list(methods or ("GET",)),
        "allowedHeaders": ["content-type"],
        "exposedHeaders": [],
        "maxAgeInSeconds": 60,
    }


def service(*rules: dict[str, Any], account: str = "acct") -> dict[str, Any]:
    return {**PLACE, "accountName": account, "blobServicesName": "default", "cors": {"corsRules": list(rules)}}


def origins(azure: BlobServiceClient) -> list[str]:
    return sorted(found.allowed_origins for found in azure.get_service_properties()["cors"])


def test_a_container_lives_its_whole_life(
    provider: AzureProvider, azure: BlobServiceClient, life: type[Life], unique: str
) -> None:
    made = life(provider, CONTAINER, {**PLACE, "containerName": unique, "publicAccess": "None"})
    assert made.id == azure_rm.Home(azure_rm.EMULATED_SUBSCRIPTION, "group", "acct", unique).container_id
    assert made.outputs.get(UNHELD) is None
    found = azure.get_container_client(unique)
    assert found.get_container_properties().public_access is None
    assert made.read() == made.inputs
    assert made.differs() == []

    assert made.differs(publicAccess="Blob") == ["publicAccess"]
    made.change(publicAccess="Blob")
    assert found.get_container_properties().public_access == "blob"
    assert made.read() == made.inputs
    found.set_container_access_policy(signed_identifiers={}, public_access=None)
    assert made.read() != made.inputs
    assert made.differs() == ["publicAccess"]

    made.delete()
    assert not found.exists()
    assert made.read() is None
    made.delete()


def test_a_container_without_public_access_is_private(provider: AzureProvider, life: type[Life], unique: str) -> None:
    made = life(provider, CONTAINER, {**PLACE, "containerName": unique})
    assert made.differs(publicAccess="None") == []
    assert made.differs(publicAccess="Container") == ["publicAccess"]


@pytest.mark.parametrize("key", ["accountName", "containerName", "resourceGroupName"])
def test_a_container_in_another_place_is_another(
    provider: AzureProvider, life: type[Life], unique: str, key: str
) -> None:
    made = life(provider, CONTAINER, {**PLACE, "containerName": unique})
    assert made.replaces(**{key: "another"}) == [key]


def test_a_container_of_somebody_else_is_not_taken_over(
    provider: AzureProvider, azure: BlobServiceClient, life: type[Life], unique: str
) -> None:
    azure.create_container(unique)
    with pytest.raises(AlreadyExistsError, match="BlobContainer"):
        life(provider, CONTAINER, {**PLACE, "containerName": unique})


def test_an_interrupted_creation_is_found_again(provider: AzureProvider, azure: BlobServiceClient, unique: str) -> None:
    inputs = wire_map({**PLACE, "containerName": unique})
    assert provider.find_now(CONTAINER, inputs) is None
    azure.create_container(unique)
    found = provider.find_now(CONTAINER, inputs)
    assert found
    assert found.endswith(f"/containers/{unique}")


def test_cors_lives_its_whole_life(provider: AzureProvider, azure: BlobServiceClient, life: type[Life]) -> None:
    made = life(provider, SERVICE, service(rule("https://a.example", "GET", "PUT"), rule("https://b.example")))
    first = next(one for one in azure.get_service_properties()["cors"] if one.allowed_origins == "https://a.example")
    assert (first.allowed_methods, first.allowed_headers, first.exposed_headers) == ("GET,PUT", "content-type", "")
    assert first.max_age_in_seconds == 60
    assert made.outputs.get(UNHELD) is None
    assert made.read() == made.inputs
    assert made.differs() == []

    made.change(cors={"corsRules": [rule("https://c.example")]})
    assert origins(azure) == ["https://c.example"]
    assert made.read() == made.inputs
    assert made.differs() == []
    made.delete()
    assert origins(azure) == []


def test_rules_in_another_order_are_the_same(provider: AzureProvider, life: type[Life]) -> None:
    one, other = rule("https://a.example", "GET", "PUT"), rule("https://b.example")
    made = life(provider, SERVICE, service(one, other))
    assert made.differs(cors={"corsRules": [other, rule("https://a.example", "PUT", "GET")]}) == []


def test_rules_that_somebody_removed_are_drift(
    provider: AzureProvider, azure: BlobServiceClient, life: type[Life]
) -> None:
    made = life(provider, SERVICE, service(rule("https://a.example")))
    azure.set_service_properties(cors=[])
    assert made.read() != made.inputs
    assert made.differs() != []
    made.change()
    assert origins(azure) == ["https://a.example"]


def test_two_accounts_share_the_emulators_one_and_keep_their_own_rules(
    provider: AzureProvider, azure: BlobServiceClient, life: type[Life]
) -> None:
    def make(name: str) -> Life:
        return life(provider, SERVICE, service(rule(f"https://{name}.example"), account=name))

    with ThreadPoolExecutor(4) as pool:  # as the embedded engine does it
        first, second, third, _ = pool.map(make, ["one", "two", "three", "four"])
    assert origins(azure) == [f"https://{name}.example" for name in ("four", "one", "three", "two")]
    assert first.read() == first.inputs
    first.change(cors={"corsRules": []})
    second.delete()
    assert origins(azure) == ["https://four.example", "https://three.example"]
    assert third.read() == third.inputs


def test_settings_of_the_service_that_the_emulator_lacks_are_kept_and_told(
    provider: AzureProvider, life: type[Life]
) -> None:
    kept = {"enabled": True, "days": 7}
    settings: dict[str, Any] = {
        "changeFeed": {"enabled": True},
        "containerDeleteRetentionPolicy": kept,
        "deleteRetentionPolicy": kept,
        "isVersioningEnabled": True,
    }
    made = life(provider, SERVICE, {**service(), **settings})
    assert set(made.outputs[UNHELD]) == set(settings)
    assert made.read() == made.inputs
    assert made.differs() == []
    assert made.differs(isVersioningEnabled=False) == ["isVersioningEnabled"]


def test_an_account_lives_in_the_state_and_that_is_told(
    provider: AzureProvider, emulator: Server, life: type[Life]
) -> None:
    inputs = {**PLACE, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "minimumTlsVersion": "TLS1_2"}
    made = life(provider, ACCOUNT, inputs)
    assert set(made.outputs[UNHELD]) == {"accountName", "minimumTlsVersion", "sku"}
    assert made.outputs["primaryEndpoints"] == {"blob": f"{emulator.url}/devstoreaccount1/"}
    assert made.read() == made.inputs
    assert made.differs() == []
    assert made.replaces(accountName="other") == ["accountName"]
    made.change(minimumTlsVersion="TLS1_3")
    assert made.outputs["minimumTlsVersion"] == "TLS1_3"


def test_an_accounts_identities_come_back_as_a_mapping_and_are_no_change(
    provider: AzureProvider, life: type[Life]
) -> None:
    identity = {"type": "UserAssigned", "userAssignedIdentities": ["/subscriptions/s/x"]}
    made = life(provider, ACCOUNT, {**PLACE, "kind": "StorageV2", "sku": {"name": "x"}, "identity": identity})
    assert made.outputs["identity"]["userAssignedIdentities"] == {"/subscriptions/s/x": {}}
    assert made.read() == made.inputs
    assert made.differs() == []
    assert made.differs(identity={**identity, "userAssignedIdentities": ["/subscriptions/s/y"]}) != []


def test_a_preview_gives_an_accounts_identities_back_as_the_sdk_reads_them(provider: AzureProvider) -> None:
    """It is read by types that know a mapping, and a list would end the program."""
    identity = {"type": "UserAssigned", "userAssignedIdentities": ["/subscriptions/s/x"]}
    given = wire_map({**PLACE, "kind": "StorageV2", "sku": {"name": "x"}, "identity": identity})
    urn = f"urn:pulumi:dev::tandem::{ACCOUNT}::reports-account"
    planned = provider.create_now(wire_protocol.CreateRequest(urn, given, 0, preview=True))
    assert plain_map(planned.properties)["identity"]["userAssignedIdentities"] == {"/subscriptions/s/x": {}}
    changed = wire_protocol.UpdateRequest(urn, "id", given, given, 0, [], preview=True)
    seen = plain_map(provider.update_now(changed).properties)
    assert seen["identity"]["userAssignedIdentities"] == {"/subscriptions/s/x": {}}


NOTED: dict[str, tuple[dict[str, Any], str]] = {
    "azure-native:resources:ResourceGroup": (
        {"resourceGroupName": "group", "location": "westeurope"},
        "/resourceGroups/group",
    ),
    "azure-native:storage:ManagementPolicy": (
        {**PLACE, "managementPolicyName": "default", "policy": {"rules": [{"name": "x"}]}},
        "/resourceGroups/group/providers/Microsoft.Storage/storageAccounts/acct/managementPolicies/default",
    ),
    "azure-native:authorization:RoleAssignment": (
        {"principalId": "p", "roleAssignmentName": "n", "roleDefinitionId": "r", "scope": "/subscriptions/s"},
        "/subscriptions/s/providers/Microsoft.Authorization/roleAssignments/n",
    ),
    "azure-native:network:PrivateEndpoint": (
        {
            "privateEndpointName": "acct",
            "privateLinkServiceConnections": [{"name": "blob", "groupIds": ["blob"]}],
            "resourceGroupName": "group",
            "subnet": {"id": "/subscriptions/s/subnet"},
        },
        "/resourceGroups/group/providers/Microsoft.Network/privateEndpoints/acct",
    ),
    "azure-native:network:PrivateDnsZoneGroup": (
        {
            "privateDnsZoneConfigs": [{"name": "blob", "privateDnsZoneId": "/subscriptions/s/zone"}],
            "privateDnsZoneGroupName": "default",
            "privateEndpointName": "acct",
            "resourceGroupName": "group",
        },
        "/resourceGroups/group/providers/Microsoft.Network/privateEndpoints/acct/privateDnsZoneGroups/default",
    ),
    "azure-native:keyvault:Vault": (
        {"properties": {"enablePurgeProtection": True}, "resourceGroupName": "group", "vaultName": "acct"},
        "/resourceGroups/group/providers/Microsoft.KeyVault/vaults/acct",
    ),
    "azure-native:keyvault:Key": (
        {"keyName": "k", "properties": {"kty": "RSA"}, "resourceGroupName": "group", "vaultName": "acct"},
        "/resourceGroups/group/providers/Microsoft.KeyVault/vaults/acct/keys/k",
    ),
}


@pytest.mark.parametrize("kind", NOTED)
def test_what_only_the_resource_manager_has_lives_in_the_state_and_that_is_told(
    provider: AzureProvider, life: type[Life], kind: str
) -> None:
    inputs, identity = NOTED[kind]
    made = life(provider, kind, inputs)
    assert made.id.endswith(identity)
    assert made.outputs[UNHELD]
    assert made.read() == made.inputs
    assert made.differs() == []
    assert provider.find_now(kind, wire_map(inputs)) is None
    made.delete()


@pytest.mark.parametrize("host", [None, "https://management.azure.com", "http://10.0.0.1:10000"])
def test_the_real_cloud_is_never_asked(host: str | None) -> None:
    with pytest.raises(ConfigError, match="azure-native:Provider metadata_host"):
        AzureProvider().configure_now(wire_map({"metadataHost": host, "clientId": "a", "clientSecret": "b"}))


def test_the_emulators_key_is_required(emulator: Server) -> None:
    with pytest.raises(ConfigError, match="client_id and client_secret"):
        AzureProvider().configure_now(wire_map({"metadataHost": emulator.url, "clientId": "a"}))


def test_an_emulator_that_is_gone_is_known_as_such(life: type[Life], unique: str) -> None:
    provider = AzureProvider()
    keys = {"clientId": "devstoreaccount1", "clientSecret": "c2VjcmV0"}
    provider.configure_now(wire_map({"metadataHost": "http://127.0.0.1:1", **keys}))
    with pytest.raises(Exception, match="refused") as raised:
        life(provider, CONTAINER, {**PLACE, "containerName": unique})
    assert provider.unreachable(raised.value)
    assert "c2VjcmV0" not in str(raised.value)
