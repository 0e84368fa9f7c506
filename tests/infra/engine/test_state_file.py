"""The state of a stack on a disk that is full, and after somebody or something has damaged it."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from infra.engine.state import Entry, StateFile
from infra.stack import Stack
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENTRY = Entry("urn:a", "t:t:T", "a", id="1", dependencies=("urn:b",), inputs={"x": [1]}, outputs={"key": "s3cr3t"})
WRONG: tuple[Any, ...] = (None, 5, "x", True, [5], {"x": 5})


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack("dev", "shop", tmp_path, {})


@pytest.fixture
def written(stack: Stack) -> StateFile:
    state = StateFile(stack)
    state.record(put=Entry("urn:b", "t:t:T", "b", id="2"))
    state.record(put=ENTRY)
    state.set_outputs({"storage": {"version": 1}, "key": "s3cr3t"}, frozenset({"key"}))
    state.close()
    return state


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """No file grows beyond *size* bytes; what is written across it is written as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_step_that_the_disk_has_no_room_for_leaves_a_state_that_can_be_read(stack: Stack) -> None:
    state = StateFile(stack)
    state.record(put=Entry("urn:b", "t:t:T", "b", id="2"))
    journal = state.directory / "state.journal"

    with disk_full_at(journal.stat().st_size + 20), pytest.raises(OSError, match="File too large"):
        state.record(put=Entry("urn:a", "t:t:T", "a" * 100))
    state.record(begin=Entry("urn:c", "t:t:T", "c"))

    found = StateFile(stack).contents
    assert (list(found.resources), list(found.begun)) == (["urn:b"], ["urn:c"])


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("name", ["state.json", "secrets/state.json"])
def test_a_file_that_was_cut_off_is_one_error_that_names_it(stack: Stack, name: str) -> None:
    path = stack.root / ".tandem/dev" / name
    text = path.read_text()
    for length in range(0, len(text.rstrip()), 3):
        path.write_text(text[:length])
        with pytest.raises(ConfigError, match=r"state\.json: the s.* can not be read"):
            StateFile(stack)


def test_a_journal_that_was_cut_off_anywhere_is_read_up_to_there(stack: Stack) -> None:
    state = StateFile(stack)
    state.record(put=Entry("urn:b", "t:t:T", "b", id="2"))
    state.record(put=ENTRY)
    journal = state.directory / "state.journal"
    text = journal.read_text()
    for length in range(len(text) + 1):
        journal.write_text(text[:length])
        assert len(StateFile(stack).contents.resources) == max(0, text[:length].count("\n") - 1)


def test_a_value_of_a_wrong_kind_is_an_error_of_ours_or_none(stack: Stack, written: StateFile) -> None:
    vault = written.directory / "secrets" / "state.json"
    document, hidden = json.loads(written.path.read_text()), vault.read_text()
    for place in (document, document["resources"][1]):
        for key in list(place):
            value = place[key]
            for wrong in WRONG:
                place[key] = wrong
                written.path.write_text(json.dumps(document))
                vault.write_text(hidden)
                try:
                    state = StateFile(stack)
                except ConfigError as exc:
                    assert str(written.path) in str(exc)  # noqa: PT017 - it need not be raised
                else:
                    state.record(put=ENTRY)
                    state.close()
            place[key] = value
