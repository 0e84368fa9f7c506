"""Identities that the program makes: which resources, with which trust and rights, and what the contract calls them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from infra import azure_rm, gcp
from infra.changes import changes
from infra.emit import document
from infra.identities import r2 as identity_r2
from infra.policy import check, judge
from infra.recording import Recording
from infra.spec import context_of, load_spec
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from infra.stack import Stack
    from tests.infra.conftest import MakeStack, Run

ACCOUNT = "123456789012"
POD = "{pod_identity: {cluster: prod, namespace: media, service_account: api}}"
IRSA = (
    "{irsa: {oidc_provider: 'https://oidc.eks.eu-west-1.amazonaws.com/id/ABC', namespace: media, service_account: api}}"
)
GITHUB = "{federated: {issuer: 'https://token.actions.githubusercontent.com', subject: 'repo:o/r:environment:prod'}}"
GKE = "{workload_identity: {namespace: media, service_account: api}}"


def grant(to: str, *access: str) -> str:
    return f"{{to: {to}, access: [{', '.join(access)}]}}"


def s3(*grants: str, more: str = "") -> str:
    return f"{{driver: s3, logging: false, grants: [{', '.join(grants)}]{more}}}"


def one(recording: Recording, kind: str) -> dict[str, Any]:
    (found,) = recording.of(kind)
    return dict(found.inputs)


def policy(text: str) -> dict[str, dict[str, Any]]:
    return {statement.get("Sid", "trust"): statement for statement in json.loads(text)["Statement"]}


def contract(stack: Stack) -> dict[str, Any]:
    spec = load_spec(stack)
    found: dict[str, Any] = document(spec, context_of(stack, spec)).to_dict()["storage"]
    return found


def entry(stack: Stack, name: str) -> dict[str, Any]:
    (found,) = [backend for backend in contract(stack)["backends"] if backend["name"] == name]
    return dict(found)


# AWS


def test_pod_identity_is_a_role_for_one_service_account_of_one_cluster(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(f"{{avatars: {s3(grant(POD, 'read', 'write'))}}}"))

    role = one(recording, "role:Role")
    trust = policy(role["assumeRolePolicy"])["trust"]
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert trust["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    assert trust["Condition"]["StringEquals"] == {
        "aws:SourceAccount": ACCOUNT,
        "aws:RequestTag/eks-cluster-name": "prod",
        "aws:RequestTag/kubernetes-namespace": "media",
        "aws:RequestTag/kubernetes-service-account": "api",
    }
    association = one(recording, "PodIdentityAssociation")
    assert (association["clusterName"], association["namespace"], association["serviceAccount"]) == (
        "prod",
        "media",
        "api",
    )
    assert association["region"] == "eu-west-1"
    assert len(role["name"]) <= 64


@pytest.mark.parametrize(
    ("to", "provider", "subject"),
    [
        (IRSA, "oidc.eks.eu-west-1.amazonaws.com/id/ABC", "system:serviceaccount:media:api"),
        (GITHUB, "token.actions.githubusercontent.com", "repo:o/r:environment:prod"),
    ],
)
def test_oidc_role_is_for_one_subject_and_audience(
    make_stack: MakeStack, run: Run, to: str, provider: str, subject: str
) -> None:
    recording = run(make_stack(f"{{avatars: {s3(grant(to, 'read'))}}}"))

    trust = policy(one(recording, "role:Role")["assumeRolePolicy"])["trust"]
    assert trust["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{provider}"}
    assert trust["Action"] == ["sts:AssumeRoleWithWebIdentity"]
    assert trust["Condition"] == {"StringEquals": {f"{provider}:aud": "sts.amazonaws.com", f"{provider}:sub": subject}}
    assert recording.of("PodIdentityAssociation") == []


def test_rights_of_a_role_are_its_own_and_not_the_buckets(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(f"{{avatars: {s3(grant(IRSA, 'read', 'write'))}}}"))
    bucket = recording.one("avatars-bucket").inputs["bucket"]

    rights = policy(one(recording, "RolePolicy")["policy"])
    assert rights["Objects"]["Action"] == [
        "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectTagging", "s3:ListMultipartUploadParts", "s3:PutObject",
        "s3:PutObjectTagging",
    ]  # fmt: skip
    assert rights["Objects"]["Resource"] == [f"arn:aws:s3:::{bucket}/*"]
    assert rights["Key"] == {
        "Sid": "Key",
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Effect": "Allow",
        "Resource": ["arn:avatars-key"],
        "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
    }
    assert "Bucket" not in rights
    assert set(policy(recording.one("avatars-policy").inputs["policy"])) == {
        "DenyPlainHttp", "DenyOldTls", "DenyOldSignatures",
    }  # fmt: skip
    assert set(policy(recording.one("avatars-key").inputs["policy"])) == {"Account"}


def test_one_role_has_rights_on_every_backend_that_grants_to_it(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(f"{{a: {s3(grant(IRSA, 'read'))}, b: {s3(grant(IRSA, 'delete'))}}}"))

    role = one(recording, "role:Role")
    rights = {record.inputs["name"]: record.inputs for record in recording.of("RolePolicy")}
    assert {name: found["role"] for name, found in rights.items()} == {"a": role["name"], "b": role["name"]}
    assert "s3:DeleteObject" in rights["b"]["policy"]
    assert "s3:DeleteObject" not in rights["a"]["policy"]


def test_admin_sees_settings_and_changes_none(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(f"{{avatars: {s3(grant(IRSA, 'admin'))}}}"))
    actions = [
        action
        for statement in policy(one(recording, "RolePolicy")["policy"]).values()
        for action in statement["Action"]
    ]
    assert {"s3:DeleteObjectVersion", "s3:GetBucketVersioning", "s3:ListBucketVersions"} <= set(actions)
    assert not [action for action in actions if "*" in action or action.startswith(("s3:PutBucket", "s3:DeleteBucket"))]


def test_rule_on_grants_judges_the_roles_too(make_stack: MakeStack) -> None:
    report = check(make_stack(f"{{avatars: {s3(grant(IRSA, 'read'), grant('role/app', 'write'))}}}", profile="dev"))
    (verdict,) = [found for found in report.verdicts if found.rule == "AWS-18" and found.backend == "avatars"]
    assert {found.resource for found in verdict.checks} >= {"avatars-policy"}
    assert any("-rights-" in found.resource for found in verdict.checks)
    assert all(found.ok for found in verdict.checks)


def test_key_of_somebody_else_is_named_by_its_arn_for_a_role(make_stack: MakeStack) -> None:
    key = ", encryption: {type: 'aws:kms', kms_key_id: alias/theirs}"
    with pytest.raises(ConfigError, match="a role's policy names a key by its ARN"):
        load_spec(make_stack(f"{{avatars: {s3(grant(IRSA, 'read'), more=key)}}}"))
    load_spec(make_stack(f"{{avatars: {s3(grant('role/app', 'read'), more=key)}}}"))


SMALL = f"""
avatars: {s3(grant(IRSA, "read"))}
exports: {{driver: gcs, location: EU, logging: false, grants: [{grant("'user:a@example.com'", "delete")}]}}
reports: {{driver: azure, location: westeurope, network: public, logging: false, grants: [{grant(GITHUB, "write")}]}}
"""


@pytest.mark.parametrize(
    ("kind", "change", "rule"),
    [
        (
            "RolePolicy",
            {"policy": '{"Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["b"]}]}'},
            "AWS-18",
        ),
        ("IAMCustomRole", {"permissions": ["storage.objects.delete", "storage.buckets.setIamPolicy"]}, "GCP-12"),
        ("RoleDefinition", {"permissions": [{"dataActions": ["Microsoft.Storage/*"]}]}, "AZ-16"),
    ],
)
def test_rules_see_what_a_made_role_may_do(
    make_stack: MakeStack, run: Run, kind: str, change: dict[str, Any], rule: str
) -> None:
    stack = make_stack(SMALL, profile="dev")
    recording, spec = run(stack), load_spec(stack)
    before = {found.rule for found in judge(recording, stack, spec).failed}
    (role,) = recording.of(kind)
    broken = replace(role, inputs={**role.inputs, **change})
    records = [broken if record is role else record for record in recording.records]
    after = {found.rule for found in judge(Recording(records, recording.outputs), stack, spec).failed}
    assert after - before == {rule}


# GCP


def test_workload_identity_is_a_service_account_that_one_workload_acts_as(make_stack: MakeStack, run: Run) -> None:
    backend = f"{{driver: gcs, location: EU, logging: false, grants: [{grant(GKE, 'read', 'list', 'presign')}]}}"
    recording = run(make_stack(f"{{exports: {backend}, more: {backend}}}"))

    account = one(recording, "account:Account")
    email = f"{account['accountId']}@example-prod.iam.gserviceaccount.com"
    assert 6 <= len(account["accountId"]) <= 30
    users = [record.inputs for record in recording.of("iAMMember:IAMMember") if "pods" in record.name]
    assert users == [
        {
            "serviceAccountId": f"projects/example-prod/serviceAccounts/{email}",
            "role": "roles/iam.workloadIdentityUser",
            "member": "serviceAccount:example-prod.svc.id.goog[media/api]",
        }
    ]
    members = {record.inputs["member"] for record in recording.of("BucketIAMMember")}
    assert members == {f"serviceAccount:{email}"}
    assert entry(make_stack(f"{{exports: {backend}}}"), "exports")["gcs"]["signer_email"] == email


def test_service_account_that_exists_is_only_let_in(make_stack: MakeStack, run: Run) -> None:
    to = GKE.replace("}}", ", gsa: app@example-prod.iam.gserviceaccount.com, project: cluster-prod}}")
    recording = run(
        make_stack(f"{{exports: {{driver: gcs, location: EU, logging: false, grants: [{grant(to, 'read')}]}}}}")
    )

    assert recording.of("account:Account") == []
    (user,) = [record.inputs for record in recording.of("iAMMember:IAMMember") if "pods" in record.name]
    assert user["member"] == "serviceAccount:cluster-prod.svc.id.goog[media/api]"
    assert user["serviceAccountId"] == "projects/example-prod/serviceAccounts/app@example-prod.iam.gserviceaccount.com"


def test_deleting_apart_is_one_small_role_of_the_stack(make_stack: MakeStack, run: Run) -> None:
    app = "'serviceAccount:app@example-prod.iam.gserviceaccount.com'"
    backend = f"{{driver: gcs, location: EU, logging: false, grants: [{grant(app, 'write', 'delete')}]}}"
    recording = run(make_stack(f"{{a: {backend}, b: {backend}}}"))

    role = one(recording, "IAMCustomRole")
    assert role["permissions"] == list(gcp.DELETER[1])
    given = [record.inputs["role"] for record in recording.of("BucketIAMMember")]
    assert sorted(given) == sorted(["roles/storage.objectCreator", f"projects/example-prod/roles/{role['roleId']}"] * 2)


# Azure


def test_federated_identity_is_made_and_gets_the_roles(make_stack: MakeStack, run: Run) -> None:
    backend = "{driver: azure, location: westeurope, network: public, logging: false, grants: [%s]}"
    both = backend % f"{grant(GITHUB, 'read', 'list', 'presign')}"
    recording = run(make_stack(f"{{reports: {both}, more: {both}}}"))

    identity = one(recording, "UserAssignedIdentity")
    trust = one(recording, "FederatedIdentityCredential")
    assert trust["resourceName"] == identity["resourceName"]
    assert (trust["issuer"], trust["subject"], trust["audiences"]) == (
        "https://token.actions.githubusercontent.com",
        "repo:o/r:environment:prod",
        ["api://AzureADTokenExchange"],
    )
    (made,) = recording.of("UserAssignedIdentity")
    roles = [record.inputs for record in recording.of("RoleAssignment")]
    assert {role["principalId"] for role in roles} == {made.name}  # what the recorder gives for its output
    assert sorted(role["roleDefinitionId"].rpartition("/")[2] for role in roles) == sorted(
        [azure_rm.READER, azure_rm.DELEGATOR] * 2
    )
    assert len({role["roleAssignmentName"] for role in roles}) == 4


@pytest.mark.parametrize(
    ("access", "actions"),
    [
        (["write"], ["add/action", "tags/write", "write"]),
        (["delete"], ["delete"]),
        (["read", "list", "write"], ["add/action", "read", "tags/read", "tags/write", "write"]),
    ],
)
def test_writing_without_deleting_is_a_role_of_its_own(
    make_stack: MakeStack, run: Run, access: list[str], actions: list[str]
) -> None:
    to = "11111111-2222-4333-8444-555555555555"
    backend = (
        f"{{driver: azure, location: westeurope, network: public, logging: false, grants: [{grant(to, *access)}]}}"
    )
    recording = run(make_stack(f"{{reports: {backend}}}"))

    role, assignment = one(recording, "RoleDefinition"), one(recording, "RoleAssignment")
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
    assert role["permissions"][0]["dataActions"] == [f"{blobs}/{action}" for action in actions]
    assert assignment["roleDefinitionId"].rpartition("/")[2] == role["roleDefinitionId"]
    assert "/containers/" in assignment["scope"]


# R2


MEDIA = "{driver: r2, jurisdiction: eu, grants: [%s]}"
TOKEN = "{token: {expires: '2035-12-31'}}"


def test_token_is_for_one_bucket_in_its_jurisdiction_and_ends(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack({"media": {"driver": "r2", "jurisdiction": "eu"}})
    made = run(make_stack(f"{{media: {MEDIA % grant(TOKEN, 'read', 'list')}}}"), preview=True)
    token = one(made, "AccountToken")

    bucket = made.one("media-bucket").inputs["name"]
    (rights,) = token["policies"]
    assert json.loads(rights["resources"]) == {
        f"com.cloudflare.edge.r2.bucket.0123456789abcdef0123456789abcdef_eu_{bucket}": "*"
    }
    assert rights["effect"] == "allow"
    assert token["expiresOn"] == "2035-12-31T00:00:00Z"
    assert "condition" not in token
    assert run(stack).of("AccountToken") == []


def test_token_can_be_for_certain_addresses_only(make_stack: MakeStack, run: Run) -> None:
    to = "{token: {expires: '2035-12-31', ips: [203.0.113.7, '2001:db8::/48']}}"
    token = one(run(make_stack(f"{{media: {MEDIA % grant(to, 'read', 'list')}}}"), preview=True), "AccountToken")
    assert token["condition"] == {"requestIp": {"ins": ["203.0.113.7/32", "2001:db8::/48"]}}
    wrong = to.replace("203.0.113.7", "203.0.113.0/8")
    with pytest.raises(ConfigError, match=r"ips\[0\]: found '203\.0\.113\.0/8'; allowed: an address or a range"):
        load_spec(make_stack(f"{{media: {MEDIA % grant(wrong, 'read', 'list')}}}"))


def test_key_pair_is_the_tokens_id_and_the_hash_of_its_value() -> None:
    assert identity_r2.derived_secret("v1.0-abc") == hashlib.sha256(b"v1.0-abc").hexdigest()


def test_key_pair_is_a_secret_of_the_stack_and_a_reference_in_the_contract(make_stack: MakeStack, run: Run) -> None:
    other = grant("{token: {name: jobs-1, expires: '2035-12-31'}}", "read", "list")
    stack = make_stack(f"{{media: {MEDIA % (grant(TOKEN, 'read', 'list') + ', ' + other)}}}")

    found = entry(stack, "media")
    assert (found["r2"]["access_key"], found["r2"]["secret_key"]) == ("${MEDIA_ACCESS_KEY}", "${MEDIA_SECRET_KEY}")
    assert [each["to"] for each in found["expect"]["grants"]] == ["token/app", "token/jobs-1"]
    assert "identity" not in found
    spec = load_spec(stack)
    (media,) = spec.backends
    pairs = [identity_r2.KeyPair(each, media, context_of(stack, spec)) for each in media.grants]
    assert [(pair.access_key, pair.secret_key) for pair in pairs] == [
        ("MEDIA_ACCESS_KEY", "MEDIA_SECRET_KEY"),
        ("MEDIA_JOBS_1_ACCESS_KEY", "MEDIA_JOBS_1_SECRET_KEY"),
    ]
    assert "secrets" in run(stack).outputs


# what a cluster has to be told


def test_stack_tells_what_the_cluster_has_to_be_told(make_stack: MakeStack, run: Run) -> None:
    azure = (
        f"{{driver: azure, location: westeurope, network: public, logging: false, grants: [{grant(GITHUB, 'write')}]}}"
    )
    gcs = f"{{driver: gcs, location: EU, logging: false, grants: [{grant(GKE, 'read')}]}}"
    recording = run(make_stack(f"{{a: {s3(grant(IRSA, 'read'))}, b: {s3(grant(IRSA, 'read'))}, c: {gcs}, d: {azure}}}"))

    (account,) = recording.of("account:Account")
    (identity,) = recording.of("UserAssignedIdentity")
    (role,) = recording.of("role:Role")
    assert settled(recording.outputs["identities"]) == {
        "irsa/media/api": {"role_arn": f"arn:{role.name}"},
        "workload_identity/media/api": {
            "service_account": f"{account.inputs['accountId']}@example-prod.iam.gserviceaccount.com"
        },
        "federated/repo:o/r:environment:prod": {"client_id": identity.name, "principal_id": identity.name},
    }
    assert "identities" not in run(make_stack(f"{{a: {s3(grant('role/app', 'read'))}}}")).outputs


def settled(value: Any) -> Any:
    """An output with what the outputs inside of it have come to."""
    if isinstance(value, pulumi.Output):
        return settled(asyncio.run(value.future()))
    return {key: settled(item) for key, item in value.items()} if isinstance(value, dict) else value


# the contract


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        (s3(grant(POD, "read")), "pod_identity/prod/media/api"),
        (s3(grant(IRSA, "read")), "irsa/media/api"),
        (s3(grant(GITHUB, "read")), "federated/repo:o/r:environment:prod"),
        (s3(grant(IRSA.replace("api}}", "api, name: blue}}"), "read")), "irsa/blue"),
        (f"{{driver: gcs, location: EU, grants: [{grant(GKE, 'read')}]}}", "workload_identity/media/api"),
        (MEDIA % grant(TOKEN, "read", "list"), "token/app"),
    ],
)
def test_single_grant_is_the_contracts_identity_by_its_name(make_stack: MakeStack, backend: str, name: str) -> None:
    found = entry(make_stack(f"{{a: {backend}}}"), "a")
    assert found["identity"] == name
    assert [each["to"] for each in found["expect"]["grants"]] == [name]


def test_made_identity_that_is_gone_or_may_do_less_is_breaking(make_stack: MakeStack) -> None:
    before = contract(make_stack(f"{{a: {s3(grant(POD, 'read', 'write'), grant(IRSA, 'read'))}}}"))
    less = contract(make_stack(f"{{a: {s3(grant(POD, 'read'), grant(IRSA, 'read'))}}}"))
    gone = contract(make_stack(f"{{a: {s3(grant(POD, 'read', 'write'))}}}"))
    more = contract(make_stack(f"{{a: {s3(grant(POD, 'read', 'write', 'delete'), grant(IRSA, 'read'))}}}"))

    assert [(c.path, c.breaking) for c in changes(before, less)] == [
        ("backends.a.expect.grants.pod_identity/prod/media/api.access", True)
    ]
    assert ("backends.a.expect.grants.irsa/media/api", True) in [(c.path, c.breaking) for c in changes(before, gone)]
    assert [c.breaking for c in changes(before, more)] == [False]
