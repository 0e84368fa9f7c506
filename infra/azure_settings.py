"""A backend's settings as azure-native takes them: network, keys, CORS, lifecycle, signatures."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pulumi_azure_native import storage

from infra import azure_rm
from infra.backend import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.azure import Spec

CLOSED: Final[Mapping[str, Any]] = {
    "minimum_tls_version": "TLS1_2",  # TLS1_3 is in the list of values and not supported yet
    "enable_https_traffic_only": True,
    "default_to_o_auth_authentication": True,
    "allow_cross_tenant_replication": False,
    "allowed_copy_scope": "AAD",
    "is_local_user_enabled": False,
    "is_sftp_enabled": False,
}
"""What every account has, whatever its spec says."""

SAS_AGE: Final = timedelta(days=7)
"""The longest life of a user-delegation signature; older ones are logged, where the account is logged.

They are not blocked: that also refuses signatures which name no start, as ours do.

Source: https://learn.microsoft.com/en-us/azure/storage/common/sas-expiration-policy
"""

KEY_POLICY: Final = storage.KeyPolicyArgs(key_expiration_period_in_days=90)
"""Age at which Azure calls account keys old, should somebody ever allow them."""


def sas_policy(age: timedelta = SAS_AGE) -> storage.SasPolicyArgs:
    """How long signatures may live."""
    return storage.SasPolicyArgs(expiration_action="Log", sas_expiration_period=f"{age.days}.00:00:00")


def network(spec: Spec) -> storage.NetworkRuleSetArgs:
    """Who can reach the account."""
    addresses = [storage.IPRuleArgs(i_p_address_or_range=address, action="Allow") for address in spec.ips]
    closed = spec.network in {"ips", "private"}
    return storage.NetworkRuleSetArgs(
        default_action="Deny" if closed else "Allow", bypass="AzureServices", ip_rules=addresses or None
    )


def encryption(spec: Spec) -> storage.EncryptionArgs:
    """Whose key encrypts, and whether twice over; that can only be chosen for a new account."""
    twice = bool(spec.infrastructure_encryption)
    if not spec.customer_key or spec.encryption is None:
        return own_keys(twice=twice)
    vault, name, version = azure_rm.key_parts(spec.encryption.kms_key_id or "")
    return storage.EncryptionArgs(
        key_source="Microsoft.Keyvault",
        key_vault_properties=storage.KeyVaultPropertiesArgs(key_vault_uri=vault, key_name=name, key_version=version),
        encryption_identity=storage.EncryptionIdentityArgs(encryption_user_assigned_identity=spec.key_identity),
        **_encrypted(twice=twice),
    )


def own_keys(*, twice: bool) -> storage.EncryptionArgs:
    """Azure's own keys."""
    return storage.EncryptionArgs(key_source="Microsoft.Storage", **_encrypted(twice=twice))


def _encrypted(*, twice: bool) -> dict[str, Any]:
    service = storage.EncryptionServiceArgs(enabled=True, key_type="Account")
    return {
        "services": storage.EncryptionServicesArgs(blob=service, file=service),
        "require_infrastructure_encryption": twice,
    }


def immutability(spec: Spec) -> storage.ImmutableStorageAccountArgs | None:
    """How long no version of a blob can be deleted; for everything in the account, which is the backend's own."""
    found = spec.retention
    if found is None:
        return None
    policy = storage.AccountImmutabilityPolicyPropertiesArgs(
        allow_protected_append_writes=False,
        immutability_period_since_creation_in_days=found.keep.days,
        state="Locked" if found.locked else "Unlocked",
    )
    return storage.ImmutableStorageAccountArgs(enabled=True, immutability_policy=policy)


def identity(spec: Spec) -> storage.IdentityArgs | None:
    """Who the account is towards the vault of its key."""
    if spec.key_identity is None:
        return None
    return storage.IdentityArgs(type="UserAssigned", user_assigned_identities=[spec.key_identity])


def cors_rules(spec: Spec) -> list[storage.CorsRuleArgs]:
    """What browsers may do, for everything in the account."""
    return [
        storage.CorsRuleArgs(
            allowed_origins=list(rule.origins),
            allowed_methods=list(rule.methods),
            allowed_headers=list(rule.headers),
            exposed_headers=list(rule.expose),
            max_age_in_seconds=rule.contract().max_age,
        )
        for rule in spec.cors
    ]


def lifecycle_rules(spec: Spec, container: str) -> list[storage.ManagementPolicyRuleArgs]:
    """Versions by their age, as Azure has no time since a version was overwritten; soft delete keeps them longer."""
    lifecycle = spec.lifecycle or Lifecycle()
    rules = []
    if expire := lifecycle.expire_noncurrent_after:
        age = storage.DateAfterCreationArgs(days_after_creation_greater_than=expire.days)
        actions = storage.ManagementPolicyActionArgs(
            version=storage.ManagementPolicyVersionArgs(delete=age),
            snapshot=storage.ManagementPolicySnapShotArgs(delete=age),
        )
        rules.append(_rule("expire-noncurrent", f"{container}/", actions))
    for index, rule in enumerate(lifecycle.rules):
        old = storage.DateAfterModificationArgs(days_after_modification_greater_than=rule.expire_after.days)
        base = storage.ManagementPolicyBaseBlobArgs(delete=old)
        actions = storage.ManagementPolicyActionArgs(base_blob=base)
        rules.append(_rule(f"expire-{index}", f"{container}/{rule.prefix}", actions))
    return rules


def _rule(name: str, prefix: str, actions: storage.ManagementPolicyActionArgs) -> storage.ManagementPolicyRuleArgs:
    where = storage.ManagementPolicyFilterArgs(blob_types=["blockBlob"], prefix_match=[prefix])
    definition = storage.ManagementPolicyDefinitionArgs(actions=actions, filters=where)
    return storage.ManagementPolicyRuleArgs(name=name, type="Lifecycle", enabled=True, definition=definition)
