"""The gate: what fails a rule is refused before anything is registered, by every way into a run."""

from __future__ import annotations

import datetime as dt
import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from typer.testing import CliRunner

from infra import policy
from infra.agreement import ACCEPT
from infra.policy import PolicyError, Status, check, enforce
from infra.recording import record
from runtime.cli.app import build_app
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from infra.stack import Stack
    from tests.infra.conftest import MakeStack

MAIN = Path(__file__).parents[2] / "infra" / "__main__.py"
UNLOGGED = "{avatars: {driver: s3, logging: false}}"
PUBLIC = "{avatars: {driver: s3, public: true}}"
EMULATED: dict[str, Any] = {"tandem:emulators": {"aws": "ministack"}}


def exempt(last_day: dt.date) -> list[dict[str, str]]:
    reason = "a trail of the organisation logs it"
    return [{"rule": "AWS-14", "backend": "avatars", "reason": reason, "expires": last_day.isoformat()}]


def days(number: int) -> dt.date:
    return dt.datetime.now(dt.UTC).date() + dt.timedelta(days=number)


def as_the_cli_does(stack: Stack) -> None:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.config.items()}
    pulumi.runtime.set_all_config(texts)
    runpy.run_path(str(MAIN), run_name="__main__")


def tandem(*words: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(build_app(), list(words))
    return found.exit_code, found.stdout, found.stderr


def test_a_plain_pulumi_up_is_refused_before_anything_is_registered(make_stack: MakeStack) -> None:
    stack = make_stack(UNLOGGED)
    made: list[Any] = []

    def create(found: Any) -> dict[str, Any]:
        made.append(found)
        return {}

    with pytest.raises(pulumi.RunError, match="AWS-14 avatars: avatars-bucket") as raised:
        record(as_the_cli_does, stack, create=create)
    assert isinstance(raised.value.__cause__, PolicyError)
    assert made == []
    assert not stack.contract.exists()
    record(as_the_cli_does, make_stack(UNLOGGED, exemptions=exempt(days(0))), create=create)
    assert made
    assert stack.contract.exists()


@pytest.mark.parametrize("command", ["preview", "up"])
def test_a_command_refuses_before_an_emulator_is_started(make_stack: MakeStack, command: str) -> None:
    stack = make_stack(UNLOGGED, **EMULATED)
    code, out, err = tandem(command, "-s", "test", "-C", str(stack.root))
    assert (code, out) == (1, "")
    assert "stack 'test' fails one rule of profile standard; nothing was changed" in err
    assert "AWS-14 avatars: avatars-bucket aws:s3/bucketLogging:BucketLogging: is not set" in err
    assert sorted(path.name for path in stack.root.iterdir()) == ["Pulumi.yaml", "stacks"]


@pytest.mark.parametrize("command", ["preview", "up"])
def test_json_carries_the_verdict_of_what_was_refused(make_stack: MakeStack, command: str) -> None:
    stack = make_stack(UNLOGGED, **EMULATED)
    code, out, _ = tandem(command, "-s", "test", "-C", str(stack.root), "--json")
    assert code == 1
    assert json.loads(out) == {"stack": "test", "policy": check(stack).document()}


def test_an_exemption_that_has_expired_is_refused(make_stack: MakeStack) -> None:
    assert enforce(make_stack(UNLOGGED, exemptions=exempt(days(0)))).failed == ()
    with pytest.raises(PolicyError, match="the exemption expired on"):
        enforce(make_stack(UNLOGGED, exemptions=exempt(days(-1))))


def test_what_is_exempt_is_shown_every_time(make_stack: MakeStack) -> None:
    needless = [*exempt(days(3)), {**exempt(days(3))[0], "rule": "AWS-01"}]
    stack = make_stack(UNLOGGED, exemptions=needless)
    for _ in range(2):
        _, _, err = tandem("preview", "-s", "test", "-C", str(stack.root), "--engine", "embedded")
        assert f"exempt: AWS-14 avatars: a trail of the organisation logs it (until {days(3)})" in err
        assert "the exemption of AWS-01 on avatars is not needed any more" in err


def test_in_dev_an_emulator_gets_what_a_cloud_does_not(make_stack: MakeStack) -> None:
    report = enforce(make_stack(PUBLIC, profile="dev", **EMULATED))
    told = {verdict.rule for verdict in report.verdicts if verdict.status is Status.TOLERATED}
    assert told == {"AWS-01", "AWS-12"}
    with pytest.raises(PolicyError):
        enforce(make_stack(PUBLIC, profile="dev"))
    with pytest.raises(PolicyError):
        enforce(make_stack(PUBLIC, profile="standard", **EMULATED))


def test_one_run_records_its_stack_once(make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, seen = make_stack("{a: {driver: s3}}"), []
    real = policy.record_offline

    def counted(*given: Any) -> Any:
        seen.append(given)
        return real(*given)

    monkeypatch.setattr(policy, "record_offline", counted)
    enforce(stack)
    record(as_the_cli_does, stack, preview=True)
    record(as_the_cli_does, stack)
    assert len(seen) == 1
    with pytest.raises(PolicyError):
        enforce(make_stack(UNLOGGED))
    assert len(seen) == 2


def test_a_stack_that_fails_can_be_destroyed(make_stack: MakeStack) -> None:
    stack = make_stack(UNLOGGED)
    with policy.lifted():
        assert [verdict.rule for verdict in enforce(stack).failed] == ["AWS-14"]
    with pytest.raises(PolicyError):
        enforce(stack)


BEFORE = "{uploads: {driver: s3}, cache: {driver: memory, primary: true}}"
AFTER = "{uploads: {driver: s3}, notes: {driver: memory, primary: true}}"


def test_a_plain_pulumi_up_breaks_no_application_unasked(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tandem.recording")

    def told() -> list[str]:
        texts = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return [line for text in texts if text.startswith("contract: ") for line in text.splitlines()]

    record(as_the_cli_does, make_stack(BEFORE, profile="dev"), preview=True)
    assert told()[0].startswith("contract: "), "a first contract breaks nothing, and is told"
    record(as_the_cli_does, make_stack(BEFORE, profile="dev"))
    stack, made = make_stack(AFTER, profile="dev"), []
    contract = stack.contract.read_bytes()

    def create(found: Any) -> dict[str, Any]:
        made.append(found)
        return {}

    with pytest.raises(pulumi.RunError) as raised:
        record(as_the_cli_does, stack, create=create)
    code, _, err = tandem("up", "-s", "test", "-C", str(stack.root), "--engine", "pulumi", "--yes")
    assert (code, err.split()) == (2, f"error: {raised.value}".split()), "in the words of the command"
    assert "backends.cache: {" in str(raised.value)
    assert (made, stack.contract.read_bytes()) == ([], contract)
    assert told() == []

    record(as_the_cli_does, stack, preview=True)
    summary, *lines, refused = told()
    assert summary == "contract: 2 differences, 1 breaking"
    assert refused.strip() == f"`pulumi up` refuses this without {ACCEPT}=1"
    _, out, _ = tandem("config", "diff", "-s", "test", "-C", str(stack.root))
    assert [line.strip() for line in lines] == [line.strip() for line in out.splitlines()]

    monkeypatch.setenv(ACCEPT, "yes please")
    with pytest.raises(ConfigError, match="TANDEM_ACCEPT_BREAKING: 'yes please'; allowed: 1, 0"):
        record(as_the_cli_does, stack)
    monkeypatch.setenv(ACCEPT, "1")
    record(as_the_cli_does, stack, preview=True)
    assert told() == [summary, *lines]
    record(as_the_cli_does, stack, create=create)
    assert made
    assert stack.contract.read_bytes() != contract
    assert len(told()) == 2, "what was accepted is told"
