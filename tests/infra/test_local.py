from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.conftest import MakeStack, Run

UPLOADS = "{uploads: {driver: local, root_dir: ./storage/uploads}}"


def test_the_directory_is_made_with_a_file_that_keeps_it(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(UPLOADS)
    recording = run(stack)
    assert [path.name for path in (stack.root / "storage/uploads").iterdir()] == [".gitkeep"]
    (component,) = recording.records
    assert (component.type, component.custom) == ("tandem:storage:Directory", False)


def test_what_is_in_the_directory_stays(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(UPLOADS)
    run(stack)
    (stack.root / "storage/uploads/a.txt").write_text("kept")
    run(stack)
    assert (stack.root / "storage/uploads/a.txt").read_text() == "kept"


def test_a_preview_makes_no_directory(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(UPLOADS)
    run(stack, preview=True)
    assert not (stack.root / "storage").exists()


def test_an_absolute_directory_is_somebody_elses(make_stack: MakeStack, run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "mount" / "uploads"
    recording = run(make_stack(f"{{uploads: {{driver: local, root_dir: {directory}}}}}"))
    assert not directory.exists()
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    assert backend["local"] == {"root_dir": str(directory)}


def test_a_directory_that_can_not_be_made_is_an_error_that_names_it(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack(UPLOADS)
    (stack.root / "storage").write_text("a file")
    with pytest.raises(ConfigError, match=r"storage/uploads can not be made: (Not a directory|File exists)"):
        run(stack)
    assert not stack.contract.exists()


def test_the_contract_has_the_directory_as_it_was_written(make_stack: MakeStack, run: Run) -> None:
    recording = run(
        make_stack("{uploads: {driver: local, root_dir: ./up, base_url: 'https://app.example.com/files/'}}")
    )
    (backend,) = recording.outputs["storage"]["storage"]["backends"]
    assert backend == {
        "name": "uploads",
        "driver": "local",
        "local": {"root_dir": "./up", "base_url": "https://app.example.com/files"},
        "expect": {"versioning": False, "public": False, "cors": [], "capabilities": [], "grants": []},
    }
