"""Grants, identities and keys under the real Pulumi engine with the stand-ins, and what it sees of what others did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

import runtime
from infra import emulators, naming
from infra.endpoints import endpoints
from infra.engine import Action, Result
from infra.engine.automation import PulumiEngine
from infra.engine.embedded import EmbeddedEngine
from infra.environment import environment
from runtime.cli.app import build_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fixtures import ProgramFactory
    from tests.infra.engine.conftest import Project

STACK = """
config:
  aws:region: eu-west-1
  tandem:emulators: {aws: ministack, cloudflare: ministack}
  tandem:storage:
    profile: dev
    backends:
      avatars:
        driver: s3
        primary: true
        versioning: true
        encryption: {type: "aws:kms"}
        grants:
          - {to: role/app, access: [read, write, list, presign]}
          - to: {irsa: {oidc_provider: oidc.example.com/id/1, namespace: media, service_account: api}}
            access: [read, list]
          - to: {pod_identity: {cluster: prod, namespace: media, service_account: thumbnails}}
            access: [write]
      thumbs:
        driver: s3
        grants:
          - to: {irsa: {oidc_provider: oidc.example.com/id/1, namespace: media, service_account: api}}
            access: [admin]
      media:
        driver: r2
        grants: [{to: {token: {expires: "2035-12-31"}}, access: [read, list]}]
"""


@pytest.fixture
def project(
    cli: str,
    program: ProgramFactory,
    new_project: type[Project],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Project]:
    assert cli
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    program("ministack")
    made = new_project(tmp_path_factory.mktemp("grants"), STACK)
    emulators.up(made.stack)
    yield made
    emulators.down(made.stack)


def client(project: Project, service: str, **keys: str) -> Any:
    at = endpoints(project.stack)["aws"]
    chosen = keys or {"aws_access_key_id": at.access_key, "aws_secret_access_key": at.secret_key}
    return boto3.client(service, endpoint_url=at.url, region_name="eu-west-1", **chosen)  # type: ignore[call-overload] # its stubs want each argument literally


def changes(result: Result) -> dict[str, str]:
    return {step.name: step.action.value for step in result.steps if step.action is not Action.SAME}


def rights(project: Project) -> dict[str, set[str]]:
    """The actions of each role's policies, as the server has them."""
    iam = client(project, "iam")
    found: dict[str, set[str]] = {}
    for role in iam.list_roles()["Roles"]:
        if not role["RoleName"].startswith("tandem-dev-"):
            continue
        for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            document = json.loads(document) if isinstance(document, str) else document
            actions = {action for statement in document["Statement"] for action in statement["Action"]}
            found[f"{role['RoleName'].rsplit('-', 1)[0].removeprefix('tandem-dev-')}:{name}"] = actions
    return found


def bucket(result: Result, name: str) -> str:
    listed = {entry["name"]: entry for entry in result.outputs["storage"]["storage"]["backends"]}
    return str(listed[name][listed[name]["driver"]]["bucket"])


async def works(project: Project) -> dict[str, bool]:
    """What the contract's own key may do with the R2 bucket."""
    found = {}
    async with runtime.open_storage(project.stack.contract) as storage:
        media = storage["media"]
        for name, call in {
            "write": media.upload("a", b"1"),
            "read": media.exists("a"),
            "list": media.list_page(),
        }.items():
            try:
                await call
            except runtime.PermissionDeniedError:
                found[name] = False
            else:
                found[name] = True
    return found


@pytest.mark.anyio
async def test_grants_and_keys_from_up_to_destroy(project: Project) -> None:
    engine = PulumiEngine()
    created = engine.up(project.stack)
    assert set(changes(created).values()) == {"create"}
    before = rights(project)
    assert set(before) == {
        "irsa-media-api:avatars",
        "irsa-media-api:thumbs",
        "pod-identity-prod-media-thumbnails:avatars",
    }
    assert "s3:PutObject" not in before["irsa-media-api:avatars"]
    assert {"s3:GetObject", "kms:Decrypt"} <= before["irsa-media-api:avatars"]
    assert "s3:DeleteObject" not in before["pod-identity-prod-media-thumbnails:avatars"]
    assert await works(project) == {"write": False, "read": True, "list": True}
    (unheld,) = [told for urn, told in created.unheld.items() if urn.endswith("-pods")]
    assert "clusterName: no emulator has EKS clusters: no pod takes this role" in unheld
    keys = {name: environment(project.stack)[f"MEDIA_{name}_KEY"] for name in ("ACCESS", "SECRET")}
    assert keys["SECRET"] not in project.stack.contract.read_text()

    assert changes(engine.up(project.stack)) == {}

    project.replace("access: [read, list]}]", "access: [read, write, list, delete]}]")
    project.replace("access: [read, list]\n", "access: [read, list, delete]\n")
    edited = changes(engine.up(project.stack))
    assert sorted(edited.values()) == ["update", "update"]
    assert "s3:DeleteObject" in rights(project)["irsa-media-api:avatars"]
    assert await works(project) == {"write": True, "read": True, "list": True}
    assert keys["ACCESS"] == environment(project.stack)["MEDIA_ACCESS_KEY"], "more rights are no other key"

    embedded = changes(EmbeddedEngine().preview(project.stack))
    assert set(embedded.values()) == {"create"}, "each engine has a state of its own"

    client(project, "s3").delete_object(Bucket=bucket(created, "media"), Key="a")
    destroyed = engine.destroy(project.stack)
    assert set(changes(destroyed).values()) == {"delete"}
    assert rights(project) == {}
    assert client(project, "s3").list_buckets()["Buckets"] == []
    refused = client(project, "s3", aws_access_key_id=keys["ACCESS"], aws_secret_access_key=keys["SECRET"])
    with pytest.raises(ClientError, match=r"InvalidAccessKeyId|403|AccessDenied"):
        refused.list_buckets()


def test_refresh_finds_what_was_changed_behind_its_back(project: Project) -> None:
    engine = PulumiEngine()
    created = engine.up(project.stack)
    assert changes(engine.drift(project.stack)) == {}

    damage(project, bucket(created, "avatars"))

    found = engine.drift(project.stack)
    assert changes(found) == {
        "avatars-policy": "delete",
        f"avatars-rights-{naming.identity('irsa/media/api')}": "update",
        "avatars-versioning": "update",
    }
    (versioning,) = [step for step in found.steps if step.name == "avatars-versioning"]
    assert versioning.changed == ("versioningConfiguration.status",)
    words = ["preview", "-s", "dev", "--engine", "pulumi", "--refresh", "--json", "-C", str(project.root)]
    told = CliRunner().invoke(build_app(), words)
    assert told.exit_code == 0, told.output
    report = json.loads(told.stdout)
    assert {step["name"]: step["action"] for step in report["drift"]} == changes(found)
    assert {step["name"] for step in report["steps"]} == changes(found).keys(), "and so `up` would repair it"

    repaired = changes(engine.up(project.stack))
    assert repaired["avatars-policy"] == "create"
    assert whole(project, bucket(created, "avatars"))
    assert changes(engine.drift(project.stack)) == {}


def test_embedded_engine_repairs_the_same(project: Project) -> None:
    created = EmbeddedEngine().up(project.stack)
    damage(project, bucket(created, "avatars"))
    found = changes(EmbeddedEngine().preview(project.stack))
    assert {name.rpartition("-rights-")[0] or name: action for name, action in found.items()} == {
        "avatars-policy": "create",
        "avatars": "update",
        "avatars-versioning": "update",
    }
    assert not whole(project, bucket(created, "avatars"))
    EmbeddedEngine().up(project.stack)
    assert whole(project, bucket(created, "avatars"))
    assert changes(EmbeddedEngine().up(project.stack)) == {}


def damage(project: Project, name: str) -> None:
    """What somebody does in a console: versions off, the policy gone, and a role that may delete."""
    s3, iam = client(project, "s3"), client(project, "iam")
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    s3.delete_bucket_policy(Bucket=name)
    (role,) = [role["RoleName"] for role in iam.list_roles()["Roles"] if "-irsa-media-api-" in role["RoleName"]]
    more = {"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": [f"arn:aws:s3:::{name}/*"]}
    document = json.dumps({"Version": "2012-10-17", "Statement": [more]})
    iam.put_role_policy(RoleName=role, PolicyName="avatars", PolicyDocument=document)


def whole(project: Project, name: str) -> bool:
    s3 = client(project, "s3")
    try:
        policy = s3.get_bucket_policy(Bucket=name)["Policy"]
    except ClientError:
        return False
    versions = s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled"
    return versions and "role/app" in policy and "s3:DeleteObject" not in rights(project)["irsa-media-api:avatars"]
