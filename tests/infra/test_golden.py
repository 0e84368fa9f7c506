"""The resources of every example stack, as they were when somebody last looked: a provider's upgrade that changes one
of them, or a change of ours that was not meant, is seen here.

``TANDEM_UPDATE_GOLDEN=1 pytest tests/infra/test_golden.py`` writes them anew; the diff of the files is the review.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.policy import record_offline
from infra.spec import load_spec
from infra.stack import Stack, stack_names

if TYPE_CHECKING:
    from infra.recording import Record, Recording

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
UPDATE = os.environ.get("TANDEM_UPDATE_GOLDEN") == "1"


def graph(recording: Recording) -> dict[str, Any]:
    """The resources by their name, without what is different on every machine."""
    names = {record.urn: _name(record) for record in recording.records}
    return {_name(record): _resource(record, names) for record in sorted(recording.records, key=_name)}


def _name(record: Record) -> str:
    return f"{record.type} {record.name}"


def _resource(record: Record, names: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "parent": names.get(record.parent),
        "provider": record.provider.rpartition("::")[0].rpartition("$")[2] or None,
        "protect": record.protect,
        "adopted": record.adopted or None,
        "after": sorted(names[urn] for urn in record.dependencies if urn in names),
        "inputs": _readable(dict(record.inputs)),
    }
    return {key: value for key, value in found.items() if value}


def _readable(node: Any) -> Any:
    """Policies as documents, not as one long line."""
    if isinstance(node, dict):
        return {key: _readable(value) for key, value in sorted(node.items())}
    if isinstance(node, list):
        return [_readable(value) for value in node]
    if isinstance(node, str) and node.startswith("{"):
        return {"json": json.loads(node)}
    return node


@pytest.mark.parametrize("name", stack_names(ROOT))
def test_a_stack_makes_the_resources_that_it_made_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANDEM_STATE", raising=False)
    stack = Stack.read(name, ROOT)
    found = json.loads(json.dumps(graph(record_offline(stack, load_spec(stack)))))
    file = GOLDEN / f"{name}.json"
    if UPDATE:
        file.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    assert found == json.loads(file.read_text()), "see the docstring of this file"


def test_no_stack_is_kept_that_there_is_not() -> None:
    assert sorted(file.stem for file in GOLDEN.iterdir()) == stack_names(ROOT)


def test_one_changed_property_is_seen() -> None:
    stack = Stack.read("dev", ROOT)
    recording = record_offline(stack, load_spec(stack))
    kept = json.loads((GOLDEN / "dev.json").read_text())
    recording.one("avatars-versioning").inputs["versioningConfiguration"]["status"] = "Suspended"  # as an upgrade might
    assert json.loads(json.dumps(graph(recording))) != kept
