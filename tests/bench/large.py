"""One large object streamed up and down again on every service, and the memory that it takes.

    python -m tests.bench.large --size 2048

Each case is a process of its own; its peak is what the kernel says (`tests.bench.memory`), counted from where it was
when the backend was open and had moved one small object. The bound is ``part_size x concurrency`` + 16 MiB.
``gcs`` is `tests.bench.gcs_disk`; fake-gcs-server takes a size of up to 512 (see there), so it is not in the default.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack, aclosing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import anyio

from runtime.config import NamedStorageConfig
from runtime.registry import DriverRegistry
from runtime.testing.fixtures import RAM_DISK
from runtime.testing.servers import start as start_server
from runtime.testing.serving import serving
from tests.bench.gcs_disk import DiskGCS
from tests.bench.memory import forget_peak, peak, resident
from tests.places import place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runtime.testing.servers import Server

MIB: Final = 1024 * 1024
KINDS: Final = ("gofakes3", "versitygw", "azurite", "gcs", "fake-gcs-server", "local")
SLACK: Final = 16 * MIB


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for number in range(size // MIB):
        yield number.to_bytes(8, "big") * (MIB // 8)


async def _case(entry: NamedStorageConfig, direction: str, size: int) -> dict[str, Any]:
    async with DriverRegistry().build(entry) as store:
        await store.upload("small", bytes(64 * 1024))
        await store.download("small")
        forget_peak()
        base, begin, moved = resident(), perf_counter(), 0
        if direction == "up":
            moved = (await store.upload("large", _pieces(size))).size
        else:
            async with aclosing(store.stream("large", MIB)) as chunks:
                async for chunk in chunks:
                    moved += len(chunk)
        found = {"extra": peak() - base, "seconds": perf_counter() - begin}
        if moved != size:
            raise RuntimeError(f"{moved} of {size} bytes were moved")
        return found


def _run(kind: str, size: int, folder: Path) -> list[tuple[str, float, float, bool]]:
    with ExitStack() as stack:

        def server(name: str) -> Server:
            return stack.enter_context(start_server(name, folder / name))

        entry = _disk_gcs(stack, folder) if kind == "gcs" else place(server, kind, folder)
        bound = int(entry.transfer.part_size) * entry.transfer.concurrency + SLACK
        rows = []
        for direction in ("up", "down"):
            told = json.dumps({"entry": _plain(entry), "direction": direction, "size": size})
            command = [sys.executable, "-m", "tests.bench.large", "--case", "-"]
            done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
            if done.returncode:
                words = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
                sys.stderr.write(f"{kind} {direction}: {words[-1]}\n")
                rows.append((direction, 0.0, 0.0, False))
                continue
            found = json.loads(done.stdout)
            rows.append((direction, found["extra"] / MIB, size / MIB / found["seconds"], found["extra"] <= bound))
        return rows


def _disk_gcs(stack: ExitStack, folder: Path) -> NamedStorageConfig:
    url = stack.enter_context(serving(DiskGCS(folder).app))
    settings = {"bucket": "large", "project_id": "tandem-test", "endpoint_url": url}
    return NamedStorageConfig.model_validate({"name": "media", "driver": "gcs", "gcs": settings})


def _plain(entry: NamedStorageConfig) -> dict[str, Any]:
    return entry.document()  # an emulator's keys, for a child of this process


def main(arguments: Sequence[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser("python -m tests.bench.large", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=2048, help="MiB of the object (2048)")
    parser.add_argument(
        "--only", default=",".join(kind for kind in KINDS if kind != "fake-gcs-server"), help=f"of {','.join(KINDS)}"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        told = json.load(sys.stdin)
        entry = NamedStorageConfig.model_validate(told["entry"])
        print(json.dumps(anyio.run(_case, entry, told["direction"], told["size"])))  # noqa: T201 - the answer
        return 0
    met = True
    print("| service | | peak extra MiB | MiB/s | within part_size x concurrency + 16 MiB |\n|---|---|---|---|---|")  # noqa: T201 - the command's output
    for kind in options.only.split(","):
        ram = RAM_DISK if RAM_DISK.is_dir() and kind != "local" else None
        with tempfile.TemporaryDirectory(prefix="tandem-large-", dir=ram) as folder:
            for direction, extra, speed, within in _run(kind, options.size * MIB, Path(folder)):
                met = met and within
                print(f"| {kind} | {direction} | {extra:.0f} | {speed:.0f} | {'yes' if within else 'NO'} |", flush=True)  # noqa: T201 - as above
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
