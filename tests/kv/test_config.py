from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from runtime.config import KVRedisConfig, NamedKVConfig, StorageConfig, StorageDocument
from runtime.errors import ConfigError
from runtime.loading import load_config

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS = {"name": "sessions", "driver": "redis", "redis": {"url": "${SESSIONS_URL}", "prefix": "shop"}}
CONFIG = {"default_driver": "memory", "kv": [SESSIONS, {"name": "flags", "driver": "local", "primary": True}]}


def test_stores_are_read_with_their_references_resolved() -> None:
    config = load_config(CONFIG, environ={"SESSIONS_URL": "rediss://u:hunter2@redis.example.com:6380/2"})
    sessions, flags = config.kv
    assert sessions.settings.url.get_secret_value() == "rediss://u:hunter2@redis.example.com:6380/2"
    assert "hunter2" not in repr(config)
    assert (flags.primary, flags.settings.base_path) == (True, "./kv")


def test_variables_set_and_add_stores_by_name() -> None:
    environ = {
        "LEX_STORAGE__DEFAULT_DRIVER": "memory",
        "LEX_STORAGE__KV__SESSIONS__DRIVER": "redis",
        "LEX_STORAGE__KV__SESSIONS__REDIS__URL": "redis://127.0.0.1:6379/0",
        "LEX_STORAGE__KV__FLAGS": '{"driver": "local", "local": {"base_path": "./flags"}}',
    }
    assert [(store.name, store.driver) for store in load_config(environ=environ).kv] == [
        ("flags", "local"),
        ("sessions", "redis"),
    ]
    moved = load_config(CONFIG, environ={"LEX_STORAGE__KV__SESSIONS__DRIVER": "memory"})
    assert [(store.name, store.driver) for store in moved.kv] == [("sessions", "memory"), ("flags", "local")]


@pytest.mark.parametrize(
    ("kv", "message"),
    [
        ([{"name": "a", "driver": "redis"}], "kv.a.redis: is required, with url"),
        ([{"name": "a", "driver": "reddis"}], "kv.a.driver: must be 'memory', 'local' or 'redis', found 'reddis'"),
        ([{"name": "a"}, {"name": "a"}], r"kv\[1\].name: is the name of entry 0 already"),
        ([{"name": "a", "primary": True}, {"name": "b", "primary": True}], "entry 0 is primary already"),
        ([{"name": "a", "local": {}}], "kv.a.local: the driver is 'memory', so settings for 'local' are never used"),
        ([{"name": "a", "driver": "local", "local": {"base_pth": "x"}}], r"unknown key \(did you mean 'base_path'\?\)"),
        ([{"name": "A"}], "can not name a backend"),
    ],
)
def test_a_wrong_store_is_told_with_its_path(kv: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config({"default_driver": "memory", "kv": kv}, environ={})


@pytest.mark.parametrize("url", ["http://x", "redis://", "hunter2", "unix://", "redis://h:x", ""])
def test_a_wrong_address_is_told_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"kv\.a\.redis\.url") as caught:
        load_config(
            {"default_driver": "memory", "kv": [{"name": "a", "driver": "redis", "redis": {"url": url}}]}, environ={}
        )
    assert "hunter2" not in str(caught.value)


def test_a_variable_for_a_store_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no key-value store is called 'session' \(did you mean 'sessions'\?\)"):
        load_config(CONFIG, environ={"SESSIONS_URL": "redis://h", "LEX_STORAGE__KV__SESSION__REDIS__PREFIX": "x"})


def document(url: str) -> StorageDocument:
    store = NamedKVConfig(name="sessions", driver="redis", redis=KVRedisConfig(url=SecretStr(url)))
    return StorageDocument(storage=StorageConfig(default_driver="memory", kv=(store,)))


@pytest.mark.parametrize("url", ["redis://:hunter2@h:6379/0", "rediss://u:hunter2@h", "redis://u:x${Y}@h"])
def test_a_generated_document_holds_no_password_in_an_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"storage\.kv\.sessions\.redis\.url: is a literal secret") as caught:
        document(url).to_dict()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["${SESSIONS_URL}", "redis://h:6379/0", "redis://u:${PASSWORD}@h", "unix:///run/r.sock"]
)
def test_a_generated_document_holds_references_and_what_is_no_secret(url: str, tmp_path: Path) -> None:
    text = document(url).to_yaml()
    assert url in text
    (tmp_path / "storage.yaml").write_text(text)
    environ = {"SESSIONS_URL": "redis://h", "PASSWORD": "p"}
    assert load_config(directory=tmp_path, environ=environ).kv[0].name == "sessions"


def test_a_config_without_stores_has_none() -> None:
    assert load_config({"default_driver": "memory"}, environ={}).kv == ()
    assert "kv" not in json.dumps(StorageDocument(storage=StorageConfig(default_driver="memory")).to_dict())
