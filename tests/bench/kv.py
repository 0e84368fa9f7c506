"""Operations per second of the key-value stores, beside diskcache and raw redis-py: ``python -m tests.bench.kv``.

Every figure is the median of rounds in which the contenders take turns, so that what else the machine does hits all
alike; the µs are processor time of all threads. ``alone`` is one task that waits for each operation; ``32 tasks`` is
what a server has in flight. diskcache is measured twice: called directly, which holds the event loop up, and by
``asyncio.to_thread``, as its documentation says. All hold the same value; diskcache pickles it, ours and the raw client
with ``json`` make JSON of it. A server for Redis is started when one is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import diskcache
from redis.asyncio import Redis

from runtime.kv import InMemoryKVStorage, LocalStorage, RedisKVStorage
from runtime.testing.servers import ServerUnavailableError, start

VALUE = {"user": "u1", "roles": ["admin", "editor"], "visits": 3}
KEYS = 100
TASKS = 32

Operation = Callable[[int], Awaitable[Any]]
Contender = dict[str, Operation]


def ours(store: InMemoryKVStorage | LocalStorage | RedisKVStorage) -> Contender:
    """Our store's operations."""
    return {
        "set": lambda i: store.set(f"k{i % KEYS}", VALUE, ttl=60),
        "get": lambda i: store.get(f"k{i % KEYS}"),
        "incr": lambda _: store.incr("n"),
    }


def all_of(store: InMemoryKVStorage) -> Contender:
    """Every operation of one key; those of several are counted by key."""
    some = {f"m{number}": VALUE for number in range(KEYS)}

    def many(operation: Callable[[], Awaitable[Any]]) -> Operation:
        async def now_and_then(i: int) -> None:
            if i % KEYS == 0:
                await operation()

        return now_and_then

    return ours(store) | {
        "add": lambda i: store.add(f"k{i % KEYS}", VALUE, ttl=60),
        "exists": lambda i: store.exists(f"k{i % KEYS}"),
        "touch": lambda i: store.touch(f"k{i % KEYS}", 60),
        "compare_and_set": lambda i: store.compare_and_set(f"m{i % KEYS}", VALUE, VALUE, ttl=60),
        "set_many": many(lambda: store.set_many(some, ttl=60)),
        "get_many": many(lambda: store.get_many(some)),
        "list_keys": many(lambda: store.list_keys(prefix="m")),
        "delete": lambda i: store.delete(f"k{i % KEYS}"),
    }


def directly(cache: diskcache.Cache) -> Contender:
    """diskcache in the event loop's own thread."""

    async def put(i: int) -> None:
        cache.set(f"k{i % KEYS}", VALUE, expire=60)

    async def get(i: int) -> Any:
        return cache.get(f"k{i % KEYS}")

    async def incr(_: int) -> Any:
        return cache.incr("n", default=0)

    return {"set": put, "get": get, "incr": incr}


def in_threads(cache: diskcache.Cache) -> Contender:
    """diskcache in threads."""
    return {
        "set": lambda i: asyncio.to_thread(cache.set, f"k{i % KEYS}", VALUE, 60),
        "get": lambda i: asyncio.to_thread(cache.get, f"k{i % KEYS}"),
        "incr": lambda _: asyncio.to_thread(cache.incr, "n", 1, 0),
    }


def raw(client: Any) -> Contender:
    """redis-py as one would write it by hand."""

    async def get(i: int) -> Any:
        found = await client.get(f"raw:k{i % KEYS}")
        return found and json.loads(found)

    return {
        "set": lambda i: client.set(f"raw:k{i % KEYS}", json.dumps(VALUE), ex=60),
        "get": get,
        "incr": lambda _: client.incr("raw:n"),
    }


async def measured(operation: Operation, seconds: float, tasks: int) -> tuple[float, float]:
    """Operations per second of *tasks* tasks at once, and µs of processor time (all threads) of one."""
    end, done = perf_counter() + seconds, 0

    async def work() -> None:
        nonlocal done
        while perf_counter() < end:
            await operation(done)
            done += 1

    begin, used = perf_counter(), process_time()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return done / (perf_counter() - begin), 1e6 * (process_time() - used) / done


async def table(title: str, contenders: dict[str, Contender], rounds: int, seconds: float) -> None:
    """Measure and print one group of contenders."""
    print(f"\n{title}\n{'':26}" + "".join(f"{name:>22}" for name in contenders))  # noqa: T201 - this command's output
    for tasks in (1, TASKS):
        for name in next(iter(contenders.values())):
            figures: dict[str, list[tuple[float, float]]] = {contender: [] for contender in contenders}
            for _ in range(rounds):
                for contender, operations in contenders.items():
                    figures[contender].append(await measured(operations[name], seconds, tasks))
            medians = [[statistics.median(column) for column in zip(*each, strict=True)] for each in figures.values()]
            label = f"{name}, {'alone' if tasks == 1 else f'{tasks} tasks'}"
            shown = "".join(f"{rate:>12,.0f}/s {used:>6.1f} µs" for rate, used in medians)
            print(f"{label:26}{shown}", flush=True)  # noqa: T201 - as above


async def main(rounds: int, seconds: float) -> None:
    """All tables."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cache = stack.enter_context(diskcache.Cache(str(directory / "diskcache")))
        memory = await stack.enter_async_context(InMemoryKVStorage())
        local = await stack.enter_async_context(LocalStorage(directory / "local"))
        await memory.set_many({f"m{number}": VALUE for number in range(KEYS)})
        await table("in this process", {"memory": all_of(memory)}, rounds, seconds)
        contenders = {"local": ours(local), "diskcache": directly(cache), "diskcache, threads": in_threads(cache)}
        await table("in a file", contenders, rounds, seconds)
        try:
            server = stack.enter_context(start("redis-server", directory / "redis"))
        except ServerUnavailableError as error:
            print(f"\n{error}", file=sys.stderr)  # noqa: T201 - as above
            return
        url = f"redis://127.0.0.1:{server.port}"
        redis = await stack.enter_async_context(RedisKVStorage(url))
        client: Any = await stack.enter_async_context(Redis.from_url(url, decode_responses=True))
        await table("on Redis", {"redis": ours(redis), "redis-py": raw(client)}, rounds, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4, help="time of one figure of one round")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.rounds, chosen.seconds))
