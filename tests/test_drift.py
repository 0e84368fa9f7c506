"""Drifts injected one by one behind the back of a stack that lives on real servers: each is found, named with its path,
classed, and told how to mend; `up` then makes the cloud as it was.

What the servers can not hold is in `NOT_HELD`, and told as unknown.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from typer.testing import CliRunner

from infra import emulators
from infra.agreement import settled
from infra.aws import BucketRules, bucket_policy
from infra.cli.drift import Between, compare
from infra.endpoints import endpoints
from infra.engine import Action
from infra.engine.automation import PulumiEngine
from infra.engine.embedded import EmbeddedEngine
from infra.stack import Stack
from runtime.cli.app import build_app
from runtime.config import fingerprint
from runtime.drift import Drift
from runtime.drivers.s3.policy import allows_anybody, demands_tls, presign_max_age, statements, verbs

if TYPE_CHECKING:
    from runtime.drift import Finding
    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[1]
RULE = "[{origins: [https://app.example.com, https://admin.example.com], methods: [GET], headers: [content-type]}]"
SPEC = f"""
config:
  aws:region: eu-west-1
  tandem:emulators: {{aws: ministack, azure: azurite, cloudflare: ministack, gcp: fake-gcs-server}}
  tandem:storage:
    profile: dev
    backends:
      avatars:
        driver: s3
        primary: true
        versioning: true
        presign_max_age: 1h
        logging: true
        cors: {RULE}
        encryption: {{type: "aws:kms"}}
        grants: [{{to: role/app, access: [read, write, list, presign, delete]}}]
        lifecycle: {{rules: [{{prefix: tmp/, expire_after: 1d}}]}}
      exports: {{driver: gcs, location: EU, versioning: true, cors: {RULE}}}
      media: {{driver: r2, cors: {RULE}, lifecycle: {{rules: [{{prefix: tmp/, expire_after: 1d}}]}}}}
      reports: {{driver: azure, location: westeurope, cors: {RULE}}}
"""
APP = """
[tool.tandem.requires.avatars]
capabilities = ["presign", "versioning"]
grants = ["read", "write"]
[tool.tandem.requires.media]
"""
NOT_HELD = {
    # fake-gcs-server drops all settings of a bucket but versioning, and has no IAM
    "backends.exports.gcs.encryption",
    "backends.exports.expect.public",
    "backends.exports.expect.cors",
    "backends.exports.expect.lifecycle",
    # the S3 API of R2 does not show public domains
    "backends.media.expect.public",
    # Azure's data plane does not show settings of the account, on Azurite or in Azure
    "backends.reports.azure.encryption",
    "backends.reports.expect.versioning",
    "backends.reports.expect.lifecycle",
}


class Project:
    """A stack that is up."""

    def __init__(self, root: Path) -> None:
        self.root, self.app = root, root / "shop"
        for name in ("infra", "stacks", "shop"):
            (root / name).mkdir()
        shutil.copy(ROOT / "infra" / "__main__.py", root / "infra")
        shutil.copy(ROOT / "Pulumi.yaml", root)
        (root / "stacks" / "Pulumi.drift.yaml").write_text(SPEC)
        (self.app / "pyproject.toml").write_text(APP)
        self.written = b""

    @property
    def stack(self) -> Stack:
        return Stack.read("drift", self.root)

    def up(self) -> None:
        with settled():  # cases that edit the contract break it, and are mended on purpose
            EmbeddedEngine().up(self.stack)
        self.written = self.stack.contract.read_bytes()

    def found(self, *, write: bool = False) -> dict[Between, list[Finding]]:
        return compare(self.stack, list(Between), [self.app], write=write)

    def settings(self, backend: str) -> dict[str, Any]:
        listed = yaml.safe_load(self.written)["storage"]["backends"]
        entry = next(entry for entry in listed if entry["name"] == backend)
        found: dict[str, Any] = entry[entry["driver"]]
        return found

    def bucket(self, backend: str) -> str:
        return str(self.settings(backend)["bucket"])

    def edit(self, file: Path, old: str, new: str) -> None:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    def regenerate(self, change: Callable[[dict[str, dict[str, Any]]], object]) -> None:
        """Another contract with a fingerprint of its own, as another deployment would have written it."""
        document = yaml.safe_load(self.written)
        change({backend["name"]: backend for backend in document["storage"]["backends"]})
        document["fingerprint"] = fingerprint(document)
        self.stack.contract.write_text(yaml.safe_dump(document, sort_keys=False))

    def aws(self, service: Any = "s3") -> Any:
        at = endpoints(self.stack)["aws"]
        keys = {"aws_access_key_id": at.access_key, "aws_secret_access_key": at.secret_key}
        return boto3.client(service, endpoint_url=at.url, region_name=at.region, **keys)  # type: ignore[call-overload] # its stubs want each argument literally

    def azure(self) -> BlobServiceClient:
        at = endpoints(self.stack)["azure"]
        return BlobServiceClient(f"{at.url}/{at.access_key}", AzureNamedKeyCredential(at.access_key, at.secret_key))

    def google(self) -> storage.Client:
        options = {"api_endpoint": endpoints(self.stack)["gcp"].url}
        return storage.Client(project="p", credentials=AnonymousCredentials(), client_options=options)


Undo = Callable[[], object] | None


def cors(backend: str) -> Callable[[Project], None]:
    def remove_an_origin(project: Project) -> None:
        s3, bucket = project.aws(), project.bucket(backend)
        rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
        rules[0]["AllowedOrigins"] = ["https://admin.example.com"]
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})

    return remove_an_origin


def azure_cors(project: Project) -> None:
    with project.azure() as azure:
        (rule,) = azure.get_service_properties()["cors"]
        rule.allowed_origins = "https://admin.example.com"
        azure.set_service_properties(cors=[rule])


def versioning(project: Project) -> None:
    suspended = {"Status": "Suspended"}
    project.aws().put_bucket_versioning(Bucket=project.bucket("avatars"), VersioningConfiguration=suspended)


def unlogged(project: Project) -> None:
    project.aws().put_bucket_logging(Bucket=project.bucket("avatars"), BucketLoggingStatus={})


def gcs_versioning(project: Project) -> None:
    with project.google() as google:
        bucket = google.get_bucket(project.bucket("exports"))
        bucket.versioning_enabled = False
        bucket.patch()


def encrypted_by(**default: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        rules = [{"ApplyServerSideEncryptionByDefault": default}]
        if "KMSMasterKeyID" in default:
            rules[0]["ApplyServerSideEncryptionByDefault"] |= {
                "KMSMasterKeyID": project.aws("kms").create_key()["KeyMetadata"]["Arn"]
            }
        project.aws().put_bucket_encryption(
            Bucket=project.bucket("avatars"), ServerSideEncryptionConfiguration={"Rules": rules}
        )

    return change


def deleted(backend: str) -> Callable[[Project], None]:
    def delete(project: Project) -> None:
        s3, bucket = project.aws(), project.bucket(backend)
        found = s3.list_object_versions(Bucket=bucket)  # of the scratch objects of other tests
        for entry in [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]:
            s3.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
        s3.delete_bucket(Bucket=bucket)

    return delete


def azure_deleted(project: Project) -> None:
    with project.azure() as azure:
        azure.delete_container(project.settings("reports")["container"])


def gcs_deleted(project: Project) -> None:
    with project.google() as google:
        google.get_bucket(project.bucket("exports")).delete()


def opened(project: Project) -> None:
    bucket = project.bucket("avatars")
    s3 = project.aws()
    s3.delete_public_access_block(Bucket=bucket)
    add_statement(project, Effect="Allow", Principal="*", Action="s3:GetObject", Resource=f"arn:aws:s3:::{bucket}/*")


def azure_opened(project: Project) -> None:
    with project.azure() as azure:
        container = azure.get_container_client(project.settings("reports")["container"])
        container.set_container_access_policy({}, public_access="blob")


def add_statement(project: Project, **statement: Any) -> None:
    s3, bucket = project.aws(), project.bucket("avatars")
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    policy["Statement"].append(statement)
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def presigned_refused(project: Project) -> None:
    resource = f"arn:aws:s3:::{project.bucket('avatars')}/*"
    add_statement(project, Effect="Deny", Principal="*", Action="s3:GetObject", Resource=resource)


def lifecycle(backend: str) -> Callable[[Project], None]:
    def remove_the_last_rule(project: Project) -> None:
        s3, bucket = project.aws(), project.bucket(backend)
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        kept = [rule for rule in rules if "Days" not in rule.get("Expiration", {})]  # old versions have one of markers
        assert len(kept) < len(rules)
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": kept})

    return remove_the_last_rule


def policy_deleted(project: Project) -> None:
    project.aws().delete_bucket_policy(Bucket=project.bucket("avatars"))


def grant_taken(project: Project) -> None:
    """Somebody takes a right out of the bucket's policy."""
    s3, bucket = project.aws(), project.bucket("avatars")
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    taken = [each for each in policy["Statement"] if "s3:PutObject" in each["Action"]]
    assert len(taken) == 1
    policy["Statement"].remove(taken[0])
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def edited_by_hand(project: Project) -> None:
    project.edit(project.stack.contract, "max_age: 3600", "max_age: 60")


def in_the_spec(old: str, new: str) -> Callable[[Project], Undo]:
    def change(project: Project) -> Undo:
        project.edit(project.stack.file, old, new)
        return lambda: project.stack.file.write_text(SPEC)

    return change


def in_the_app(old: str, new: str) -> Callable[[Project], Undo]:
    def change(project: Project) -> Undo:
        project.edit(project.app / "pyproject.toml", old, new)
        return lambda: (project.app / "pyproject.toml").write_text(APP)

    return change


def older_contract(project: Project) -> Undo:
    """The application still has the file of the deployment before."""
    older = project.written
    project.edit(project.stack.file, "expire_after: 1d", "expire_after: 9d")
    project.up()
    project.stack.contract.write_bytes(older)
    return lambda: project.stack.file.write_text(SPEC)


def regenerated(backend: str, **values: str) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        project.regenerate(lambda backends: backends[backend][backends[backend]["driver"]].update(values))

    return change


def as_somebody_else(project: Project, policy: dict[str, Any], *, revoked: bool) -> Undo:
    """The application's own key is another IAM user's; the variables are how a deployment hands it over."""
    iam = project.aws("iam")
    iam.create_user(UserName="app")
    iam.put_user_policy(UserName="app", PolicyName="app", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="app")["AccessKey"]
    given = {"ACCESS_KEY": key["AccessKeyId"], "SECRET_KEY": key["SecretAccessKey"]}
    variables = {f"LEX_STORAGE__BACKENDS__AVATARS__S3__{name}": value for name, value in given.items()}
    os.environ.update(variables)
    if revoked:
        iam.delete_access_key(UserName="app", AccessKeyId=key["AccessKeyId"])

    def undo() -> None:
        for name in variables:
            del os.environ[name]
        iam.delete_user_policy(UserName="app", PolicyName="app")
        if not revoked:
            iam.delete_access_key(UserName="app", AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName="app")

    return undo


def revoked_key(project: Project) -> Undo:
    return as_somebody_else(project, allowed("*"), revoked=True)


def narrow_rights(project: Project) -> Undo:
    objects = [f"s3:{action}" for action in ("ListBucket", "GetObject", "PutObject", "DeleteObject")]
    return as_somebody_else(project, allowed(*objects, "kms:Decrypt", "kms:GenerateDataKey"), revoked=False)


def allowed(*actions: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}


UP, ORIGINS = "run `tandem up -s drift`", (["https://admin.example.com", "https://app.example.com"],)
LOST_ORIGIN = (*ORIGINS, ["https://admin.example.com"])
EXPIRY = {"prefix": "tmp/", "expire_days": 1}


@dataclass(frozen=True)
class Case:
    """One drift.

    Attributes:
        inject: Makes it; gives what undoes what `up` does not.
        between: Where it has to be found.
        path: The path it has to be told with.
        drift: Its class.
        seen: What was expected and found.
        fix: What the fix has to say.
        also: Other paths that differ for the same reason.
        write: Whether it needs a scratch object.
    """

    inject: Callable[[Project], Undo]
    between: Between
    path: str
    drift: Drift
    seen: tuple[Any, Any] | None = None
    fix: str = UP
    also: frozenset[str] = field(default=frozenset())
    write: bool = False


B, L = Between, Between.LIVE
CASES = {
    "cors origin removed": Case(
        cors("avatars"), L, "backends.avatars.expect.cors[0].origins", Drift.BREAKING, LOST_ORIGIN
    ),
    "cors origin removed, r2": Case(
        cors("media"), L, "backends.media.expect.cors[0].origins", Drift.BREAKING, LOST_ORIGIN
    ),
    "cors origin removed, azure": Case(
        azure_cors, L, "backends.reports.expect.cors[0].origins", Drift.BREAKING, LOST_ORIGIN
    ),
    "versioning suspended": Case(versioning, L, "backends.avatars.expect.versioning", Drift.BREAKING, (True, False)),
    "versioning suspended, gcs": Case(
        gcs_versioning, L, "backends.exports.expect.versioning", Drift.BREAKING, (True, False)
    ),
    "access log turned off": Case(unlogged, L, "backends.avatars.expect.logging", Drift.SECURITY, (True, False)),
    "encryption changed": Case(
        encrypted_by(SSEAlgorithm="AES256"),
        L,
        "backends.avatars.s3.encryption.type",
        Drift.SECURITY,
        ("aws:kms", "keys of the service"),
    ),
    "encryption by another key": Case(
        encrypted_by(SSEAlgorithm="aws:kms", KMSMasterKeyID="new"),
        L,
        "backends.avatars.s3.encryption.kms_key_id",
        Drift.SECURITY,
    ),
    "bucket deleted": Case(deleted("avatars"), L, "backends.avatars.s3.bucket", Drift.BREAKING),
    "bucket deleted, r2": Case(deleted("media"), L, "backends.media.r2.bucket", Drift.BREAKING),
    "bucket deleted, azure": Case(azure_deleted, L, "backends.reports.azure.container", Drift.BREAKING),
    "bucket deleted, gcs": Case(gcs_deleted, L, "backends.exports.gcs.bucket", Drift.BREAKING),
    "public access opened": Case(
        opened,
        L,
        "backends.avatars.expect.public",
        Drift.SECURITY,
        (False, True),
        also=frozenset({"backends.avatars.expect.capabilities[3]"}),
    ),
    "public access opened, azure": Case(
        azure_opened, L, "backends.reports.expect.public", Drift.SECURITY, (False, True)
    ),
    "lifecycle rule removed": Case(
        lifecycle("avatars"), L, "backends.avatars.expect.lifecycle.rules[0]", Drift.SAFE, (EXPIRY, None)
    ),
    "lifecycle rule removed, r2": Case(
        lifecycle("media"), L, "backends.media.expect.lifecycle.rules[0]", Drift.SAFE, (EXPIRY, None)
    ),
    "bucket policy removed": Case(
        policy_deleted,
        L,
        "backends.avatars.expect.presign_max_age",
        Drift.SECURITY,
        (3600, None),
        also=frozenset({"backends.avatars.expect.grants.role/app.access"}),
    ),
    "grant removed from the bucket's policy": Case(
        grant_taken,
        L,
        "backends.avatars.expect.grants.role/app.access",
        Drift.BREAKING,
        (["delete", "list", "read", "write"], ["list"]),
    ),
    "contract edited by hand": Case(
        edited_by_hand,
        B.FILE,
        "fingerprint",
        Drift.BREAKING,
        fix="the file was edited by hand: change stacks/Pulumi.drift.yaml instead, and run `tandem up -s drift`",
        also=frozenset({"backends.avatars.expect.cors", "backends.avatars.expect.cors[0].max_age"}),
    ),
    "backend renamed in the application": Case(
        in_the_app("requires.media", "requires.videos"),
        B.APP,
        "requires.videos",
        Drift.BREAKING,
        fix="give it in stacks/Pulumi.drift.yaml, or change and deploy the application",
    ),
    "backend removed from the spec": Case(
        in_the_spec("      media: ", "      movies: "),
        B.APP,
        "requires.media",
        Drift.BREAKING,
        fix="give it in stacks/Pulumi.drift.yaml, or change and deploy the application",
        also=frozenset({"backends.media", "backends.movies"}),
    ),
    "grant removed from the spec": Case(
        in_the_spec(", delete]", "]"), B.SPEC, "backends.avatars.expect.grants.role/app.access", Drift.BREAKING
    ),
    "contract older than the stack": Case(
        older_contract,
        B.STACK,
        "backends.avatars.expect.lifecycle.rules",
        Drift.BREAKING,
        fix="the file is not what was deployed last: run `tandem up -s drift` writes it anew",
        also=frozenset({"backends.avatars.expect.lifecycle.rules[0]"}),
    ),
    "region changed in the contract": Case(
        regenerated("avatars", region="us-east-1"),
        L,
        "backends.avatars.s3.region",
        Drift.BREAKING,
        fix=f"{UP}, or look at the backend's settings",
    ),
    "bucket changed in the contract": Case(
        regenerated("avatars", bucket="somebody-elses"), L, "backends.avatars.s3.bucket", Drift.BREAKING
    ),
    "credentials revoked": Case(
        revoked_key,
        L,
        "backends.avatars.s3.access_key",
        Drift.BREAKING,
        fix="the credentials are not accepted (revoked, expired or wrong): give the application new ones",
    ),
    "presigned URL refused": Case(
        presigned_refused,
        L,
        "backends.avatars.presign.GET",
        Drift.BREAKING,
        ("accepted", "refused with 403"),
        write=True,
    ),
}


@pytest.fixture(scope="module")
def project(program: ProgramFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    for name in ("ministack", "azurite", "fake-gcs-server"):
        program(name)
    with ExitStack() as exits:
        patch = exits.enter_context(pytest.MonkeyPatch.context())
        patch.delenv("TANDEM_STATE", raising=False)
        made = Project(tmp_path_factory.mktemp("drift"))
        emulators.up(made.stack)
        exits.callback(lambda: emulators.down(made.stack))
        made.up()
        yield made


def left(project: Project) -> list[str]:
    """What is still found; everything that no server here can show is left out."""
    findings = [finding for each in project.found().values() for finding in each]
    return [str(each) for each in findings if each.drift is not Drift.UNKNOWN or each.path not in NOT_HELD]


def test_nothing_has_drifted_after_up_and_what_can_not_be_seen_is_told(project: Project) -> None:
    found = project.found(write=True)
    assert list(found) == list(Between)
    assert [str(finding) for way, each in found.items() if way is not Between.LIVE for finding in each] == []
    assert {finding.path for finding in found[Between.LIVE]} == NOT_HELD
    assert {finding.drift for finding in found[Between.LIVE]} == {Drift.UNKNOWN}
    needs = {finding.path: finding.fix for finding in found[Between.LIVE]}
    assert needs["backends.reports.expect.versioning"].endswith(
        "it needs Microsoft.Storage/storageAccounts/blobServices/read"
    )


@pytest.mark.parametrize("name", CASES)
def test_a_drift_is_found_named_classed_and_mended(project: Project, name: str) -> None:
    case = CASES[name]
    undo = case.inject(project)
    try:
        found = project.found(write=case.write)
        told = {each.path.rpartition(": ")[2]: each for each in found[case.between] if each.drift is not Drift.UNKNOWN}
        assert case.path in told, {way: list(map(str, each)) for way, each in found.items()}
        finding = told[case.path]
        assert finding.drift is case.drift
        assert finding.fix == case.fix
        if case.seen is not None:
            assert (finding.expected, finding.found) == case.seen
        everything = {
            each.path.rpartition(": ")[2] for ways in found.values() for each in ways if each.drift is not Drift.UNKNOWN
        }
        assert everything == {case.path} | case.also
    finally:
        if undo is not None:
            undo()
        project.up()
    assert left(project) == []


def test_what_an_identity_may_not_look_at_is_unknown_and_names_the_right(project: Project) -> None:
    undo = narrow_rights(project)
    assert undo is not None
    try:
        found = {each.path: each for each in project.found()[Between.LIVE] if each.backend == "avatars"}
    finally:
        undo()
    assert {each.drift for each in found.values()} == {Drift.UNKNOWN}
    rights = {path: each.fix.rpartition("it needs ")[2] for path, each in found.items()}
    assert rights == {
        "backends.avatars.s3.encryption": "s3:GetEncryptionConfiguration",
        "backends.avatars.expect.versioning": "s3:GetBucketVersioning",
        "backends.avatars.expect.public": "s3:GetBucketPolicy",
        "backends.avatars.expect.cors": "s3:GetBucketCORS",
        "backends.avatars.expect.lifecycle": "s3:GetLifecycleConfiguration",
        "backends.avatars.expect.presign_max_age": "s3:GetBucketPolicy",
        "backends.avatars.expect.logging": "s3:GetBucketLogging",
        "backends.avatars.expect.grants": "s3:GetBucketPolicy",
        "backends.avatars.expect.capabilities[3]": "s3:GetBucketPublicAccessBlock",
    }


def test_a_grant_that_is_too_small_for_the_check_is_unknown_and_not_drift(project: Project) -> None:
    undo = as_somebody_else(project, allowed("s3:GetObject"), revoked=False)
    assert undo is not None
    project.regenerate(lambda backends: backends["avatars"]["expect"]["grants"][0].update(access=["read"]))
    try:
        found = {each.path: each for each in project.found(write=True)[Between.LIVE] if each.backend == "avatars"}
    finally:
        undo()
        project.up()
    assert {each.drift for each in found.values()} == {Drift.UNKNOWN}
    assert found["backends.avatars"].fix == "its grant lacks list, which looking at the bucket takes"
    presign = found["backends.avatars.presign"]
    assert presign.fix == "its grant does not allow upload, which a scratch object takes"


def test_a_file_that_was_edited_beyond_reading_is_told_by_its_problems(project: Project) -> None:
    project.edit(project.stack.contract, "versioning: true", "versioning: maybe")
    try:
        found = project.found()
        assert [each.path for each in found[Between.FILE]] == ["fingerprint"]
        (finding,) = [each for each in found[Between.LIVE] if each.drift is Drift.BREAKING]
        assert (finding.path, finding.fix) == ("storage.backends.avatars.expect.versioning", UP)
        assert "backends.avatars.expect.versioning" in [each.path for each in found[Between.SPEC]]
    finally:
        project.up()


def test_secrets_that_are_not_here_are_no_drift(project: Project) -> None:
    project.regenerate(lambda backends: backends["media"]["r2"].update(access_key="${NOT_SET_HERE}"))
    try:
        (finding,) = project.found()[Between.LIVE]
    finally:
        project.up()
    assert (finding.path, finding.drift) == ("storage.backends.media.r2.access_key", Drift.UNKNOWN)
    assert finding.fix == 'run eval "$(tandem env -s drift)" first'


def test_a_state_that_can_not_be_read_is_unknown(project: Project) -> None:
    state = project.root / ".tandem" / "drift" / "state.json"
    whole = state.read_text()
    state.write_text("{")
    try:
        (finding,) = project.found()[Between.STACK]
    finally:
        state.write_text(whole)
    assert (finding.path, finding.drift) == ("storage", Drift.UNKNOWN)
    assert "the state can not be read" in finding.fix


def tandem(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), arguments)
    return result.exit_code, result.stdout


def test_the_commands_tell_it_as_text_and_json_by_their_exit_codes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("-s", "drift", "-C", str(project.root))
    monkeypatch.chdir(project.root)
    assert tandem("drift", *where)[0] == 0
    assert tandem("drift", *where, "--strict")[0] == 6
    code, text = tandem("drift", *where, "--json")
    told = json.loads(text)
    assert (code, told["differences"]) == (0, [])
    assert {each["path"] for each in told["unknown"]} == NOT_HELD
    assert tandem("doctor", "-s", "drift", "--strict")[0] == 6
    assert tandem("doctor", "-s", "drift")[0] == 0
    versioning(project)
    try:
        code, text = tandem("drift", *where, "--only", "live")
        assert code == 1
        assert f"contract and live buckets: 1 difference, {len(NOT_HELD)} could not be compared\n" in text
        assert "breaking backends.avatars.expect.versioning\n         expected true, found false\n" in text
        code, text = tandem("drift", *where, "--json")
        assert code == 1
        (finding,) = json.loads(text)["differences"]
        assert finding == {
            "between": "live",
            "backend": "avatars",
            "path": "backends.avatars.expect.versioning",
            "expected": True,
            "found": False,
            "class": "breaking",
            "fix": UP,
        }
        assert tandem("drift", *where, "--only", "spec", "--only", "stack")[0] == 0
        code, text = tandem("doctor", "-s", "drift", "--json")
        assert code == 1
        assert [each["path"] for each in json.loads(text)["drift"]["differences"]] == [finding["path"]]
        assert tandem("drift", *where, "--strict")[0] == 1, "a difference counts more than what is not known"
    finally:
        project.up()
    assert tandem("drift", "-s", "nowhere", "-C", str(project.root))[0] == 2


def test_a_stack_without_a_contract_says_what_to_run(project: Project) -> None:
    project.stack.contract.unlink()
    try:
        found = project.found()
    finally:
        project.up()
    assert list(found) == [Between.FILE, Between.APP]
    (finding,) = found[Between.FILE]
    assert (finding.path, finding.found, finding.fix) == ("stacks/storage.drift.yaml", None, UP)


@pytest.mark.parametrize("count", range(6))
def test_the_policy_that_the_program_writes_is_read_as_it_was_meant(count: int) -> None:
    """Emulators speak plain http, so that the statements about TLS never reach one."""
    who, bucket = "arn:aws:iam::123456789012:role/app", "arn:aws:s3:::b"
    for access in combinations(("read", "write", "list", "delete", "presign"), count):
        rules = BucketRules(
            tls_only=True, presign_max_age=timedelta(hours=1), grants=[(who, access)], public=count == 3
        )
        written = statements(json.loads(bucket_policy(bucket, rules) or "{}"))
        assert demands_tls(written, "b")
        assert presign_max_age(written, "b") == 3600
        assert verbs(written, "b", "role/app") == set(access) - {"presign"}
        assert allows_anybody(written, "b") is (count == 3)


def test_under_pulumi_the_output_is_read_and_a_bucket_is_mended_too(
    program: ProgramFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ministack", "azurite", "fake-gcs-server"):
        program(name)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(program("pulumi")[0]).parent), os.environ["PATH"]]))
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    engine, project = PulumiEngine(), Project(tmp_path)
    emulators.up(project.stack)
    try:
        engine.up(project.stack)
        project.written = project.stack.contract.read_bytes()
        assert left(project) == []
        versioning(project)
        cors("avatars")(project)
        assert {str(each.path) for each in drifted(project)} == {
            "backends.avatars.expect.versioning",
            "backends.avatars.expect.cors[0].origins",
        }
        planned = {step.name for step in engine.preview(project.stack).steps if step.action is not Action.SAME}
        assert {"avatars-versioning", "avatars-cors"} <= planned
        engine.up(project.stack)
        assert left(project) == []
        project.regenerate(lambda backends: backends["media"]["r2"].update(bucket="older"))
        (found,) = project.found()[Between.STACK]
        assert (found.path, found.expected, found.found) == (
            "backends.media.r2.bucket",
            project.bucket("media"),
            "older",
        )
        engine.destroy(project.stack)
    finally:
        emulators.down(project.stack)


def drifted(project: Project) -> list[Finding]:
    return [each for found in project.found().values() for each in found if each.drift is not Drift.UNKNOWN]
