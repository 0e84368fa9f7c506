"""Service accounts that the program makes or lets in for a grant on GCS, and custom roles that are small enough."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pulumi
from pulumi_gcp import projects, serviceaccount

from infra import gcp, naming

if TYPE_CHECKING:
    from infra.backend import Grant
    from infra.context import Context

_LONGEST_ID: Final = 30

KINDS: Final = frozenset({"workload_identity"})
"""The identities that are made here."""


def member(grant: Grant, context: Context, project: str) -> str:
    """The grant's identity as IAM names it, known before it exists."""
    workload = grant.to.workload_identity
    if workload is None:
        return grant.name
    return f"serviceAccount:{workload.gsa or _email(grant, context, project)}"


def bind(grant: Grant, context: Context, project: str) -> list[pulumi.CustomResource]:
    """Make the Google service account of a GKE workload, unless it exists, and let the workload act as it.

    Once for all backends of the stack. Nothing is made for an identity that exists.

    Source:
        https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#kubernetes-sa-to-iam
    """
    workload = grant.to.workload_identity
    if workload is None:
        return []
    email = workload.gsa or _email(grant, context, project)
    pods = f"serviceAccount:{workload.project or project}.svc.id.goog[{workload.namespace}/{workload.service_account}]"
    label, made = f"identity-{naming.identity(grant.name, project)}", list[pulumi.CustomResource]()

    def make() -> pulumi.CustomResource:
        context.identities[grant.name] = {"service_account": email}
        if workload.gsa is None:
            account = serviceaccount.Account(
                label,
                account_id=email.partition("@")[0],
                project=project,
                display_name=f"{grant.name} of stack {context.stack.name}"[:100],
                opts=_options(context),
            )
            made.append(account)
        user = serviceaccount.IAMMember(
            f"{label}-pods",
            service_account_id=gcp.service_account(email),
            role=gcp.WORKLOAD_USER,
            member=pods,
            opts=pulumi.ResourceOptions.merge(_options(context), pulumi.ResourceOptions(depends_on=list(made))),
        )
        made.append(user)
        return made[0]

    first = context.once(f"gcp:{label}", make)
    return made or [first]  # the account itself is what the others of the stack wait for


def custom(role: tuple[str, tuple[str, ...]], context: Context, project: str) -> tuple[str, pulumi.CustomResource]:
    """A role of the project's own, once for the stack: its name, and what has to exist before it is given.

    Args:
        role: `infra.gcp.DELETER` or `infra.gcp.SIGNER`.
        context: What the backends share.
        project: Where it is to be given.
    """
    kind, permissions = role
    head = re.sub(r"\W", "_", f"tandem_{context.stack.name}_{kind}")[:50]
    role_id = f"{head}_{naming.identity(context.stack.project, context.stack.name, kind, project)}"

    def make() -> pulumi.CustomResource:
        made: pulumi.CustomResource = projects.IAMCustomRole(
            f"role-{kind}-{naming.identity(project)}",
            role_id=role_id,
            project=project,
            title=f"Tandem {kind}, stack {context.stack.name}"[:100],
            permissions=list(permissions),
            opts=_options(context),
        )
        return made

    return gcp.custom_role(project, role_id), context.once(f"gcp-role:{role_id}", make)


def _email(grant: Grant, context: Context, project: str) -> str:
    name = naming.bucket(context.stack.project, context.stack.name, grant.name, project, longest=_LONGEST_ID)
    name = name if name[0].isalpha() else f"x{name[1:]}"
    return f"{name}@{project}.iam.gserviceaccount.com"


def _options(context: Context) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(provider=context.providers.get("gcp"))
