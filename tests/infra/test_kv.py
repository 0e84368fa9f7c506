from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra.provision import plan
from infra.spec import load_spec
from runtime.errors import ConfigError
from runtime.loading import load_config
from runtime.validation import read_yaml

if TYPE_CHECKING:
    from tests.infra.conftest import MakeStack, Run

KEYS = "driver, primary, base_path, fsync, url, prefix"
BACKENDS = "cache: {driver: memory}"
STORES: dict[str, Any] = {
    "web-sessions": {"driver": "redis", "primary": True},
    "flags": {"driver": "local", "base_path": "./storage/flags", "fsync": True},
    "scratch": {"driver": "memory"},
    "jobs": {"driver": "local"},
}


def test_stores_are_in_the_contract_sorted_and_with_references(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS, profile="dev", kv=STORES)
    recording = run(stack)
    written = read_yaml(stack.contract)
    assert written == recording.outputs["storage"]
    assert written["storage"]["kv"] == [
        {"name": "flags", "driver": "local", "local": {"base_path": "./storage/flags", "fsync": True}},
        {"name": "jobs", "driver": "local", "local": {"base_path": "./storage/jobs"}},
        {"name": "scratch", "driver": "memory", "memory": {}},
        {
            "name": "web-sessions",
            "driver": "redis",
            "primary": True,
            "redis": {"url": "${WEB_SESSIONS_URL}", "prefix": "tandem-test-web-sessions"},
        },
    ]
    config = load_config(stack.contract, environ={"WEB_SESSIONS_URL": "redis://:hunter2@redis:6379/0"})
    assert [store.name for store in config.kv] == ["flags", "jobs", "scratch", "web-sessions"]


def test_a_stack_without_stores_has_none_in_its_contract(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(BACKENDS, profile="dev")
    run(stack)
    assert "kv" not in read_yaml(stack.contract)["storage"]


def test_an_address_without_a_password_and_a_prefix_can_be_said(make_stack: MakeStack) -> None:
    stores = {"sessions": {"driver": "redis", "url": "rediss://redis.internal:6379/2", "prefix": "shop"}}
    stack = make_stack(BACKENDS, kv=stores)
    spec = load_spec(stack)
    entry = spec.kv[0].entry(plan(stack, spec))
    assert entry.document()["redis"] == {"url": "rediss://redis.internal:6379/2", "prefix": "shop"}


@pytest.mark.parametrize(
    ("stores", "expected"),
    [
        ([], "storage.kv: found []; allowed: a mapping of names to key-value stores"),
        ({"a": 1}, "storage.kv.a: found 1; allowed: a mapping with at least a driver"),
        ({"a": {}}, "storage.kv.a.driver: is required; allowed: memory, local, redis"),
        (
            {"a": {"driver": "reddis"}},
            "storage.kv.a.driver: unknown driver 'reddis' (did you mean 'redis'?); allowed: memory, local, redis",
        ),
        (
            {"a": {"driver": "redis", "uri": "x"}},
            f"storage.kv.a.uri: unknown key (did you mean 'url'?); allowed: {KEYS}",
        ),
        (
            {"a": {"driver": "redis", "base_path": "x"}},
            "storage.kv.a.base_path: driver redis has no such key; allowed: url, prefix",
        ),
        (
            {"a": {"driver": "redis", "url": "redis://:hunter2@h"}},
            "storage.kv.a.url: holds a password; allowed: ${NAME}, or an address without a password",
        ),
        (
            {"a": {"driver": "local"}},
            "storage.kv.a.driver: found 'local': its entries are on one machine; allowed: redis, or profile dev",
        ),
        (
            {"a": {"driver": "redis", "primary": True}, "b": {"driver": "redis", "primary": True}},
            "storage.kv.b.primary: found a second primary store beside 'a'; allowed: one",
        ),
    ],
)
def test_a_wrong_store_is_told_before_anything_is_made(make_stack: MakeStack, stores: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_spec(make_stack(BACKENDS, kv=stores))
    assert [str(problem) for problem in caught.value.problems] == [expected]


def test_a_directory_outside_of_the_project_and_a_wrong_name_are_told_together(make_stack: MakeStack) -> None:
    stores = {"A": {"driver": "memory"}, "b": {"driver": "local", "base_path": "../x"}}
    with pytest.raises(ConfigError) as caught:
        load_spec(make_stack(BACKENDS, profile="dev", kv=stores))
    assert [problem.path for problem in caught.value.problems] == ["storage.kv.A", "storage.kv.b.base_path"]
