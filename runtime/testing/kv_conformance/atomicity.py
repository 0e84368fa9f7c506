"""Many tasks at once: nothing is lost, and only one wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.testing.kv_conformance.suite import Suite, together

if TYPE_CHECKING:
    from runtime.kv.protocol import KVStoreProtocol


class Atomicity(Suite):
    """Between the tasks of one process; between processes it is tested where a store can have several."""

    async def test_no_count_is_lost(self, kv: KVStoreProtocol) -> None:
        sums = await together(200, lambda _: kv.incr("n"))
        assert sorted(sums, key=str) == sorted(range(1, 201), key=str)
        assert await kv.get("n") == 200

    async def test_one_of_many_that_add_wins(self, kv: KVStoreProtocol) -> None:
        won = await together(50, lambda number: kv.add("a", number))
        assert won.count(True) == 1
        assert await kv.get("a") == won.index(True)

    async def test_one_of_many_that_compare_wins(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", {"version": 0})
        won = await together(50, lambda number: kv.compare_and_set("a", {"version": 0}, {"version": number + 1}))
        assert won.count(True) == 1
        assert await kv.get("a") == {"version": won.index(True) + 1}

    async def test_one_of_many_that_compare_with_nothing_wins(self, kv: KVStoreProtocol) -> None:
        won = await together(50, lambda number: kv.compare_and_set("a", None, number))
        assert won.count(True) == 1
        assert await kv.get("a") == won.index(True)

    async def test_one_of_many_that_delete_wins(self, kv: KVStoreProtocol) -> None:
        await kv.set("a", 1)
        assert (await together(50, lambda _: kv.delete("a"))).count(True) == 1

    async def test_a_loop_of_compare_and_set_loses_nothing(self, kv: KVStoreProtocol) -> None:
        async def append(number: int) -> None:
            while True:
                found = await kv.get("list")
                if await kv.compare_and_set("list", found, [*(found or []), number]):
                    return

        await together(20, append)
        assert sorted(await kv.get("list")) == list(range(20))

    async def test_set_many_and_get_many_see_each_other_whole(self, kv: KVStoreProtocol) -> None:
        keys = [f"k{number}" for number in range(50)]

        async def write_or_read(number: int) -> None:
            if number % 2:
                await kv.set_many(dict.fromkeys(keys, number))
            else:
                assert len(set((await kv.get_many(keys)).values())) <= 1

        await together(60, write_or_read)
