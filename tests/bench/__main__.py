"""The benchmark: this package beside the other clients of object storage, in one run on one server.

    python -m tests.bench --markdown tests/bench/RESULTS.md

Competitors: ``pip install -e .[bench]``; one that is not installed is a line of the report, not a failure. A full
run takes about five minutes on two cores; nothing else should run then.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from runtime.testing.fixtures import RAM_DISK
from runtime.testing.servers import start as start_server
from tests.bench import groups
from tests.bench.client import MIB, NAMES, Site, released
from tests.bench.groups import Plan, prepare, say
from tests.bench.report import document, facts, markdown
from tests.bench.start import start
from tests.bench.tables import OURS
from tests.bench.workers import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.tables import Table
    from tests.bench.workers import Worker

GROUPS: Final[dict[str, Callable[[Plan], list[Table]]]] = {
    "s3": groups.s3,
    "slow": groups.slow,
    "peak": groups.peak,
    "local": groups.local,
    "memory": groups.memory,
    "start": start,
}
_SMALLEST: Final = 16 * MIB
"""The smallest stream that has two parts."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.bench", description="Compare clients of object storage.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (5)")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of one measurement (0.25)")
    parser.add_argument("--only", type=_names, default=tuple(GROUPS), help=f"groups: {','.join(GROUPS)}")
    parser.add_argument("--cases", type=_names, default=(), help="cases: put,get,info,list,presign,delete,upload,…")
    parser.add_argument("--clients", type=_names, default=NAMES, help=f"clients: {','.join(NAMES)}")
    parser.add_argument("--server", default="gofakes3", help="S3 server: gofakes3 or versitygw")
    parser.add_argument("--quick", action="store_true", help="a smoke run: little of everything, figures mean nothing")
    parser.add_argument("--json", type=Path, help="file for all figures of all rounds")
    parser.add_argument("--markdown", type=Path, help="file for the report; it is printed in any case")
    options = parser.parse_args(arguments)
    for given, known in ((options.only, GROUPS), (options.clients, NAMES)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return options


def _plan(options: argparse.Namespace, site: Site, seeder: Worker, directory: Path, ram: Path | None) -> Plan:
    return Plan(
        clients=tuple(name for name in NAMES if name in options.clients and released(name)),
        rounds=options.rounds,
        seconds=0.01 if options.quick else options.seconds,
        listed=1001 if options.quick else 5000,
        large=_SMALLEST if options.quick else 64 * MIB,
        slow=_SMALLEST if options.quick else 32 * MIB,
        huge=2 * _SMALLEST if options.quick else 256 * MIB,
        cases=frozenset(options.cases),
        site=site,
        seeder=seeder,
        directory=ram if options.quick and ram else directory,  # a disk may take seconds for all the fsyncs
        ram=ram,
    )


def _measured(options: argparse.Namespace) -> list[Table]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-bench-")))
        ram = None
        if RAM_DISK.is_dir():
            ram = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-bench-", dir=RAM_DISK)))
        server = stack.enter_context(start_server(options.server, (ram or directory) / "server"))
        site = Site(server.url, "bench", server.region, server.access_key, server.secret_key)
        seeder = stack.enter_context(workers([(OURS, site)]))[OURS]
        plan = _plan(options, site, seeder, directory, ram)
        seeder.make_bucket()
        prepare(plan, seeder, {plan.large, plan.slow, plan.huge})
        found: list[Table] = []
        for name, group in GROUPS.items():
            if name in options.only:
                begin = perf_counter()
                say(f"{name}:")
                found += group(plan)
                say(f"  {perf_counter() - begin:.0f} s")
    return [table for table in found if table.rows]


def main(arguments: Sequence[str]) -> int:
    """Run it."""
    options = _options(arguments)
    about = facts(options.server, options.rounds)
    begin = perf_counter()
    tables = _measured(options)
    about["duration"] = f"{perf_counter() - begin:.0f} s"
    report = markdown(tables, about)
    print(report)  # noqa: T201 - the command's output
    if options.markdown:
        options.markdown.write_text(report, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(document(tables, about), indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
