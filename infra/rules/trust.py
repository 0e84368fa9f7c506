"""Rules on who may become an identity that the program makes: one workload, and nobody beside it.

An identity's rights are small (AWS-18, GCP-12, AZ-16), and worth nothing when anybody can take it: a role that names an
issuer and no subject is everybody's who has a token of that issuer, and all of GitHub has one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from infra.gcp import WORKLOAD_USER
from infra.rules.common import Check, Resources, holds, rule, value
from infra.rules.gcp import EVERYBODY
from infra.rules.statements import every_allow

if TYPE_CHECKING:
    from collections.abc import Iterator


ROLE: Final = "aws:iam/role:Role"
ACCOUNT_MEMBERS: Final = ("gcp:serviceaccount/iAMMember:IAMMember", "gcp:serviceaccount/iAMBinding:IAMBinding")
CREDENTIAL: Final = "azure-native:managedidentity:FederatedIdentityCredential"

_PODS: Final = "pods.eks.amazonaws.com"
_ONE_POD: Final = (
    "aws:SourceAccount",
    "aws:RequestTag/eks-cluster-name",
    "aws:RequestTag/kubernetes-namespace",
    "aws:RequestTag/kubernetes-service-account",
)
_ONE_WORKLOAD: Final = re.compile(
    r"serviceAccount:[a-z0-9.:-]+\.svc\.id\.goog\[[^\[\]/*]+/[^\[\]/*]+\]"
    r"|principal://iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/[^/*]+/subject/[^*]+"
)
"""A Kubernetes service account of a cluster, or a subject of a pool; a ``principalSet`` is many."""


@rule(
    "AWS-23",
    "A role can be taken by one workload: one audience and one subject of a token, or one service account",
    "CKV_AWS_60, CKV_AWS_61, CKV_AWS_358, prowler iam_role_cross_service_confused_deputy_prevention",
)
def roles(resources: Resources) -> Iterator[Check]:
    expected = "one principal, bound by StringEquals to one audience and subject, or to one service account"
    for record in resources.made(ROLE):
        yield from every_allow(record, _of_one, expected, key="assumeRolePolicy")


def _of_one(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    if not isinstance(principal, dict) or len(principal) != 1:
        return False
    ((kind, who),) = principal.items()
    if not _one(who):
        return False
    name = str(who[0] if isinstance(who, list) else who)
    if kind == "AWS":
        return not name.endswith(":root") and ":" in name
    bound = value(statement, "Condition.StringEquals") or {}
    if kind == "Federated":
        issuer = name.partition(":oidc-provider/")[2]
        return bool(issuer) and all(_one(bound.get(f"{issuer}:{claim}")) for claim in ("aud", "sub"))
    return kind == "Service" and name == _PODS and all(_one(bound.get(key)) for key in _ONE_POD)


def _one(found: Any) -> bool:
    """Whether something is one name, without a wildcard."""
    named = found[0] if isinstance(found, list) and len(found) == 1 else found
    return isinstance(named, str) and bool(named) and "*" not in named


@rule(
    "GCP-15",
    "A service account is used by one workload, and by nobody without a name",
    "CIS GCP 1.5, CKV_GCP_125",
)
def service_accounts(resources: Resources) -> Iterator[Check]:
    for record in resources.of(*ACCOUNT_MEMBERS):
        path = "member" if "member" in record.inputs else "members"
        if record.inputs.get("role") == WORKLOAD_USER:
            yield holds(record, path, _one_workload, "one Kubernetes service account, or one subject of a pool")
        else:
            yield holds(record, path, _nobody_unnamed, "a named identity")


def _one_workload(found: Any) -> bool:
    members = found if isinstance(found, list) else [found]
    return len(members) == 1 and bool(_ONE_WORKLOAD.fullmatch(str(members[0])))


def _nobody_unnamed(found: Any) -> bool:
    members = found if isinstance(found, list) else [found]
    return bool(members) and not any(member is None or member in EVERYBODY for member in members)


@rule("AZ-21", "A federated credential takes one subject of one issuer, for one audience", "CKV_AZURE_249")
def credentials(resources: Resources) -> Iterator[Check]:
    for record in resources.of(CREDENTIAL):
        yield holds(record, "issuer", lambda found: _one(found) and found.startswith("https://"), "an https issuer")
        yield holds(record, "subject", _one, "one subject, exactly")
        yield holds(record, "audiences", lambda found: isinstance(found, list) and _one(found), "one audience")
        yield holds(
            record, "claimsMatchingExpression", lambda found: found is None, "nothing: it matches many subjects"
        )


RULES: Final = (roles, service_accounts, credentials)
