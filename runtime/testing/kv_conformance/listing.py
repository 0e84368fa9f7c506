"""Keys by pattern and by prefix, sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.testing.kv_conformance.suite import Suite

if TYPE_CHECKING:
    from runtime.kv.protocol import KVStoreProtocol

KEYS = ("User:1", "a", "a*b", "a[b", "user:", "user:1", "user:10", "user:2", "user:2:x", "userx", "ü", "\U0001f600")


class Listing(Suite):
    """`list_keys`."""

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            (None, KEYS),
            ("*", KEYS),
            ("user:*", ("user:", "user:1", "user:10", "user:2", "user:2:x")),
            ("user:?", ("user:1", "user:2")),
            ("user:[12]", ("user:1", "user:2")),
            ("user:[!1]", ("user:2",)),
            ("user:[0-1]*", ("user:1", "user:10")),
            ("[uU]ser:1", ("User:1", "user:1")),
            ("*:x", ("user:2:x",)),
            ("user:1", ("user:1",)),
            ("a[*]b", ("a*b",)),
            ("a[[]b", ("a[b",)),
            ("ü", ("ü",)),
            ("?", ("a", "ü", "\U0001f600")),
            ("", ()),
            ("ser", ()),
            ("missing*", ()),
        ],
    )
    async def test_a_pattern_is_a_shell_pattern_for_the_whole_key(
        self, kv: KVStoreProtocol, pattern: str | None, expected: tuple[str, ...]
    ) -> None:
        await kv.set_many(dict.fromkeys(KEYS, 1))
        await kv.set("user:3", 1, namespace="other")
        assert await kv.list_keys(pattern) == list(expected)

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", KEYS),
            ("user:", ("user:", "user:1", "user:10", "user:2", "user:2:x")),
            ("user:1", ("user:1", "user:10")),
            ("a*", ("a*b",)),
            ("a[", ("a[b",)),
            ("*", ()),
            ("\U0001f600", ("\U0001f600",)),
        ],
    )
    async def test_a_prefix_is_no_pattern(self, kv: KVStoreProtocol, prefix: str, expected: tuple[str, ...]) -> None:
        await kv.set_many(dict.fromkeys(KEYS, 1), namespace="n:*")
        await kv.set_many({"user:9": 1, "a*c": 1})
        assert await kv.list_keys(namespace="n:*", prefix=prefix) == list(expected)

    async def test_a_pattern_and_a_prefix_must_both_fit(self, kv: KVStoreProtocol) -> None:
        await kv.set_many(dict.fromkeys(KEYS, 1))
        assert await kv.list_keys("*1*", prefix="user:") == ["user:1", "user:10"]
        assert await kv.list_keys("user:1*", prefix="user:10") == ["user:10"]
        assert await kv.list_keys("a*", prefix="user:") == []

    async def test_no_keys_are_an_empty_list(self, kv: KVStoreProtocol) -> None:
        assert await kv.list_keys() == []
        assert await kv.list_keys("*", "missing") == []
