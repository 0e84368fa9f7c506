"""The groups of cases. Each gives tables; all work round by round, so that every client meets the same weather."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.bench.cases import CASES, READ, Job
from tests.bench.client import MIB, PART, PARTS_IN_FLIGHT, Site, load
from tests.bench.slow import DELAY, RATE, slow_network
from tests.bench.tables import Row, Table
from tests.bench.workers import Worker, workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tests.bench.cases import Case, Sample

SLOW_ROUNDS: Final = 3
PEAK_ROUNDS: Final = 2
_S3: Final = (
    *("put", "get", "info", "list", "presign", "presign-now"),
    *("delete", "delete-singly", "delete-batch", "upload", "stream"),
)
_SLOW: Final = ("put", "get", "upload-once", "stream-once", "download-to")
_LOCAL: Final = ("put", "get", "info", "list", "delete", "upload", "stream")
_MEMORY: Final = ("put", "get", "info", "list", "delete")
_PEAK: Final = ("upload", "stream")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        clients: Which clients.
        rounds: How often.
        seconds: How long one measurement shall take.
        listed: Objects to list.
        large: Bytes of the streams.
        slow: The same on a slow network.
        huge: Bytes of the streams whose memory is measured, and of the parallel download.
        cases: Only these; all when empty.
        site: The S3 server.
        seeder: Writes the objects that clients remove, on the S3 server.
        directory: Where files may be written, on a disk.
        ram: The same in memory, where there is such a place.
    """

    clients: tuple[str, ...]
    rounds: int
    seconds: float
    listed: int
    large: int
    slow: int
    huge: int
    cases: frozenset[str]
    site: Site
    seeder: Worker
    directory: Path
    ram: Path | None

    def chosen(self, cases: Iterable[str]) -> list[str]:
        """Those of *cases* that were asked for."""
        return [case for case in cases if not self.cases or case.removesuffix("-once") in self.cases]

    def able(self, kind: str) -> list[str]:
        """The clients that work on sites of this kind."""
        return [name for name in self.clients if kind in load(name).sites]

    def job(self, case: str, count: int, tag: str) -> Job:
        """One measurement."""
        size = self.huge if case == "download-to" else self.slow if CASES[case].once else self.large
        return Job(case, count, tag, self.listed, size, self.ram or self.directory)


def say(text: str) -> None:
    """Show progress where it does not mix with the tables."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a progress line for a person


class Rounds:
    """Measures cases with clients, round by round.

    Args:
        plan: How much.
        running: The clients.
        seeder: Who writes the objects that are removed; None for each client itself.
    """

    def __init__(self, plan: Plan, running: dict[str, Worker], seeder: Worker | None = None) -> None:
        self._plan = plan
        self._running = running
        self._seeder = seeder
        self._tags = 0

    def run(self, cases: Sequence[str], rounds: int) -> dict[str, dict[str, list[Sample]]]:
        """All samples, by case and client; the first round, which finds out the counts, is left out."""
        for worker in self._running.values():
            worker.warm()
        counts = {(case, name): self._count(case, worker) for case in cases for name, worker in self._running.items()}
        samples: dict[str, dict[str, list[Sample]]] = {case: {name: [] for name in self._running} for case in cases}
        for number in range(rounds):
            say(f"  round {number + 1} of {rounds}")
            first = number % len(self._running)  # whoever comes first finds the caches of another case
            order = [*self._running.items()][first:] + [*self._running.items()][:first]
            for case in cases:
                for name, worker in order:
                    sample = self._measure(case, worker, counts[case, name]) if counts[case, name] else None
                    if sample is not None:
                        samples[case][name].append(sample)
        return samples

    def _measure(self, case: str, worker: Worker, count: int) -> Sample | None:
        self._tags += 1
        tag = f"scratch/{worker.name}-{self._tags}"
        if CASES[case].seeded:
            (self._seeder or worker).seed(tag, count * CASES[case].seeds)
        return worker.measure(self._plan.job(case, count, tag))

    def _count(self, case: str, worker: Worker) -> int:
        """How often this client has to do it to be busy for the planned time; 0 when it has no such call."""
        known: Case = CASES[case]
        if known.once:
            return 1
        count = 1 if known.unit in {"key", "MiB"} or known.seeds > 1 else 32
        while True:
            sample = self._measure(case, worker, count)
            if sample is None:
                return 0
            wanted = self._plan.seconds / sample.seconds
            if wanted < 4:  # near enough to be trusted
                return max(round(count * wanted), 1)
            count *= min(int(wanted), 16)


def tables(key: str, title: str, note: str, samples: dict[str, dict[str, list[Sample]]]) -> list[Table]:
    """Throughput and processor time."""
    rates, costs = [], []
    for case, found in samples.items():
        shown, unit = CASES[case].title, CASES[case].unit
        rates.append(
            Row(case, shown, f"{unit}/s", {name: [s.rate for s in several] for name, several in found.items()})
        )
        costs.append(
            Row(case, shown, f"µs/{unit}", {name: [s.cost for s in several] for name, several in found.items()})
        )
    cpu = "Of all threads of the client's process, user and kernel time. Less is better."
    return [Table(key, title, note, rates), Table(f"{key}-cpu", f"{title}: processor time", cpu, costs)]


def s3(plan: Plan) -> list[Table]:
    """Every client on one S3 server, all at the same time, taking turns."""
    cases = plan.chosen(_S3)
    with workers((name, plan.site) for name in plan.able("s3")) as running:
        samples = Rounds(plan, running, plan.seeder).run(cases, plan.rounds)
    note = (
        f"Objects of 4 KiB, 32 operations in flight (signing, listing and batches: one); {plan.listed:,} keys to list; "
        f"streams of {plan.large // MIB} MiB, uploaded from an iterator of 1 MiB pieces as parts of {PART // MIB} MiB, "
        f"{PARTS_IN_FLIGHT} in flight, and downloaded over one connection in chunks of about 1 MiB. More is better."
    )
    return tables("s3", "S3", note, samples)


def slow(plan: Plan) -> list[Table]:
    """The same server behind a slow network."""
    cases = plan.chosen(_SLOW)
    with slow_network(plan.site) as site, workers((name, site) for name in plan.able("s3")) as running:
        samples = Rounds(plan, running).run(cases, min(plan.rounds, SLOW_ROUNDS))
    note = (
        f"The same server behind a proxy that adds {DELAY * 1000:.0f} ms to every round trip and lets each connection "
        f"move {RATE / 1e6:.0f} MB/s. Streams of {plan.slow // MIB} MiB; the parallel download has "
        f"{plan.huge // MIB} MiB. More is better."
    )
    return tables("slow", "S3 over a slow network", note, samples)


def peak(plan: Plan) -> list[Table]:
    """The most memory that a stream takes, each in a fresh process."""
    rows = [Row(case, CASES[case].title, "MiB") for case in plan.chosen(_PEAK)]
    for number in range(min(plan.rounds, PEAK_ROUNDS)):
        say(f"  round {number + 1} of {min(plan.rounds, PEAK_ROUNDS)}")
        for row in rows:
            for name in plan.able("s3"):
                with workers([(name, plan.site)]) as running:
                    running[name].warm()
                    needed = running[name].peak(Job(row.key, 1, "peak", plan.listed, plan.huge, plan.directory))
                values = row.figures.setdefault(name, [])
                if needed is not None:
                    values.append(needed / MIB)
    note = (
        f"Most resident memory while {plan.huge // MIB} MiB are streamed, above what a process held that had only "
        f"moved small objects. Parts in flight: {PARTS_IN_FLIGHT * PART // MIB} MiB. Less is better."
    )
    return [Table("peak", "Peak memory of a stream", note, rows)]


def local(plan: Plan) -> list[Table]:
    """Files of this machine: on a disk, and in memory, where fsync costs nothing."""
    found = _on_files(plan, "local", "Local files", plan.directory)
    if plan.ram is not None:
        found += _on_files(plan, "local-ram", "Local files on a RAM disk", plan.ram)
    return found


def _on_files(plan: Plan, key: str, title: str, directory: Path) -> list[Table]:
    sites = [(name, Site(f"file://{directory}/{key}/{name}")) for name in plan.able("local")]
    with workers(sites) as running:
        for worker in running.values():
            prepare(plan, worker, [plan.large])
        samples = Rounds(plan, running).run(plan.chosen(_LOCAL), plan.rounds)
    note = (
        "As above. Ours is durable when it returns (fsync of file and folder) and keeps attributes and a content hash "
        "beside each file; obstore renames without fsync and keeps none."
    )
    return tables(key, title, note, samples)


def memory(plan: Plan) -> list[Table]:
    """Objects in the client's own process: what the layers above a driver cost."""
    with workers((name, Site("memory:")) for name in plan.able("memory")) as running:
        for worker in running.values():
            prepare(plan, worker, ())
        samples = Rounds(plan, running).run(plan.chosen(_MEMORY), plan.rounds)
    note = (
        "Objects in the client's own process: what everything above a driver costs. Ours hashes every write (SHA-256)."
    )
    return tables("memory", "Memory", note, samples)


def prepare(plan: Plan, worker: Worker, large: Iterable[int]) -> None:
    """Write the objects that are read and listed, the large ones of these sizes."""
    worker.seed("get", READ)
    worker.seed("list", plan.listed, size=16)
    for size in large:
        worker.seed_large(size)
