from __future__ import annotations

import warnings
from typing import Any

import pytest

from runtime.errors import StorageWarning
from runtime.kv import InMemoryKVStorage
from runtime.kv.suspicion import secret_in

SECRETS: list[tuple[str, Any, str]] = [
    ("user:1:password", "hunter2", "the entry's key names one"),
    ("stripe/api_key", "x", "the entry's key names one"),
    ("API-KEY", "x", "the entry's key names one"),
    ("clientSecret", "x", "the entry's key names one"),
    ("u1", {"password": "hunter2"}, "the field 'password'"),
    ("u1", {"user": {"aws": [{"secret_access_key": "x"}]}}, "the field 'secret_access_key'"),
    ("u1", {"privateKey": "x"}, "the field 'privateKey'"),
    ("k", "-----BEGIN RSA PRIVATE KEY-----\n", "a value has the form of a credential"),
    ("k", ["AKIAIOSFODNN7EXAMPLE"], "a value has the form of a credential"),
    ("k", {"note": "ghp_0123456789abcdefghij"}, "a value has the form of a credential"),
]

HARMLESS: list[tuple[str, Any]] = [
    ("session:1", {"user": "u1", "csrf_token": "x", "key": "v", "keys": ["a"]}),
    ("password", None),
    ("forgot-password-count", 3),
    ("u1", {"password": None, "has_password": True, "passwords": []}),
    ("u1", "AKIA is how they begin"),
    ("monkey", "x"),
    ("secretary", "x"),
]


@pytest.mark.parametrize(("key", "value", "what"), SECRETS)
async def test_what_looks_like_a_secret_is_warned_of_and_kept(key: str, value: Any, what: str) -> None:
    store = InMemoryKVStorage(name="sessions")
    with pytest.warns(StorageWarning, match="'sessions' was given what looks like a secret") as caught:
        await store.set(key, value)
    text = str(caught[0].message)
    assert what in text
    assert "in a vault" in text
    assert "hunter2" not in text
    assert caught[0].filename == __file__
    assert await store.get(key) == value


@pytest.mark.parametrize("method", ["add", "compare_and_set", "set_many"])
async def test_every_method_that_writes_warns(method: str) -> None:
    store, value = InMemoryKVStorage(), {"password": "x"}
    arguments: dict[str, tuple[Any, ...]] = {
        "add": ("a", value),
        "compare_and_set": ("a", None, value),
        "set_many": ({"a": value},),
    }
    with pytest.warns(StorageWarning):
        await getattr(store, method)(*arguments[method])


@pytest.mark.parametrize(("key", "value"), HARMLESS)
async def test_what_sessions_hold_is_not_warned_of(key: str, value: Any) -> None:
    assert secret_in(key, value) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await InMemoryKVStorage().set(key, value)


def test_names_that_are_data_do_not_pile_up() -> None:
    for number in range(5000):
        secret_in("k", {f"field-{number}": "x"})
    from runtime.kv import suspicion  # noqa: PLC0415 - the memory of it

    assert len(suspicion._named) <= 1024
