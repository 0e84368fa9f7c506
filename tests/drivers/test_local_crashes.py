"""A directory that several processes write, some of which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
import pytest

from runtime.drivers.local.work import STALE_SECONDS, Work
from runtime.drivers.local.writing import Bucket
from runtime.errors import StorageError
from runtime.models import UploadOptions
from runtime.testing.conformance.support import paths_of
from tests.drivers.folders import open_local, unfinished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from runtime.store import BlobStore


OPTIONS = UploadOptions(content_type="text/plain")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
async def store(root: Path) -> AsyncIterator[BlobStore]:
    async with open_local(root) as opened:
        yield opened


class Starter(Protocol):
    def __call__(self, script: str, *arguments: str) -> subprocess.Popen[str]: ...


KILLED = """
import anyio, sys
from tests_support import open_local

async def source():
    for _ in range(40):
        yield b"n" * 100_000
    print("halfway", flush=True)
    await anyio.sleep_forever()

async def main():
    async with open_local(sys.argv[1]) as store:
        await store.upload("target", source())

anyio.run(main)
"""

RACER = """
import anyio, sys
from runtime.errors import AlreadyExistsError
from tests_support import open_local

async def main():
    async with open_local(sys.argv[1]) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        won = []
        for number in range(40):
            try:
                await store.upload(f"race/{number}", sys.argv[2], if_not_exists=True)
                won.append(number)
            except AlreadyExistsError:
                pass
        print(*won, flush=True)

anyio.run(main)
"""

SUPPORT = """
from runtime.config import NamedStorageConfig
from runtime.drivers.local import driver_class
from runtime.store import BlobStore

def open_local(root):
    entry = {"name": "files", "driver": "local", "local": {"root_dir": root}, "transfer": {"part_size": "256KiB"}}
    backend = NamedStorageConfig.model_validate(entry)
    return BlobStore(backend, driver_class(backend))
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Starter]:
    """Starts a script in another process; those still running at the end are killed."""
    (tmp_path / "tests_support.py").write_text(SUPPORT)
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


async def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with anyio.fail_after(60):
        return (await anyio.to_thread.run_sync(process.stdout.readline)).strip()


async def test_killed_upload_leaves_the_old_object_and_nothing_in_the_listing(
    store: BlobStore, root: Path, run: Starter
) -> None:
    await store.upload("target", b"old content", content_type="text/x-old")
    process = run(KILLED, str(root))
    assert await line_of(process) == "halfway"
    assert await paths_of(store) == ["target"], "while it goes on"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert await paths_of(store) == ["target"]
    assert await store.download("target") == b"old content"
    assert (await store.info("target")).content_type == "text/x-old"
    assert unfinished(root), "what it left is in the hidden folder only"

    # the next start removes what it left once it is old, and by then only
    async with open_local(root):
        assert unfinished(root)
    long_ago = time.time() - STALE_SECONDS - 1
    for file in (root / ".tandem/temporary").iterdir():
        os.utime(file, (long_ago, long_ago))
    async with open_local(root):
        assert unfinished(root) == []
    assert await store.download("target") == b"old content"


async def test_start_of_another_process_spares_uploads_that_live_however_slow_they_are(
    store: BlobStore, root: Path
) -> None:
    driver = store.driver
    upload_id = await driver.start_multipart("slow", OPTIONS)
    token = await driver.put_part("slow", upload_id, 1, [b"first"])
    long_ago = time.time() - 10 * STALE_SECONDS
    for file in (root / ".tandem/temporary").iterdir():
        os.utime(file, (long_ago, long_ago))
    async with open_local(root):
        assert unfinished(root)
    await driver.complete_multipart("slow", upload_id, [token], 5, OPTIONS)
    assert await store.download("slow") == b"first"


async def test_processes_that_race_to_create_have_one_winner_each_time(
    store: BlobStore, root: Path, run: Starter
) -> None:
    await store.upload("before", b"x")
    processes = {name: run(RACER, str(root), name) for name in ("one", "two", "three")}
    for process in processes.values():
        assert await line_of(process) == "ready"
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    won = {name: {int(number) for number in (await line_of(process)).split()} for name, process in processes.items()}
    assert sum(len(numbers) for numbers in won.values()) == 40, "each race has exactly one winner"
    assert set().union(*won.values()) == set(range(40))
    for name, numbers in won.items():
        for number in numbers:
            assert await store.download(f"race/{number}") == name.encode()


async def test_attributes_are_there_in_a_second_process(store: BlobStore, root: Path, run: Starter) -> None:
    given = await store.upload(
        "a/object", b"x", content_type="text/x-ours", metadata={"a": "b"}, cache_control="no-store"
    )
    script = (
        "import anyio, sys\n"
        "from tests_support import open_local\n"
        "async def main():\n"
        "    async with open_local(sys.argv[1]) as store:\n"
        "        info = await store.info('a/object')\n"
        "        print(info.content_type, info.metadata, info.cache_control, info.etag)\n"
        "anyio.run(main)\n"
    )
    assert await line_of(run(script, str(root))) == f"text/x-ours {{'a': 'b'}} no-store {given.etag}"


# every moment at which the machine may die


async def test_crash_between_attributes_and_bytes_leaves_the_old_pair(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("target", b"old", content_type="text/x-old", metadata={"v": "old"})

    def crash(*_: object) -> None:
        raise OSError(5, "the machine died")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "_place", crash)
        for _ in range(3):
            with pytest.raises(StorageError):
                await store.upload("target", b"new", content_type="text/x-new", metadata={"v": "new"})
    info = await store.info("target")
    assert (await store.download("target"), info.content_type, info.metadata) == (b"old", "text/x-old", {"v": "old"})
    await store.upload("target", b"new", content_type="text/x-new")
    assert (await store.info("target")).content_type == "text/x-new"


async def test_crash_before_the_attributes_leaves_the_old_pair(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("target", b"old", content_type="text/x-old")

    def crash(*_: object) -> None:
        raise OSError(5, "the machine died")

    with monkeypatch.context() as patch:
        patch.setattr(Work, "write_versions", crash)
        with pytest.raises(StorageError):
            await store.upload("target", b"new", content_type="text/x-new")
    assert (await store.info("target")).content_type == "text/x-old"
    assert await store.download("target") == b"old"


async def test_everything_is_on_the_disk_before_it_becomes_visible(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("folder/first", b"x")
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(fd: int) -> None:
        name = str(Path(f"/proc/self/fd/{fd}").readlink()).rsplit("root", 1)[1]
        calls.append(f"fsync {'temporary' if '/temporary/' in name else name or '/'}")
        fsync(fd)

    def spy_replace(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        calls.append(f"rename to {target if not target.endswith('.json') else 'attributes'}")
        replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    await store.upload("folder/first", b"new")
    attributes = next(call for call in calls if call.startswith("fsync /.tandem/attributes"))
    assert calls == [
        "fsync temporary",  # the bytes
        "fsync temporary",  # the attributes
        "rename to attributes",
        attributes,
        "rename to first",
        "fsync /folder",
    ]
