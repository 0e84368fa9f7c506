"""The parts of the engine that need neither a program nor a server."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.runtime import rpc

from infra.engine.planning import in_deletion_order, make_urn
from infra.engine.providers import SDKS, compare, stand_in
from infra.engine.providers.loopback import is_loopback
from infra.engine.providers.values import UNKNOWN, has_unknown, plain, plain_map, secret_names, wire, wire_map
from infra.engine.state import Entry
from runtime.errors import ConfigError


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "text", ["a", 1, {"b": None}], {"deep": {"er": [False]}}])
def test_plain_values_survive_the_wire(value: Any) -> None:
    assert plain(PropertyValue.unmarshal(wire(value).marshal())) == value


def test_whole_numbers_come_back_as_integers() -> None:
    assert repr(plain(PropertyValue(3.0))) == "3"


def test_unknown_values_are_known_as_such_in_both_spellings() -> None:
    values = {"a": PropertyValue(Computed()), "b": PropertyValue([PropertyValue(rpc.UNKNOWN)]), "c": PropertyValue("x")}

    found = plain_map(values)

    assert found["a"] is UNKNOWN
    assert {name: has_unknown(value) for name, value in found.items()} == {"a": True, "b": True, "c": False}
    assert wire(UNKNOWN).value == rpc.UNKNOWN


def test_secrets_are_unwrapped_and_marked_again() -> None:
    values = {"a": PropertyValue("s", is_secret=True), "b": PropertyValue({"c": PropertyValue("t", is_secret=True)})}

    names = secret_names(values)

    assert names == {"a", "b"}
    assert plain_map(values) == {"a": "s", "b": {"c": "t"}}
    assert all(value.is_secret for value in wire_map(plain_map(values), names).values())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": None, "b": "", "c": [], "d": {}, "e": False}, {}),
        ({"days": 1.0}, {"days": 1}),
        ({"allowed": ["b", "a"]}, {"allowed": ["a", "b"]}),
        ({"rules": [{"on": False, "id": "x"}]}, {"rules": [{"id": "x"}]}),
    ],
)
def test_spellings_of_one_setting_are_equal(one: Any, other: Any) -> None:
    assert compare.tidy(one, {"allowed"}) == compare.tidy(other, {"allowed"})


@pytest.mark.parametrize(
    ("one", "other"), [({"days": 0}, {}), ({"on": True}, {}), ({"order": ["b", "a"]}, {"order": ["a", "b"]})]
)
def test_different_settings_are_different(one: Any, other: Any) -> None:
    assert compare.tidy(one, {"allowed"}) != compare.tidy(other, {"allowed"})


def test_policies_are_compared_by_meaning() -> None:
    one = '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": ["b", "a"]}}'
    other = '{"Statement":[{"Resource":["a","b"],"Action":["s3:*"],"Effect":"Deny"}],"Version":"2012-10-17"}'

    assert compare.canonical_policy(one) == compare.canonical_policy(other)
    assert compare.canonical_policy(one) != compare.canonical_policy(other.replace("Deny", "Allow"))
    assert compare.canonical_policy("no json") == "no json"


def test_differences_are_named_by_their_paths() -> None:
    old = {"tags": {"a.b": 1, "c": 2}, "rules": [{"id": "x", "days": 1}], "list": [1]}
    new = {"tags": {"a.b": 2}, "rules": [{"id": "x", "days": UNKNOWN}], "list": [1, 2]}

    paths = list(compare.differences(old, new))

    assert paths == ["list", "rules[0].days", 'tags["a.b"]', "tags.c"]
    assert [compare.look_up(old, path) for path in paths] == [[1], 1, 1, 2]
    assert compare.top('tags["a.b"]') == "tags"


def test_ignored_paths_keep_their_old_values() -> None:
    old = {"tags": {"a": 1}, "size": 3}

    assert compare.keep_old({"tags": {"a": 2, "b": 1}, "size": 4}, old, ["tags.a", "size"]) == {
        "tags": {"a": 1, "b": 1},
        "size": 3,
    }
    assert compare.keep_old({"size": 4}, old, ["*"]) == old
    assert compare.keep_old({"extra": 1}, {}, ["extra"]) == {}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.9.9.9", "http://localhost:80/x", "https://[::1]:9"])
def test_addresses_of_this_machine_are_loopback(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "https://s3.amazonaws.com",
        "http://localhost.evil.example",
        "http://127.0.0.1@evil.example",
        "http://0.0.0.0",
        "http://[::ffff:8.8.8.8]",
        "127.0.0.1:80",
        "http://[",
        "",
    ],
)
def test_other_addresses_are_not_loopback(url: str) -> None:
    assert not is_loopback(url)


def test_child_carries_the_types_of_its_parents() -> None:
    stack = ("dev", "tandem")
    root = make_urn(stack, "", "pulumi:pulumi:Stack", "tandem-dev")
    box = make_urn(stack, root, "my:index:Box", "b")

    assert box == "urn:pulumi:dev::tandem::my:index:Box::b"
    assert make_urn(stack, make_urn(stack, box, "my:index:In", "i"), "aws:s3/bucket:Bucket", "x") == (
        "urn:pulumi:dev::tandem::my:index:Box$my:index:In$aws:s3/bucket:Bucket::x"
    )


def test_deletion_goes_from_dependents_to_what_they_need() -> None:
    bucket = Entry("b", "t", "b")
    cors = Entry("c", "t", "c", dependencies=("b",))
    logs = Entry("l", "t", "l", dependencies=("b", "c"), parent="p")
    parent = Entry("p", "t", "p", custom=False)

    waves = in_deletion_order([bucket, cors, logs, parent])

    assert [{entry.urn for entry in wave} for wave in waves] == [{"l"}, {"c", "p"}, {"b"}]


def test_deletion_of_a_circle_ends() -> None:
    one, two = Entry("1", "t", "1", dependencies=("2",)), Entry("2", "t", "2", dependencies=("1",))

    assert [[entry.urn for entry in wave] for wave in in_deletion_order([one, two])] == [["2"], ["1"]]


@pytest.mark.parametrize("package", ["aws", "cloudflare"])
def test_stand_in_is_found_by_its_package(package: str) -> None:
    found = stand_in(package)

    assert found.name == package
    assert all(handler.type_name.startswith(f"{package}:") for handler in found.handlers)


@pytest.mark.parametrize("package", ["aws", "cloudflare"])
def test_type_names_are_those_of_the_sdk(package: str) -> None:
    script = (
        f"import importlib, pkgutil, pulumi_{package} as sdk\n"
        "from infra.engine.providers import stand_in\n"
        f"for handler in stand_in({package!r}).handlers:\n"
        "    module, name = handler.type_name.split(':')[1].split('/')[0], handler.type_name.split(':')[2]\n"
        "    owner = sdk if module == 'index' else importlib.import_module(f'{sdk.__name__}.{module}')\n"
        "    assert getattr(owner, name).pulumi_type == handler.type_name, handler.type_name\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_stand_in_that_is_not_configured_says_so() -> None:
    with pytest.raises(ConfigError, match="the aws provider is not configured"):
        stand_in("aws").handler("aws:s3/bucket:Bucket")


@pytest.mark.parametrize("package", ["aws", "cloudflare"])
def test_stand_in_serves_as_a_pulumi_plugin(package: str) -> None:
    """It prints the port that it serves on, as the engine expects of a plugin, and ends when it is told to."""
    command = [sys.executable, "-m", "infra.engine.providers", package, "127.0.0.1:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as plugin:
        assert plugin.stdout
        port = plugin.stdout.readline()
        plugin.terminate()
    assert 0 < int(port) < 65536


def test_unknown_plugin_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "infra.engine.providers", "random"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert all(name in done.stderr for name in SDKS)
