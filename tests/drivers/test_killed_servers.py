"""A server that is killed in the middle of an upload or of a download."""

from __future__ import annotations

import os
import signal
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from runtime.errors import StorageUnavailableError
from runtime.registry import DriverRegistry
from runtime.testing.conformance.support import payload
from runtime.testing.servers import Server, start
from tests.places import MIB, place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from runtime.testing.fixtures import ProgramFactory, ServerFactory

KINDS = ("gofakes3", "fake-gcs-server", "azurite")
BOUND_SECONDS = 60.0
SETTINGS: dict[str, Any] = {
    "retry": {"attempts": 3, "pause": 0.05, "longest_pause": 0.2},
    "transfer": {"part_size": 5 * MIB, "concurrency": 2},
}
DATA = payload(5 * MIB)


@pytest.fixture
def mortal(program: ProgramFactory, tmp_path: Path) -> Iterator[ServerFactory]:
    """Servers of one test."""
    running: dict[str, Server] = {}

    def get(name: str) -> Server:
        if name not in running:
            program(name)  # or the test is skipped
            running[name] = start(name, tmp_path / name)
        return running[name]

    yield get
    for server in running.values():
        server.stop()


def killed(server: Server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(BOUND_SECONDS)


def tells(error: StorageUnavailableError, operation: str) -> bool:
    """Whether it says what failed, where, and that another attempt may succeed."""
    told = str(error)
    named = (error.backend, error.operation, error.path) == ("media", operation, "a/b")
    return named and error.retryable and "[media/a/b]" in told and operation in told and "127.0.0.1" not in told


@pytest.mark.parametrize("kind", KINDS)
async def test_an_upload_ends_in_time_with_an_error_that_says_where(
    mortal: ServerFactory, kind: str, tmp_path: Path
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(6):
            if number == 3:
                killed(mortal(kind))
            yield DATA

    async with DriverRegistry().build(place(mortal, kind, tmp_path, **SETTINGS)) as store:
        begin = monotonic()
        with pytest.raises(StorageUnavailableError) as caught:
            await store.upload("a/b", parts())
        assert monotonic() - begin < BOUND_SECONDS
        assert tells(caught.value, "upload"), str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_download_ends_in_time_and_leaves_no_part_of_a_file(
    mortal: ServerFactory, kind: str, tmp_path: Path
) -> None:
    target = tmp_path / "files" / "b"
    target.parent.mkdir()

    def progress(_done: int, _total: int) -> None:
        if mortal(kind).alive():
            killed(mortal(kind))

    async with DriverRegistry().build(place(mortal, kind, tmp_path, **SETTINGS)) as store:
        await store.upload("a/b", DATA * 6)
        begin = monotonic()
        with pytest.raises(StorageUnavailableError) as caught:
            await store.download_to("a/b", target, progress=progress)
        assert tells(caught.value, "download_to"), str(caught.value)
        with pytest.raises(StorageUnavailableError) as caught:
            await store.download("a/b")
        assert tells(caught.value, "download"), str(caught.value)
        assert monotonic() - begin < BOUND_SECONDS
    assert list(target.parent.iterdir()) == []


async def test_a_stream_that_breaks_off_for_good_is_never_taken_for_the_whole(
    mortal: ServerFactory, tmp_path: Path
) -> None:
    async with DriverRegistry().build(place(mortal, "gofakes3", tmp_path, **SETTINGS)) as store:
        await store.upload("a/b", DATA * 6)
        got = 0

        async def read() -> None:
            nonlocal got
            async with aclosing(store.stream("a/b", MIB)) as chunks:
                async for chunk in chunks:
                    if not got:
                        killed(mortal("gofakes3"))
                    got += len(chunk)

        with pytest.raises(StorageUnavailableError) as caught:
            await read()
        assert 0 < got < len(DATA) * 6
        assert tells(caught.value, "stream"), str(caught.value)
