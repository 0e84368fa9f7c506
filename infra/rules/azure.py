"""Rules for Azure storage accounts and their containers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from infra.azure_rm import KEY_OPERATIONS, ROLE_NAMES
from infra.rules.common import (
    KEY_OF_LOGS,
    LOGS_EXPIRE,
    NO_END,
    NOT_DEV,
    REGULATED,
    WRITTEN_ONCE,
    Check,
    Resources,
    equals,
    holds,
    items,
    missing,
    rule,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.recording import Record

ACCOUNT: Final = "azure-native:storage:StorageAccount"
SERVICE: Final = "azure-native:storage:BlobServiceProperties"
CONTAINER: Final = "azure-native:storage:BlobContainer"
ASSIGNMENT: Final = "azure-native:authorization:RoleAssignment"
ROLE: Final = "azure-native:authorization:RoleDefinition"
VAULT: Final = "azure-native:keyvault:Vault"
KEY: Final = "azure-native:keyvault:Key"
DIAGNOSTICS: Final = "azure-native:monitor:DiagnosticSetting"

SOFT_DELETE_DAYS: Final = 7
YEAR: Final = 365
LONGEST_SIGNATURE_DAYS: Final = 7
_CONTAINERS: Final = "Microsoft.Storage/storageAccounts/blobServices/containers/"
_LOGGED: Final = frozenset({"StorageRead", "StorageWrite", "StorageDelete"})
_PERIOD: Final = re.compile(r"(\d+)\.\d\d:\d\d:\d\d")


@rule(
    "AZ-01",
    "Nobody comes in without a name",
    "CIS Azure 9.3.8, CKV_AZURE_59, CKV_AZURE_190, CKV2_AZURE_47, TR AZU-0007",
)
def no_anonymous_access(resources: Resources) -> Iterator[Check]:
    for account in resources.made(ACCOUNT):
        yield equals(account, "allowBlobPublicAccess", wanted=False)
    for container in resources.made(CONTAINER):
        yield equals(container, "publicAccess", wanted="None")


@rule(
    "AZ-02",
    "Account keys are off: they open everything and name nobody",
    "CIS Azure 9.3.1.3, CKV2_AZURE_40",
    not_emulated="the emulator knows nothing but keys",
)
def no_shared_key(resources: Resources) -> Iterator[Check]:
    # not set means that keys are allowed
    yield from (equals(account, "allowSharedKeyAccess", wanted=False) for account in resources.made(ACCOUNT))


@rule("AZ-03", "TLS below 1.2 is refused", "CIS Azure 9.3.6, CKV_AZURE_44, TR AZU-0011")
def old_tls(resources: Resources) -> Iterator[Check]:
    yield from (equals(account, "minimumTlsVersion", wanted="TLS1_2") for account in resources.made(ACCOUNT))


@rule("AZ-04", "Plain http is refused", "CIS Azure 9.3.4, CKV_AZURE_3, TR AZU-0008")
def plain_http(resources: Resources) -> Iterator[Check]:
    yield from (equals(account, "enableHttpsTrafficOnly", wanted=True) for account in resources.made(ACCOUNT))


@rule(
    "AZ-05",
    "Only named networks come in",
    "CIS Azure 9.3.2.3, CKV_AZURE_35, TR AZU-0012",
    profiles=NOT_DEV,
)
def network(resources: Resources) -> Iterator[Check]:
    yield from (equals(account, "networkRuleSet.defaultAction", wanted="Deny") for account in resources.made(ACCOUNT))


@rule("AZ-06", "Azure's own services come in, or backups and logs end", "CIS Azure 9.3.5, CKV_AZURE_36, TR AZU-0010")
def trusted_bypass(resources: Resources) -> Iterator[Check]:
    def trusted(found: Any) -> bool:
        return "AzureServices" in str(found or "")

    for account in resources.made(ACCOUNT):
        yield holds(account, "networkRuleSet.bypass", trusted, "AzureServices")


@rule("AZ-07", "The portal signs in by Entra", "CIS Azure 9.3.3.1")
def entra(resources: Resources) -> Iterator[Check]:
    yield from (equals(account, "defaultToOAuthAuthentication", wanted=True) for account in resources.made(ACCOUNT))


@rule("AZ-08", "Nothing is replicated to another tenant", "CIS Azure 9.3.7")
def cross_tenant(resources: Resources) -> Iterator[Check]:
    yield from (equals(account, "allowCrossTenantReplication", wanted=False) for account in resources.made(ACCOUNT))


@rule(
    "AZ-09",
    "What is deleted can be restored for a week",
    "CIS Azure 9.2.1, CIS Azure 9.2.2, CKV2_AZURE_38, TR AZU-0056",
)
def soft_delete(resources: Resources) -> Iterable[Check]:
    policies = ("deleteRetentionPolicy", "containerDeleteRetentionPolicy")

    def test(record: Record) -> Iterator[Check]:
        for policy in policies:
            yield equals(record, f"{policy}.enabled", wanted=True)
            days = f"{SOFT_DELETE_DAYS} or more"
            yield holds(record, f"{policy}.days", lambda found: (found or 0) >= SOFT_DELETE_DAYS, days)

    return resources.beside(ACCOUNT, SERVICE, "soft delete of blobs and containers", test)


@rule("AZ-10", "Versions are kept", "CIS Azure 9.2.3", profiles=NOT_DEV, not_of_logs=WRITTEN_ONCE)
def versioning(resources: Resources) -> Iterable[Check]:
    return resources.beside(
        ACCOUNT, SERVICE, "versioning", lambda found: [equals(found, "isVersioningEnabled", wanted=True)]
    )


@rule("AZ-11", "Signatures that live longer than a week are noticed", "CKV2_AZURE_41")
def sas_policy(resources: Resources) -> Iterator[Check]:
    def short(period: Any) -> bool:
        days = _PERIOD.fullmatch(str(period or ""))
        return days is not None and int(days[1]) <= LONGEST_SIGNATURE_DAYS

    for account in resources.made(ACCOUNT):
        yield holds(account, "sasPolicy.sasExpirationPeriod", short, f"at most {LONGEST_SIGNATURE_DAYS}.00:00:00")


@rule("AZ-12", "There are no local users and no SFTP", "CKV_AZURE_244")
def local_users(resources: Resources) -> Iterator[Check]:
    for account in resources.made(ACCOUNT):
        yield equals(account, "isLocalUserEnabled", wanted=False)
        yield equals(account, "isSftpEnabled", wanted=False)


@rule(
    "AZ-13",
    "Reads, writes and deletions are logged, to another account or a workspace",
    "CKV2_AZURE_21, TR AZU-0057",
    profiles=NOT_DEV,
    not_of_logs=NO_END,
)
def diagnostics(resources: Resources) -> Iterator[Check]:
    settings = resources.of(DIAGNOSTICS)
    for setting in settings:
        logged = {log.get("category") for _, log in items(setting, "logs") if log.get("enabled") is True}
        expected = ", ".join(sorted(_LOGGED))
        yield Check(setting.name, setting.type, "logs[].category", sorted(logged, key=str), expected, logged >= _LOGGED)
        own = str(setting.inputs.get("resourceUri") or "").partition("/blobServices/")[0]
        target = setting.inputs.get("storageAccountId") or setting.inputs.get("workspaceId")
        apart = bool(target) and target != own
        yield Check(setting.name, setting.type, "storageAccountId", target, "another account, or a workspace", apart)
    if not settings:
        yield from (missing(account, DIAGNOSTICS, "a log of its blobs") for account in resources.made(ACCOUNT))


@rule("AZ-14", "The infrastructure encrypts once more", "TR AZU-0061", profiles=NOT_DEV)
def infrastructure_encryption(resources: Resources) -> Iterator[Check]:
    for account in resources.made(ACCOUNT):
        yield equals(account, "encryption.requireInfrastructureEncryption", wanted=True)


@rule("AZ-15", "Copies are in more than one building", "CIS Azure 9.3.11, CKV_AZURE_206", profiles=NOT_DEV)
def redundancy(resources: Resources) -> Iterator[Check]:
    for account in resources.made(ACCOUNT):
        expected = "Standard_ZRS, Standard_GRS or Standard_GZRS"
        yield holds(account, "sku.name", lambda found: bool(found) and "LRS" not in str(found), expected)


@rule("AZ-16", "Grants are roles on data, not on the account", "Tandem")
def data_roles(resources: Resources) -> Iterator[Check]:
    own = {
        role.inputs.get("roleDefinitionId")
        for role in resources.made(ROLE)
        for _, permission in items(role, "permissions")
        if all(str(action).startswith(_CONTAINERS) for action in _actions(permission))
    }
    names = ", ".join(f"{role} ({name})" for role, name in ROLE_NAMES.items())
    expected, known = f"{names}, or a role of the program's own on {_CONTAINERS}", own | ROLE_NAMES.keys()
    for record in resources.of(ASSIGNMENT):
        yield holds(record, "roleDefinitionId", lambda found: str(found).rpartition("/")[2] in known, expected)


def _actions(permission: Any) -> list[str]:
    named = [*(permission.get("actions") or ()), *(permission.get("dataActions") or ())]
    return named or ["nothing"]


@rule(
    "AZ-17",
    "Versions can not be deleted before their time",
    "Tandem",
    profiles=REGULATED,
    not_of_logs=LOGS_EXPIRE,
)
def retention(resources: Resources) -> Iterator[Check]:
    path = "immutableStorageWithVersioning.immutabilityPolicy.immutabilityPeriodSinceCreationInDays"
    for account in resources.made(ACCOUNT):
        yield holds(account, path, bool, "a number of days")


@rule(
    "AZ-18",
    "Only private endpoints come in",
    "CIS Azure 9.3.2.1, CIS Azure 9.3.2.2, CKV_AZURE_59",
    profiles=REGULATED,
    not_of_logs="Azure's own services write them, and nobody else comes in (AZ-05, LOG-01)",
)
def private_network(resources: Resources) -> Iterator[Check]:
    yield from (equals(account, "publicNetworkAccess", wanted="Disabled") for account in resources.made(ACCOUNT))


@rule("AZ-19", "A customer's key encrypts", "CKV2_AZURE_1", profiles=REGULATED, not_of_logs=KEY_OF_LOGS)
def customer_key(resources: Resources) -> Iterator[Check]:
    for account in resources.made(ACCOUNT):
        yield equals(account, "encryption.keySource", wanted="Microsoft.Keyvault")
        yield holds(account, "encryption.keyVaultProperties.keyName", bool, "a key")


@rule("AZ-20", "Keys rotate within a year, in a vault that is not purged and lets in the account only", "CIS Azure 8.5")
def vault(resources: Resources) -> Iterator[Check]:
    for found in resources.made(VAULT):
        yield equals(found, "properties.enablePurgeProtection", wanted=True)
        yield equals(found, "properties.networkAcls.defaultAction", wanted="Deny")
        for path, policy in items(found, "properties.accessPolicies"):
            named, expected = value(policy, "permissions"), f"keys: {', '.join(KEY_OPERATIONS)}"
            ok = isinstance(named, dict) and named.keys() == {"keys"} and set(named["keys"]) <= set(KEY_OPERATIONS)
            yield Check(found.name, found.type, f"{path}.permissions", named, expected, ok)
    for key in resources.made(KEY):
        path = "properties.rotationPolicy.lifetimeActions[0].trigger.timeAfterCreate"
        yield holds(key, path, _within_a_year, f"P{YEAR}D or sooner")


def _within_a_year(period: Any) -> bool:
    days = re.fullmatch(r"P(\d+)D", str(period or ""))
    return days is not None and 0 < int(days[1]) <= YEAR


RULES: Final = (
    no_anonymous_access, no_shared_key, old_tls, plain_http, network, trusted_bypass, entra, cross_tenant, soft_delete,
    versioning, sas_policy, local_users, diagnostics, infrastructure_encryption, redundancy, data_roles, retention,
    private_network, customer_key, vault,
)  # fmt: skip
