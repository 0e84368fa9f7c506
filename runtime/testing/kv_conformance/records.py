"""Writing, reading and removing single records, and many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.errors import InvalidValueError
from runtime.testing.kv_conformance.suite import Suite

if TYPE_CHECKING:
    from runtime.kv.protocol import KVStoreProtocol


class Records(Suite):
    """Each method alone."""

    async def test_what_was_set_is_got(self, kv: KVStoreProtocol) -> None:
        assert await kv.set("a", {"cart": [1, 2]}) is True
        assert await kv.get("a") == {"cart": [1, 2]}
        await kv.set("a", "again")
        assert await kv.get("a") == "again"

    async def test_what_is_not_there_is_none(self, kv: KVStoreProtocol) -> None:
        assert await kv.get("a") is None
        assert await kv.exists("a") is False

    async def test_none_is_a_value_that_exists(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", None)
        assert await kv.get("a") is None
        assert await kv.exists("a") is True
        assert await kv.get_many(["a", "b"]) == {"a": None}
        assert await kv.add("a", 1) is False

    async def test_delete_tells_whether_it_was_there(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", 1)
        assert await kv.delete("a") is True
        assert await kv.delete("a") is False
        assert await kv.get("a") is None

    async def test_add_writes_only_what_is_not_there(self, kv: KVStoreProtocol) -> None:
        assert await kv.add("a", 1) is True
        assert await kv.add("a", 2) is False
        assert await kv.get("a") == 1

    async def test_incr_counts_from_nothing(self, kv: KVStoreProtocol) -> None:
        assert await kv.incr("n") == 1
        assert await kv.incr("n", 10) == 11
        assert await kv.incr("n", -12) == -1
        assert await kv.incr("n", 0) == -1
        assert await kv.get("n") == -1

    async def test_incr_goes_on_from_a_number_that_was_set(self, kv: KVStoreProtocol) -> None:
        await kv.set("n", 41)
        assert await kv.incr("n") == 42
        await kv.set("n", await kv.incr("n") + 1)
        assert await kv.incr("n") == 45

    @pytest.mark.parametrize("value", ["1", 1.0, 1.5, None, True, [1], {"n": 1}, "", 1 << 63, -(1 << 63) - 1])
    async def test_incr_refuses_what_is_no_whole_number(self, kv: KVStoreProtocol, value: object) -> None:
        await kv.set("n", value)
        with pytest.raises(InvalidValueError, match="whole number"):
            await kv.incr("n")
        assert await kv.get("n") == value

    async def test_counters_have_64_bits(self, kv: KVStoreProtocol) -> None:
        await kv.set("n", (1 << 63) - 2)
        assert await kv.incr("n") == (1 << 63) - 1
        with pytest.raises(InvalidValueError, match="64 bits"):
            await kv.incr("n")
        assert await kv.get("n") == (1 << 63) - 1
        assert await kv.incr("low", -(1 << 63)) == -(1 << 63)
        with pytest.raises(InvalidValueError, match="64 bits"):
            await kv.incr("low", -1)
        with pytest.raises(InvalidValueError, match="64 bits"):
            await kv.incr("new", 1 << 63)
        assert await kv.exists("new") is False

    @pytest.mark.parametrize("amount", [1.0, True, "1", None])
    async def test_incr_takes_whole_numbers_only(self, kv: KVStoreProtocol, amount: int) -> None:
        with pytest.raises(TypeError, match="amount is a whole number"):
            await kv.incr("n", amount)

    async def test_compare_and_set_writes_over_what_is_expected(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", {"x": 1, "y": [True, None]})
        assert await kv.compare_and_set("a", {"x": 2, "y": [True, None]}, "no") is False
        assert await kv.compare_and_set("a", {"y": [True, None], "x": 1}, "yes") is True
        assert await kv.get("a") == "yes"

    async def test_compare_and_set_expects_none_where_nothing_is(self, kv: KVStoreProtocol) -> None:
        assert await kv.compare_and_set("a", 1, 2) is False
        assert await kv.exists("a") is False
        assert await kv.compare_and_set("a", None, 1) is True
        assert await kv.compare_and_set("a", None, 2) is False
        await kv.set("a", None)
        assert await kv.compare_and_set("a", None, 3) is True
        assert await kv.get("a") == 3

    @pytest.mark.parametrize(
        ("stored", "expected"),
        [(1, 1.0), (1, True), (0, False), ("1", 1), ([], {}), (0, None), ([1], [True]), ({"x": 1}, {"x": 1.0})],
    )
    async def test_compare_and_set_tells_kinds_apart(
        self, kv: KVStoreProtocol, stored: object, expected: object
    ) -> None:
        await kv.set("a", stored)
        assert await kv.compare_and_set("a", expected, "changed") is False
        assert await kv.compare_and_set("a", stored, "changed") is True

    @pytest.mark.parametrize("expected", [(1, 2), {1: 2}, b"x", [float("nan")]])
    async def test_compare_and_set_expects_only_what_could_be_there(
        self, kv: KVStoreProtocol, expected: object
    ) -> None:
        for stored in (1, [1, 2]):
            with pytest.raises(InvalidValueError):
                await kv.compare_and_set("a", expected, "changed")
            await kv.set("a", stored)
        with pytest.raises(InvalidValueError):
            await kv.compare_and_set("a", expected, "changed")
        assert await kv.get("a") == [1, 2]

    async def test_get_many_gives_what_is_there_in_the_order_asked_for(self, kv: KVStoreProtocol) -> None:
        await kv.set_many({"a": 1, "b": [2], "c": 3})
        assert list((await kv.get_many(["c", "missing", "b", "c"])).items()) == [("c", 3), ("b", [2])]
        assert await kv.get_many(iter(["a"])) == {"a": 1}
        assert await kv.get_many([]) == {}

    async def test_get_many_takes_no_string_for_its_letters(self, kv: KVStoreProtocol) -> None:
        with pytest.raises(TypeError, match="not one string"):
            await kv.get_many("abc")

    async def test_many_thousand_keys_at_once(self, kv: KVStoreProtocol) -> None:
        values = {f"key-{number:04}": number for number in range(2500)}
        assert await kv.set_many(values, namespace="many") is True
        assert await kv.get_many(values, "many") == values
        assert await kv.list_keys(namespace="many") == list(values)
        await kv.clear("many")
        assert await kv.list_keys(namespace="many") == []

    async def test_set_many_of_nothing_changes_nothing(self, kv: KVStoreProtocol) -> None:
        assert await kv.set_many({}) is True
        assert await kv.namespaces() == []

    async def test_set_many_writes_all_or_none(self, kv: KVStoreProtocol) -> None:
        with pytest.raises(InvalidValueError):
            await kv.set_many({"good": 1, "bad": {1, 2}})
        assert await kv.list_keys() == []
