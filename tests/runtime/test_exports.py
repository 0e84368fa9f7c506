from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import runtime

SDKS = {"aioboto3", "aiobotocore", "azure", "boto3", "botocore", "google", "obstore", "pulumi"}
HEAVY = {"lxml", "pydantic", "yaml", "typer", "rich", "httpx", "aiohttp"}


def modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def imported_for_type_checkers() -> dict[str, str]:
    tree = ast.parse(Path(runtime.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: node.module or "" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_all_is_sorted_and_complete() -> None:
    assert list(runtime.__all__) == sorted(set(runtime.__all__))
    assert set(runtime.__all__) == set(imported_for_type_checkers())


@pytest.mark.parametrize("name", runtime.__all__)
def test_every_name_is_there_and_is_the_one_that_type_checkers_see(name: str) -> None:
    assert getattr(runtime, name) is getattr(import_module(imported_for_type_checkers()[name]), name)
    assert name in dir(runtime)


def test_a_star_import_gives_all_of_it() -> None:
    names: dict[str, object] = {}
    exec("from runtime import *", names)  # noqa: S102 - a star is allowed at module level only
    assert set(runtime.__all__) <= set(names)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'runtime' has no attribute 'open_storag'"):
        _ = runtime.open_storag


def test_importing_runtime_loads_no_sdk_and_nothing_heavy() -> None:
    assert modules_after("import runtime") & (SDKS | HEAVY) == set()


def test_the_portable_type_needs_no_sdk_and_nothing_heavy() -> None:
    code = "from runtime import BlobStore, BlobStoreProtocol, FileInfo, Named, StorageError, UploadOptions"
    assert modules_after(code) & (SDKS | HEAVY) == set()


def test_every_name_together_loads_no_sdk() -> None:
    assert modules_after("from runtime import *") & SDKS == set()


def test_a_backend_in_memory_loads_no_sdk() -> None:
    code = (
        "import asyncio, runtime\n"
        "async def main():\n"
        "    async with runtime.open_storage({'default_driver': 'memory'}) as storage:\n"
        "        await storage.primary.upload('a', b'x')\n"
        "asyncio.run(main())"
    )
    assert modules_after(code) & SDKS == set()


def test_the_command_line_hears_ctrl_c_before_anything_else_is_loaded() -> None:
    code = "import sys; before = set(sys.modules); import runtime.cli; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"__future__", "runtime", "runtime.cli"}
