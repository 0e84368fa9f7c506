"""The security rules: they hold on the example stacks, and each of them can be broken by one change."""

from __future__ import annotations

import copy
import datetime as dt
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from typer.testing import CliRunner

from infra import naming
from infra.backend import Exemption
from infra.policy import PolicyError, Status, check, enforce, judge, record_offline
from infra.recording import Record, Recording
from infra.rules import RULES
from infra.sarif import sarif
from infra.spec import load_spec
from infra.stack import Stack, stack_names
from runtime.cli.app import build_app
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[2]
TODAY = dt.date(2026, 12, 1)

ACCOUNTS = {
    "aws": "123456789012",
    "azure": "00000000-0000-4000-8000-000000000001",
    "cloudflare": "0123456789abcdef0123456789abcdef",
    "gcp": "example-prod",
}

SOUND = """
avatars:
  driver: s3
  cors: [{origins: ["https://app.example.com"], methods: [GET]}]
  grants:
    - {to: role/app, access: [read, write, delete, list, presign]}
    - {to: {irsa: {oidc_provider: oidc.example.com/id/1, namespace: media, service_account: api}}, access: [read]}
    - {to: {pod_identity: {cluster: prod, namespace: media, service_account: thumbs}}, access: [write]}
exports:
  driver: gcs
  location: EU
  cors: [{origins: ["https://app.example.com"], methods: [GET]}]
  grants:
    - {to: "serviceAccount:app@example-prod.iam.gserviceaccount.com", access: [read, write, list, presign]}
    - {to: {workload_identity: {namespace: media, service_account: api}}, access: [read, list]}
media:
  driver: r2
  jurisdiction: eu
  public: true
  public_url: https://cdn.example.com
  zone: 0123456789abcdef0123456789abcdef
  cors: [{origins: ["https://app.example.com"], methods: [GET]}]
reports:
  driver: azure
  location: westeurope
  network: private
  cors: [{origins: ["https://app.example.com"], methods: [GET]}]
  grants:
    - {to: 11111111-2222-4333-8444-555555555555, access: [read, write, delete, list, presign]}
    - to: {federated: {issuer: "https://token.actions.githubusercontent.com", subject: "repo:a/b:environment:prod"}}
      access: [read, list]
"""
"""Four clouds with everything that the program can make."""

REGULATED = """
avatars: {driver: s3, retention: {keep: 30d, locked: true}}
exports: {driver: gcs, location: EU, retention: {keep: 30d}}
reports:
  driver: azure
  location: westeurope
  network: private
  retention: {keep: 30d}
"""
"""Three clouds as profile regulated asks for them; R2 has no customer keys."""


BESIDE: list[tuple[str, str, str, dict[str, Any]]] = [
    (
        "media-token",
        "cloudflare:index/accountToken:AccountToken",
        "media",
        {
            "expiresOn": "2027-06-30T00:00:00Z",
            "policies": [{"resources": json.dumps({"com.cloudflare.edge.r2.bucket.a_eu_b": "*"})}],
        },
    ),
]
"""What the rules know and the program does not make yet: name, type, backend, properties."""


class Judged(NamedTuple):
    """A stack with its recorded resources, all of which keep all rules."""

    stack: Stack
    recording: Recording

    def broken(self, records: list[Record]) -> set[str]:
        """The rules that fail on these resources."""
        report = judge(Recording(records), self.stack, load_spec(self.stack), today=TODAY)
        return {verdict.rule for verdict in report.failed}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """The same for what only profile regulated asks for."""
    stack = stack_with(tmp_path_factory.mktemp("regulated"), REGULATED, profile="regulated")
    return Judged(stack, record_offline(stack, load_spec(stack)))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    stack = stack_with(tmp_path_factory.mktemp("project"), SOUND)
    recording = record_offline(stack, load_spec(stack))
    urns = {record.name: record.urn for record in recording.records if not record.custom}
    for name, kind, backend, inputs in BESIDE:
        recording.records.append(Record(kind, name, f"{urns[backend]}::{name}", inputs, parent=urns[backend]))
    return Judged(stack, recording)


def stack_with(root: Path, backends: str, **keys: Any) -> Stack:
    """A project with one stack at profile standard."""
    spec = {"profile": "standard", "backends": yaml.safe_load(backends)} | keys
    config = {"aws:region": "eu-west-1", "tandem:accounts": ACCOUNTS, "tandem:storage": spec}
    (root / "stacks").mkdir(exist_ok=True)
    (root / "Pulumi.yaml").write_text("name: tandem\nstackConfigDir: stacks\n")
    (root / "stacks" / "Pulumi.test.yaml").write_text(yaml.safe_dump({"config": config}, sort_keys=False))
    return Stack.read("test", root)


def put(name: str, path: str, value: Any) -> Callable[[list[Record]], list[Record]]:
    """Give one property of one resource another value."""

    def mutate(records: list[Record]) -> list[Record]:
        (found,) = [record for record in records if record.name == name and record.custom]
        inputs = copy.deepcopy(dict(found.inputs))
        *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        node: Any = inputs
        for step in way:
            node = node[step]
        node[last] = value
        return [replace(record, inputs=inputs) if record is found else record for record in records]

    return mutate


def policy(
    name: str, change: Callable[[list[dict[str, Any]]], None], key: str = "policy"
) -> Callable[[list[Record]], list[Record]]:
    """Change the statements of one resource's policy."""

    def mutate(records: list[Record]) -> list[Record]:
        (found,) = [record for record in records if record.name == name]
        document = json.loads(found.inputs[key])
        change(document["Statement"])
        return put(name, key, json.dumps(document))(records)

    return mutate


def trust(name: str, **keys: Any) -> Callable[[list[Record]], list[Record]]:
    """Change who may take a role."""
    return policy(name, lambda statements: statements[0].update(keys), "assumeRolePolicy")


def bound(name: str, **changed: Any) -> Callable[[list[Record]], list[Record]]:
    """Change what a role's trust is bound to, by the last word of the condition's key; None takes it away."""

    def change(statements: list[dict[str, Any]]) -> None:
        found = statements[0]["Condition"]["StringEquals"]
        for last, value in changed.items():
            (key,) = [key for key in found if key.endswith(last.replace("_", "-"))]
            found[key] = value
            if value is None:
                del found[key]

    return policy(name, change, "assumeRolePolicy")


def statement(name: str, sid: str, **keys: Any) -> Callable[[list[Record]], list[Record]]:
    """Change one statement of a policy."""

    def change(statements: list[dict[str, Any]]) -> None:
        (found,) = [each for each in statements if each["Sid"] == sid]
        found.update(keys)

    return policy(name, change)


def same(name: str, path: str, other: str) -> Callable[[list[Record]], list[Record]]:
    """Give one property of a resource the value of another of its properties."""

    def mutate(records: list[Record]) -> list[Record]:
        (found,) = [record for record in records if record.name == name]
        return put(name, path, found.inputs[other])(records)

    return mutate


def to_itself(name: str) -> Callable[[list[Record]], list[Record]]:
    """Send a diagnostic setting's logs to the account that they are of."""

    def mutate(records: list[Record]) -> list[Record]:
        (found,) = [record for record in records if record.name == name]
        return put(name, "storageAccountId", found.inputs["resourceUri"].partition("/blobServices/")[0])(records)

    return mutate


def unprotected(name: str) -> Callable[[list[Record]], list[Record]]:
    """Let Pulumi delete a resource."""
    return lambda records: [replace(each, protect=each.protect and each.name != name) for each in records]


def also(kind: str, beside: str, **inputs: Any) -> Callable[[list[Record]], list[Record]]:
    """One resource more, in the backend of another; for rules about what there must not be."""

    def mutate(records: list[Record]) -> list[Record]:
        (neighbour,) = [record for record in records if record.name == beside and record.custom]
        found = {**inputs, "bucket": neighbour.inputs.get("bucket")}
        return [*records, replace(neighbour, type=kind, name="one-more", urn="one-more", inputs=found)]

    return mutate


IRSA, POD = (f"identity-{naming.identity(name)}" for name in ("irsa/media/api", "pod_identity/prod/media/thumbs"))
WORKLOAD = f"identity-{naming.identity('workload_identity/media/api', 'example-prod')}-pods"
FEDERATED = f"identity-{naming.identity('federated/repo:a/b:environment:prod', '')}-trust"
ENCRYPTION = "rules.0.applyServerSideEncryptionByDefault"
LEGACY_OWNER = "roles/storage.legacyBucketOwner"
ACCOUNT_CONTRIBUTOR = (
    "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/17d1049b-9a84-46fb-8f53-869881c3d3ab"
)

MUTATIONS: Mapping[str, Callable[[list[Record]], list[Record]]] = {
    "AWS-01": put("avatars-public-access", "blockPublicPolicy", value=False),
    "AWS-02": put("avatars-ownership", "rule.objectOwnership", "ObjectWriter"),
    "AWS-03": put("avatars-encryption", f"{ENCRYPTION}.sseAlgorithm", "none"),
    "AWS-04": put("avatars-encryption", f"{ENCRYPTION}.kmsMasterKeyId", None),
    "AWS-05": put("avatars-encryption", "rules.0.bucketKeyEnabled", value=False),
    "AWS-06": put("avatars-encryption", "rules.0.blockedEncryptionTypes", ["NONE"]),
    "AWS-07": put("avatars-versioning", "versioningConfiguration.status", "Suspended"),
    "AWS-08": put("avatars-lifecycle", "rules.0.abortIncompleteMultipartUpload.daysAfterInitiation", 8),
    "AWS-09": put("avatars-lifecycle", "rules.1.status", "Disabled"),
    "AWS-10": statement("avatars-policy", "DenyPlainHttp", Resource=["arn:aws:s3:::b/*"]),
    "AWS-11": statement("avatars-policy", "DenyOldTls", Condition={"NumericLessThan": {"s3:TlsVersion": "1.1"}}),
    "AWS-12": statement("avatars-policy", "Grant0Objects", Principal={"AWS": "*"}),
    "AWS-13": statement(
        "avatars-policy", "DenyOldSignatures", Condition={"NumericGreaterThan": {"s3:signatureAge": "999999999"}}
    ),
    "AWS-14": put("avatars-logging", "targetBucket", None),
    "AWS-15": put("avatars-key", "enableKeyRotation", value=False),
    "AWS-16": put("avatars-key", "deletionWindowInDays", 7),
    "AWS-17": statement("avatars-key", "Grant0", Principal="*"),
    "AWS-18": statement("avatars-policy", "Grant0Objects", Action=["s3:*"]),
    "AWS-19": put("avatars-bucket", "bucket", "avatars"),
    "AWS-20": put("avatars-bucket", "versioning", {"enabled": True}),
    "AWS-21": also("aws:s3/bucketCorsConfiguration:BucketCorsConfiguration", "avatars-cors"),
    "AWS-22": put("avatars-object-lock", "rule", None),
    "GCP-01": put("exports-bucket", "uniformBucketLevelAccess", value=False),
    "GCP-02": put("exports-bucket", "publicAccessPrevention", "inherited"),
    "GCP-03": put("exports-objectViewer-17926333", "member", "allAuthenticatedUsers"),
    "GCP-04": put("exports-bucket", "versioning.enabled", value=False),
    "GCP-05": put("exports-bucket", "softDeletePolicy", None),
    "GCP-06": put("exports-bucket", "encryption.defaultKmsKeyName", None),
    "GCP-07": put("exports-key", "rotationPeriod", "31536000s"),
    "GCP-08": unprotected("exports-key"),
    "GCP-09": put("exports-bucket", "logging", None),
    "GCP-10": put("exports-bucket", "lifecycleRules.0.condition.age", 30),
    "GCP-11": also("gcp:serviceaccount/key:Key", "exports-bucket"),
    "GCP-12": put("exports-objectViewer-17926333", "role", LEGACY_OWNER),
    "GCP-13": put("exports-key-user", "member", "allUsers"),
    "GCP-14": put("exports-bucket", "retentionPolicy.retentionPeriod", "3600"),
    "AZ-01": put("reports-bucket", "publicAccess", "Blob"),
    "AZ-02": put("reports-account", "allowSharedKeyAccess", None),
    "AZ-03": put("reports-account", "minimumTlsVersion", "TLS1_0"),
    "AZ-04": put("reports-account", "enableHttpsTrafficOnly", value=False),
    "AZ-05": put("reports-account", "networkRuleSet.defaultAction", "Allow"),
    "AZ-06": put("reports-account", "networkRuleSet.bypass", "None"),
    "AZ-07": put("reports-account", "defaultToOAuthAuthentication", value=False),
    "AZ-08": put("reports-account", "allowCrossTenantReplication", value=True),
    "AZ-09": put("reports-service", "containerDeleteRetentionPolicy.days", 6),
    "AZ-10": put("reports-service", "isVersioningEnabled", value=False),
    "AZ-11": put("reports-account", "sasPolicy.sasExpirationPeriod", "30.00:00:00"),
    "AZ-12": put("reports-account", "isSftpEnabled", value=True),
    "AZ-13": put("reports-logging", "logs.2.enabled", value=False),
    "AZ-14": put("reports-account", "encryption.requireInfrastructureEncryption", value=False),
    "AZ-15": put("reports-account", "sku.name", "Standard_LRS"),
    "AZ-16": put("reports-contributor-cf4c4732", "roleDefinitionId", ACCOUNT_CONTRIBUTOR),
    "AZ-17": put("reports-account", "immutableStorageWithVersioning", None),
    "AZ-18": put("reports-account", "publicNetworkAccess", "Enabled"),
    "AZ-19": put("reports-account", "encryption.keySource", "Microsoft.Storage"),
    "AZ-20": put("reports-vault", "properties.enablePurgeProtection", value=False),
    "R2-01": put("media-managed-domain", "enabled", value=True),
    "R2-02": put("media-domain", "minTls", "1.0"),
    "R2-03": put("media-lifecycle", "rules.0.abortMultipartUploadsTransition.condition.maxAge", 7),
    "R2-04": put("media-cors", "jurisdiction", "default"),
    "R2-05": put("media-token", "expiresOn", None),
    "AWS-23": bound(IRSA, sub=None),
    "GCP-15": put(WORKLOAD, "member", "principalSet://iam.googleapis.com/projects/1/locations/global/*"),
    "AZ-21": put(FEDERATED, "audiences", ["api://AzureADTokenExchange", "another"]),
    "LOG-01": statement("logs.aws.eu-west-1-policy", "LogDelivery", Condition={}),
    "LOG-02": put("logs.aws.eu-west-1-lifecycle", "rules.1.expiration", None),
    "LOG-03": also("aws:s3/bucketLogging:BucketLogging", "logs.aws.eu-west-1-policy", targetBucket="another"),
    "ALL-01": unprotected("media-bucket"),
    "ALL-02": put("media-cors", "rules.0.allowed.origins", ["*"]),
    "ALL-03": put("avatars-bucket", "tags", {"owner": "media"}),
    "ALL-04": also("aws:iam/accessKey:AccessKey", "avatars-cors"),
}
"""The one change that each rule, and no other, has to see."""

LOGS_GCP = "logs.gcp.example-prod.eu"
LOGS_AZURE = "logs.azure.westeurope"
EXPIRY = "policy.rules.0.definition.actions.baseBlob"

MORE: list[tuple[str, Callable[[list[Record]], list[Record]]]] = [
    ("AWS-23", bound(IRSA, aud=None)),
    ("AWS-23", bound(IRSA, aud=["sts.amazonaws.com", "another"])),
    ("AWS-23", bound(IRSA, sub="system:serviceaccount:media:*")),
    ("AWS-23", trust(IRSA, Principal="*")),
    ("AWS-23", trust(IRSA, Principal={"Federated": "*"})),
    ("AWS-23", trust(IRSA, Principal={"AWS": "arn:aws:iam::123456789012:root"})),
    ("AWS-23", trust(IRSA, Condition={"StringLike": {"oidc.example.com/id/1:sub": "*"}})),
    ("AWS-23", bound(POD, service_account=None)),
    ("AWS-23", trust(POD, Principal={"Service": "ec2.amazonaws.com"})),
    ("GCP-15", put(WORKLOAD, "member", "serviceAccount:example-prod.svc.id.goog[media/*]")),
    ("GCP-15", put(WORKLOAD, "member", "allAuthenticatedUsers")),
    ("AZ-21", put(FEDERATED, "subject", "repo:a/*")),
    ("AZ-21", put(FEDERATED, "issuer", "http://token.actions.githubusercontent.com")),
    ("AZ-21", put(FEDERATED, "claimsMatchingExpression", {"value": "claims['sub'] matches 'repo:a/*'"})),
    ("AWS-15", put("avatars-key", "rotationPeriodInDays", 366)),
    ("AWS-14", same("avatars-logging", "targetBucket", "bucket")),
    ("GCP-09", same("exports-bucket", "logging.logBucket", "name")),
    ("AZ-13", put("reports-logging", "storageAccountId", None)),
    ("AZ-13", to_itself("reports-logging")),
    ("LOG-01", statement("logs.aws.eu-west-1-policy", "LogDelivery", Principal={"Service": "s3.amazonaws.com"})),
    ("LOG-01", put(f"{LOGS_GCP}-writer", "member", "group:somebody@example.com")),
    ("LOG-01", put(f"{LOGS_AZURE}-account", "networkRuleSet.ipRules", [{"iPAddressOrRange": "203.0.113.7"}])),
    ("LOG-02", put(f"{LOGS_GCP}-bucket", "lifecycleRules.1.action.type", "SetStorageClass")),
    ("LOG-02", put(f"{LOGS_AZURE}-lifecycle", EXPIRY, None)),
    ("LOG-03", put(f"{LOGS_GCP}-bucket", "logging", {"logBucket": "another"})),
    ("LOG-03", also("azure-native:monitor:DiagnosticSetting", f"{LOGS_AZURE}-account")),
]
"""Further ways to break a rule: each place where it looks."""


STRICT: list[tuple[str, Callable[[list[Record]], list[Record]]]] = [
    ("AZ-19", put("reports-account", "encryption.keyVaultProperties", None)),
    ("AZ-20", put("reports-vault", "properties.networkAcls.defaultAction", "Allow")),
    ("AZ-20", put("reports-vault", "properties.accessPolicies.0.permissions.keys", ["get", "purge"])),
    ("AZ-20", put("reports-vault", "properties.accessPolicies.0.permissions.secrets", ["get"])),
    ("AZ-20", put("reports-key", "properties.rotationPolicy.lifetimeActions.0.trigger.timeAfterCreate", "P366D")),
    ("AZ-20", put("reports-key", "properties.rotationPolicy", None)),
]
"""The same for what only a stack of profile regulated has."""


def test_there_are_seventy_one_rules_with_names_of_their_own() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES) == 71
    assert all(rule.title and rule.sources and rule.profiles for rule in RULES)


def test_every_rule_has_a_mutation() -> None:
    assert list(MUTATIONS) == [rule.id for rule in RULES]


def test_every_rule_passes_where_everything_is_as_it_should_be(sound: Judged) -> None:
    report = judge(sound.recording, sound.stack, load_spec(sound.stack), today=TODAY)
    expected = {rule.id: "passed" if "standard" in rule.profiles else "not in profile standard" for rule in RULES}
    assert report.statuses() == {**expected, "AZ-20": "not applicable"}  # at standard Azure's own keys encrypt


def test_every_rule_of_profile_regulated_passes_where_everything_is_as_it_should_be(strict: Judged) -> None:
    report = judge(strict.recording, strict.stack, load_spec(strict.stack), today=TODAY)
    assert report.failed == ()
    asked = {rule.id for rule in RULES if rule.profiles == {"regulated"}}
    assert asked == {"AWS-22", "GCP-14", "AZ-17", "AZ-18", "AZ-19"}
    assert {report.statuses()[rule] for rule in (*asked, "AZ-20")} == {"passed"}


@pytest.mark.parametrize("rule", MUTATIONS)
def test_one_change_breaks_exactly_one_rule(sound: Judged, strict: Judged, rule: str) -> None:
    (found,) = [each for each in RULES if each.id == rule]
    judged = sound if "standard" in found.profiles and rule != "AZ-20" else strict
    assert judged.broken(MUTATIONS[rule](judged.recording.records)) == {rule}


@pytest.mark.parametrize(("rule", "mutate"), MORE)
def test_every_place_where_a_rule_looks_can_break_it(
    sound: Judged, rule: str, mutate: Callable[[list[Record]], list[Record]]
) -> None:
    assert sound.broken(mutate(sound.recording.records)) == {rule}


@pytest.mark.parametrize(("rule", "mutate"), STRICT)
def test_every_place_where_a_rule_looks_in_a_regulated_stack_can_break_it(
    strict: Judged, rule: str, mutate: Callable[[list[Record]], list[Record]]
) -> None:
    assert strict.broken(mutate(strict.recording.records)) == {rule}


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_an_example_stack_keeps_every_rule_or_says_in_its_file_why_not(name: str) -> None:
    stack = Stack.read(name, ROOT)
    report = check(stack, today=TODAY)
    assert [str(broken) for verdict in report.failed for broken in verdict.broken] == []
    assert report.needless == ()
    exempt = {(verdict.rule, verdict.backend) for verdict in report.verdicts if verdict.status is Status.EXEMPT}
    assert exempt == {(each.rule, each.backend) for each in load_spec(stack).exemptions}


def test_the_example_of_four_clouds_is_judged_by_every_rule_that_it_has_something_for() -> None:
    statuses = check(Stack.read("prod", ROOT), today=TODAY).statuses()
    assert [rule for rule, status in statuses.items() if status == "exempt"] == ["AZ-05"]
    assert [rule for rule, status in statuses.items() if status == "not applicable"] == ["AZ-20", "R2-02"]


PLAIN = "{avatars: {driver: s3, logging: false}}"
TWO = "{avatars: {driver: s3, logging: false}, thumbs: {driver: s3, logging: false}}"
EXEMPTION = {"rule": "AWS-14", "backend": "avatars", "reason": "a trail logs it", "expires": "2026-12-01"}


def test_a_rule_that_fails_refuses_the_stack_with_what_was_found(tmp_path: Path) -> None:
    stack = stack_with(tmp_path, PLAIN)
    with pytest.raises(PolicyError) as raised:
        enforce(stack)
    head, found, way = str(raised.value).splitlines()
    assert head == "stack 'test' fails one rule of profile standard; nothing was changed"
    assert found.startswith(
        "  AWS-14 avatars: avatars-bucket aws:s3/bucketLogging:BucketLogging: is not set; expected:"
    )
    assert way.startswith("change stacks/Pulumi.test.yaml, or exempt a backend there")


def test_an_exemption_holds_on_its_last_day_and_is_shown(tmp_path: Path) -> None:
    report = check(stack_with(tmp_path, PLAIN, exemptions=[EXEMPTION]), today=dt.date(2026, 12, 1))
    (verdict,) = [each for each in report.verdicts if each.rule == "AWS-14"]
    assert (verdict.status, verdict.note) == (Status.EXEMPT, "a trail logs it (until 2026-12-01)")
    assert report.failed == ()


def test_an_exemption_fails_from_the_day_after(tmp_path: Path) -> None:
    report = check(stack_with(tmp_path, PLAIN, exemptions=[EXEMPTION]), today=dt.date(2026, 12, 2))
    assert [(each.rule, each.note) for each in report.failed] == [
        ("AWS-14", "the exemption expired on 2026-12-01 (a trail logs it)")
    ]


def test_an_exemption_is_for_one_backend_only(tmp_path: Path) -> None:
    stack = stack_with(tmp_path, TWO, exemptions=[EXEMPTION])
    assert [(each.rule, each.backend) for each in check(stack, today=TODAY).failed] == [("AWS-14", "thumbs")]


def test_an_exemption_that_nothing_needs_is_told(tmp_path: Path) -> None:
    more = [EXEMPTION, {**EXEMPTION, "rule": "AWS-01"}]
    assert check(stack_with(tmp_path, PLAIN, exemptions=more), today=TODAY).needless == ("AWS-01 on avatars",)


def test_a_place_for_logs_can_be_exempted_by_its_name(sound: Judged) -> None:
    spec = load_spec(sound.stack)
    exempted = Exemption.model_validate({**EXEMPTION, "rule": "LOG-02", "backend": "logs.aws.eu-west-1"})
    records = MUTATIONS["LOG-02"](sound.recording.records)
    report = judge(Recording(records), sound.stack, spec.model_copy(update={"exemptions": (exempted,)}), today=TODAY)
    assert report.failed == ()
    assert [each.rule for each in report.verdicts if each.status is Status.EXEMPT] == ["LOG-02"]


def test_a_bucket_that_was_taken_over_keeps_its_name_and_has_no_dots_in_it(tmp_path: Path) -> None:
    def broken(backend: str) -> set[str]:
        return {verdict.rule for verdict in check(stack_with(tmp_path, f"{{photos: {backend}}}"), today=TODAY).failed}

    assert broken("{driver: s3, take_over: photos}") == set()
    assert broken("{driver: s3, take_over: photos.example.com}") == {"AWS-19"}


def test_an_exemption_of_a_place_is_no_problem_of_the_spec(tmp_path: Path) -> None:
    spec = load_spec(stack_with(tmp_path, PLAIN, exemptions=[{**EXEMPTION, "backend": "logs.aws.eu-west-1"}]))
    assert [each.backend for each in spec.exemptions] == ["logs.aws.eu-west-1"]


def test_wrong_exemptions_are_problems_of_the_spec(tmp_path: Path) -> None:
    wrong = [
        {"rule": "AWS-99", "backend": "avatars", "reason": "a trail logs it", "expires": "2026-12-01"},
        {"rule": "AWS-14", "backend": "avatar", "reason": "a trail logs it", "expires": "2026-12-01"},
        {"rule": "AWS-14", "backend": "avatars", "reason": "so", "expires": "soon"},
    ]
    paths = []
    for each in wrong:
        with pytest.raises(ConfigError) as raised:
            check(stack_with(tmp_path, PLAIN, exemptions=[each]))
        paths.append([problem.path for problem in raised.value.problems])
    assert paths == [
        ["storage.exemptions[0].rule"],
        ["storage.exemptions[0].backend"],
        ["storage.exemptions[0].reason", "storage.exemptions[0].expires"],
    ]


def test_what_a_public_bucket_opens_has_to_be_exempted(tmp_path: Path) -> None:
    report = check(stack_with(tmp_path, "{avatars: {driver: s3, public: true}}"), today=TODAY)
    assert {each.rule for each in report.failed} == {"AWS-01", "AWS-04", "AWS-12"}


def test_an_existing_bucket_is_judged_by_what_the_program_sets_only(tmp_path: Path) -> None:
    report = check(stack_with(tmp_path, "{avatars: {driver: s3, existing: somebody-elses}}"), today=TODAY)
    assert report.failed == ()


def test_a_verdict_is_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stack = stack_with(tmp_path, SOUND)

    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert check(stack, today=TODAY).verdicts
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["Pulumi.yaml", "Pulumi.test.yaml"]


def tandem(*words: str) -> tuple[int, str]:
    found = CliRunner().invoke(build_app(), list(words))
    return found.exit_code, found.output


def test_check_exits_with_1_when_a_rule_fails_and_0_when_none_does(tmp_path: Path) -> None:
    stack_with(tmp_path, PLAIN)
    code, text = tandem("check", "-s", "test", "-C", str(tmp_path))
    assert code == 1
    assert "failed    AWS-14  avatars: Access is logged, to another bucket" in text
    stack_with(tmp_path, PLAIN, exemptions=[{**EXEMPTION, "expires": "2999-12-31"}])
    code, text = tandem("check", "-s", "test", "-C", str(tmp_path))
    assert code == 0
    assert "exempt    AWS-14  avatars" in text


def test_check_exits_with_2_when_the_spec_is_wrong(tmp_path: Path) -> None:
    stack_with(tmp_path, "{avatars: {driver: s4}}")
    assert tandem("check", "-s", "test", "-C", str(tmp_path))[0] == 2
    assert tandem("check", "-s", "nobody", "-C", str(tmp_path))[0] == 2


def test_check_gives_one_json_document(tmp_path: Path) -> None:
    stack_with(tmp_path, PLAIN)
    code, text = tandem("check", "-s", "test", "-C", str(tmp_path), "--json")
    report = json.loads(text)
    assert code == 1
    assert report["rules"]["AWS-14"] == "failed"
    assert sum(report["counts"].values()) == len(RULES)


def test_check_lists_its_rules() -> None:
    report = json.loads(tandem("check", "--rules", "--json")[1])
    assert [rule["id"] for rule in report["rules"]] == [rule.id for rule in RULES]
    assert report["opt_in"]


def test_sarif_has_the_line_of_the_backend_and_suppresses_what_is_exempt(tmp_path: Path) -> None:
    stack = stack_with(tmp_path, TWO, exemptions=[EXEMPTION])
    file = tmp_path / "verdict.sarif"
    assert tandem("check", "-s", "test", "-C", str(tmp_path), "--sarif", str(file))[0] == 1
    written = json.loads(file.read_text())
    report = check(stack, today=TODAY)
    (run,) = sarif(report, stack.file)["runs"]
    assert written["version"] == "2.1.0"
    assert len(run["tool"]["driver"]["rules"]) == len(RULES)
    exempt, failed = run["results"]
    lines = stack.file.read_text().splitlines()
    for result, backend in ((exempt, "avatars"), (failed, "thumbs")):
        assert result["ruleId"] == "AWS-14" == run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "stacks/Pulumi.test.yaml"
        assert lines[place["region"]["startLine"] - 1].strip() == f"{backend}:"
    assert exempt["suppressions"][0]["justification"] == "a trail logs it (until 2026-12-01)"
    assert "suppressions" not in failed
