"""Our `BlobStore` beside the `BlobStoreProtocol` of the published lexigram-contracts: at run time, by word, and typed.

What does not hold is said here too: the value types are classes of lexigram's own, so a type checker takes our store
only where these are named by ours; `HealthCheckResult` has no ``category`` here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.interop.conftest import Lexigram

ROOT = Path(__file__).parents[2]


def test_our_store_passes_for_theirs_in_an_application_that_knows_only_theirs(
    lexigram: Lexigram, tmp_path: Path
) -> None:
    assert lexigram("use", str(tmp_path / "files")) == {"memory": [True] * 7, "local": [True] * 7}


def test_every_method_of_the_protocol_has_an_equal_signature(lexigram: Lexigram) -> None:
    """Equal: their parameters in their order, of the same names, kinds and defaults, and both awaited or neither.

    Ours may add keyword-only parameters with defaults. What the parameters accept is for the type checker, below.
    """
    methods = lexigram("signatures")
    assert len(methods) == 10
    for name, (theirs, mine) in methods.items():
        added = [parameter for parameter in mine["parameters"] if parameter not in theirs["parameters"]]
        assert [p for p in mine["parameters"] if p not in added] == theirs["parameters"], name
        assert all(kind == "KEYWORD_ONLY" and default is not None for _, kind, default in added), name
        assert mine["coroutine"] is theirs["coroutine"], name


LEFT_OUT = {"HealthCheckResult": {"category"}}  # readiness or liveness: every check of a store is of readiness


def test_the_values_have_every_field_that_lexigrams_have_in_its_order(lexigram: Lexigram) -> None:
    for name, (theirs, mine) in lexigram("values").items():
        expected = [field for field in theirs if field not in LEFT_OUT.get(name, set())]
        assert mine[: len(expected)] == expected, name
        assert len(theirs) - len(expected) == len(LEFT_OUT.get(name, set())), name


def test_stores_of_each_side_are_used_by_the_other(lexigram: Lexigram) -> None:
    assert lexigram("adopt") == {
        "mine": ["lexigram.storage.backends.memory", "x", "a"],
        "injected": True,
        "healthy": {"theirs": True},
        "yours": [True, "y"],
        "signed": "NotSupportedError",
    }


BOTH_WAYS = """
from {theirs} import BlobStoreProtocol as Theirs
from runtime import BlobStore
from runtime.protocols import BlobStoreProtocol as Ours


def our_store(store: BlobStore) -> Theirs:
    return store


def our_protocol(store: Ours) -> Theirs:
    return store


def their_protocol(store: Theirs) -> Ours:
    return store
"""


def checked(directory: Path, python: Path, theirs: str) -> subprocess.CompletedProcess[str]:
    (directory / "both_ways.py").write_text(BOTH_WAYS.format(theirs=theirs))
    (directory / "mypy.ini").write_text(f"[mypy]\nmypy_path = {ROOT}:{directory}\n")
    options = ["--strict", "--follow-imports=silent", "--python-executable", str(python), "--show-error-context"]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--config-file", "mypy.ini", "--cache-dir", "cache", "both_ways.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_type_checker_takes_each_protocol_for_the_other(tmp_path: Path, lexigram_python: Path) -> None:
    """Their protocol, word by word, with the value types that it names replaced by ours of the same names."""
    package = next((lexigram_python.parents[1] / "lib").glob("python*/site-packages"))
    source = (package / "lexigram/contracts/infra/storage/protocols.py").read_text()
    for theirs, mine in (("infra.storage.models", "models"), ("core", "health")):
        source, count = re.subn(
            rf"from lexigram\.contracts\.{re.escape(theirs)} import", f"from runtime.{mine} import", source
        )
        assert count == 1
    (tmp_path / "renamed.py").write_text(source)
    done = checked(tmp_path, lexigram_python, "renamed")
    assert done.returncode == 0, done.stdout


def test_only_their_classes_of_values_keep_a_type_checker_from_it_unchanged(
    tmp_path: Path, lexigram_python: Path
) -> None:
    done = checked(tmp_path, lexigram_python, "lexigram.contracts.infra.storage")
    assert done.returncode == 1
    errors = re.findall(r"error: (.*?)  \[", done.stdout)
    assert len(errors) == 3, done.stdout
    assert all(error.startswith("Incompatible return value type") for error in errors)
    shown = set(re.findall(r"note: +(?:async )?def (\w+)", done.stdout))
    assert shown <= {"upload", "info", "list", "health_check"}, "only methods that take or give such a value"
