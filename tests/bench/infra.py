"""The infrastructure half: what a stack of many backends costs offline, and what `up` costs on emulators.

    python -m tests.bench.infra                                  # offline: 1,000 backends
    python -m tests.bench.infra --up 25,50,100,200               # and the embedded engine, on servers of this machine
    python -m tests.bench.infra --commands                       # and whole processes: `tandem check`, `config render`

Backends are a fifth each of s3, gcs, azure, r2 and local. Offline figures leave out imports: a small stack is judged
before. Figures depend on the machine and what else runs on it; nothing here is a test.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Final

from infra import emulators
from infra.emit import document
from infra.engine.embedded import EmbeddedEngine
from infra.garbage import no_collections
from infra.policy import judge, record_offline
from infra.spec import context_of, load_spec
from infra.stack import Stack
from runtime.validation import dump_yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.engine import Result

ROOT: Final = Path(__file__).parents[2]
_ACCOUNTS: Final = {
    "aws": "123456789012",
    "azure": "00000000-0000-4000-8000-000000000001",
    "cloudflare": "0123456789abcdef0123456789abcdef",
    "gcp": "example-prod",
}
_SERVERS: Final = {"aws": "ministack", "azure": "azurite", "cloudflare": "ministack", "gcp": "fake-gcs-server"}
_CORS: Final = [{"origins": ["https://app.example.com"], "methods": ["GET", "PUT"], "max_age": "1h"}]
_GOOGLE: Final = "serviceAccount:app@example-prod.iam.gserviceaccount.com"
_MIXED: Final[list[dict[str, Any]]] = [
    {"driver": "s3", "cors": _CORS, "grants": [{"to": "role/app", "access": ["read", "write", "list", "presign"]}]},
    {"driver": "gcs", "location": "EU", "grants": [{"to": _GOOGLE, "access": ["read", "write", "list", "presign"]}]},
    {
        "driver": "azure",
        "location": "westeurope",
        "network": "public",
        "grants": [{"to": "11111111-2222-4333-8444-555555555555", "access": ["read", "list"]}],
    },
    {"driver": "r2", "jurisdiction": "eu", "cors": _CORS},
    {"driver": "local", "root_dir": "/srv/files", "base_url": "https://app.example.com/files"},
]


def stack(directory: Path, count: int, *, emulated: bool = False) -> Stack:
    """A project with one stack of *count* backends."""
    backends = {f"b{number:04}": dict(_MIXED[number % len(_MIXED)]) for number in range(count)}
    config: dict[str, Any] = {"aws:region": "eu-west-1", "tandem:accounts": _ACCOUNTS}
    config["tandem:storage"] = {"profile": "dev" if emulated else "standard", "backends": backends}
    if emulated:
        config["tandem:emulators"] = _SERVERS
        for backend in backends.values():
            backend.pop("grants", None)
    (directory / "stacks").mkdir(parents=True)
    (directory / "infra").mkdir()
    (directory / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
    (directory / "infra/__main__.py").write_text((ROOT / "infra/__main__.py").read_text())
    (directory / "stacks/Pulumi.bench.yaml").write_text(dump_yaml(json.loads(json.dumps({"config": config}))))
    return Stack.read("bench", directory)


def say(*cells: str) -> None:
    """One row."""
    first, *others = cells
    print(f"{first:<32}" + "".join(f"{cell:>12}" for cell in others), flush=True)  # noqa: T201 - this command's output


def offline(directory: Path, count: int) -> None:
    """Contract and verdict of a stack, step by step."""
    judge_all(stack(directory / "first", len(_MIXED)), lambda *_: None)  # imports
    say(f"{count} backends, offline", "wall s", "cpu s")
    begin, used = perf_counter(), process_time()
    judge_all(stack(directory / "offline", count), lambda name, wall, cpu: say(name, f"{wall:.2f}", f"{cpu:.2f}"))
    say("all, with writing the spec", f"{perf_counter() - begin:.2f}", f"{process_time() - used:.2f}")


def judge_all(given: Stack, done: Callable[[str, float, float], None]) -> None:
    """What `tandem config render` does, with a report of each step."""

    def timed(name: str, step: Callable[[], Any]) -> Any:
        begin, used = perf_counter(), process_time()
        found = step()
        done(name, perf_counter() - begin, process_time() - used)
        return found

    read = timed("read the stack's file", lambda: Stack.read(given.name, given.root))
    spec = timed("check the spec", lambda: load_spec(read))
    contract = timed("compute the contract", lambda: document(spec, context_of(read, spec)))
    timed("write it as YAML", contract.to_yaml)
    with no_collections():  # as `tandem check` does
        recording = timed("record the resources", lambda: record_offline(read, spec))
        timed(f"judge {len(recording.records)} of them", lambda: judge(recording, read, spec))


def up(directory: Path, counts: list[int]) -> None:
    """The embedded engine: the first `up`, one that changes nothing, and the end."""
    say("embedded engine", "resources", "up s", "cpu s", "cpu ms each", "again s", "cpu s", "destroy s", "cpu s")
    for count in counts:
        given = stack(directory / f"up-{count}", count, emulated=True)
        emulators.up(given)
        try:
            runs = [_timed(run, given) for run in (EmbeddedEngine().up, EmbeddedEngine().up, EmbeddedEngine().destroy)]
        finally:
            emulators.down(given)
        size = len(runs[0][0].steps)
        spent = [f"{figure:.1f}" for result, cpu in runs for figure in (result.duration, cpu)]
        each = f"{1000 * runs[0][1] / size:.1f}"
        say(f"{count} backends", str(size), *spent[:2], each, *spent[2:])


def _timed(run: Callable[[Stack], Result], given: Stack) -> tuple[Result, float]:
    """What a run did, and the processor's seconds of this process, servers left out."""
    used = process_time()
    return run(given), process_time() - used


def commands(rounds: int) -> None:
    """Whole processes on the example stacks; the best of some rounds, as others share the machine."""
    say("whole process", "wall s", "cpu s")
    for words in (("check", "-s", "prod"), ("check", "-s", "staging"), ("config", "render", "-s", "prod"), ("--help",)):
        spent = min(_process([sys.executable, "-m", "runtime.cli", *words]) for _ in range(rounds))
        say(f"tandem {' '.join(words)}", *(f"{each:.2f}" for each in spent))


def _process(command: list[str]) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = perf_counter()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", type=int, default=1000)
    parser.add_argument("--up", type=lambda text: [int(each) for each in text.split(",")], default=[])
    parser.add_argument("--commands", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as place:
        offline(Path(place), chosen.backends)
        if chosen.up:
            up(Path(place), chosen.up)
    if chosen.commands:
        commands(chosen.rounds)
