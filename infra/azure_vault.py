"""The customer's key that the program makes for an Azure backend: its vault, and the identity that the vault lets in.

The account's identity has to be let in before there is an account, so it is a user-assigned one, and an entry in the
vault's own access policies lets it in: that holds at once, while a role takes minutes, in which the account can not be
made. The entry has the three operations that a storage account needs, and it is the only one: nobody else uses the key.
A vault is purge-protected, as Azure asks for, so its name can not be used again for as long as it can be rescued: like
a key ring of Google's it stays when the stack goes, and a stack that comes back names its key by ``kms_key_id``.

Source:
    https://learn.microsoft.com/en-us/azure/storage/common/customer-managed-keys-configure-new-account
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pulumi

from infra.azure_rm import KEY_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pulumi_azure_native import managedidentity

    from infra.azure import Spec
    from infra.azure_rm import Home
    from infra.backend import Encryption

_KEY: Final = "storage"
_IDENTITY: Final = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"


def vault_name(home: Home) -> str:
    """The vault's name: the account's, but vaults begin with a letter."""
    return home.account if home.account[0].isalpha() else f"k{home.account[1:]}"


def key_url(home: Home) -> str:
    """The key without a version, so that the account follows when it rotates."""
    return f"https://{vault_name(home)}.vault.azure.net/keys/{_KEY}"


def made_here(spec: Spec) -> bool:
    """Whether the program makes the backend's key."""
    found = spec.encryption
    return spec.existing is None and found is not None and found.customer_key and found.kms_key_id is None


def keyed(spec: Spec, home: Home) -> Spec:
    """The same with the key and the identity that the program makes, by their names."""
    if not made_here(spec) or spec.encryption is None:
        return spec
    encryption = spec.encryption.model_copy(update={"kms_key_id": key_url(home)})
    identity = f"{home.group_id}{_IDENTITY}{vault_name(home)}"
    return spec.model_copy(update={"encryption": encryption, "key_identity": identity})


def make(
    spec: Spec, home: Home, tags: Mapping[str, str], options: Any, *, protect: bool
) -> Iterator[pulumi.CustomResource]:
    """The identity, the vault that lets it in, and the key, one after the other.

    Args:
        spec: The backend, as its person wrote it.
        home: Where it is.
        tags: Owner tags.
        options: Gives the options of the next resource of the component; called before each.
        protect: Whether Pulumi refuses to delete what loses the data.
    """
    from pulumi_azure_native import keyvault, managedidentity  # noqa: PLC0415 - for stacks that make keys

    name = vault_name(home)
    place: dict[str, Any] = {"resource_group_name": home.group, "location": spec.location, "tags": tags}
    identity = managedidentity.UserAssignedIdentity(
        f"{spec.name}-key-identity", resource_name_=name, **place, opts=options(protect=protect)
    )
    yield identity
    times = spec.encryption
    rescue = times.delete_after.days if times and times.delete_after else None
    kept = pulumi.ResourceOptions.merge(options(protect=protect), pulumi.ResourceOptions(retain_on_delete=True))
    yield keyvault.Vault(
        f"{spec.name}-vault", vault_name=name, **place, properties=_closed(keyvault, identity, rescue), opts=kept
    )
    kept = pulumi.ResourceOptions.merge(options(protect=protect), pulumi.ResourceOptions(retain_on_delete=True))
    yield keyvault.Key(
        f"{spec.name}-key",
        key_name=_KEY,
        vault_name=name,
        resource_group_name=home.group,
        properties=keyvault.KeyPropertiesArgs(kty="RSA", key_size=3072, rotation_policy=_rotation(keyvault, times)),
        tags=tags,
        opts=kept,
    )


def _closed(keyvault: Any, identity: managedidentity.UserAssignedIdentity, rescue: int | None) -> Any:
    """For the one identity, by way of Azure's own services, and never purged."""
    entry = keyvault.AccessPolicyEntryArgs(
        object_id=identity.principal_id,
        tenant_id=identity.tenant_id,
        permissions=keyvault.PermissionsArgs(keys=list(KEY_OPERATIONS)),
    )
    return keyvault.VaultPropertiesArgs(
        sku=keyvault.SkuArgs(family="A", name="standard"),
        tenant_id=identity.tenant_id,
        access_policies=[entry],
        enable_rbac_authorization=False,
        enable_soft_delete=True,
        enable_purge_protection=True,
        soft_delete_retention_in_days=rescue,
        public_network_access="Disabled",
        network_acls=keyvault.NetworkRuleSetArgs(bypass="AzureServices", default_action="Deny"),
    )


def _rotation(keyvault: Any, times: Encryption | None) -> Any:
    """New material at an age, in ISO 8601 as vaults count; versions do not expire, or old objects could not be read."""
    if times is None or times.rotate_after is None:
        return None
    action = keyvault.LifetimeActionArgs(
        action=keyvault.ActionArgs(type="rotate"),
        trigger=keyvault.TriggerArgs(time_after_create=f"P{times.rotate_after.days}D"),
    )
    return keyvault.RotationPolicyArgs(lifetime_actions=[action])
