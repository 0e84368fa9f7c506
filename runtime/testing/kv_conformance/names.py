"""Keys and namespaces are any text and never meet."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from runtime.errors import InvalidKeyError
from runtime.testing.kv_conformance.suite import Suite

if TYPE_CHECKING:
    from runtime.kv.protocol import KVStoreProtocol

STRANGE = (
    *("a:b", "ab", "a/b", "a.b", "a b", "A", "a", "a:", ":a", ":", "::", "*", "?", "[a]", "a%3Ab", "%", "..", "."),
    *("\\", "a\\b", "a\\*", '"', "'", "--", "x\ny", "x\x00y", "x", "\x00", "ü", "u\u0308", "☃", "\U0001f600", "^", "-"),
    "default",
    "k" * 1024,
    "é" * 512,
)


class Names(Suite):
    """The seed's stores lost entries here: ``a:b`` and ``ab`` were one key, ``n:k`` in no namespace was ``k`` in n."""

    async def test_strange_keys_are_all_different(self, kv: KVStoreProtocol) -> None:
        for number, key in enumerate(STRANGE):
            assert await kv.add(key, number) is True, key
        assert await kv.list_keys() == sorted(STRANGE)
        for number, key in enumerate(STRANGE):
            assert await kv.get(key) == number
        for key in STRANGE:
            assert await kv.delete(key) is True
        assert await kv.list_keys() == []

    async def test_strange_namespaces_are_all_different(self, kv: KVStoreProtocol) -> None:
        for number, space in enumerate(STRANGE):
            assert await kv.add("k", number, namespace=space) is True, space
        await kv.set("k", "default")
        assert await kv.namespaces() == sorted(["", *STRANGE])
        for number, space in enumerate(STRANGE):
            assert await kv.get("k", space) == number
        for left, space in enumerate(STRANGE, 1):
            await kv.clear(space)
            assert len(await kv.namespaces()) == len(STRANGE) + 1 - left
        assert await kv.get("k") == "default"

    async def test_namespace_and_key_do_not_run_together(self, kv: KVStoreProtocol) -> None:
        parts = ["a", "a:", ":a", ":", "a:a", "%3A", "a%3A"]
        pairs = [(space, key) for space, key in product(["", *parts], parts)]
        for number, (space, key) in enumerate(pairs):
            assert await kv.add(key, number, namespace=space) is True, (space, key)
        for number, (space, key) in enumerate(pairs):
            assert await kv.get(key, space) == number
        for space in ["", *parts]:
            assert await kv.list_keys(namespace=space) == sorted(parts)

    async def test_every_method_stays_in_its_namespace(self, kv: KVStoreProtocol) -> None:
        await kv.set("k", 1)
        assert await kv.exists("k", "other") is False
        assert await kv.delete("k", "other") is False
        assert await kv.touch("k", 10, "other") is False
        assert await kv.get_many(["k"], "other") == {}
        assert await kv.compare_and_set("k", 1, 2, namespace="other") is False
        assert await kv.incr("k", 5, namespace="other") == 5
        await kv.set_many({"k": 7}, namespace="third")
        assert [await kv.get("k", space) for space in (None, "other", "third")] == [1, 5, 7]

    async def test_no_namespace_and_the_empty_one_are_the_default(self, kv: KVStoreProtocol) -> None:
        await kv.set("k", 1)
        assert await kv.get("k", "") == 1
        assert await kv.get("k", "default") is None
        assert await kv.namespaces() == [""]

    async def test_clear_of_one_namespace_leaves_the_others(self, kv: KVStoreProtocol) -> None:
        for space in (None, "a", "ab", "a:b", "*"):
            await kv.set("k", 1, namespace=space)
        assert await kv.clear("a") is True
        assert await kv.namespaces() == ["", "*", "a:b", "ab"]
        await kv.clear("*")
        assert await kv.namespaces() == ["", "a:b", "ab"]

    async def test_clear_without_a_namespace_removes_everything(self, kv: KVStoreProtocol) -> None:
        for space in (None, "a", "b"):
            await kv.set("k", 1, namespace=space)
        assert await kv.clear() is True
        assert await kv.namespaces() == []
        assert await kv.get("k", "a") is None

    async def test_clear_of_the_empty_name_removes_the_default_namespace_alone(self, kv: KVStoreProtocol) -> None:
        await kv.set("k", 1)
        await kv.set("k", 2, namespace="a")
        await kv.clear("")
        assert await kv.namespaces() == ["a"]

    @pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, "\ud800"])
    async def test_a_key_that_can_not_be_one_is_refused(self, kv: KVStoreProtocol, key: str) -> None:
        with pytest.raises(InvalidKeyError, match="a key"):
            await kv.set(key, 1)
        with pytest.raises(InvalidKeyError, match="a key"):
            await kv.get(key)
        with pytest.raises(InvalidKeyError, match="a key"):
            await kv.get_many(["k", key])
        with pytest.raises(InvalidKeyError, match="a key"):
            await kv.set_many({"k": 1, key: 1})
        assert await kv.list_keys() == []

    @pytest.mark.parametrize("space", ["k" * 1025, "\ud800"])
    async def test_a_namespace_that_can_not_be_one_is_refused(self, kv: KVStoreProtocol, space: str) -> None:
        with pytest.raises(InvalidKeyError, match="a namespace"):
            await kv.set("k", 1, namespace=space)
        with pytest.raises(InvalidKeyError, match="a namespace"):
            await kv.clear(space)

    @pytest.mark.parametrize("key", [None, 1, b"k", ("k",)])
    async def test_a_key_that_is_no_text_is_a_type_error(self, kv: KVStoreProtocol, key: str) -> None:
        with pytest.raises(TypeError, match="a key is text, not"):
            await kv.get(key)
        with pytest.raises(TypeError, match="a key is text, not"):
            await kv.set(key, 1)

    @pytest.mark.parametrize("space", [0, 1, b"k", False])
    async def test_a_namespace_that_is_no_text_is_a_type_error(self, kv: KVStoreProtocol, space: str) -> None:
        with pytest.raises(TypeError, match="a namespace is text, not"):
            await kv.get("k", space)
