from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from infra.spec import load_spec
from infra.stack import Stack
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from infra.recording import Record
    from tests.infra.conftest import MakeStack, Run

WRONG = yaml.safe_load(Path(__file__).with_name("wrong_specs.yaml").read_text())


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_spec_is_one_message_with_every_problem(make_stack: MakeStack, run: Run, wrong: dict[str, Any]) -> None:
    stack, expected = make_stack(wrong["backends"], **wrong.get("keys", {})), wrong["expect"].splitlines()
    registered: list[Record] = []

    def create(record: Record) -> dict[str, Any]:
        registered.append(record)
        return {}

    with pytest.raises(ConfigError) as raised:
        run(stack, create=create)
    count = "one problem" if len(expected) == 1 else f"{len(expected)} problems"
    head = f"stacks/Pulumi.test.yaml: the storage spec has {count}"
    assert str(raised.value).splitlines() == [head, *(f"  {line}" for line in expected)]
    assert registered == []
    assert not stack.contract.exists()


def test_problems_of_all_backends_are_told_together(make_stack: MakeStack) -> None:
    stack = make_stack(
        """
        a: {driver: s3, regon: x, cors: [{origins: [ftp://x], methods: [GETT]}]}
        b: {driver: nope}
        c: 1
        """,
        profile="standrd",
    )
    with pytest.raises(ConfigError) as raised:
        load_spec(stack)
    assert [problem.path for problem in raised.value.problems] == [
        "storage.profile",
        "storage.backends.a.cors[0].origins[0]",
        "storage.backends.a.cors[0].methods[0]",
        "storage.backends.a.regon",
        "storage.backends.b.driver",
        "storage.backends.c",
    ]


def test_rules_between_keys_are_told_beside_wrong_values(make_stack: MakeStack) -> None:
    stack = make_stack("{media: {driver: r2, storage_class: Cold, jurisdiction: eu, location: weur, tags: {a: b}}}")
    with pytest.raises(ConfigError) as raised:
        load_spec(stack)
    assert {problem.path.rpartition(".")[2] for problem in raised.value.problems} == {
        "storage_class",
        "location",
        "tags",
    }


def test_a_key_given_twice_is_refused_with_its_line(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: memory}}")
    stack.file.write_text(
        "config:\n  tandem:storage:\n    backends:\n      a: {driver: memory}\n      a: {driver: s3}\n"
    )
    with pytest.raises(ConfigError, match="line 5") as raised:
        Stack.read("test", stack.root)
    assert "'a' is given twice (first on line 4)" in str(raised.value)


def test_an_unknown_stack_lists_those_that_exist(make_stack: MakeStack) -> None:
    make_stack("{a: {driver: memory}}", name="dev")
    root = make_stack("{a: {driver: memory}}", name="prod").root
    with pytest.raises(ConfigError) as raised:
        Stack.read("prdo", root)
    assert str(raised.value).splitlines() == [
        "there is no stack 'prdo' (did you mean 'prod'?) (stacks are files in stacks/)",
        "  stacks/Pulumi.prdo.yaml: no such file; allowed: dev, prod",
    ]


@pytest.mark.parametrize("text", ["", "42", "config: []", "encryptionsalt: v1:x"])
def test_a_file_that_is_no_stack_is_refused(make_stack: MakeStack, text: str) -> None:
    stack = make_stack("{a: {driver: memory}}")
    stack.file.write_text(text)
    with pytest.raises(ConfigError, match=r"stacks/Pulumi\.test\.yaml: is not a stack file"):
        Stack.read("test", stack.root)


def test_a_directory_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no Pulumi\.yaml in"):
        Stack.read("dev", tmp_path)


@pytest.mark.parametrize("storage", [None, [], "x"])
def test_a_stack_without_storage_is_refused(make_stack: MakeStack, storage: object) -> None:
    stack = make_stack("{a: {driver: memory}}")
    bare = Stack(stack.name, stack.project, stack.root, {"tandem:storage": storage} if storage is not None else {})
    with pytest.raises(ConfigError, match=r"tandem:storage: .*allowed: a mapping"):
        load_spec(bare)


def test_dev_defaults_are_for_a_laptop(make_stack: MakeStack) -> None:
    (backend,) = load_spec(make_stack("{a: {driver: s3}}", profile="dev")).backends
    assert backend.encryption is not None
    assert backend.encryption.type == "AES256"
    assert backend.versioning is False
    assert backend.force_destroy is True
    assert backend.lifecycle is not None
    assert backend.lifecycle.abort_multipart_after == timedelta(days=7)
    assert backend.lifecycle.expire_noncurrent_after is None


@pytest.mark.parametrize("profile", ["standard", "regulated"])
def test_other_defaults_are_for_data_that_matters(make_stack: MakeStack, profile: str) -> None:
    (backend,) = load_spec(make_stack("{a: {driver: s3}}", profile=profile)).backends
    assert backend.customer_key
    assert backend.versioning is True
    assert backend.force_destroy is False
    assert backend.lifecycle is not None
    assert backend.lifecycle.expire_noncurrent_after == timedelta(days=30)


def test_a_spec_without_a_profile_is_standard(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: memory}}")
    spec = {"backends": {"a": {"driver": "memory"}}}
    assert load_spec(Stack(stack.name, stack.project, stack.root, {"tandem:storage": spec})).profile == "standard"


def test_an_existing_bucket_gets_no_defaults(make_stack: MakeStack) -> None:
    (backend,) = load_spec(make_stack("{a: {driver: s3, existing: photos-2019}}")).backends
    assert (backend.encryption, backend.versioning, backend.lifecycle, backend.force_destroy) == (None,) * 4


def test_backends_are_sorted_because_pulumi_hands_mappings_over_in_any_order(make_stack: MakeStack) -> None:
    spec = load_spec(make_stack("{b: {driver: memory}, a: {driver: memory}}"))
    assert [backend.name for backend in spec.backends] == ["a", "b"]


def test_durations_and_sizes_are_read_with_their_units(make_stack: MakeStack) -> None:
    spec = load_spec(
        make_stack("""
        a:
          driver: s3
          presign_max_age: 1d 2h 30m 15s
          transfer: {part_size: 16MiB}
          cors: [{origins: ["https://a.example"], methods: [GET], max_age: 90s}]
        """)
    )
    (backend,) = spec.backends
    assert backend.transfer.part_size == 16 * 1024 * 1024
    assert backend.cors[0].contract().max_age == 90
    assert backend.model_dump()["presign_max_age"] == timedelta(days=1, hours=2, minutes=30, seconds=15)


def test_a_spec_is_checked_without_the_sdks_of_clouds_that_it_does_not_name(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: local}, b: {driver: r2}, c: {driver: gcs, location: EU}}")
    code = (
        "import sys; from pathlib import Path; from infra.stack import Stack; from infra.spec import load_spec;"
        f"load_spec(Stack.read('test', Path({str(stack.root)!r})));"
        "print(sorted({name.partition('.')[0] for name in sys.modules if name.startswith(('pulumi_', 'boto'))}))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pulumi_aws" not in found
    assert "pulumi_azure_native" not in found
    assert "pulumi_cloudflare" not in found
    assert "boto" not in found


def test_a_stack_in_a_directory_that_the_project_does_not_name_is_told(tmp_path: Path) -> None:
    """Pulumi's own default is the project's directory; many keep their stacks in one below."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/Pulumi.prod.yaml").write_text("config: {}\n")
    with pytest.raises(
        ConfigError, match=r"there is stacks/Pulumi\.prod\.yaml; `stackConfigDir: stacks` in Pulumi\.yaml"
    ):
        Stack.read("prod", tmp_path)
