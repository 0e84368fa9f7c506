"""What a run of the embedded engine does, on a toy cloud."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from infra.engine import Action
from infra.engine.embedded import EmbeddedEngine
from infra.stack import Stack
from runtime.errors import AlreadyExistsError, ConfigError, StorageUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.engine.conftest import Play, Toys


def options(**values: Any) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(**values)


def test_first_run_creates_everything_in_order_of_its_dependencies(play: Play, toys: Toys) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        first = play.thing("first")(provider)
        second = play.thing("second", labels={"of": first.address})(provider)
        return play.thing("third", options(depends_on=[second]))(provider)

    result = play.up(program)

    assert play.actions(result) == {"first": "create", "second": "create", "third": "create"}
    assert [call for call in toys.calls if call.startswith("create")] == [
        f"create {n}" for n in ("first", "second", "third")
    ]
    assert toys.things["second"]["labels"] == {"of": "toy://first"}


def test_second_run_changes_nothing_and_calls_only_read(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", size=1), play.thing("b"))
    toys.calls.clear()

    result = play.up(play.thing("a", size=1), play.thing("b"))

    assert play.news(result) == []
    assert sorted(toys.calls) == ["read a", "read b"]


def test_changed_input_updates_only_that_resource(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", size=1), play.thing("b"))

    result = play.up(play.thing("a", size=2), play.thing("b"))

    assert play.actions(result) == {"a": "update", "b": "same"}
    assert [step.changed for step in result.steps if step.name == "a"] == [("size",)]
    assert toys.things["a"]["size"] == 2


def test_removed_input_is_removed_from_the_server(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", size=1, labels={"x": "y"}))

    assert play.actions(play.up(play.thing("a", size=1))) == {"a": "update"}
    assert toys.things["a"] == {"name": "a", "size": 1}


def test_resource_that_left_the_program_is_deleted(play: Play, toys: Toys) -> None:
    play.up(play.thing("a"), play.thing("b"))

    result = play.up(play.thing("a"))

    assert play.actions(result) == {"a": "same", "b": "delete"}
    assert list(toys.things) == ["a"]


def test_dependents_are_deleted_before_what_they_need(play: Play, toys: Toys) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        first = play.thing("first")(provider)
        second = play.thing("second", labels={"of": first.address})(provider)
        return play.thing("third", options(depends_on=[second]))(provider)

    play.up(program)

    result = play.destroy()

    assert [call for call in toys.calls if call.startswith("delete")] == [
        f"delete {n}" for n in ("third", "second", "first")
    ]
    assert set(play.news(result)) >= {"delete first", "delete second", "delete third"}
    assert toys.things == {}
    assert play.destroy().steps == ()


def test_lost_resource_is_made_again(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", size=1), play.thing("b"))
    del toys.things["a"]

    result = play.up(play.thing("a", size=1), play.thing("b"))

    assert play.actions(result) == {"a": "create", "b": "same"}
    assert [step.note for step in result.steps if step.name == "a"] == ["was gone from the server"]
    assert toys.things["a"]["size"] == 1


def test_setting_changed_behind_its_back_is_put_right(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", size=1))
    toys.things["a"]["size"] = 7

    result = play.up(play.thing("a", size=1))

    step = next(step for step in result.steps if step.name == "a")
    assert (step.action, step.changed, step.note) == (Action.UPDATE, ("size",), "was changed outside of this stack")
    assert toys.things["a"]["size"] == 1


def test_setting_added_behind_its_back_is_removed(play: Play, toys: Toys) -> None:
    play.up(play.thing("a"))
    toys.things["a"]["labels"] = {"by": "hand"}

    assert play.actions(play.up(play.thing("a"))) == {"a": "update"}
    assert toys.things["a"] == {"name": "a"}


def test_replacement_of_another_name_creates_before_it_deletes(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", kind="round"))
    toys.calls.clear()

    result = play.up(lambda provider: play.resource("a", provider, physical="a2", kind="square"))

    assert play.actions(result) == {"a": "replace"}
    assert [call for call in toys.calls if not call.startswith("read")] == ["begin a2", "create a2", "delete a"]
    assert list(toys.things) == ["a2"]


def test_replacement_under_the_same_name_deletes_first(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", kind="round"))
    toys.calls.clear()

    result = play.up(play.thing("a", kind="square"))

    assert play.actions(result) == {"a": "replace"}
    assert [call for call in toys.calls if not call.startswith("read")] == ["delete a", "begin a", "create a"]


def test_program_can_order_delete_before_replace(play: Play, toys: Toys) -> None:
    play.up(play.thing("a"))
    toys.calls.clear()

    play.up(lambda provider: play.resource("a", provider, options(delete_before_replace=True), physical="a2"))

    assert [call for call in toys.calls if not call.startswith("read")] == ["delete a", "begin a2", "create a2"]


def test_protected_resource_is_neither_deleted_nor_replaced(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", options(protect=True), kind="round"), play.thing("b"))

    with pytest.raises(
        ConfigError, match=r"(?s)protect=False.*toy:index:Thing 'a': is protected and would be deleted"
    ) as e:
        play.up()
    assert "nothing was deleted" in str(e.value)
    with pytest.raises(ConfigError, match="is protected and would be replaced"):
        play.up(play.thing("a", options(protect=True), kind="square"), play.thing("b"))
    with pytest.raises(ConfigError, match="is protected and would be deleted"):
        play.destroy()
    assert sorted(toys.things) == ["a", "b"]

    play.up(play.thing("a", kind="round"), play.thing("b"))  # the protection is taken away
    play.up()
    assert toys.things == {}


def test_retained_resource_stays_on_the_server(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", options(retain_on_delete=True)))

    result = play.up()

    assert [(s.action, s.note) for s in result.steps if s.name == "a"] == [(Action.DELETE, "stays on the server")]
    assert list(toys.things) == ["a"]


def test_alias_keeps_a_renamed_resource(play: Play, toys: Toys) -> None:
    play.up(lambda provider: play.resource("old", provider, physical="x"))

    result = play.up(
        lambda provider: play.resource("new", provider, options(aliases=[pulumi.Alias(name="old")]), physical="x")
    )

    assert play.actions(result) == {"new": "same"}
    assert list(toys.things) == ["x"]
    assert play.news(play.up(lambda provider: play.resource("new", provider, physical="x"))) == []


def test_ignored_change_is_left_as_it_is(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", size=1, labels={"k": "v"}))
    toys.things["a"]["size"] = 5

    result = play.up(play.thing("a", options(ignore_changes=["size"]), size=9, labels={"k": "w"}))

    assert [step.changed for step in result.steps if step.name == "a"] == [("labels.k",)]
    assert toys.things["a"] == {"name": "a", "size": 5, "labels": {"k": "w"}}


def test_renamed_provider_keeps_its_resources(play: Play, toys: Toys) -> None:
    play.up(play.thing("a"))
    toys.calls.clear()

    def program() -> None:
        play.thing("a")(pulumi.ProviderResource("toy", "others", {"url": play.url}))

    result = EmbeddedEngine(program).up(play.stack)

    assert play.news(result) == ["create others", "delete toys"]
    assert toys.calls == ["read a"]
    assert play.news(EmbeddedEngine(program).up(play.stack)) == []


def test_components_are_recorded_and_call_nobody(play: Play) -> None:
    class Box(pulumi.ComponentResource):
        def __init__(self, provider: pulumi.ProviderResource) -> None:
            super().__init__("toy:index:Box", "box")
            play.thing("inside", options(parent=self))(provider)
            self.register_outputs({"n": 1})

    result = play.up(Box)  # type: ignore[arg-type]  # a component in place of a thing

    assert play.news(result) == ["create box", "create inside", "create tandem-test", "create toys"]
    urn = next(step.urn for step in result.steps if step.name == "inside")
    assert urn == "urn:pulumi:test::tandem::toy:index:Box$toy:index:Thing::inside"
    assert play.news(play.up(Box)) == []  # type: ignore[arg-type]  # as above


def test_outputs_come_back_unwrapped(play: Play) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        made = play.thing("a")(provider)
        pulumi.export("where", made.address)
        pulumi.export("nested", {"b": [1, pulumi.Output.secret("s")]})
        return made

    assert play.up(program).outputs == {"nested": {"b": [1, "s"]}, "where": "toy://a"}
    assert play.up(program).outputs == {"nested": {"b": [1, "s"]}, "where": "toy://a"}


def test_preview_says_what_up_will_do_and_writes_nothing(play: Play, toys: Toys, stack: Stack) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        first = play.thing("first")(provider)
        pulumi.export("known", first._name)
        pulumi.export("unknown", first.id)
        first.address.apply(lambda _: pytest.fail("an unknown value reached an apply in a preview"))
        return play.thing("second", labels={"of": first.address})(provider)

    preview = play.preview(program)

    assert play.actions(preview) == {"first": "create", "second": "create"}
    assert preview.outputs == {"known": "first"}
    assert (toys.things, toys.calls) == ({}, [])
    assert not stack.root.joinpath(".tandem").exists()


def test_preview_of_changes_leaves_server_and_state_alone(play: Play, toys: Toys, stack: Stack) -> None:
    play.up(play.thing("a", size=1), play.thing("b"), play.thing("c", kind="round"))
    state = stack.root / ".tandem" / "test" / "state.json"
    before, things = state.read_bytes(), {name: dict(value) for name, value in toys.things.items()}

    changes = (play.thing("a", size=2), play.thing("c", kind="square"), play.thing("d"))
    preview = play.preview(*changes)

    assert play.actions(preview) == {"a": "update", "b": "delete", "c": "replace", "d": "create"}
    assert (state.read_bytes(), toys.things) == (before, things)
    assert sorted(path.name for path in state.parent.iterdir()) == ["state.json", "state.lock"]
    assert play.actions(play.up(*changes)) == play.actions(preview)


def test_preview_works_against_the_state_when_the_server_is_down(play: Play, toys: Toys) -> None:
    play.up(play.thing("a", size=1), play.thing("b"))
    toys.down = True

    result = play.preview(play.thing("a", size=2), play.thing("b"))

    assert play.actions(result) == {"a": "update", "b": "same"}
    assert {step.note for step in result.steps if step.name in "ab"} == {
        "the server does not answer: compared with the state"
    }


def test_server_that_is_down_is_one_clear_error(play: Play, toys: Toys) -> None:
    play.up(play.thing("a"))
    toys.down = True

    with pytest.raises(
        StorageUnavailableError, match=r"the emulator of the toy provider does not answer.*tandem emulators up"
    ):
        play.up(play.thing("a", size=2))


def test_what_the_server_does_not_hold_is_reported_and_kept(play: Play) -> None:
    shaded = play.thing("a", shade="blue", mode="quiet", unheard_of=1)

    result = play.up(shaded)

    (reasons,) = result.unheld.values()
    assert reasons == ("shade: toys have no colours", "unheard_of: the toy stand-in does not know this property")
    again = play.up(shaded)
    assert (play.news(again), again.unheld) == ([], result.unheld)
    assert play.actions(play.up(play.thing("a", shade="red", mode="quiet", unheard_of=1))) == {"a": "update"}
    assert play.actions(play.up(play.thing("a"))) == {"a": "update"}
    assert play.up(play.thing("a")).unheld == {}


def test_secrets_are_not_in_the_state(play: Play, toys: Toys, stack: Stack) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        pulumi.export("told", pulumi.Output.secret({"deep": "plughplugh"}))
        labels = {"k": pulumi.Output.secret("xyzzyxyzzy")}
        return play.thing("a", password=pulumi.Output.secret("hunter2hunter2"), labels=labels)(provider)

    def other(provider: pulumi.ProviderResource) -> Any:
        return play.thing("a", password=pulumi.Output.secret("other"), labels={"k": "v"})(provider)

    play.up(program)

    directory = stack.root / ".tandem" / "test"
    state = (directory / "state.json").read_text()
    assert not any(word in state for word in ("hunter2", "xyzzy", "plugh"))
    assert toys.things["a"]["password"] == "hunter2hunter2"
    for path in directory.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert play.news(play.up(program)) == []
    changed = play.up(other)
    assert [step.changed for step in changed.steps if step.name == "a"] == [("labels.k", "password")]
    vault = (directory / "secrets" / "state.json").read_text()
    assert "other" in vault
    assert "hunter2" not in vault


def test_unknown_resource_type_is_named(play: Play) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        return pulumi.CustomResource("toy:index:Thin", "x", {}, options(provider=provider))

    with pytest.raises(
        ConfigError, match=r"no stand-in for the resource type 'toy:index:Thin'.*did you mean 'toy:index:Thing'"
    ):
        play.up(program)


def test_unknown_provider_is_named(play: Play) -> None:
    with pytest.raises(ConfigError, match="no stand-in for the provider 'random'"):
        play.up(lambda _: pulumi.ProviderResource("random", "r", {}))  # type: ignore[arg-type,return-value]  # no thing


def test_inputs_that_are_not_valid_are_all_named(play: Play) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        return pulumi.CustomResource("toy:index:Thing", "x", {}, options(provider=provider))

    with pytest.raises(ConfigError, match=r"(?s)toy:index:Thing 'x' is not valid.*name: is required"):
        play.up(program)


def test_default_provider_is_refused(play: Play) -> None:
    with pytest.raises(ConfigError, match="uses the default toy provider, which is the real cloud"):
        play.up(lambda _: play.resource("a", None))


@pytest.mark.parametrize(
    "url",
    ["https://s3.amazonaws.com", "http://192.168.0.7:9000", "http://127.0.0.1.evil.example", "http://0.0.0.0:9", None],
)
def test_endpoint_that_is_not_on_this_machine_is_refused(play: Play, toys: Toys, url: str) -> None:
    play.url = url

    with pytest.raises(ConfigError, match="toy:Provider url: "):
        play.up(play.thing("a"))
    assert toys.calls == []


def test_stack_without_emulators_is_refused_before_the_program_runs(tmp_path: Path) -> None:
    engine = EmbeddedEngine(lambda: pytest.fail("the program ran"))
    stack = Stack("prod", "tandem", tmp_path, {})

    for run in (engine.preview, engine.up, engine.destroy):
        with pytest.raises(ConfigError, match="the stack 'prod' declares no tandem:emulators"):
            run(stack)
    assert list(tmp_path.iterdir()) == []


def test_name_that_exists_already_is_not_taken_over(play: Play, toys: Toys) -> None:
    toys.things["a"] = {"name": "a", "size": 3}

    for _ in range(2):  # neither at once nor as "its creation was interrupted"
        with pytest.raises(AlreadyExistsError):
            play.up(play.thing("a"))
    assert toys.things["a"] == {"name": "a", "size": 3}


def test_import_takes_an_existing_resource_over(play: Play, toys: Toys) -> None:
    toys.things["a"] = {"name": "a", "size": 3}

    result = play.up(play.thing("a", options(import_="a"), size=4))

    assert [(s.action, s.note) for s in result.steps if s.name == "a"] == [
        (Action.IMPORT, "existed already and is taken over")
    ]
    assert toys.things["a"] == {"name": "a", "size": 4}
    assert play.news(play.up(play.thing("a", size=4))) == []


def test_two_resources_of_one_name_are_refused(play: Play) -> None:
    with pytest.raises(ConfigError, match="Thing::a is declared twice"):
        play.up(play.thing("a"), play.thing("a"))


def test_option_that_would_be_lost_is_refused(play: Play) -> None:
    def program(provider: pulumi.ProviderResource) -> Any:
        other = play.thing("other")(provider)
        return play.thing("a", options(deleted_with=other))(provider)

    with pytest.raises(ConfigError, match="the embedded engine has no deleted_with"):
        play.up(program)


def test_steps_are_reported_as_they_happen(play: Play) -> None:
    result = play.up(play.thing("a"), play.thing("b"))

    assert tuple(play.seen) == result.steps
    assert result.duration > 0


def test_state_is_json_that_a_person_can_read(play: Play, stack: Stack) -> None:
    play.up(play.thing("a", size=1))

    document = json.loads((stack.root / ".tandem" / "test" / "state.json").read_text())

    entry = next(entry for entry in document["resources"] if entry["name"] == "a")
    assert (document["format"], document["stack"], document["project"]) == (1, "test", "tandem")
    assert entry["inputs"] == {"name": "a", "size": 1}
    assert entry["outputs"] == {"name": "a", "size": 1, "address": "toy://a", "receipt": "receipt of a"}
