"""What hooks see of key-value stores."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import runtime
from runtime.errors import InvalidKeyError, InvalidValueError, OperationRefusedError
from runtime.events import Events, FileDeleted
from runtime.kv import InMemoryKVStorage
from runtime.testing.fakes import fake_storage

if TYPE_CHECKING:
    from runtime.hooks import Finish, Operation, Outcome

SECRET = "5e551on-value"
CONFIG = {
    "backends": [{"name": "files", "driver": "memory"}],
    "kv": [{"name": "sessions", "driver": "memory"}],
}


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[Operation, Outcome]] = []

    def __call__(self, operation: Operation) -> Finish:
        return lambda outcome: self.seen.append((operation, outcome))

    def taken(self) -> list[Operation]:
        seen, self.seen = self.seen, []
        return [operation for operation, _ in seen]


def watched(*hooks: Any) -> InMemoryKVStorage:
    store = InMemoryKVStorage(name="sessions")
    store.hooks = hooks
    return store


async def test_every_operation_is_seen_with_its_keys() -> None:
    recorder = Recorder()
    store = watched(recorder)
    await store.set("u1", SECRET, 60, "web")
    await store.get("u1")
    await store.add(key="u1", value=SECRET)
    await store.touch("u1", ttl=60)
    await store.incr("n", namespace="web")
    await store.compare_and_set("u1", SECRET, SECRET)
    await store.exists("u1")
    await store.delete("u1")
    await store.set_many({"a": SECRET, "b": SECRET})
    assert await store.get_many(key for key in ("a", "b", "c")) == {"a": SECRET, "b": SECRET}
    await store.list_keys(prefix="u")
    await store.list_keys("u*")
    await store.clear("web")
    await store.namespaces()
    await store.sweep()
    await store.health_check()
    assert all(outcome.error is None and outcome.seconds > 0 for _, outcome in recorder.seen)
    assert SECRET not in repr(recorder.seen)
    assert [(seen.name, seen.path, seen.paths, seen.namespace) for seen in recorder.taken()] == [
        ("kv.set", "u1", ("u1",), "web"),
        ("kv.get", "u1", ("u1",), ""),
        ("kv.add", "u1", ("u1",), ""),
        ("kv.touch", "u1", ("u1",), ""),
        ("kv.incr", "n", ("n",), "web"),
        ("kv.compare_and_set", "u1", ("u1",), ""),
        ("kv.exists", "u1", ("u1",), ""),
        ("kv.delete", "u1", ("u1",), ""),
        ("kv.set_many", None, ("a", "b"), ""),
        ("kv.get_many", None, ("a", "b", "c"), ""),
        ("kv.list_keys", "u", (), ""),
        ("kv.list_keys", "u*", (), ""),
        ("kv.clear", None, (), "web"),
        ("kv.namespaces", None, (), ""),
        ("kv.sweep", None, (), ""),
        ("kv.describe", None, (), ""),
    ]


async def test_a_hook_sees_the_error_that_the_caller_sees() -> None:
    recorder = Recorder()
    store = watched(recorder)
    await store.set("text", "x")
    with pytest.raises(InvalidValueError) as refused:
        await store.set("when", object())
    with pytest.raises(InvalidValueError) as uncountable:
        await store.incr("text")
    with pytest.raises(InvalidKeyError) as unnamed:
        await store.get("")
    assert [outcome.error for _, outcome in recorder.seen[1:]] == [refused.value, uncountable.value, unnamed.value]
    assert (refused.value.backend, refused.value.operation) == ("sessions", "set")


@pytest.mark.parametrize("wrong", [None, 5, b"x"])
async def test_arguments_of_a_wrong_kind_are_refused_as_without_hooks(wrong: Any) -> None:
    store = watched(Recorder())
    with pytest.raises(TypeError, match="a key is text"):
        await store.get(wrong)
    with pytest.raises(TypeError, match="a key is text"):
        await store.get_many([wrong])
    with pytest.raises(TypeError, match="not one string"):
        await store.get_many("abc")
    with pytest.raises(TypeError, match="missing"):
        await store.set("a")  # type: ignore[call-arg] # a caller's slip


async def test_a_hook_may_refuse_and_no_error_names_the_key() -> None:
    def keep(operation: Operation) -> None:
        if operation.name in {"kv.set", "kv.delete"} and operation.path == "kept":
            raise OperationRefusedError("this key is kept")

    recorder = Recorder()
    store = watched(recorder, keep)
    await store.add("kept", 1)
    with pytest.raises(OperationRefusedError) as refused:
        await store.set("kept", 2)
    with pytest.raises(OperationRefusedError):
        await store.delete("kept")
    assert await store.get("kept") == 1
    assert str(refused.value).count("kept") == 1
    assert (refused.value.backend, refused.value.path) == ("sessions", None)
    assert recorder.seen[1][1].error is refused.value


async def test_a_call_that_is_cancelled_is_seen() -> None:
    recorder = Recorder()

    class Slow(InMemoryKVStorage):
        async def _get(self, space: str, key: str) -> Any:
            await asyncio.sleep(60)
            return await super()._get(space, key)

    store = Slow()
    store.hooks = (recorder,)
    task = asyncio.ensure_future(store.get("a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(recorder.seen[0][1].error, asyncio.CancelledError)


async def test_an_application_hears_of_its_key_value_stores_through_the_same_hooks() -> None:
    recorder = Recorder()
    async with runtime.open_storage(CONFIG, hooks=[recorder]) as storage:
        await storage.kv["sessions"].set("u1", 1)
        await storage["files"].upload("a", b"x")
    seen = [(operation.backend, operation.driver, operation.name, operation.path) for operation in recorder.taken()]
    assert ("sessions", "memory", "kv.set", "u1") in seen
    assert ("files", "memory", "upload", "a") in seen


async def test_the_fake_storage_calls_the_applications_hooks() -> None:
    recorder = Recorder()
    with fake_storage(CONFIG):
        async with runtime.open_storage(CONFIG, hooks=[recorder]) as storage:
            await storage.kv.primary.incr("n")
    assert [operation.name for operation in recorder.taken()] == ["kv.incr"]


async def test_handlers_of_blob_operations_hear_nothing_of_entries() -> None:
    events = Events()
    heard: list[object] = []
    events.on(FileDeleted)(heard.append)

    @events.before("delete")
    def never(operation: Operation) -> None:
        raise OperationRefusedError(f"not {operation.name}")

    @events.after("kv.delete")
    def after(operation: Operation, outcome: Outcome) -> None:
        heard.append((operation.path, outcome.error))

    store = watched(events)
    await store.set("a", 1)
    assert await store.delete("a") is True
    assert heard == [("a", None)]


async def test_a_warning_of_a_secret_names_the_line_that_wrote_it() -> None:
    store = watched(Recorder())
    with pytest.warns(runtime.errors.StorageWarning) as warned:
        await store.set("u1", {"password": "hunter2"})
    assert warned[0].filename == __file__
