"""When a credential is replaced: before it ends, and once when the service does not accept it."""

from __future__ import annotations

import asyncio
from time import time
from typing import TYPE_CHECKING

import pytest

from runtime.drivers import _credential_cache
from runtime.drivers._credential_cache import RETRY_AFTER, UNDATED_SECONDS, CredentialCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Clock:
    """The time, as a test sets it."""

    def __init__(self) -> None:
        self.now = time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_credential_cache, "time", clock)
    return clock


class Issuer:
    """Gives a new credential to everybody who asks, or always the same one."""

    def __init__(self, clock: Clock, life: float | None = 3600.0, *, same: bool = False) -> None:
        self.clock = clock
        self.life = life
        self.same = same
        self.asked: list[bool] = []
        self.before: Callable[[], Awaitable[object]] | None = None

    async def __call__(self, anew: bool) -> tuple[str, float | None]:
        self.asked.append(anew)
        if self.before is not None:
            await self.before()
        name = "only" if self.same else f"number {len(self.asked)}"
        return name, None if self.life is None else self.clock.now + self.life


class TestBeforeTheEnd:
    @pytest.mark.parametrize(("life", "early"), [(3600.0, 300.0), (400.0, 100.0), (4.0, 1.0)])
    async def test_it_is_replaced_before_it_ends_and_not_asked_for_meanwhile(
        self, clock: Clock, life: float, early: float
    ) -> None:
        cache = CredentialCache(Issuer(clock, life))
        assert {await cache.get() for _ in range(10)} == {"number 1"}
        clock.now += life - early - 0.1
        assert (cache.now(), await cache.get()) == ("number 1", "number 1")
        clock.now += 0.2
        assert (cache.now(), await cache.get()) == (None, "number 2")

    async def test_one_that_tells_no_end_is_asked_for_again_some_time(self, clock: Clock) -> None:
        issuer = Issuer(clock, None)
        cache = CredentialCache(issuer)
        assert await cache.get() == "number 1"
        clock.now += UNDATED_SECONDS + 1
        issuer.before = _broken
        assert await cache.get() == "number 1", "it may hold still"

    async def test_the_old_one_serves_while_a_new_one_is_on_its_way(self, clock: Clock) -> None:
        issuer, coming = Issuer(clock), asyncio.Event()
        cache = CredentialCache(issuer)
        await cache.get()
        clock.now += 3400
        issuer.before = coming.wait
        renewing = asyncio.create_task(cache.get())
        await asyncio.sleep(0)
        assert await cache.get() == "number 1"
        coming.set()
        assert await renewing == "number 2"

    async def test_a_failure_is_hidden_until_the_old_one_ends_and_then_raised(self, clock: Clock) -> None:
        issuer = Issuer(clock, 100)
        cache = CredentialCache(issuer)
        await cache.get()
        issuer.before = _broken
        clock.now += 80
        assert [await cache.get() for _ in range(3)] == ["number 1"] * 3
        assert len(issuer.asked) == 2, "not for every request"
        clock.now += 21
        with pytest.raises(ConnectionError):
            await cache.get()

    async def test_one_task_that_is_cancelled_while_it_asks_leaves_the_others_one(self, clock: Clock) -> None:
        issuer, coming = Issuer(clock), asyncio.Event()
        issuer.before = coming.wait
        cache = CredentialCache(issuer)
        first, second = asyncio.create_task(cache.get()), asyncio.create_task(cache.get())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        coming.set()
        assert await second == "number 2"


class TestRefused:
    async def test_many_that_were_refused_renew_it_once(self, clock: Clock) -> None:
        issuer = Issuer(clock)
        cache = CredentialCache(issuer)
        refused = await cache.get()
        assert await asyncio.gather(*(cache.renew(refused) for _ in range(20))) == [True] * 20
        assert issuer.asked == [False, True]
        assert await cache.get() == "number 2"

    async def test_the_same_again_is_not_worth_another_request(self, clock: Clock) -> None:
        issuer = Issuer(clock, same=True)
        cache = CredentialCache(issuer)
        assert not await cache.renew(await cache.get())
        assert not await cache.renew(await cache.get())
        assert issuer.asked == [False, True], "an identity that is refused is not asked for by every request"
        clock.now += RETRY_AFTER + 1
        assert not await cache.renew(await cache.get())
        assert issuer.asked == [False, True, True]

    async def test_a_new_one_that_is_refused_as_well_is_the_last_for_a_while(self, clock: Clock) -> None:
        issuer = Issuer(clock)
        cache = CredentialCache(issuer)
        assert await cache.renew(await cache.get())
        assert not await cache.renew(await cache.get())
        assert issuer.asked == [False, True]

    async def test_one_that_was_replaced_in_time_may_be_refused_again(self, clock: Clock) -> None:
        issuer = Issuer(clock, 4)
        cache = CredentialCache(issuer)
        assert await cache.renew(await cache.get())
        clock.now += 3.5
        assert await cache.renew(await cache.get())
        assert issuer.asked == [False, True, False, True]

    async def test_what_gives_none_is_the_error(self, clock: Clock) -> None:
        issuer = Issuer(clock)
        cache = CredentialCache(issuer)
        refused = await cache.get()
        issuer.before = _broken
        with pytest.raises(ConnectionError):
            await cache.renew(refused)
        issuer.before = None
        assert await cache.renew(refused)


async def _broken() -> None:
    raise ConnectionError
