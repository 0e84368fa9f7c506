from __future__ import annotations

import inspect
import re
import typing
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import pytest

from infra import cloudflare
from infra.declared import plugin
from infra.recording import SECRET
from infra.wire import camel

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.recording import Recording
    from infra.stack import Stack
    from tests.infra.conftest import MakeStack, Run

ACCOUNT = "0123456789abcdef0123456789abcdef"
ZONE = "f" * 32
FULL = """
media:
  driver: r2
  jurisdiction: eu
  storage_class: InfrequentAccess
  public: true
  public_url: https://cdn.example.com
  zone: ffffffffffffffffffffffffffffffff
  cors: [{origins: ["https://app.example.com"], methods: [GET], headers: [range], expose: [ETag], max_age: 5m}]
  lifecycle: {abort_multipart_after: 2d, rules: [{prefix: tmp/, expire_after: 1d}]}
"""
CHAIN = ["media-bucket", "media-cors", "media-lifecycle", "media-managed-domain", "media-domain"]


def names(recording: Recording) -> list[str]:
    return [record.name for record in recording.records if record.custom]


def inputs(recording: Recording, role: str, jurisdiction: str = "eu") -> dict[str, Any]:
    found = dict(recording.one(f"media-{role}").inputs)
    assert found.pop("accountId") == ACCOUNT
    assert found.pop("jurisdiction") == jurisdiction  # repeated on each: without it the API looks elsewhere
    assert found.pop("name" if role == "bucket" else "bucketName").startswith("tandem-test-media-")
    return found


def test_a_bucket_gets_its_settings_one_after_the_other(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    assert names(recording) == CHAIN
    for number, name in enumerate(CHAIN[1:]):
        assert recording.one(name).dependencies == {recording.one(CHAIN[number]).urn}


def test_every_setting_is_what_the_spec_says(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack(FULL))
    assert inputs(recording, "bucket") == {"storageClass": "InfrequentAccess"}
    assert inputs(recording, "cors") == {
        "rules": [
            {
                "id": "cors-0",
                "allowed": {"origins": ["https://app.example.com"], "methods": ["GET"], "headers": ["range"]},
                "exposeHeaders": ["ETag"],
                "maxAgeSeconds": 300,
            }
        ]
    }
    assert inputs(recording, "lifecycle") == {
        "rules": [
            {
                "id": "abort-multipart",
                "enabled": True,
                "conditions": {"prefix": ""},
                "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 172_800}},
            },
            {
                "id": "expire-0",
                "enabled": True,
                "conditions": {"prefix": "tmp/"},
                "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": 86_400}},
            },
        ]
    }
    assert inputs(recording, "managed-domain") == {"enabled": False}
    assert inputs(recording, "domain") == {
        "domain": "cdn.example.com",
        "zoneId": ZONE,
        "enabled": True,
        "minTls": "1.2",
    }


def test_a_plain_bucket_keeps_r2s_rule_for_abandoned_uploads_and_has_no_domain(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{media: {driver: r2, location: weur}}"))
    assert names(recording) == ["media-bucket", "media-lifecycle", "media-managed-domain"]
    assert inputs(recording, "bucket", "default") == {"storageClass": "Standard", "location": "weur"}
    (rule,) = inputs(recording, "lifecycle", "default")["rules"]
    assert rule["abortMultipartUploadsTransition"] == {"condition": {"type": "Age", "maxAge": 604_800}}


@pytest.mark.parametrize(("profile", "protected"), [("dev", False), ("standard", True)])
def test_the_bucket_is_protected_outside_dev(make_stack: MakeStack, run: Run, profile: str, protected: bool) -> None:
    recording = run(make_stack("{media: {driver: r2}}", profile=profile))
    assert recording.one("media-bucket").protect is protected
    assert not recording.one("media-lifecycle").protect


def test_an_existing_bucket_gets_only_what_the_spec_says(make_stack: MakeStack, run: Run) -> None:
    recording = run(
        make_stack("{media: {driver: r2, existing: old-media, cors: [{origins: ['https://a.b'], methods: [GET]}]}}")
    )
    assert names(recording) == ["media-cors"]
    assert recording.one("media-cors").inputs["bucketName"] == "old-media"


@pytest.mark.parametrize(
    ("jurisdiction", "host"),
    [
        ("default", f"{ACCOUNT}.r2.cloudflarestorage.com"),
        ("eu", f"{ACCOUNT}.eu.r2.cloudflarestorage.com"),
        ("fedramp", f"{ACCOUNT}.fedramp.r2.cloudflarestorage.com"),
    ],
)
def test_the_contract_names_the_endpoint_of_the_jurisdiction(
    make_stack: MakeStack, run: Run, jurisdiction: str, host: str
) -> None:
    recording = run(make_stack(f"{{user-media: {{driver: r2, jurisdiction: {jurisdiction}}}}}"))
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    assert backend["r2"] == {
        "bucket": recording.one("user-media-bucket").inputs["name"],
        "access_key": "${USER_MEDIA_ACCESS_KEY}",
        "secret_key": "${USER_MEDIA_SECRET_KEY}",
        "endpoint_url": f"https://{host}",
    }


def test_an_emulated_stack_talks_to_its_emulator_only(
    make_stack: MakeStack, emulate: Callable[[Stack], None], run: Run
) -> None:
    keys: dict[str, Any] = {"tandem:emulators": {"cloudflare": "ministack"}, "tandem:accounts": None}
    stack = make_stack("{media: {driver: r2}}", profile="dev", **keys)
    emulate(stack)
    recording = run(stack)
    provider = recording.one("cloudflare")
    assert provider.type == "pulumi:providers:cloudflare"
    assert dict(provider.inputs) == {"baseUrl": "http://127.0.0.1:4566", "apiToken": SECRET}
    used = {record.provider for record in recording.records if record.type.startswith("cloudflare:")}
    assert used == {f"{provider.urn}::{provider.name}-id"}
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    assert backend["r2"]["endpoint_url"] == "http://127.0.0.1:4566"
    assert backend["r2"]["secret_key"] == "${file:../.tandem/test/secrets/cloudflare_secret_key}"


@pytest.fixture(scope="module")
def package() -> Any:
    import pulumi_cloudflare  # noqa: PLC0415 - takes seconds, which only these tests need

    return pulumi_cloudflare


class TestTypesAreThoseOfTheRealPackage:
    """`infra.cloudflare` declares by hand what `pulumi_cloudflare` has; it may differ in nothing."""

    PAIRS = (
        (cloudflare.BucketArgs, "R2Bucket"),
        (cloudflare.CorsArgs, "R2BucketCors"),
        (cloudflare.LifecycleArgs, "R2BucketLifecycle"),
        (cloudflare.LockArgs, "R2BucketLock"),
        (cloudflare.ManagedDomainArgs, "R2ManagedDomain"),
        (cloudflare.CustomDomainArgs, "R2CustomDomain"),
        (cloudflare.TokenArgs, "AccountToken"),
    )

    @pytest.mark.parametrize(("args", "name"), PAIRS)
    def test_token_and_properties(self, package: Any, args: Any, name: str) -> None:
        source = inspect.getsource(getattr(package, name))
        assert f"'{args.token}'" in source
        self._compare(package, args, name)

    def _compare(self, package: Any, args: Any, name: str) -> None:
        real = inspect.signature(getattr(package, f"{name}Args").__init__).parameters
        hints = typing.get_type_hints(args)
        required = {key for key, value in real.items() if value.default is value.empty} - {"__self__", "self"}
        ours = {field.name for field in fields(args)}
        assert ours <= real.keys(), f"{name} has no {ours - real.keys()}"
        assert required <= ours, f"{name} needs {required - ours}"
        for key in ours:
            getter = inspect.getsource(inspect.getattr_static(getattr(package, f"{name}Args"), key).fget)
            assert camel(key) == key or f'name="{camel(key)}"' in getter
            inner = next((kind for kind in _kinds(hints[key]) if is_dataclass(kind)), None)
            if inner:
                self._compare(package, inner, _inner_name(name, key))

    def test_the_list_of_permissions(self, package: Any) -> None:
        source = inspect.getsource(package.get_account_api_token_permission_groups_list_output)
        function = inspect.getsource(cloudflare.permission_group)
        (token,) = re.findall(r"invoke_output\('([^']+)'", source)
        assert f'"{token}"' in function
        for argument in ("accountId", "name"):
            assert f"__args__['{argument}']" in source
            assert f'"{argument}"' in function

    def test_the_provider(self, package: Any) -> None:
        real = inspect.signature(package.ProviderArgs.__init__).parameters
        assert {"base_url", "api_token"} <= real.keys()
        assert '"pulumi:providers:cloudflare"' in inspect.getsource(package.Provider)

    def test_the_plugins_version(self, package: Any) -> None:
        assert package._utilities.get_version() == plugin(cloudflare.PACKAGE).version


def _kinds(hint: Any) -> list[Any]:
    return [hint, *(kind for part in typing.get_args(hint) for kind in _kinds(part))]


def _inner_name(outer: str, key: str) -> str:
    singular = {"policies": "policy", "permission_groups": "permission_group", "rules": "rule"}.get(key, key)
    return outer + "".join(word.capitalize() for word in singular.split("_"))
