"""The example stacks are right, and their guide names every key that there is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.backend import BackendSpec, Cors, Encryption, Exemption, Grant, Lifecycle, LifecycleRule, Retention
from infra.logs import Logging
from infra.problems import keys_of
from infra.provision import program
from infra.recording import record
from infra.spec import StorageSpec, drivers, load_spec, module_of
from infra.stack import KEYS, Stack, stack_names
from runtime.config import DRIVERS, StorageDocument, StorageOperationConfig, TransferConfig

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
README = ROOT / "stacks" / "README.md"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's stacks, where a run may write."""
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "stacks").mkdir()
    for file in (ROOT / "stacks").glob("Pulumi.*.yaml"):
        shutil.copy(file, tmp_path / "stacks")
    return tmp_path


def test_these_are_the_stacks() -> None:
    assert stack_names(ROOT) == ["dev", "emulated", "prod", "staging"]


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_a_stacks_spec_is_right(name: str) -> None:
    assert load_spec(Stack.read(name, ROOT)).backends


@pytest.mark.parametrize(("name", "expected"), [("dev", "local memory r2 s3"), ("emulated", " ".join(sorted(DRIVERS)))])
def test_a_local_stack_has_these_drivers(name: str, expected: str) -> None:
    found = {backend.driver for backend in load_spec(Stack.read(name, ROOT)).backends}
    assert " ".join(sorted(found)) == expected


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_a_stack_runs_to_a_complete_contract_without_any_account(
    project: Path, emulate: Callable[[Stack], None], name: str
) -> None:
    stack = Stack.read(name, project)
    if stack.emulators:
        emulate(stack)
    recording = record(program, stack)
    contract = StorageDocument.model_validate(recording.outputs["storage"])
    assert [backend.name for backend in contract.storage.backends] == sorted(stack.config["tandem:storage"]["backends"])
    assert stack.contract.exists()


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_what_holds_data_is_protected_in_real_stacks(project: Path, name: str) -> None:
    records = record(program, Stack.read(name, project), preview=True).records
    holders = {record.name for record in records if record.custom and record.name.endswith("-bucket")}
    assert holders
    assert holders <= {record.name for record in records if record.protect}


def _documented(keys: list[str]) -> list[str]:
    text = README.read_text()
    return [key for key in keys if f"`{key}`" not in text]


@pytest.mark.parametrize(
    "model",
    [
        StorageSpec,
        Logging,
        Retention,
        BackendSpec,
        Cors,
        Encryption,
        Lifecycle,
        LifecycleRule,
        Grant,
        Exemption,
        TransferConfig,
        StorageOperationConfig,
    ],
)
def test_the_guide_names_every_key(model: Any) -> None:
    assert _documented(keys_of(model)) == []


@pytest.mark.parametrize("driver", drivers())
def test_the_guide_names_every_key_of_a_driver(driver: str) -> None:
    assert _documented(keys_of(module_of(driver).Spec)) == []
    assert f"## {driver}" in README.read_text()


def test_the_guide_names_every_key_of_a_stack() -> None:
    assert _documented(list(KEYS)) == []
