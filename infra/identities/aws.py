"""Roles that the program makes for a grant on S3, and who may take them.

EKS Pod Identity, IRSA and OIDC federation (GitHub Actions) differ in the trust policy only. What the role may do is its
own inline policy; the bucket's and the key's say nothing of it, and the key's leaves it to IAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi

from infra import naming
from infra.aws import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_aws import iam

    from infra.aws import Home
    from infra.backend import Grant
    from infra.context import Context
    from infra.identities import Identity

_LONGEST_NAME: Final = 64
_AUDIENCE: Final = "sts.amazonaws.com"

KINDS: Final = frozenset({"federated", "irsa", "pod_identity"})
"""The identities that are made here."""


def role_name(grant: Grant, context: Context, account: str) -> str:
    """The role's name, known before it exists."""
    return naming.bucket(context.stack.project, context.stack.name, grant.name, account, longest=_LONGEST_NAME)


def trust(identity: Identity, home: Home) -> str:
    """Who may take the role: one service account, or one subject, and nobody else.

    Source:
        https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html
        https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
    """
    if pod := identity.pod_identity:
        found = {
            "aws:SourceAccount": home.account,
            "aws:RequestTag/eks-cluster-name": pod.cluster,
            "aws:RequestTag/kubernetes-namespace": pod.namespace,
            "aws:RequestTag/kubernetes-service-account": pod.service_account,
        }
        principal = {"Service": "pods.eks.amazonaws.com"}
        return _trust(principal, ["sts:AssumeRole", "sts:TagSession"], found)
    provider, subject, audience = _token(identity)
    arn = f"arn:{home.partition}:iam::{home.account}:oidc-provider/{provider}"
    found = {f"{provider}:aud": audience, f"{provider}:sub": subject}
    return _trust({"Federated": arn}, ["sts:AssumeRoleWithWebIdentity"], found)


def _token(identity: Identity) -> tuple[str, str, str]:
    """Issuer without its scheme, subject and audience of the tokens that are let in."""
    if identity.irsa:
        return identity.irsa.oidc_provider, identity.irsa.subject, _AUDIENCE
    if identity.federated:
        issuer = identity.federated.issuer.removeprefix("https://").rstrip("/")
        return issuer, identity.federated.subject, identity.federated.audience or _AUDIENCE
    raise TypeError(f"{identity.name} is no identity that a role is made for")


def _trust(principal: Mapping[str, str], actions: list[str], found: Mapping[str, str]) -> str:
    statement = {"Action": actions, "Condition": {"StringEquals": dict(found)}, "Effect": "Allow"}
    return canonical([{**statement, "Principal": dict(principal)}])


def role(grant: Grant, context: Context, home: Home) -> tuple[iam.Role, list[pulumi.CustomResource]]:
    """The role of an identity, and what was made for it just now: nothing where another backend has made it.

    One role for all backends of the stack, as a service account can have only one.
    """
    from pulumi_aws import eks, iam  # noqa: PLC0415 - half a second, for stacks that make roles

    made: list[pulumi.CustomResource] = []

    def make() -> iam.Role:
        opts = pulumi.ResourceOptions(provider=context.providers.get("aws"))
        label, tags = f"identity-{naming.identity(grant.name)}", context.stack_tags()
        found = iam.Role(
            label,
            name=role_name(grant, context, home.account),
            description=f"{grant.name} of stack {context.stack.name}"[:1000],
            assume_role_policy=trust(grant.to, home),
            tags=tags,
            opts=opts,
        )
        made.append(found)
        context.identities[grant.name] = {"role_arn": found.arn}
        if pod := grant.to.pod_identity:
            association = eks.PodIdentityAssociation(
                f"{label}-pods",
                cluster_name=pod.cluster,
                namespace=pod.namespace,
                service_account=pod.service_account,
                role_arn=found.arn,
                region=home.region,
                tags=tags,
                opts=opts,
            )
            made.append(association)
        return found

    return context.once(f"aws:{grant.name}", make), made


def rights(
    backend: str, grant: Grant, to: iam.Role, policy: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """What the role may do with one backend."""
    from pulumi_aws import iam  # noqa: PLC0415 - as above

    label = f"{backend}-rights-{naming.identity(grant.name)}"
    made: pulumi.CustomResource = iam.RolePolicy(label, name=backend, role=to.name, policy=policy, opts=opts)
    return made
