"""A new backend touches the places that the design lists, and no other: shown by adding one to a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MODEL = '''
class StorageToyConfig(DriverConfig):
    """Objects in a toy box.

    Attributes:
        bucket: The box.
    """

    bucket: str


class StorageMemoryConfig(DriverConfig):'''

DRIVER = """
from runtime.drivers.memory import MemoryDriver


class ToyDriver(MemoryDriver):
    def url(self, path: str) -> str:
        return f"toy:{self.backend.settings.bucket}/{path}"


driver_class = ToyDriver
"""

INFRA = """
from typing import Literal

import pulumi

from infra.backend import BackendSpec
from runtime.config import NamedStorageConfig, StorageToyConfig


class Spec(BackendSpec):
    driver: Literal["toy"]
    colour: Literal["red", "blue"] = "red"


class Bucket(pulumi.ComponentResource):
    def __init__(self, spec):
        super().__init__("tandem:storage:Toy", spec.name, {})
        self.resources: list[pulumi.CustomResource] = []
        self.register_outputs({})


def provision(spec, context):
    return Bucket(spec)


def entry(spec, context):
    return spec.named(StorageToyConfig(bucket=f"{spec.colour}-{spec.name}"))
"""

STACK = """
config:
  tandem:emulators: {}
  tandem:storage:
    profile: dev
    tags: {owner: tests}
    backends:
      box: {driver: toy, colour: blue}
"""

USE = """
import asyncio
from pathlib import Path

import runtime
from infra.emit import contract_path, document, write
from infra.provision import plan
from infra.spec import load_spec
from infra.stack import Stack


async def main():
    stack = Stack.read("toy", Path.cwd())
    spec = load_spec(stack)
    write(contract_path(stack), document(spec, plan(stack, spec)).to_yaml())
    async with runtime.open_storage(contract_path(stack)) as storage:
        await storage["box"].upload("a/b", b"bytes")
        print(await storage["box"].get_url("a/b"), await storage["box"].download("a/b"))


asyncio.run(main())
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    skipped = shutil.ignore_patterns("__pycache__")
    for part in ("infra", "runtime"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=skipped)
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "stacks").mkdir()
    return tmp_path


def test_a_toy_backend_needs_one_model_one_field_and_two_modules(copy: Path) -> None:
    config = copy / "runtime/config.py"
    text = config.read_text()
    memory, field = "\nclass StorageMemoryConfig(DriverConfig):", "    memory: StorageMemoryConfig | None = None\n"
    assert text.count(memory) == text.count(field) == 1
    text = text.replace(memory, MODEL).replace(field, f"{field}    toy: StorageToyConfig | None = None\n")
    config.write_text(text)
    (copy / "runtime/drivers/toy.py").write_text(DRIVER)
    (copy / "infra/toy.py").write_text(INFRA)
    (copy / "stacks/Pulumi.toy.yaml").write_text(STACK)

    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEX_STORAGE")}
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=copy,
        env=environment | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.strip() == "toy:blue-box/a/b b'bytes'"
