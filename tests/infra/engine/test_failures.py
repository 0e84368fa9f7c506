"""What a run leaves behind when something goes wrong in the middle of it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from infra.engine.embedded import EmbeddedEngine
from infra.engine.lock import StackLock
from infra.engine.state import StateFile
from runtime.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from infra.stack import Stack
    from tests.infra.engine.conftest import Play, Toys


class BoomError(Exception):
    pass


def chain(play: Play, *names: str) -> Any:
    def program(provider: pulumi.ProviderResource) -> Any:
        made: list[Any] = []
        for name in names:
            made.append(play.thing(name, pulumi.ResourceOptions(depends_on=made[-1:]))(provider))
        return made[-1]

    return program


def test_error_of_a_resource_reaches_the_caller_as_it_was_raised(play: Play, toys: Toys) -> None:
    boom = toys.broken["begin b"] = BoomError("no b today")

    with pytest.raises(BoomError) as caught:
        play.up(chain(play, "a", "b", "c"))

    assert caught.value is boom
    assert caught.value.__notes__ == [
        "while handling toy:index:Thing 'b' (urn:pulumi:test::tandem::toy:index:Thing::b)"
    ]
    assert caught.value.__cause__ is not boom
    assert list(toys.things) == ["a"], "c depends on what failed"


def test_run_after_a_failure_goes_on_from_there(play: Play, toys: Toys) -> None:
    toys.broken["begin b"] = BoomError()
    with pytest.raises(BoomError):
        play.up(chain(play, "a", "b", "c"))
    toys.broken.clear()

    result = play.up(chain(play, "a", "b", "c"))

    assert play.actions(result) == {"a": "same", "b": "create", "c": "create"}


def test_result_of_a_failed_run_lists_what_was_done(play: Play, toys: Toys) -> None:
    toys.broken["begin b"] = BoomError()
    engine = play.engine(chain(play, "a", "b"))

    with pytest.raises(BoomError):
        engine.up(play.stack)

    assert engine.result is not None
    assert play.actions(engine.result) == {"a": "create"}


def test_creation_that_was_not_acknowledged_is_found_again(play: Play, toys: Toys) -> None:
    toys.broken["create a"] = BoomError("after the thing was made")
    with pytest.raises(BoomError):
        play.up(play.thing("a", size=1))
    assert toys.things["a"] == {"name": "a", "size": 1}
    toys.broken.clear()

    result = play.up(play.thing("a", size=2))

    assert [(step.action.value, step.note) for step in result.steps if step.name == "a"] == [
        ("create", "its creation was interrupted and is completed")
    ]
    assert toys.things["a"] == {"name": "a", "size": 2}
    assert play.news(play.up(play.thing("a", size=2))) == []


def test_creation_that_was_not_acknowledged_is_deleted_when_the_program_drops_it(play: Play, toys: Toys) -> None:
    toys.broken["create a"] = BoomError()
    with pytest.raises(BoomError):
        play.up(play.thing("a"))
    toys.broken.clear()

    play.up(play.thing("b"))

    assert list(toys.things) == ["b"]


def test_others_in_flight_are_finished_and_written_down(play: Play, toys: Toys, stack: Stack) -> None:
    toys.slow["create slow"] = threading.Event()
    toys.slow["begin bad"] = threading.Event()
    toys.broken["begin bad"] = BoomError()

    def let_go() -> None:
        while "begin slow" not in toys.calls:
            pass
        toys.slow["begin bad"].set()
        threading.Timer(0.2, toys.slow["create slow"].set).start()

    helper = threading.Thread(target=let_go)
    helper.start()
    with pytest.raises(BoomError):
        play.up(play.thing("slow"), play.thing("bad"))
    helper.join()

    assert {e.name for e in StateFile(stack).contents.resources.values() if e.custom} == {"slow", "toys"}
    toys.slow.clear()
    toys.broken.clear()
    assert play.actions(play.up(play.thing("slow"), play.thing("bad"))) == {"slow": "same", "bad": "create"}


def test_nothing_is_deleted_after_a_failure(play: Play, toys: Toys) -> None:
    play.up(play.thing("a"), play.thing("old"))
    toys.broken["update a"] = BoomError()

    with pytest.raises(BoomError):
        play.up(play.thing("a", size=1))

    assert sorted(toys.things) == ["a", "old"]


def test_failed_deletion_keeps_the_resource_in_the_state(play: Play, toys: Toys) -> None:
    play.up(chain(play, "a", "b"))
    toys.broken["delete a"] = BoomError()

    with pytest.raises(BoomError) as caught:
        play.destroy()

    assert "while deleting toy:index:Thing 'a'" in caught.value.__notes__[0]
    toys.broken.clear()
    assert play.actions(play.destroy()) == {"a": "delete"}
    assert toys.things == {}


def test_replaced_resource_whose_deletion_failed_is_deleted_by_the_next_run(play: Play, toys: Toys) -> None:
    play.up(play.thing("a"))
    toys.broken["delete a"] = BoomError()

    def renamed(provider: pulumi.ProviderResource) -> Any:
        return play.resource("a", provider, physical="a2")

    with pytest.raises(BoomError):
        play.up(renamed)
    assert sorted(toys.things) == ["a", "a2"]
    toys.broken.clear()

    assert play.actions(play.up(renamed)) == {"a": "same"}
    assert list(toys.things) == ["a2"]


def test_interrupt_of_a_call_leaves_a_state_to_go_on_from(play: Play, toys: Toys) -> None:
    toys.broken["create b"] = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        play.up(chain(play, "a", "b", "c"))

    toys.broken.clear()
    result = play.up(chain(play, "a", "b", "c"))
    assert play.actions(result) == {"a": "same", "b": "create", "c": "create"}
    assert sorted(toys.things) == ["a", "b", "c"]


def test_error_of_the_program_passes_unchanged_and_writes_nothing(stack: Stack) -> None:
    wrong = ConfigError("the spec is wrong", problems=[Problem("storage.backends.a", "is odd")])

    def program() -> None:
        raise wrong

    for run in (EmbeddedEngine(program).preview, EmbeddedEngine(program).up):
        with pytest.raises(ConfigError) as caught:
            run(stack)
        assert caught.value is wrong
    assert not (stack.root / ".tandem" / "test" / "state.json").exists()


def test_error_that_the_program_dressed_for_the_cli_is_undressed(stack: Stack) -> None:
    wrong = ConfigError("the spec is wrong")

    def program() -> None:
        raise pulumi.RunError(str(wrong)) from wrong

    with pytest.raises(ConfigError) as caught:
        EmbeddedEngine(program).up(stack)
    assert caught.value is wrong


def test_error_in_an_apply_reaches_the_caller(play: Play, toys: Toys) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        made = play.thing("a")(provider)

        def fail(_: str) -> None:
            raise BoomError("in apply")

        pulumi.export("x", made.address.apply(fail))
        return made

    with pytest.raises(BoomError, match="in apply"):
        play.up(program)
    assert list(toys.things) == ["a"]
    assert play.actions(play.up(play.thing("a"))) == {"a": "same"}


def test_runs_work_inside_a_running_event_loop(play: Play) -> None:
    async def main() -> None:
        assert play.actions(play.up(play.thing("a"))) == {"a": "create"}
        assert play.actions(play.preview(play.thing("a"))) == {"a": "same"}
        assert asyncio.get_running_loop().is_running()

    asyncio.run(main())


def test_second_run_at_the_same_time_is_refused_with_the_holder(play: Play, stack: Stack) -> None:
    directory = stack.root / ".tandem" / "test"
    with StackLock(directory, "test"):
        holder = json.loads((directory / "state.lock").read_text())["pid"]
        for run in (play.engine().up, EmbeddedEngine().destroy):
            with pytest.raises(
                ConfigError, match=f"another run is changing the stack 'test': process {holder}, since 20"
            ):
                run(stack)
        play.preview(play.thing("a"))  # reading needs no lock

    assert play.actions(play.up(play.thing("a"))) == {"a": "create"}


def test_lock_of_a_process_that_died_does_not_block(play: Play, stack: Stack) -> None:
    directory = stack.root / ".tandem" / "test"
    directory.mkdir(parents=True)
    (directory / "state.lock").write_text('{"pid": 999999, "since": "2020-01-01T00:00:00"}')

    assert play.actions(play.up(play.thing("a"))) == {"a": "create"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[]", "no JSON object"),
        ("\udcff", "can not be read"),
        ('{"format": 2}', "format 2; this version reads 1"),
        ('{"format": 1, "project": "other", "stack": "test"}', "it belongs to other/test, not to tandem/test"),
        ('{"format": 1, "project": "tandem", "stack": "test", "resources": [{"urn": 1}]}', "not complete"),
    ],
)
def test_state_that_can_not_be_read_is_a_clear_error(
    play: Play, toys: Toys, stack: Stack, text: str, message: str
) -> None:
    path = stack.root / ".tandem" / "test" / "state.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))

    for run in (play.up, play.preview, play.destroy):
        with pytest.raises(ConfigError) as caught:
            run()
        assert str(path) in str(caught.value)
        assert message in str(caught.value)
    assert toys.calls == []


def test_journal_of_a_run_that_died_is_taken_up(play: Play, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StateFile, "close", lambda _: None)  # as if the process had been killed
        play.up(play.thing("a"), play.thing("b"))
    journal = stack.root / ".tandem" / "test" / "state.journal"
    journal.write_text(journal.read_text() + '{"put": {"urn": "cut of')  # the line that was being written

    assert play.news(play.preview(play.thing("a"), play.thing("b"))) == []
    assert play.news(play.up(play.thing("a"), play.thing("b"))) == []
    assert not journal.exists()


def test_damage_inside_the_journal_is_a_clear_error(play: Play, stack: Stack) -> None:
    play.up(play.thing("a"))
    journal: Path = stack.root / ".tandem" / "test" / "state.journal"
    journal.write_text('{"serial": 1}\nnonsense\n{}\n')

    with pytest.raises(ConfigError, match=r"state\.journal: the state can not be read: line 2 is not JSON"):
        play.up(play.thing("a"))
