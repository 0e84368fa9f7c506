"""The processes of the clients, seen from the benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.bench.cases import Job, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.bench.client import Site

END_SECONDS = 10.0


class Worker:
    """One client in a process of its own, so that its memory and processor time are its own.

    Args:
        name: Name of the client.
        site: Where it works.
    """

    def __init__(self, name: str, site: Site) -> None:
        self.name = name
        self.site = site
        command = [sys.executable, "-m", "tests.bench.worker", name, json.dumps(asdict(site))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _ask(self, what: str, **values: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"what": what, **values}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {"failed": "the process ended"}
        if "failed" in told:
            raise RuntimeError(f"{self.name}: {what} {values.get('case', '')}: {told['failed']}")
        return told["done"]

    def measure(self, job: Job) -> Sample | None:
        """The measurement; None when the client has no such call."""
        told = self._ask("measure", **_plain(job))
        return None if told is None else Sample(**told)

    def peak(self, job: Job) -> int | None:
        """Bytes of memory that the job needs at most; None when the client has no such call."""
        needed: int | None = self._ask("peak", **_plain(job))
        return needed

    def seed(self, tag: str, count: int, size: int = 4096) -> None:
        """Write *count* objects of *size* bytes below *tag*."""
        self._ask("seed", tag=tag, count=count, size=size)

    def seed_large(self, size: int) -> None:
        """Write one object of *size* bytes."""
        self._ask("seed_large", size=size)

    def warm(self) -> None:
        """Let it do a little of everything."""
        self._ask("warm")

    def make_bucket(self) -> None:
        """Make the bucket; only ours can."""
        self._ask("make_bucket")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _plain(job: Job) -> dict[str, Any]:
    return {**asdict(job), "directory": str(job.directory)}


@contextmanager
def workers(sites: Iterable[tuple[str, Site]]) -> Iterator[dict[str, Worker]]:
    """A process for each client, on its site."""
    with ExitStack() as stack:
        started: dict[str, Worker] = {}
        for name, site in sites:
            started[name] = worker = Worker(name, site)
            stack.callback(worker.close)
        yield started
