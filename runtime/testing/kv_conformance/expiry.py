"""Expiry is exact and the same for every method: an expired entry is in no answer."""

from __future__ import annotations

from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from runtime.testing.kv_conformance.suite import LATE_SECONDS, SHORT, Suite

if TYPE_CHECKING:
    from runtime.kv.protocol import TTL, KVStoreProtocol


class Expiry(Suite):
    """Against the store's own clock."""

    async def test_a_second_means_a_second_for_every_method(self, kv: KVStoreProtocol) -> None:
        begin = perf_counter()
        for key in ("a", "b", "c"):
            await kv.set(key, 1, ttl=1, namespace="n")
        written = perf_counter()
        await anyio.sleep(begin + 0.8 - perf_counter())
        seen = await kv.list_keys(namespace="n"), await kv.exists("a", "n"), await kv.get("b", "n")
        assert perf_counter() < begin + 1, "this machine is too busy to tell"
        assert seen == (["a", "b", "c"], True, 1)
        await anyio.sleep(written + 1 + LATE_SECONDS - perf_counter())
        assert await kv.get("a", "n") is None
        assert await kv.exists("a", "n") is False
        assert await kv.list_keys(namespace="n") == []
        assert await kv.get_many(["a", "b"], "n") == {}
        assert await kv.namespaces() == []
        assert await kv.delete("a", "n") is False
        assert await kv.touch("a", 10, "n") is False
        assert await kv.compare_and_set("a", 1, 2, namespace="n") is False
        assert await kv.incr("a", namespace="n") == 1, "an expired counter begins anew"
        assert await kv.add("b", 5, namespace="n") is True
        assert await kv.compare_and_set("c", None, 6, namespace="n") is True
        assert await kv.get_many(["a", "b", "c"], "n") == {"a": 1, "b": 5, "c": 6}

    @pytest.mark.parametrize("ttl", [0, 0.0, -1, -0.5, timedelta(0), timedelta(-1)])
    async def test_no_time_left_means_already_expired(self, kv: KVStoreProtocol, ttl: TTL) -> None:
        assert await kv.set("a", 1, ttl=ttl) is True
        assert await kv.set_many({"b": 1, "c": 1}, ttl=ttl) is True
        assert await kv.add("d", 1, ttl=ttl) is True
        assert await kv.incr("e", 3, ttl=ttl) == 3
        assert await kv.compare_and_set("f", None, 1, ttl=ttl) is True
        assert await kv.list_keys() == []
        assert await kv.namespaces() == []
        assert await kv.get_many(list("abcdef")) == {}
        assert await kv.exists("a") is False
        assert await kv.delete("a") is False

    async def test_no_time_left_removes_what_was_there(self, kv: KVStoreProtocol) -> None:
        await kv.set_many({"a": 1, "b": 1, "c": 1, "d": 1})
        await kv.set("a", 2, ttl=0)
        await kv.set_many({"b": 2}, ttl=0)
        assert await kv.touch("c", 0) is True
        assert await kv.compare_and_set("d", 1, 2, ttl=0) is True
        assert await kv.list_keys() == []

    async def test_no_time_left_does_not_make_add_overwrite(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", 1)
        assert await kv.add("a", 2, ttl=0) is False
        assert await kv.get("a") == 1

    async def test_without_a_ttl_an_entry_stays(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", 1, ttl=SHORT)
        await kv.set("a", 2)
        await kv.set_many({"b": 1, "c": 1}, ttl=SHORT)
        await kv.set_many({"b": 2})
        assert await kv.compare_and_set("c", 1, 2) is True
        await anyio.sleep(SHORT + LATE_SECONDS)
        assert await kv.get_many(["a", "b", "c"]) == {"a": 2, "b": 2, "c": 2}

    @pytest.mark.parametrize("ttl", [SHORT, timedelta(seconds=SHORT)])
    async def test_every_writing_method_takes_a_ttl(self, kv: KVStoreProtocol, ttl: TTL) -> None:
        await kv.set("set", 1, ttl=ttl)
        await kv.add("add", 1, ttl=ttl)
        await kv.incr("incr", ttl=ttl)
        await kv.compare_and_set("new", None, 1, ttl=ttl)
        await kv.set("old", 1)
        await kv.compare_and_set("old", 1, 2, ttl=ttl)
        await kv.set_many({"many": 1}, ttl=ttl)
        await kv.set("touch", 1)
        await kv.touch("touch", ttl)
        assert len(await kv.list_keys()) == 7
        await anyio.sleep(SHORT + LATE_SECONDS)
        assert await kv.list_keys() == []

    async def test_touch_prolongs_and_lets_stay(self, kv: KVStoreProtocol) -> None:
        await kv.set_many({"a": {"x": 1}, "b": 1, "c": 1}, ttl=SHORT)
        assert await kv.touch("a", 30) is True
        assert await kv.touch("b") is True
        assert await kv.touch("missing", 30) is False
        assert await kv.touch("missing") is False
        await anyio.sleep(SHORT + LATE_SECONDS)
        assert await kv.get_many(["a", "b", "c"]) == {"a": {"x": 1}, "b": 1}

    async def test_a_counter_keeps_the_expiry_that_it_was_made_with(self, kv: KVStoreProtocol) -> None:
        await kv.incr("made", ttl=SHORT)
        await kv.incr("made", ttl=30)
        await kv.incr("made")
        await kv.set("set", 5, ttl=SHORT)
        await kv.incr("set")
        await kv.incr("forever")
        await kv.incr("forever", ttl=SHORT)
        assert await kv.get_many(["made", "set", "forever"]) == {"made": 3, "set": 6, "forever": 2}
        await anyio.sleep(SHORT + LATE_SECONDS)
        assert await kv.get_many(["made", "set", "forever"]) == {"forever": 2}
        assert await kv.incr("made") == 1

    @pytest.mark.parametrize("ttl", [timedelta.max, timedelta(days=365_000), 10**12])
    async def test_a_very_long_time_is_as_good_as_any(self, kv: KVStoreProtocol, ttl: TTL) -> None:
        await kv.set("a", 1, ttl=ttl)
        await kv.incr("b", ttl=ttl)
        await kv.touch("a", ttl)
        assert await kv.get_many(["a", "b"]) == {"a": 1, "b": 1}

    @pytest.mark.parametrize("ttl", [float("inf"), float("nan"), 1e30])
    async def test_a_time_without_end_is_refused(self, kv: KVStoreProtocol, ttl: float) -> None:
        with pytest.raises(ValueError, match="leave it out"):
            await kv.set("a", 1, ttl=ttl)
        assert await kv.exists("a") is False

    @pytest.mark.parametrize("ttl", ["60", True, b"1", [1]])
    async def test_a_time_that_is_no_number_is_a_type_error(self, kv: KVStoreProtocol, ttl: Any) -> None:
        with pytest.raises(TypeError, match="ttl is a number of seconds or a timedelta"):
            await kv.set("a", 1, ttl=ttl)
        with pytest.raises(TypeError, match="ttl is a number"):
            await kv.touch("a", ttl)

    async def test_less_than_a_millisecond_is_a_millisecond(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", 1, ttl=1e-6)
        await kv.set("b", 1, ttl=timedelta(microseconds=1))
        await anyio.sleep(LATE_SECONDS)
        assert await kv.list_keys() == []
