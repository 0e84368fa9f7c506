"""What comes back is what went in; what JSON can not hold is refused with a message that helps."""

from __future__ import annotations

import enum
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from runtime.errors import InvalidValueError, QuotaExceededError, StorageError
from runtime.testing.kv_conformance.suite import Suite

if TYPE_CHECKING:
    from runtime.kv.protocol import KVStoreProtocol


class Color(enum.StrEnum):
    """A text with a name."""

    RED = "red"


class Size(enum.IntEnum):
    """A number with a name."""

    BIG = 3


GOOD: list[Any] = [
    *(None, True, False, 0, -1, 1 << 80, 1.5, -0.0, 1e300, 5e-324, "", "plain", "ünï ☃ \U0001f600", '"\\\x00\n\ud800'),
    *([], {}, [[], {}, [None]], {"": {"a b": [1, "x", {"deep": True}]}}, {"ключ": "значение"}, list(range(1000))),
    *(Color.RED, Size.BIG, OrderedDict(b=1, a=2), "x" * 100_000),
]

BAD: list[tuple[Any, str]] = [
    ((1, 2), r"value is a tuple, which JSON can not hold .*\(store a list\)"),
    ({"a": {1}}, r"value\['a'\] is a set, .* \(store a list\)"),
    (b"x", r"value is a bytes, .* \(store files in a blob store, or base64 text here\)"),
    ([{"at": datetime(2026, 1, 1, tzinfo=UTC)}], r"value\[0\]\['at'\] is a datetime, .* \(store its isoformat\(\)\)"),
    (date(2026, 1, 1), r"is a date, .*isoformat"),
    (timedelta(1), r"is a timedelta, .*total_seconds"),
    (Decimal(1), r"is a Decimal, .*str\(\)"),
    (UUID(int=1), r"is an UUID|is a UUID"),
    (PurePosixPath("a"), r"is a PurePosixPath"),
    (object(), r"is an object, which JSON can not hold"),
    (float("nan"), r"infinite or not a number"),
    ([float("inf")], r"value\[0\] is infinite"),
    ({1: "x"}, r"value has a key that is an int, and JSON's keys are text"),
    ({"a": {None: 1}}, r"value\['a'\] has a key that is a NoneType"),
    (1 << 20_000, r"number of over 4,000 digits"),
]


class Values(Suite):
    """JSON, no less and no more."""

    @pytest.mark.parametrize("value", GOOD, ids=[type(value).__name__ for value in GOOD])
    async def test_json_comes_back_equal_and_of_the_same_kind(self, kv: KVStoreProtocol, value: Any) -> None:
        await kv.set("a", value)
        found = await kv.get("a")
        assert found == value
        assert str(found) == str(value) or isinstance(value, OrderedDict)
        assert type(found) in {type(None), bool, int, float, str, list, dict}
        await kv.set_many({"b": value})
        assert await kv.get_many(["a", "b"]) == {"a": value, "b": value}

    @pytest.mark.parametrize(("value", "message"), BAD, ids=[type(value).__name__ for value, _ in BAD])
    async def test_what_json_can_not_hold_is_refused(self, kv: KVStoreProtocol, value: Any, message: str) -> None:
        with pytest.raises(InvalidValueError, match=message) as caught:
            await kv.set("a", value)
        assert isinstance(caught.value, StorageError)
        assert isinstance(caught.value, TypeError)
        with pytest.raises(InvalidValueError):
            await kv.add("a", value)
        with pytest.raises(InvalidValueError):
            await kv.compare_and_set("a", None, value)
        with pytest.raises(InvalidValueError, match=rf"entry 2 of 2: .*{message}"):
            await kv.set_many({"b": 1, "a": value})
        assert await kv.list_keys() == []

    async def test_a_value_that_holds_itself_is_refused(self, kv: KVStoreProtocol) -> None:
        value: list[Any] = []
        value.append(value)
        with pytest.raises(InvalidValueError, match="nested over 100 levels"):
            await kv.set("a", value)

    async def test_a_value_of_a_hundred_levels_is_kept(self, kv: KVStoreProtocol) -> None:
        value: Any = "bottom"
        for _ in range(100):
            value = [value]
        await kv.set("a", value)
        assert await kv.get("a") == value
        with pytest.raises(InvalidValueError):
            await kv.set("a", [value])

    async def test_a_message_never_holds_the_value(self, kv: KVStoreProtocol) -> None:
        with pytest.raises(InvalidValueError) as caught:
            await kv.set("key-of-entry", {"x" * 100: (b"content",)})
        assert "content" not in str(caught.value)
        assert "x" * 50 not in str(caught.value)
        assert "key-of-entry" not in str(caught.value)

    async def test_more_than_16_mib_belong_into_a_blob_store(self, kv: KVStoreProtocol) -> None:
        with pytest.raises(QuotaExceededError, match="store files in a blob store"):
            await kv.set("a", "x" * (16 * 1024 * 1024))
        assert await kv.exists("a") is False

    async def test_what_was_set_or_got_can_be_changed_without_changing_the_store(self, kv: KVStoreProtocol) -> None:
        value = {"a": [1]}
        await kv.set("k", value)
        value["a"].append(2)
        found = await kv.get("k")
        assert found == {"a": [1]}
        found["a"].append(3)
        (await kv.get_many(["k"]))["k"]["a"].append(4)
        assert await kv.get("k") == {"a": [1]}

    async def test_the_order_of_a_mapping_is_kept(self, kv: KVStoreProtocol) -> None:
        await kv.set("k", {"b": 1, "a": 2})
        assert list(await kv.get("k")) == ["b", "a"]
