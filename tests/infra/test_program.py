"""The program as the Pulumi CLI runs it: by its file, with its configuration as text."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from infra.engine.program import PROGRAM, program_of
from infra.recording import record
from infra.stack import Stack
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from tests.infra.conftest import MakeStack, Run

MAIN = Path(__file__).parents[2] / "infra" / "__main__.py"


def as_the_cli_does(stack: Stack, program: Path = MAIN) -> None:
    """Hand the configuration over as the CLI does: objects as JSON with sorted keys, everything as text."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in stack.config.items()
    }
    pulumi.runtime.set_all_config(texts)
    runpy.run_path(str(program), run_name="__main__")


def test_the_program_is_short() -> None:
    assert len(MAIN.read_text().splitlines()) <= 15


def test_the_program_reads_its_stack_from_pulumi(make_stack: MakeStack, run: Run) -> None:
    stack = make_stack("{b: {driver: s3, primary: true}, a: {driver: r2}}", tags={"owner": "media"})
    here = run(stack)
    first = stack.contract.read_bytes()
    there = record(as_the_cli_does, stack)
    assert stack.contract.read_bytes() == first
    assert there.outputs == here.outputs
    assert {made.urn: made.inputs for made in there.records} == {made.urn: made.inputs for made in here.records}


def test_a_project_without_a_program_is_told_what_it_has_to_hold(make_stack: MakeStack) -> None:
    stack = make_stack("{cache: {driver: memory}}", profile="dev")
    with pytest.raises(ConfigError) as raised:
        program_of(stack)
    assert str(raised.value).splitlines() == [
        "Pulumi.yaml: the project has no program",
        "  main: there is no file __main__.py; allowed: the program's file, which holds: " + PROGRAM,
    ]

    main = stack.root / "__main__.py"
    main.write_text(PROGRAM + "\n")
    assert callable(program_of(stack))
    for _ in range(2):  # a preview and an up of one process both run it
        stack.contract.unlink(missing_ok=True)
        record(partial(as_the_cli_does, program=main), stack)
        assert stack.contract.is_file()


def test_a_value_from_the_command_line_counts(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: s3}}")
    overridden = Stack(stack.name, stack.project, stack.root, {**stack.config, "aws:region": "eu-north-1"})
    recording = record(as_the_cli_does, overridden)
    assert recording.one("a-bucket").inputs["region"] == "eu-north-1"


def test_a_wrong_spec_is_an_error_that_pulumi_prints_without_a_traceback(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: nope}}")
    with pytest.raises(pulumi.RunError) as raised:
        record(as_the_cli_does, stack)
    assert isinstance(raised.value, ConfigError)
    assert str(raised.value).splitlines() == [
        "stacks/Pulumi.test.yaml: the storage spec has one problem",
        "  storage.backends.a.driver: unknown driver 'nope'; allowed: local, s3, gcs, azure, r2, memory",
    ]


def test_configuration_that_is_no_json_is_refused(make_stack: MakeStack) -> None:
    stack = make_stack("{a: {driver: memory}}")
    texts: dict[str, Any] = {"tandem:storage": "profile: dev"}
    with pytest.raises(ConfigError, match="tandem:storage: found 'profile: dev'; allowed: a mapping"):
        record(as_the_cli_does, Stack(stack.name, stack.project, stack.root, texts))


def test_a_program_with_r2_loads_none_of_cloudflares_seven_hundred_types(make_stack: MakeStack) -> None:
    stack = make_stack("{media: {driver: r2, cors: [{origins: ['https://a.b'], methods: [GET]}]}}")
    code = (
        "import sys; from pathlib import Path; from infra.stack import Stack; from infra.recording import record;"
        "from infra.provision import program;"
        f"print(len(record(program, Stack.read('test', Path({str(stack.root)!r}))).records));"
        "print('pulumi_cloudflare' in sys.modules, 'pulumi_aws' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == ["5", "False", "False"]
