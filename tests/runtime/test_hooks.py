from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.errors import InvalidPathError, NotFoundError

if TYPE_CHECKING:
    from runtime.hooks import Finish, Hook, Operation, Outcome
    from tests.runtime.conftest import StoreFactory


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[Operation, Outcome]] = []

    def __call__(self, operation: Operation) -> Finish:
        return lambda outcome: self.seen.append((operation, outcome))


async def test_a_hook_sees_begin_and_end_of_every_operation(open_store: StoreFactory) -> None:
    recorder = Recorder()
    store = await open_store(hooks=[recorder])
    recorder.seen.clear()  # opening
    await store.upload("a", b"12345")
    await store.download("a")
    async for _ in store.stream("a", 2):
        pass
    async for _ in store.list("a"):
        pass
    names = [operation.name for operation, _ in recorder.seen]
    assert names == ["upload", "download", "stream", "list"]
    assert [outcome.size for _, outcome in recorder.seen] == [5, 5, 5, None]
    for operation, outcome in recorder.seen:
        assert (operation.backend, operation.driver, operation.path) == ("avatars", "memory", "a")
        assert outcome.error is None
        assert outcome.seconds > 0


async def test_a_hook_sees_the_error_that_the_caller_sees(open_store: StoreFactory) -> None:
    recorder = Recorder()
    store = await open_store(hooks=[recorder])
    with pytest.raises(NotFoundError) as missing:
        await store.info("a")
    with pytest.raises(InvalidPathError) as refused:
        await store.info("../a")
    assert [outcome.error for _, outcome in recorder.seen[-2:]] == [missing.value, refused.value]


async def test_a_hook_that_fails_is_logged_and_changes_nothing(
    open_store: StoreFactory, caplog: pytest.LogCaptureFixture
) -> None:
    def broken_begin(operation: Operation) -> Finish:
        raise ZeroDivisionError(operation.name)

    def broken_end(_: Operation) -> Finish:
        def finish(outcome: Outcome) -> None:
            raise ZeroDivisionError(outcome.seconds)

        return finish

    recorder = Recorder()
    store = await open_store(hooks=[broken_begin, recorder, broken_end])
    caplog.clear()
    await store.upload("a", b"x")
    assert [operation.name for operation, _ in recorder.seen] == ["open", "upload"]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


async def test_hooks_end_in_the_opposite_order(open_store: StoreFactory) -> None:
    order: list[str] = []

    def named(name: str) -> Hook:
        def hook(_: Operation) -> Finish:
            order.append(f"{name} begins")
            return lambda _: order.append(f"{name} ends")

        return hook

    store = await open_store(hooks=[named("a"), named("b"), lambda _: None])
    order.clear()
    await store.exists("x")
    assert order == ["a begins", "b begins", "b ends", "a ends"]
