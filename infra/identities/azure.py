"""User-assigned identities that the program makes for a grant on Azure, and custom roles that are small enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi
from pulumi_azure_native import authorization, resources

from infra import azure_rm, naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_azure_native import managedidentity

    from infra.azure import Spec
    from infra.backend import Grant
    from infra.context import Context

_AUDIENCE: Final = "api://AzureADTokenExchange"
_LONGEST_NAME: Final = 120

KINDS: Final = frozenset({"federated"})
"""The identities that are made here."""


def identity(
    grant: Grant, spec: Spec, context: Context
) -> tuple[managedidentity.UserAssignedIdentity, list[pulumi.CustomResource]]:
    """The identity of whoever holds a token of an issuer, and what was made for it just now.

    One for all backends of the stack, in the backend's resource group where the spec names one, else in its own. An
    AKS workload names its client id in the annotation ``azure.workload.identity/client-id``.

    Source:
        https://learn.microsoft.com/en-us/entra/workload-id/workload-identity-federation-create-trust-user-assigned-managed-identity
    """
    from pulumi_azure_native import managedidentity  # noqa: PLC0415 - for stacks that make identities

    federated = grant.to.federated
    if federated is None:
        raise TypeError(f"{grant.name} is no identity that is made on Azure")
    made: list[pulumi.CustomResource] = []
    group = spec.resource_group
    label = f"identity-{naming.identity(grant.name, group or '')}"
    name = naming.bucket(context.stack.project, context.stack.name, grant.name, group or "", longest=_LONGEST_NAME)

    def make() -> managedidentity.UserAssignedIdentity:
        options = pulumi.ResourceOptions(provider=context.providers.get(spec.provider or ""))
        if group is None:
            home = resources.ResourceGroup(
                f"{label}-group",
                resource_group_name=name,
                location=spec.location,
                tags=context.stack_tags(),
                opts=options,
            )
            made.append(home)
        place = group or name
        found = managedidentity.UserAssignedIdentity(
            label,
            resource_name_=name,
            resource_group_name=place,
            location=spec.location,
            tags=context.stack_tags(),
            opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=list(made))),
        )
        made.append(found)
        context.identities[grant.name] = {"client_id": found.client_id, "principal_id": found.principal_id}
        trust = managedidentity.FederatedIdentityCredential(
            f"{label}-trust",
            federated_identity_credential_resource_name="tandem",
            resource_name_=name,
            resource_group_name=place,
            issuer=federated.issuer,
            subject=federated.subject,
            audiences=[federated.audience or _AUDIENCE],
            opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[found])),
        )
        made.append(trust)
        return found

    return context.once(f"azure:{label}", make), made


def custom_role(
    backend: str, home: azure_rm.Home, verbs: Sequence[str], opts: pulumi.ResourceOptions
) -> authorization.RoleDefinition:
    """A role that allows these verbs on blobs and nothing else, where no built-in one is as small."""
    actions, data_actions = azure_rm.actions(verbs)
    return authorization.RoleDefinition(
        f"{backend}-role-{'-'.join(verbs)}",
        role_definition_id=azure_rm.custom_id(home.container_id, verbs),
        role_name=f"Tandem {home.container}: {', '.join(verbs)}",
        role_type="CustomRole",
        scope=home.group_id,
        assignable_scopes=[home.group_id],
        permissions=[authorization.PermissionArgs(actions=actions, data_actions=data_actions)],
        opts=opts,
    )
