from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.infra.conftest import MakeStack, Run


def test_nothing_is_provisioned(make_stack: MakeStack, run: Run) -> None:
    recording = run(make_stack("{cache: {driver: memory, primary: true}}"))
    assert [(record.type, record.custom) for record in recording.records] == [("tandem:storage:Memory", False)]


def test_the_contract_names_the_backend(make_stack: MakeStack, run: Run) -> None:
    document = run(make_stack("{cache: {driver: memory, primary: true}}")).outputs["storage"]
    assert document["storage"]["default_driver"] == "memory"
    (backend,) = document["storage"]["backends"]
    assert {key: backend[key] for key in ("name", "driver", "primary", "memory")} == {
        "name": "cache",
        "driver": "memory",
        "primary": True,
        "memory": {},
    }
