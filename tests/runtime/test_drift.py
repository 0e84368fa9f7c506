"""What a difference between a promise and a live setting is called, and how it is classed. The rest of the way, from a
real server, is in ``tests/test_drift.py``.
"""

from __future__ import annotations

from typing import Any

import pytest

from runtime.cli.exits import of_drift
from runtime.config import CorsRule, LifecycleConfig, LifecycleRule, NamedStorageConfig
from runtime.drift import Drift, compare, counted, listed
from runtime.drivers.s3 import policy
from runtime.live import LiveEncryption, LiveSettings, Unseen

A, B = "https://a.example.com", "https://b.example.com"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"


def rule(**keys: Any) -> CorsRule:
    return CorsRule(**{"origins": (A,), "methods": ("GET",), **keys})


def found(expect: dict[str, Any], live: LiveSettings, **settings: Any) -> list[tuple[str, Any, Any, str]]:
    backend = NamedStorageConfig.model_validate(
        {
            "name": "a",
            "driver": "s3",
            "s3": {"bucket": "bucket", "region": "eu-west-1", **settings},
            "expect": expect,
        }
    )
    findings = compare(backend, live, "run it")
    assert {finding.backend for finding in findings} <= {"a"}
    return [(finding.path, finding.expected, finding.found, finding.drift.value) for finding in findings]


EXPECT = "backends.a.expect"


def test_a_limit_on_signatures_that_only_the_application_keeps_is_not_looked_for() -> None:
    """Only S3 has bucket policies about it; elsewhere there is nothing to see, and nothing to warn of."""
    assert found({"presign_max_age": 60}, LiveSettings()) == []


@pytest.mark.parametrize(
    ("expect", "live", "expected"),
    [
        ({"versioning": True}, LiveSettings(versioning=False), ("versioning", True, False, "breaking")),
        ({"versioning": False}, LiveSettings(versioning=True), ("versioning", False, True, "safe")),
        ({"public": False}, LiveSettings(public=True), ("public", False, True, "security")),
        ({"public": True}, LiveSettings(public=False), ("public", True, False, "breaking")),
        (
            {"capabilities": ["presign", "tls_only"]},
            LiveSettings(tls_only=False),
            ("capabilities[1]", "tls_only", None, "security"),
        ),
        (
            {"capabilities": ["public_blocked"]},
            LiveSettings(public_blocked=False),
            ("capabilities[0]", "public_blocked", None, "security"),
        ),
        ({"logging": True}, LiveSettings(logging=False), ("logging", True, False, "security")),
        ({"logging": False}, LiveSettings(logging=True), ("logging", False, True, "safe")),
        ({"presign_max_age": 60}, LiveSettings(presign_max_age=0), ("presign_max_age", 60, None, "security")),
        ({"presign_max_age": 60}, LiveSettings(presign_max_age=90), ("presign_max_age", 60, 90, "security")),
        ({"presign_max_age": 60}, LiveSettings(presign_max_age=30), ("presign_max_age", 60, 30, "breaking")),
        (
            {"lifecycle": {"expire_noncurrent_days": 30}},
            LiveSettings(lifecycle=LifecycleConfig()),
            ("lifecycle.expire_noncurrent_days", 30, None, "safe"),
        ),
        (
            {"lifecycle": {"expire_noncurrent_days": 30}},
            LiveSettings(lifecycle=LifecycleConfig(expire_noncurrent_days=1)),
            ("lifecycle.expire_noncurrent_days", 30, 1, "breaking"),
        ),
        (
            {"lifecycle": {}},
            LiveSettings(lifecycle=LifecycleConfig(rules=(LifecycleRule(expire_days=1),))),
            ("lifecycle.rules[0]", None, {"prefix": "", "expire_days": 1}, "breaking"),
        ),
    ],
)
def test_a_setting_that_is_not_as_promised_is_found_and_classed(
    expect: dict[str, Any], live: LiveSettings, expected: tuple[str, Any, Any, str]
) -> None:
    path, *rest = expected
    assert found(expect, live) == [(f"{EXPECT}.{path}", *rest)]


@pytest.mark.parametrize(
    ("promised", "live", "expected"),
    [
        ((rule(origins=(A, B)),), (rule(),), ("cors[0].origins", [A, B], [A], "breaking")),
        ((rule(),), (rule(origins=(A, B)),), ("cors[0].origins", [A], [A, B], "security")),
        ((rule(headers=("X-A",)),), (rule(headers=("x-a",)),), None),  # names of headers have no case
        ((rule(methods=("GET", "PUT")),), (rule(methods=("PUT", "GET")),), None),  # and sets no order
        ((rule(expose=("etag",)),), (rule(),), ("cors[0].expose", ["etag"], [], "breaking")),
        ((rule(),), (rule(headers=("x-a",)),), ("cors[0].headers", [], ["x-a"], "safe")),
        ((rule(),), (rule(max_age=5),), ("cors[0].max_age", 3600, 5, "safe")),
        ((rule(), rule(origins=(B,))), (rule(origins=(B,)), rule()), None),
    ],
)
def test_cors_rules_are_compared_part_by_part(
    promised: tuple[CorsRule, ...], live: tuple[CorsRule, ...], expected: tuple[str, Any, Any, str] | None
) -> None:
    told = found({"cors": [each.model_dump() for each in promised]}, LiveSettings(cors=live))
    assert told == ([] if expected is None else [(f"{EXPECT}.{expected[0]}", *expected[1:])])


def test_a_missing_rule_breaks_and_an_extra_one_lets_more_in() -> None:
    whole = {"origins": [A], "methods": ["GET"], "headers": [], "expose": [], "max_age": 3600}
    missing = found({"cors": [rule().model_dump()]}, LiveSettings(cors=()))
    assert missing == [(f"{EXPECT}.cors[0]", whole, None, "breaking")]
    assert found({"cors": []}, LiveSettings(cors=(rule(),))) == [(f"{EXPECT}.cors[0]", None, whole, "security")]


def test_a_changed_rule_is_compared_with_the_one_most_like_it_and_others_may_have_theirs() -> None:
    promised = {"cors": [rule(origins=(A, B)).model_dump()]}
    other = rule(origins=("https://c.example.com",))
    live = LiveSettings(cors=(other, rule()), shared_cors=True)
    assert found(promised, live) == [(f"{EXPECT}.cors[0].origins", [A, B], [A], "breaking")]
    assert found(promised, LiveSettings(cors=(other, rule(origins=(A, B))), shared_cors=True)) == []


def test_a_service_with_one_list_of_headers_is_not_told_that_it_has_one() -> None:
    live = LiveSettings(cors=(rule(headers=("content-type", "etag")),), one_header_list=True)
    assert found({"cors": [rule(headers=("content-type",), expose=("ETag",)).model_dump()]}, live) == []


KMS = {"enabled": True, "type": "aws:kms", "kms_key_id": KEY}


@pytest.mark.parametrize(
    ("encryption", "live", "expected"),
    [
        (KMS, LiveEncryption(customer_key=True, key=KEY, same_key=True), []),
        (
            KMS,
            LiveEncryption(customer_key=False),
            [("backends.a.s3.encryption.type", "aws:kms", "keys of the service", "security")],
        ),
        (
            KMS,
            LiveEncryption(customer_key=True, key="other", same_key=False),
            [("backends.a.s3.encryption.kms_key_id", KEY, "other", "security")],
        ),
        (
            {"enabled": True, "type": "AES256"},
            LiveEncryption(customer_key=True, key="other"),
            [("backends.a.s3.encryption.type", "AES256", "other", "breaking")],
        ),
        ({"enabled": False}, LiveEncryption(customer_key=True, key="other"), []),  # nothing was promised
    ],
)
def test_encryption_is_compared_with_the_drivers_settings(
    encryption: dict[str, Any], live: LiveEncryption, expected: list[tuple[str, Any, Any, str]]
) -> None:
    assert found({}, LiveSettings(encryption=live), encryption=encryption) == expected


def test_another_region_is_found() -> None:
    assert found({}, LiveSettings(region="us-east-1")) == [
        ("backends.a.s3.region", "eu-west-1", "us-east-1", "breaking")
    ]


def test_what_may_not_be_looked_at_is_unknown_and_names_the_right() -> None:
    backend = NamedStorageConfig.model_validate({"name": "a", "driver": "memory", "expect": {"versioning": False}})
    live = LiveSettings(unseen={"versioning": Unseen("403 AccessDenied", "s3:GetBucketVersioning")})
    (finding,) = compare(backend, live, "run it")
    assert (finding.drift, finding.found) == (Drift.UNKNOWN, None)
    assert finding.fix == "403 AccessDenied: it needs s3:GetBucketVersioning"
    assert (of_drift([finding], strict=False), of_drift([finding], strict=True)) == (0, 6)
    assert counted([finding]) == "no differences, 1 could not be compared"
    assert listed([finding]) == {"differences": [], "unknown": [finding.document()]}


def test_a_promise_that_the_driver_never_answers_is_unknown_and_an_absent_one_is_nothing() -> None:
    live = LiveSettings()
    assert found({"versioning": True}, live) == [(f"{EXPECT}.versioning", True, None, "unknown")]
    assert found({"versioning": False, "cors": [], "public": False}, live) == []


def test_what_the_contract_leaves_out_is_not_compared() -> None:
    assert found({"public": False}, LiveSettings(versioning=True, cors=(rule(),), public=False)) == []


APP = {"to": "role/app", "access": ["read", "write", "presign"]}


@pytest.mark.parametrize(
    ("grants", "live", "expected"),
    [
        ([APP], {"role/app": frozenset({"read", "write"})}, []),
        ([APP], {"role/app": frozenset({"read"})}, [("role/app", ["read", "write"], ["read"], "breaking")]),
        ([APP], {"role/app": frozenset({"read", "write", "delete"})},
         [("role/app", ["read", "write"], ["delete", "read", "write"], "security")]),
        ([{"to": "irsa/media/api", "access": ["list"]}], {}, [("irsa/media/api", ["list"], None, "unknown")]),
        ([{"to": "role/ops", "access": ["admin"]}], {"role/ops": frozenset({"read", "write", "list", "delete"})}, []),
    ],
)  # fmt: skip
def test_grants_are_compared_verb_by_verb(
    grants: list[dict[str, Any]], live: dict[str, frozenset[str]], expected: list[tuple[str, Any, Any, str]]
) -> None:
    told = found({"grants": grants}, LiveSettings(grants=live))
    assert told == [(f"{EXPECT}.grants.{who}.access", *rest) for who, *rest in expected]


DENY = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]}
PLAIN = {**DENY, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
OLD = {**DENY, "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}}
READ = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([PLAIN, OLD], True),
        ([PLAIN], False),
        ([OLD], False),
        ([PLAIN, {**OLD, "Resource": "arn:aws:s3:::b/*"}], False),
        ([PLAIN, {**OLD, "Resource": "arn:aws:s3:::other*"}], False),
        ([{**PLAIN, "Principal": {"AWS": "arn:aws:iam::1:role/a"}}, OLD], False),
        ([{**PLAIN, "Effect": "Allow"}, OLD], False),
        ([{**PLAIN, "Principal": {"AWS": ["*"]}, "Condition": {"Bool": {"AWS:securetransport": False}}}, OLD], True),
    ],
)
def test_a_policy_demands_tls_only_as_a_whole(statements: list[dict[str, Any]], expected: bool) -> None:
    assert policy.demands_tls(statements, "b") is expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (READ, True),
        ({**READ, "Principal": {"AWS": "*"}, "Action": ["s3:PutObject", "s3:*"]}, True),
        ({**READ, "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}, False),
        ({**READ, "Action": "s3:ListBucket"}, False),
        ({**READ, "Effect": "Deny"}, False),
        ({**READ, "Principal": {"AWS": "arn:aws:iam::1:role/a"}}, False),
    ],
)
def test_who_anybody_is(statement: dict[str, Any], expected: bool) -> None:
    assert policy.allows_anybody([statement], "b") is expected


ALLOW = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:role/app"}, "Resource": "arn:aws:s3:::b/*"}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({**ALLOW, "Action": ["s3:GetObject", "s3:PutObject"]}, {"read", "write"}),
        ({**ALLOW, "Action": "s3:*"}, {"read", "write", "delete"}),
        ({**ALLOW, "Action": "s3:*", "Resource": "*"}, {"read", "write", "delete", "list"}),
        ({**ALLOW, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b"}, {"list"}),
        ({**ALLOW, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/only/*"}, set()),
        ({**ALLOW, "Action": "s3:GetObject", "Principal": {"AWS": "arn:aws:iam::1:role/my-role/app"}}, set()),
        ({**ALLOW, "Action": "s3:GetObject", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}, set()),
        ({**ALLOW, "Action": "s3:GetObject", "Effect": "Deny"}, set()),
    ],
)
def test_what_a_policy_allows_an_identity(statement: dict[str, Any], expected: set[str]) -> None:
    assert policy.verbs([statement], "b", "role/app") == expected
    assert policy.verbs([statement], "b", "arn:aws:iam::1:role/app") == expected


def test_the_shortest_age_of_signatures_counts() -> None:
    condition = {
        "NumericGreaterThan": {"s3:signatureAge": "60000"},
        "StringEquals": {"s3:authType": "REST-QUERY-STRING"},
    }
    old = {**DENY, "Condition": condition}
    other = {**DENY, "Condition": {"NumericGreaterThan": {"s3:signatureAge": 30000}}}
    assert policy.presign_max_age([old], "b") == 60
    assert policy.presign_max_age([old, other], "b") == 30
    assert policy.presign_max_age([{**old, "Effect": "Allow"}], "b") == 0
