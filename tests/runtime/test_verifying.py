"""`runtime.verify` where no cloud is needed, and on S3 servers that know only some settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

import runtime
from runtime.config import StorageDocument
from runtime.drift import Drift
from runtime.errors import ConfigError
from runtime.proving import prove

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

EXPECT = {"versioning": False, "public": False, "cors": [], "capabilities": []}


async def verify(config: Any, **options: Any) -> list[tuple[str, str]]:
    return [(each.path, each.drift.value) for each in (await runtime.verify(config, **options)).findings]


async def test_backends_of_this_machine_promise_nothing_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    config = {
        "backends": [
            {"name": "cache", "driver": "memory", "expect": EXPECT},
            {"name": "files", "driver": "local", "local": {"root_dir": str(tmp_path / "files")}, "expect": EXPECT},
        ],
        "kv": [{"name": "sessions", "driver": "local", "local": {"base_path": str(tmp_path / "kv")}}],
    }
    found = await runtime.verify(config, write=True)
    assert found.findings == ()
    assert found.backends == ("cache", "files")


async def test_every_store_that_can_not_be_used_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = {
        "backends": [
            {"name": "gone", "driver": "local", "local": {"root_dir": str(tmp_path / "gone")}},
            {"name": "far", "driver": "s3", "s3": {
                "bucket": "bucket", "region": "eu-west-1", "endpoint_url": "http://127.0.0.1:1",
                "access_key": "hunter1", "secret_key": "hunter2",
            }, "retry": {"attempts": 1}},
            {"name": "there", "driver": "memory"},
        ],
        "kv": [{"name": "sessions", "driver": "redis", "redis": {"url": "redis://:hunter3@127.0.0.1:1"}}],
    }  # fmt: skip
    found = await runtime.verify(config)
    told = {each.path: each for each in found.findings}
    assert {path: each.drift for path, each in told.items()} == {
        "backends.gone.local.root_dir": Drift.BREAKING,
        "backends.far.s3.endpoint_url": Drift.BREAKING,
        "kv.sessions": Drift.BREAKING,
    }
    assert told["backends.gone.local.root_dir"].expected == str(tmp_path / "gone")
    assert told["backends.far.s3.endpoint_url"].found.startswith("StorageUnavailableError: ")
    assert told["backends.far.s3.endpoint_url"].fix.startswith("look at the address and the network")
    assert "hunter" not in json.dumps(found.document())
    assert found.drifted == found.findings


async def test_a_backend_that_can_not_be_opened_does_not_hide_the_others() -> None:
    config = {
        "backends": [
            {"name": "broken", "driver": "gcs", "gcs": {
                "bucket": "bucket", "project_id": "p", "endpoint_url": "http://storage.example.com",
            }},
            {"name": "gone", "driver": "local", "local": {"root_dir": "/nowhere/at/all"}},
        ]
    }  # fmt: skip
    assert await verify(config) == [
        ("backends.broken", "breaking"),
        ("backends.gone.local.root_dir", "breaking"),
    ]


async def test_a_file_that_was_edited_by_hand_is_named(tmp_path: Path) -> None:
    file = tmp_path / "storage.yaml"
    storage = {"backends": [{"name": "cache", "driver": "memory"}]}
    document = StorageDocument.model_validate({"project": "tandem", "stack": "prod", "storage": storage})
    file.write_text(document.to_yaml())
    assert await verify(file) == []
    file.write_text(document.to_yaml().replace("cache", "cash"))
    (finding,) = (await runtime.verify(file)).findings
    assert (finding.path, finding.drift) == ("fingerprint", Drift.BREAKING)
    assert finding.expected == yaml.safe_load(document.to_yaml())["fingerprint"]
    assert finding.fix == ("the file was edited by hand: change the stack instead, and run `tandem up -s prod`")


async def test_disabled_storage_has_nothing_to_verify() -> None:
    found = await runtime.verify({"enabled": False, "backends": [{"name": "x", "driver": "local"}]})
    assert (found.findings, found.backends) == ((), ())


async def test_no_config_is_the_callers_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no storage config was found"):
        await runtime.verify()


def test_an_open_storage_verifies_itself_also_without_async() -> None:
    with runtime.open_storage_sync({"backends": [{"name": "cache", "driver": "memory", "expect": EXPECT}]}) as storage:
        assert storage["cache"].live_settings() is not None
        found = storage.verify(write=True)
    assert (found.backends, found.findings) == (("cache",), ())


async def test_a_backend_with_a_fallback_is_verified_by_its_own_bucket(tmp_path: Path) -> None:
    """Which of the two is asked shows where they are: only the new one's directory is there."""
    (tmp_path / "new").mkdir()
    new = {"name": "new", "driver": "local", "local": {"root_dir": str(tmp_path / "new")}, "read_fallback": "old"}
    old = {"name": "old", "driver": "local", "local": {"root_dir": str(tmp_path / "old")}, "expect": EXPECT}
    config = {"backends": [{**new, "expect": {**EXPECT, "versioning": True}}, old]}
    (tmp_path / "old").mkdir()
    assert await verify(config) == [("backends.new.expect.versioning", "unknown")]
    (tmp_path / "old").rmdir()
    assert ("backends.old.local.root_dir", "breaking") in await verify(config)


async def test_an_application_that_may_not_delete_leaves_no_scratch_object() -> None:
    """`prove` is what `up --prove` and `doctor --write` do; what it can not take away again it does not write."""
    grants = [{"to": "role/app", "access": ["read", "write", "list", "presign"]}]
    backend = {"name": "a", "driver": "memory", "identity": "role/app", "expect": {"grants": grants}}
    async with runtime.open_storage({"backends": [backend]}) as storage:
        (proof,) = [proof async for proof in prove(storage["a"])]
        assert (proof.ok, proof.tried) == (True, False)
        assert proof.detail == "not tried: its grant does not allow delete"
        assert [info async for info in storage["a"].list()] == []


PROMISED = {
    "versioning": True, "public": False, "cors": [], "lifecycle": {}, "presign_max_age": 60, "logging": True,
    "capabilities": ["presign", "tls_only", "public_blocked"],
}  # fmt: skip
UNKNOWN_TO = {
    "gofakes3": {
        "encryption",
        "public",
        "cors",
        "lifecycle",
        "presign_max_age",
        "logging",
        "tls_only",
        "public_blocked",
    },
    "versitygw": {"encryption", "public", "lifecycle", "logging", "public_blocked"},
    "moto": {"versioning"},
}
"""What each server does not know, by another answer or by 501."""


@pytest.mark.parametrize("name", UNKNOWN_TO)
async def test_what_a_server_does_not_know_is_unknown_and_no_difference(server: ServerFactory, name: str) -> None:
    at = server(name)
    keys = {"access_key": at.access_key or "any", "secret_key": at.secret_key or "any"}
    region = at.region or "us-east-1"
    client = boto3.client(
        "s3", endpoint_url=at.url, region_name=region,
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip
    client.create_bucket(Bucket="verified")
    settings = {"bucket": "verified", "region": region, "endpoint_url": at.url, **keys, "encryption": {"enabled": True}}
    backend = {"name": "a", "driver": "s3", "s3": settings, "expect": PROMISED}
    found = await runtime.verify({"backends": [backend]}, write=True)
    names = {"capabilities[1]": "tls_only", "capabilities[2]": "public_blocked"}
    told = {names.get(last := each.path.rpartition(".")[2], last): each.drift for each in found.findings}
    assert {setting for setting, drift in told.items() if drift is Drift.UNKNOWN} == UNKNOWN_TO[name]
    differs = {"versioning", "presign_max_age", "logging", "tls_only"} - UNKNOWN_TO[name]
    assert {setting for setting, drift in told.items() if drift is not Drift.UNKNOWN} - {"public_blocked"} == differs
    assert "Contents" not in client.list_objects_v2(Bucket="verified")  # the scratch object is gone
