"""The storage account of a region that Azure Monitor writes logs of the stack's accounts to.

Nobody but Azure's own services comes in over the network, and the account logs nothing of itself. Where the spec names
a workspace, the logs go there and there is no such account.

Source:
    https://learn.microsoft.com/en-us/azure/azure-monitor/essentials/diagnostic-settings
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pulumi
from pulumi_azure_native import resources, storage

from infra import azure_rm, logs, naming
from infra import azure_settings as settings

if TYPE_CHECKING:
    from infra.context import Context

CATEGORIES: Final = ("StorageRead", "StorageWrite", "StorageDelete")
"""Kinds of access that are logged."""

_PREFIX: Final = "insights-logs-"
"""How the containers of Azure Monitor begin."""


class Logs(pulumi.ComponentResource):
    """An account for the logs of one region, in a resource group of its own.

    Attributes:
        resources: What was made, in order; the last one is there when logs can come.
    """

    def __init__(self, location: str, context: Context) -> None:
        self._name = logs.name("azure", location)
        super().__init__(logs.COMPONENT, self._name, {}, context.options("azure"))
        self.resources: list[pulumi.CustomResource] = []
        self._location, self._context, self._home = location, context, home(location, context)
        self._tags = context.owner_tags(self._name, {})
        self._group()
        self._account()
        self._service()
        self._lifecycle()
        self.register_outputs({"account": self._home.account})

    def _group(self) -> None:
        group = resources.ResourceGroup(
            f"{self._name}-group",
            resource_group_name=self._home.group,
            location=self._location,
            tags=self._tags,
            opts=self._options(protect=not self._context.dev),
        )
        self.resources.append(group)

    def _account(self) -> None:
        dev = self._context.dev
        account = storage.StorageAccount(
            f"{self._name}-account",
            **self._place(),
            location=self._location,
            kind="StorageV2",
            sku=storage.SkuArgs(name="Standard_LRS" if dev else "Standard_ZRS"),
            **settings.CLOSED,
            allow_blob_public_access=False,
            allow_shared_key_access=self._context.emulated("azure"),
            public_network_access="Enabled",  # for Azure's own services, and nobody else
            network_rule_set=storage.NetworkRuleSetArgs(default_action="Deny", bypass="AzureServices"),
            sas_policy=settings.sas_policy(),
            key_policy=settings.KEY_POLICY,
            encryption=settings.own_keys(twice=not dev),
            tags=self._tags,
            opts=self._options(protect=not dev),
        )
        self.resources.append(account)

    def _service(self) -> None:
        kept = storage.DeleteRetentionPolicyArgs(enabled=True, days=7)
        service = storage.BlobServiceProperties(
            f"{self._name}-service",
            blob_services_name="default",
            **self._place(),
            is_versioning_enabled=False,
            delete_retention_policy=kept,
            container_delete_retention_policy=kept,
            opts=self._options(),
        )
        self.resources.append(service)

    def _lifecycle(self) -> None:
        old = storage.DateAfterModificationArgs(
            days_after_modification_greater_than=self._context.logging.days(self._context.profile)
        )
        actions = storage.ManagementPolicyActionArgs(base_blob=storage.ManagementPolicyBaseBlobArgs(delete=old))
        where = storage.ManagementPolicyFilterArgs(blob_types=["appendBlob", "blockBlob"], prefix_match=[_PREFIX])
        definition = storage.ManagementPolicyDefinitionArgs(actions=actions, filters=where)
        rule = storage.ManagementPolicyRuleArgs(
            name="expire-logs", type="Lifecycle", enabled=True, definition=definition
        )
        policy = storage.ManagementPolicy(
            f"{self._name}-lifecycle",
            management_policy_name="default",
            **self._place(),
            policy=storage.ManagementPolicySchemaArgs(rules=[rule]),
            opts=self._options(),
        )
        self.resources.append(policy)

    def _place(self) -> dict[str, Any]:
        return {"account_name": self._home.account, "resource_group_name": self._home.group}

    def _options(self, *, protect: bool = False) -> pulumi.ResourceOptions:
        after, keep = self.resources[-1:], protect or None
        return pulumi.ResourceOptions(parent=self, depends_on=after, protect=protect, retain_on_delete=keep)


def home(location: str, context: Context) -> azure_rm.Home:
    """Subscription, resource group and account of the logs, known before they exist."""
    stack, subscription = context.stack, context.account("azure", azure_rm.EMULATED_SUBSCRIPTION)
    name = logs.name("azure", location)
    group = naming.bucket(stack.project, stack.name, name, subscription)
    account = naming.azure_account(stack.project, stack.name, name, subscription)
    return azure_rm.Home(subscription, group, account, "")
