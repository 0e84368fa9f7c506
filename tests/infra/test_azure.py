from __future__ import annotations

import inspect
import typing
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from pulumi_azure_native import storage

from infra import azure_network
from infra.recording import SECRET
from infra.spec import load_spec
from infra.wire import camel
from runtime.config import StorageDocument
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.recording import Recording
    from infra.stack import Stack
    from runtime.config import StorageAzureConfig
    from tests.infra.conftest import MakeStack, Run

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
APP = "11111111-2222-4333-8444-555555555555"
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/keys/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/storage-keys"
)
FULL = f"""
reports:
  driver: azure
  location: westeurope
  network: ips
  ips: [203.0.113.7, 198.51.100.0/24]
  cors: [{{origins: ["https://app.example.com"], methods: [GET], headers: [range], expose: [ETag], max_age: 5m}}]
  lifecycle: {{rules: [{{prefix: old/, expire_after: 1d}}]}}
  soft_delete: 14d
  logging: false  # tests/infra/test_logs.py
  grants:
    - {{to: {APP}, access: [read, write, delete, list, presign]}}
    - {{to: "group:{APP}", access: [read, list]}}
  tags: {{team: reports}}
"""
ROLES = ["reports-contributor-cf4c4732", "reports-delegator-cf4c4732", "reports-reader-cf4c4732"]
CHAIN = ["reports-group", "reports-account", "reports-service", "reports-bucket", "reports-lifecycle", *ROLES]
READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
DELEGATOR = "db58b8e5-c6ad-4a2a-8342-4190687cbf4a"


def names(recording: Recording) -> list[str]:
    return [record.name for record in recording.records if record.custom]


def inputs(recording: Recording, role: str) -> dict[str, Any]:
    """A resource's properties without its place, which is checked."""
    found = dict(recording.one(f"reports-{role}").inputs)
    assert found.pop("resourceGroupName").startswith("tandem-test-reports-")
    if role != "group":
        account = found.pop("accountName")
        assert account.startswith("tandemtestreport")
        assert len(account) <= 24
    return found


def entry(recording: Recording) -> StorageAzureConfig:
    backend = StorageDocument.model_validate(recording.outputs["storage"]).storage.backend("reports")
    assert backend.azure
    return backend.azure


def problems(stack: Stack) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_spec(stack)
    return [str(problem).removeprefix("storage.backends.reports.") for problem in raised.value.problems]


def spec_of(more: str) -> str:
    return f"{{reports: {{driver: azure, location: westeurope, {more}}}}}"


def test_everything_is_made_one_after_the_other_and_belongs_to_one_component(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    assert [name.rpartition("-")[0] for name in names(recording)] == [name.rpartition("-")[0] for name in CHAIN]
    for before, after in pairwise(names(recording)):
        assert recording.one(before).urn in recording.one(after).dependencies
    (component,) = [record for record in recording.records if not record.custom]
    assert (component.type, component.name) == ("tandem:storage:AzureBucket", "reports")
    assert {record.parent for record in recording.records if record.custom} == {component.urn}


def test_the_resource_types_are_those_of_pulumi_azure_native(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    assert [recording.one(name).type for name in CHAIN[:6]] == [
        "azure-native:resources:ResourceGroup",
        "azure-native:storage:StorageAccount",
        "azure-native:storage:BlobServiceProperties",
        "azure-native:storage:BlobContainer",
        "azure-native:storage:ManagementPolicy",
        "azure-native:authorization:RoleAssignment",
    ]


def test_an_account_at_standard_is_closed_encrypted_and_kept(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL, tags={"owner": "media"}))
    service = {"enabled": True, "keyType": "Account"}
    assert inputs(recording, "account") == {
        "location": "westeurope",
        "kind": "StorageV2",
        "sku": {"name": "Standard_ZRS"},
        "minimumTlsVersion": "TLS1_2",
        "enableHttpsTrafficOnly": True,
        "allowBlobPublicAccess": False,
        "allowSharedKeyAccess": False,
        "defaultToOAuthAuthentication": True,
        "allowCrossTenantReplication": False,
        "allowedCopyScope": "AAD",
        "isLocalUserEnabled": False,
        "isSftpEnabled": False,
        "publicNetworkAccess": "Enabled",
        "networkRuleSet": {
            "defaultAction": "Deny",
            "bypass": "AzureServices",
            "ipRules": [
                {"iPAddressOrRange": "203.0.113.7", "action": "Allow"},
                {"iPAddressOrRange": "198.51.100.0/24", "action": "Allow"},
            ],
        },
        "sasPolicy": {"expirationAction": "Log", "sasExpirationPeriod": "7.00:00:00"},
        "keyPolicy": {"keyExpirationPeriodInDays": 90},
        "encryption": {
            "keySource": "Microsoft.Storage",
            "requireInfrastructureEncryption": True,
            "services": {"blob": service, "file": service},
        },
        "tags": {
            "owner": "media",
            "team": "reports",
            "tandem:project": "tandem",
            "tandem:stack": "test",
            "tandem:backend": "reports",
        },
    }


def test_versions_deleted_blobs_and_cors_are_settings_of_the_service(make_stack: MakeStack, run: Run) -> None:
    kept = {"enabled": True, "days": 14}
    assert inputs(run(make_stack(FULL)), "service") == {
        "blobServicesName": "default",
        "isVersioningEnabled": True,
        "deleteRetentionPolicy": kept,
        "containerDeleteRetentionPolicy": kept,
        "changeFeed": {"enabled": True, "retentionInDays": 90},
        "cors": {
            "corsRules": [
                {
                    "allowedOrigins": ["https://app.example.com"],
                    "allowedMethods": ["GET"],
                    "allowedHeaders": ["range"],
                    "exposedHeaders": ["ETag"],
                    "maxAgeInSeconds": 300,
                }
            ]
        },
    }


def test_lifecycle_rules_are_for_the_container_only(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    container = inputs(recording, "bucket")["containerName"]
    policy = inputs(recording, "lifecycle")
    assert policy.pop("managementPolicyName") == "default"
    old = {"delete": {"daysAfterCreationGreaterThan": 30}}
    rules = [(rule["name"], rule["definition"]) for rule in policy["policy"]["rules"]]
    assert rules == [
        (
            "expire-noncurrent",
            {
                "actions": {"version": old, "snapshot": old},
                "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{container}/"]},
            },
        ),
        (
            "expire-0",
            {
                "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 1}}},
                "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{container}/old/"]},
            },
        ),
    ]


def test_what_holds_data_is_protected_outside_dev(make_stack: MakeStack, run: Run) -> None:
    protected = {record.name for record in run(make_stack(FULL)).records if record.protect}
    assert protected == {"reports-group", "reports-account", "reports-bucket"}


def test_an_account_in_dev_can_be_lost_and_is_open_to_the_network(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of("public: false"), profile="dev"))
    assert names(recording) == ["reports-group", "reports-account", "reports-service", "reports-bucket"]
    account = inputs(recording, "account")
    assert account["sku"] == {"name": "Standard_LRS"}
    assert account["networkRuleSet"] == {"defaultAction": "Allow", "bypass": "AzureServices"}
    assert account["encryption"]["requireInfrastructureEncryption"] is False
    assert account["allowSharedKeyAccess"] is False
    assert "changeFeed" not in inputs(recording, "service")
    assert not any(record.protect for record in recording.records)


@pytest.mark.parametrize(
    ("network", "access", "action"), [("public", "Enabled", "Allow"), ("private", "Disabled", "Deny")]
)
def test_the_network_is_what_the_spec_chose(
    make_stack: MakeStack, run: Run, network: str, access: str, action: str
) -> None:
    account = inputs(run(make_stack(spec_of(f"network: {network}"))), "account")
    assert account["publicNetworkAccess"] == access
    assert account["networkRuleSet"] == {"defaultAction": action, "bypass": "AzureServices"}


GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/net/providers/Microsoft.Network"
SUBNET = f"{GROUP}/virtualNetworks/hub/subnets/storage"
ZONE = f"{GROUP}/privateDnsZones/privatelink.blob.core.windows.net"


def test_a_private_account_has_its_address_and_name_in_the_network(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of(f"network: private, subnet: '{SUBNET}', dns_zone: '{ZONE}'")))
    endpoint = recording.one("reports-endpoint")
    assert endpoint.type == "azure-native:network:PrivateEndpoint"
    name, found = endpoint.inputs["privateEndpointName"], dict(endpoint.inputs)
    assert found["subnet"] == {"id": SUBNET}
    (connection,) = found["privateLinkServiceConnections"]
    assert connection["groupIds"] == ["blob"]
    assert connection["privateLinkServiceId"].endswith(f"/Microsoft.Storage/storageAccounts/{name}")
    zones = recording.one("reports-endpoint-names").inputs
    assert zones["privateEndpointName"] == name
    assert zones["privateDnsZoneConfigs"] == [{"name": "blob", "privateDnsZoneId": ZONE}]
    made = [record.name for record in run(make_stack(spec_of("network: private"))).records]
    assert not any("endpoint" in each for each in made)


def test_an_endpoint_needs_a_subnet_and_ids_that_are_some(make_stack: MakeStack) -> None:
    lost = problems(make_stack(spec_of(f"network: private, dns_zone: '{ZONE}'")))
    assert lost == ["dns_zone: names a private endpoint, and there is none; allowed: with subnet, or leave it out"]
    (told,) = problems(make_stack(spec_of("network: private, subnet: hub/storage")))
    assert told.startswith("subnet: found 'hub/storage'; allowed: /subscriptions/<id>/resourceGroups/<group>/")


@pytest.mark.parametrize("args", [azure_network.PrivateEndpointArgs, azure_network.PrivateDnsZoneGroupArgs])
def test_types_of_the_network_are_those_of_the_real_package(args: Any) -> None:
    from pulumi_azure_native import network  # noqa: PLC0415 - takes seconds, which only this test needs

    def compare(ours: Any, real: Any) -> None:
        hints = typing.get_type_hints(ours)
        for field in fields(ours):
            getter = inspect.getsource(inspect.getattr_static(real, field.name).fget)
            assert camel(field.name) == field.name or f'name="{camel(field.name)}"' in getter
            kinds = [hints[field.name], *typing.get_args(hints[field.name])]
            for inner in [kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)]:
                compare(inner, getattr(network, f"{inner.__name__}Args"))

    name = args.__name__.removesuffix("Args")
    assert f"'{args.token}'" in inspect.getsource(getattr(network, name))
    compare(args, getattr(network, args.__name__))


def test_a_public_container_is_read_by_all_and_listed_by_nobody(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of("network: public, public: true")))
    assert inputs(recording, "account")["allowBlobPublicAccess"] is True
    assert inputs(recording, "bucket")["publicAccess"] == "Blob"
    assert inputs(run(make_stack(spec_of("network: public"))), "bucket")["publicAccess"] == "None"


def test_a_customers_key_is_used_by_the_identity_that_its_vault_lets_in(make_stack: MakeStack, run: Run) -> None:
    key = "https://team-keys.vault.azure.net/keys/storage"
    encryption = f"encryption: {{type: 'azure:cmk', kms_key_id: '{key}'}}, key_identity: '{IDENTITY}'"
    recording = run(make_stack(spec_of(f"network: public, {encryption}")))
    account = inputs(recording, "account")
    assert account["identity"] == {"type": "UserAssigned", "userAssignedIdentities": [IDENTITY]}
    found = account["encryption"]
    assert found["keySource"] == "Microsoft.Keyvault"
    assert found["keyVaultProperties"] == {"keyVaultUri": "https://team-keys.vault.azure.net", "keyName": "storage"}
    assert found["encryptionIdentity"] == {"encryptionUserAssignedIdentity": IDENTITY}
    assert (entry(recording).encryption.type, entry(recording).encryption.kms_key_id) == ("azure:cmk", key)


def test_a_key_that_the_program_makes_is_for_the_account_only_and_outlives_the_stack(
    make_stack: MakeStack, run: Run
) -> None:
    keys = "encryption: {type: 'azure:cmk', rotate_after: 90d}"
    recording = run(make_stack(spec_of(f"network: public, logging: false, {keys}")))
    order = ["reports-group", "reports-key-identity", "reports-vault", "reports-key", "reports-account"]
    assert names(recording)[: len(order)] == order
    identity, vault, key = (recording.one(f"reports-{each}") for each in ("key-identity", "vault", "key"))
    account = inputs(recording, "account")
    place = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{vault.inputs['resourceGroupName']}/providers"
    who = f"{place}/Microsoft.ManagedIdentity/userAssignedIdentities/{identity.inputs['resourceName']}"
    assert account["identity"]["userAssignedIdentities"] == [who]
    assert account["encryption"]["encryptionIdentity"] == {"encryptionUserAssignedIdentity": who}
    url = f"https://{vault.inputs['vaultName']}.vault.azure.net"
    assert account["encryption"]["keyVaultProperties"] == {"keyVaultUri": url, "keyName": "storage"}
    assert entry(recording).encryption.kms_key_id == f"{url}/keys/storage"

    closed = vault.inputs["properties"]
    (entered,) = closed["accessPolicies"]
    assert entered["permissions"] == {"keys": ["get", "unwrapKey", "wrapKey"]}
    assert (closed["enablePurgeProtection"], closed["softDeleteRetentionInDays"]) == (True, 90)
    assert (closed["publicNetworkAccess"], closed["networkAcls"]["bypass"]) == ("Disabled", "AzureServices")
    (action,) = key.inputs["properties"]["rotationPolicy"]["lifetimeActions"]
    assert action == {"action": {"type": "rotate"}, "trigger": {"timeAfterCreate": "P90D"}}
    assert all(each.protect for each in (identity, vault, key))
    assert 3 <= len(vault.inputs["vaultName"]) <= 24


def test_a_grant_is_a_data_role_at_the_container_and_a_presigner_delegates_at_the_account(
    make_stack: MakeStack, run: Run
) -> None:
    recording = run(make_stack(FULL))
    account = recording.one("reports-account").inputs
    group, container = account["resourceGroupName"], recording.one("reports-bucket").inputs["containerName"]
    scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts"
    scope = f"{scope}/{account['accountName']}"
    inside = f"{scope}/blobServices/default/containers/{container}"
    made = [record.inputs for record in recording.records if record.type.endswith("RoleAssignment")]
    found = [
        (one["principalType"], one["roleDefinitionId"].rpartition("/")[2], one["scope"], one["principalId"])
        for one in made
    ]
    assert found == [
        ("ServicePrincipal", CONTRIBUTOR, inside, APP),
        ("ServicePrincipal", DELEGATOR, scope, APP),
        ("Group", READER, inside, APP),
    ]
    assert len({UUID(one["roleAssignmentName"]) for one in made}) == 3


def test_role_assignments_have_the_same_names_on_every_run(make_stack: MakeStack, run: Run) -> None:
    first, second = (
        [record.inputs["roleAssignmentName"] for record in run(make_stack(FULL)).of("RoleAssignment")] for _ in "ab"
    )
    assert first == second


def test_a_resource_group_of_ones_own_is_used_and_not_made(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(spec_of("network: public, resource_group: team")))
    assert "reports-group" not in names(recording)
    assert recording.one("reports-account").inputs["resourceGroupName"] == "team"


def test_an_existing_container_is_read_and_gets_access_only(make_stack: MakeStack, run: Run) -> None:
    grants = f"grants: [{{to: {APP}, access: [read, list]}}]"
    recording = run(make_stack(spec_of(f"existing: oldacct/old-reports, resource_group: team, {grants}")))
    assert len(names(recording)) == 2
    container = recording.one("reports-bucket")
    assert container.adopted.endswith("/resourceGroups/team/providers/Microsoft.Storage/storageAccounts/oldacct"
                                      "/blobServices/default/containers/old-reports")  # fmt: skip
    assert (entry(recording).account_name, entry(recording).container) == ("oldacct", "old-reports")


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("public: false", "network"),
        ("network: ips", "ips"),
        ("network: ips, ips: [203.0.113.7, 10.0.0.0/8]", "ips[1]"),
        ("network: ips, ips: [203.0.113.7, 203.0.113.8/31]", "ips[1]"),
        ("network: ips, ips: [203.0.113.7, '2001:db8::1']", "ips[1]"),
        ("network: public, ips: [203.0.113.7]", "ips"),
        ("network: public, soft_delete: 366d", "soft_delete"),
        ("network: public, lifecycle: {abort_multipart_after: 3d}", "lifecycle.abort_multipart_after"),
        (f"network: public, grants: [{{to: {APP}, access: [write, list]}}]", "grants[0].access"),
        (f"network: public, grants: [{{to: {APP}, access: [read, presign]}}]", "grants[0].access"),
        ("network: public, grants: [{to: role/app, access: [read, list]}]", "grants[0].to"),
        ("existing: acct/container", "resource_group"),
        ("existing: acct/container, resource_group: g, versioning: true", "versioning"),
        (f"network: public, key_identity: '{IDENTITY}'", "key_identity"),
        (
            "network: public, encryption: {type: 'azure:cmk', kms_key_id: 'https://v.vault.azure.net/keys/k'}",
            "key_identity",
        ),
    ],
)
def test_what_azure_can_not_do_is_refused(make_stack: MakeStack, more: str, path: str) -> None:
    assert problems(make_stack(spec_of(more)))[0].startswith(f"{path}: ")


def test_a_container_that_should_not_be_emptied_is_not_for_dev(make_stack: MakeStack) -> None:
    (found,) = problems(make_stack(spec_of("force_destroy: false"), profile="dev"))
    assert found.startswith("force_destroy: found False, and Azure deletes a container with everything in it")


def test_grants_need_the_subscription(make_stack: MakeStack) -> None:
    accounts: dict[str, Any] = {"tandem:accounts": None}
    (found,) = problems(
        make_stack(spec_of(f"network: public, grants: [{{to: {APP}, access: [read, list]}}]"), **accounts)
    )
    assert found.startswith("tandem:accounts.azure: is required for grants")


def test_the_entry_is_keyless_and_names_everything_that_the_runtime_needs(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    found = entry(recording)
    assert found.account_name == recording.one("reports-account").inputs["accountName"]
    assert found.container == recording.one("reports-bucket").inputs["containerName"]
    assert (found.account_key, found.sas_token, found.endpoint_url) == (None, None, None)


def test_an_emulated_stack_has_the_emulators_account_and_a_reference_to_its_key(
    make_stack: MakeStack, run: Run, emulate: Callable[..., None]
) -> None:
    emulators: dict[str, Any] = {"tandem:emulators": {"azure": "azurite"}}
    stack = make_stack(FULL, **emulators)
    emulate(stack)
    recording = run(stack)
    (provider,) = [record for record in recording.records if record.type == "pulumi:providers:azure-native"]
    assert provider.inputs == {
        "subscriptionId": "00000000-0000-0000-0000-000000000000",
        "environment": "public",  # the SDK's own default; the metadata decides
        "metadataHost": "http://127.0.0.1:4566",
        "clientId": SECRET,
        "clientSecret": SECRET,
    }
    made = [record for record in recording.records if record.type.startswith("azure-native:")]
    assert {record.provider.rpartition("::")[0] for record in made} == {provider.urn}
    assert inputs(recording, "account")["allowSharedKeyAccess"] is True  # it knows nothing else
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    container = recording.one("reports-bucket").inputs["containerName"]
    assert backend["azure"] == {
        "account_name": "devstoreaccount1",
        "account_key": "${file:../.tandem/test/secrets/azure_secret_key}",
        "container": container,
        "endpoint_url": "http://127.0.0.1:4566/devstoreaccount1",
        "encryption": {"enabled": True, "type": "AES256"},
    }


def test_a_misspelt_property_is_an_error_of_python() -> None:
    with pytest.raises(TypeError):
        storage.StorageAccountArgs(kind="StorageV2", allow_shared_keys_access=False)
