"""Drivers of other distributions: built as wheels from the folders beside this file, installed where nobody else looks.

A wheel of pure Python is installed by unpacking it, which is what pip does with it; nothing is asked of an index. What
a plug-in does is seen in a process of its own, whose path has that folder in front.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Protocol

import pytest

from runtime.config import DRIVERS
from runtime.testing.conformance import conformance_tests

HERE = Path(__file__).parent


class Run(Protocol):
    """Runs Python with the plug-ins installed."""

    def __call__(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both distributions installed."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    for name in ("toy-storage", "broken-storage"):
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
        subprocess.run(build, cwd=HERE / name, check=True, capture_output=True, timeout=120)
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(site)
    assert len(list(site.glob("*.dist-info/entry_points.txt"))) == 2
    return site


@pytest.fixture(scope="session")
def run(site: Path) -> Run:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LEX_STORAGE", "PYTEST"))}
    environment = {**inherited, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", "TOY_KEY": "brick"}

    def call(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=cwd or site, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return call


CONTRACT = """
storage:
  backends:
    - name: box
      driver: toy
      primary: true
      toy: {bucket: lego, secret_key: "${TOY_KEY}"}
      transfer: {part_size: 64KiB}
    - {name: plain, driver: toy_protocol, toy_protocol: {greeting: hello}}
    - {name: cache, driver: memory}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "storage.yaml").write_text(CONTRACT)
    return tmp_path


def told(run: Run, code: str, project: Path, *arguments: str) -> Any:
    """What *code* prints as JSON."""
    done = run("-c", code, *arguments, cwd=project)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_driver_of_a_stranger_passes_the_whole_suite(run: Run, tmp_path: Path) -> None:
    suite = str(HERE / "toy-storage" / "conformance.py")
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, suite, cwd=tmp_path)
    counts = {kind: int(number) for number, kind in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    assert done.returncode == 0, done.stdout
    assert counts.keys() <= {"passed", "warnings", "warning"}, "nothing is skipped, nothing is excused"
    assert counts["passed"] >= len(conformance_tests())


BY_NAME = """
import asyncio, json
from toy_storage.driver import make_box
import runtime

make_box("lego", "brick")

async def main():
    async with runtime.open_storage(check=True) as storage:
        box = storage["box"]
        large = bytes(range(256)) * 1000
        await box.upload("a/ä b.bin", (large[at : at + 999] for at in range(0, len(large), 999)), metadata={"K": "v"})
        info = await box.info("a/ä b.bin")
        print(json.dumps({
            "kind": [type(box).__name__, type(box.driver).__module__],
            "primary": storage.primary is box,
            "same": await box.download("a/ä b.bin") == large,
            "info": [info.path, info.size, info.metadata],
            "listed": [found.path async for found in box.list("a")],
            "url": await box.get_url("a/ä b.bin"),
            "health": (await box.health_check()).details,
            "names": list(storage),
        }))

asyncio.run(main())
"""


def test_a_driver_is_used_by_its_name_from_the_contract(run: Run, project: Path) -> None:
    assert told(run, BY_NAME, project) == {
        "kind": ["BlobStore", "toy_storage.driver"],
        "primary": True,
        "same": True,
        "info": ["a/ä b.bin", 256_000, {"k": "v"}],
        "listed": ["a/ä b.bin"],
        "url": "toy:lego/a/%C3%A4%20b.bin",
        "health": {"backend": "box", "driver": "toy", "bucket": "lego", "toys": 1},
        "names": ["box", "plain", "cache"],
    }


BY_PROTOCOL = """
import asyncio, json
from datetime import timedelta
from typing import Annotated
from toy_storage.driver import make_box
import runtime
from runtime import BlobStoreProtocol, Named

make_box("lego", "brick")

class Service:
    def __init__(self, plain: Annotated[BlobStoreProtocol, Named("plain")], main: BlobStoreProtocol):
        self.plain, self.main = plain, main

async def main():
    async with runtime.open_storage(check=True) as storage:
        service = storage.inject(Service)
        plain = service.plain
        given = await plain.upload("a/b", b"content", "text/plain", metadata={"k": "v"})
        health = await storage.health_check(timeout=1.5)
        print(json.dumps({
            "kind": type(plain).__module__,
            "protocol": isinstance(plain, BlobStoreProtocol) and not isinstance(plain, runtime.BlobStore),
            "injected": plain is storage["plain"] and service.main is storage["box"],
            "given": [given.path, given.size, given.content_type, given.metadata],
            "info": (await plain.info("a/b")).path,
            "download": (await plain.download("a/b")).decode(),
            "stream": [chunk.decode() async for chunk in plain.stream("a/b", 4)],
            "listed": [found.path async for found in plain.list("a")],
            "urls": [await plain.get_url("a/b"), await plain.get_presigned_url("a/b", timedelta(minutes=1), "PUT")],
            "health": {name: result.is_healthy() for name, result in health.items()},
            "details": health["plain"].details,
            "exists": [await plain.exists("a/b"), await plain.delete("a/b"), await plain.exists("a/b")],
        }))

asyncio.run(main())
"""


def test_an_object_that_has_only_the_protocol_works_too(run: Run, project: Path) -> None:
    assert told(run, BY_PROTOCOL, project) == {
        "kind": "toy_storage.plain",
        "protocol": True,
        "injected": True,
        "given": ["a/b", 7, "text/plain", {"k": "v"}],
        "info": "a/b",
        "download": "content",
        "stream": ["cont", "ent"],
        "listed": ["a/b"],
        "urls": ["plain:a/b", "plain:a/b?for=60&method=PUT"],
        "health": {"box": True, "plain": True, "cache": True},
        "details": {"greeting": "hello", "timeout": 1.5},
        "exists": [True, None, False],
    }


def test_the_type_of_a_driver_of_a_stranger_is_checked_against_the_interface(site: Path, tmp_path: Path) -> None:
    """Its author has the same help of a type checker as we have."""
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nmypy_path = {site}:{HERE.parents[1]}\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", "-p", "toy_storage"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


OPEN = """
import asyncio, json, sys
import runtime

async def main(driver, *settings):
    mine = {"name": "mine", "driver": driver, **{driver: {name: "s3cr3t"} for name in settings}}
    try:
        async with runtime.open_storage({"backends": [mine, {"name": "cache", "driver": "memory"}]}):
            error = None
    except runtime.StorageError as exc:
        error = [type(exc).__name__, str(exc), type(exc.__cause__).__name__]
    print(json.dumps({"error": error, "loaded": [name for name in sys.modules if "broken" in name]}))

asyncio.run(main(*sys.argv[1:]))
"""


def test_an_unknown_driver_is_told_the_names_of_the_plug_ins(run: Run, project: Path) -> None:
    kind, message, _ = told(run, OPEN, project, "toyy")["error"]
    assert kind == "ConfigError"
    assert "backends.mine.driver: " in message
    assert "did you mean 'toy'?" in message
    listed = message.partition("allowed: ")[2].split(")")[0]
    plugged = ["broken_import", "broken_kind", "broken_make", "broken_name", "broken_result", "toy", "toy_protocol"]
    assert [name.strip() for name in listed.partition("\n")[0].split(",")] == [*DRIVERS, *plugged]


@pytest.mark.parametrize(
    ("driver", "what", "cause"),
    [
        ("broken_import", "can not be loaded: ImportError: cannot import name 'AncientDriver'", "ImportError"),
        (
            "broken_name",
            "can not be loaded: AttributeError: module 'broken_storage' has no attribute",
            "AttributeError",
        ),
        ("broken_kind", "is str, not a Driver class or a factory", "NoneType"),
        ("broken_make", "can not be made: TypeError", "TypeError"),
    ],
)
def test_a_broken_plug_in_is_a_loud_error_that_names_entry_point_and_distribution(
    run: Run, project: Path, driver: str, what: str, cause: str
) -> None:
    kind, message, why = told(run, OPEN, project, driver, "secret_key")["error"]
    assert (kind, why) == ("ConfigError", cause)
    assert re.search(rf"'{driver}' = 'broken_storage\w*:\w+' of broken-storage 0\.3\.1 {re.escape(what)}", message)
    assert "[mine]" in message
    assert "upgrade or remove that distribution" in message
    assert "s3cr3t" not in message


def test_a_plug_in_that_makes_no_store_is_an_error_that_says_what_it_made(run: Run, project: Path) -> None:
    kind, message, _ = told(run, OPEN, project, "broken_result")["error"]
    assert kind == "ConfigError"
    assert "'broken_result' gave list, neither a Driver nor a BlobStoreProtocol" in message


def test_broken_plug_ins_that_nobody_asks_for_are_never_loaded(run: Run, project: Path) -> None:
    assert told(run, OPEN, project, "memory") == {"error": None, "loaded": []}


DOCUMENT = """
import json
from runtime.config import StorageConfig, StorageDocument
from runtime.errors import ConfigError
from runtime.loading import load_config

def text(secret):
    toy = {"bucket": "lego", "secret_key": secret}
    storage = StorageConfig.model_validate({"backends": [{"name": "box", "driver": "toy", "toy": toy}]})
    return StorageDocument(storage=storage).to_yaml()

try:
    refused = text("in clear")
except ConfigError as error:
    refused = str(error)
open("generated.yaml", "w").write(text("${TOY_KEY}"))
print(json.dumps([refused, load_config("generated.yaml").backends[0].settings]))
"""


def test_settings_of_a_plug_in_go_through_a_generated_file_without_secrets(run: Run, project: Path) -> None:
    refused, settings = told(run, DOCUMENT, project)
    assert "storage.backends.box.toy.secret_key: is a literal secret" in refused
    assert "in clear" not in refused
    assert settings == {"bucket": "lego", "secret_key": "brick"}
