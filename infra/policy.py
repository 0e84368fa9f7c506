"""The verdict on a stack: every security rule over every resource that its program would make, before any exists.

`check` needs no cloud, no credentials and no running emulator. A rule that fails can be exempted in the spec, by
name, with a reason and until a certain day; an exemption is always shown, and one that has expired fails.

`enforce` is the gate before anything is made: the commands call it, and so does the program (``infra/__main__.py``), so
that a plain ``pulumi up`` is refused as well.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from infra import logs
from infra.garbage import no_collections
from infra.rules import RULES
from infra.rules.common import Check, Resources, Rule
from runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from infra.backend import Exemption
    from infra.profiles import Weaker
    from infra.recording import Record, Recording
    from infra.spec import StorageSpec
    from infra.stack import Stack

__all__ = ["PolicyError", "Report", "Status", "Verdict", "check", "enforce", "judge", "lifted", "record_offline"]

COMPONENTS: Final = "tandem:storage:"
"""How the types of our own components begin."""

TOLERATED: Final = "refused on a real cloud: nobody else reaches an emulator of this machine"
"""Note on what is only told."""

WHOLE_STACK: Final = ""
"""Name of what belongs to no backend: providers, what several backends share."""


class Status(StrEnum):
    """What became of a rule on a backend."""

    PASSED = "passed"
    FAILED = "failed"
    EXEMPT = "exempt"
    EMULATED = "emulated"
    TOLERATED = "tolerated"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule on one backend.

    Attributes:
        rule: Id of the rule.
        backend: Name of the backend, or of a place for logs; empty for what belongs to the whole stack.
        status: ``failed`` also when an exemption has expired; ``emulated`` where an emulator can not keep the rule;
            ``tolerated`` where it is not kept on an emulator in profile dev, which nobody else can reach.
        checks: What was looked at.
        note: The exemption, or why an emulator can not.
    """

    rule: str
    backend: str
    status: Status
    checks: tuple[Check, ...] = field(repr=False)
    note: str = ""

    @property
    def broken(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.ok)


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a stack.

    Attributes:
        stack: Its name.
        source: Its file, relative to the project.
        profile: Its profile.
        verdicts: Every rule on every backend that has what the rule is about.
        needless: Exemptions that nothing needs any more.
        weaker: Keys that protect less than the profile does by default.
    """

    stack: str
    source: str
    profile: str
    verdicts: tuple[Verdict, ...] = field(repr=False)
    needless: tuple[str, ...] = ()
    weaker: tuple[Weaker, ...] = ()

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """What has to be mended or exempted."""
        return tuple(verdict for verdict in self.verdicts if verdict.status is Status.FAILED)

    def statuses(self) -> dict[str, str]:
        """Each rule's worst status; ``not applicable`` when the stack has nothing that it is about."""
        found: dict[str, set[Status]] = defaultdict(set)
        for verdict in self.verdicts:
            found[verdict.rule].add(verdict.status)
        order = (Status.FAILED, Status.EXEMPT, Status.TOLERATED, Status.EMULATED, Status.PASSED)
        return {
            rule.id: next((status.value for status in order if status in found[rule.id]), _absent(rule, self.profile))
            for rule in RULES
        }

    def counts(self) -> dict[str, int]:
        """How many rules have each status."""
        return dict(Counter(self.statuses().values()))

    def document(self) -> dict[str, Any]:
        """The report for a machine; of checks, only those that do not hold."""
        return {
            "stack": self.stack,
            "profile": self.profile,
            "counts": self.counts(),
            "rules": self.statuses(),
            "verdicts": [
                {
                    "rule": verdict.rule,
                    "backend": verdict.backend,
                    "status": verdict.status.value,
                    "note": verdict.note,
                    "broken": [asdict(broken) for broken in verdict.broken],
                }
                for verdict in self.verdicts
            ],
            "needless_exemptions": list(self.needless),
            "weaker_defaults": [asdict(each) for each in self.weaker],
        }


class PolicyError(StorageError):
    """Rules fail, and no exemption says why that is meant."""

    def __init__(self, report: Report) -> None:
        lines = [
            f"  {verdict.rule} {verdict.backend or 'stack'}: {verdict.note or broken}"
            for verdict in report.failed
            for broken in verdict.broken
        ]
        rules = "one rule" if len(report.failed) == 1 else f"{len(report.failed)} rules"
        head = f"stack {report.stack!r} fails {rules} of profile {report.profile}; nothing was changed"
        way = f"change {report.source}, or exempt a backend there with a reason and a last day (tandem check --help)"
        super().__init__("\n".join([head, *dict.fromkeys(lines), way]))
        self.report = report


def check(stack: Stack, *, today: dt.date | None = None) -> Report:
    """The verdict on a stack, offline.

    Args:
        stack: The stack.
        today: The day that exemptions are measured by; today's, in UTC, when it is left out.

    Raises:
        ConfigError: the spec is wrong.
    """
    from infra.spec import load_spec  # noqa: PLC0415 - the spec itself knows of the rules

    spec = load_spec(stack)
    with no_collections():
        return judge(record_offline(stack, spec), stack, spec, today=today)


def enforce(stack: Stack) -> Report:
    """Refuse a stack that fails a rule; for commands and for the program, before they create anything.

    A run asks several times: the command, the program in its preview, and again in its `up`. The stack is recorded once
    for all of them, as long as its configuration and the day stay the same.

    Raises:
        PolicyError: with every rule that fails.
        ConfigError: the spec is wrong.
    """
    key = _key(stack)
    if _LATEST.get("key") != key:
        _LATEST.update(key=key, report=check(stack))
    report: Report = _LATEST["report"]
    if report.failed and not _LIFTED.get():
        raise PolicyError(report)
    return report


_LATEST: Final[dict[str, Any]] = {}
"""The stack that was judged last, and its verdict."""

_LIFTED: Final[ContextVar[bool]] = ContextVar("lifted", default=False)


@contextmanager
def lifted() -> Iterator[None]:
    """Let the program run although rules fail: a stack can always be destroyed."""
    token = _LIFTED.set(True)
    try:
        yield
    finally:
        _LIFTED.reset(token)


def _key(stack: Stack) -> tuple[str, ...]:
    from infra.stack import SECRETS_KEY  # noqa: PLC0415 - as above

    config = {key: value for key, value in stack.config.items() if key != SECRETS_KEY}
    day = dt.datetime.now(dt.UTC).date().isoformat()
    return stack.name, stack.project, str(stack.root), json.dumps(config, sort_keys=True, default=str), day


def record_offline(stack: Stack, spec: StorageSpec) -> Recording:
    """What the program registers in a preview; emulators are taken as running, nobody is asked."""
    from infra.endpoints import placeholders  # noqa: PLC0415 - as above
    from infra.offline import record  # noqa: PLC0415 - Pulumi
    from infra.provision import register  # noqa: PLC0415 - Pulumi
    from infra.spec import context_of  # noqa: PLC0415 - as above

    context = replace(context_of(stack, spec), endpoints=placeholders(stack))

    def program(_: Stack) -> None:
        register(spec, context)

    return record(program, stack)


def judge(recording: Recording, stack: Stack, spec: StorageSpec, *, today: dt.date | None = None) -> Report:
    """The verdict on resources that were recorded."""
    from infra.profiles import weaker  # noqa: PLC0415 - the spec itself knows of the rules
    from infra.spec import context_of  # noqa: PLC0415 - as above

    day = today or dt.datetime.now(dt.UTC).date()
    exemptions = {(each.rule, each.backend): each for each in spec.exemptions}
    emulated = {backend.name: backend.provider in stack.emulators for backend in spec.backends}
    emulated[WHOLE_STACK] = bool(stack.emulators)  # a stack of the clouds has no providers of its own
    applied: set[tuple[str, str]] = set()
    asked: dict[tuple[frozenset[str], bool], list[Rule]] = {}  # the same of all backends of a kind
    verdicts = []
    taken_over = {backend.name: backend.take_over for backend in spec.backends if backend.take_over}
    for resources in _backends(recording.records, taken_over):
        kind = (resources.packages, resources.logs)
        if kind not in asked:
            asked[kind] = [rule for rule in RULES if rule.applies(resources, spec.profile)]
        for rule in asked[kind]:
            checks = tuple(rule.examine(resources))
            if not checks:
                continue
            here = emulated.get(resources.backend, logs.provider_of(resources.backend) in stack.emulators)
            verdict = _verdict(rule, resources.backend, checks, emulated=here)
            key = (rule.id, resources.backend)
            if verdict.status is Status.FAILED and key in exemptions:
                applied.add(key)
                verdict = _exempted(verdict, exemptions[key], day)
            if verdict.status is Status.FAILED and here and spec.profile == "dev":
                verdict = replace(verdict, status=Status.TOLERATED, note=verdict.note or TOLERATED)
            verdicts.append(verdict)
    needless = tuple(f"{rule} on {backend}" for rule, backend in exemptions if (rule, backend) not in applied)
    less = weaker(spec, context_of(stack, spec))
    return Report(stack.name, stack.source, spec.profile, tuple(verdicts), needless, less)


def _verdict(rule: Rule, backend: str, checks: tuple[Check, ...], *, emulated: bool) -> Verdict:
    if all(each.ok for each in checks):
        return Verdict(rule.id, backend, Status.PASSED, checks)
    if emulated and rule.not_emulated:
        return Verdict(rule.id, backend, Status.EMULATED, checks, rule.not_emulated)
    return Verdict(rule.id, backend, Status.FAILED, checks)


def _exempted(verdict: Verdict, exemption: Exemption, day: dt.date) -> Verdict:
    if exemption.expires < day:
        note = f"the exemption expired on {exemption.expires} ({exemption.reason})"
        return replace(verdict, note=note)
    note = f"{exemption.reason} (until {exemption.expires})"
    return replace(verdict, status=Status.EXEMPT, note=note)


def _backends(records: Sequence[Record], taken_over: Mapping[str, str]) -> Iterator[Resources]:
    """The resources of each backend, and those of none."""
    names = {record.urn: record.name for record in records if record.type.startswith(COMPONENTS)}
    groups: dict[str, list[Record]] = {name: [] for name in sorted(names.values())}
    for record in records:
        if record.urn not in names:
            groups.setdefault(names.get(record.parent, WHOLE_STACK), []).append(record)
    kinds: Mapping[tuple[str, Any], int] = Counter(
        (record.type, bucket) for record in records if isinstance(bucket := record.inputs.get("bucket"), str)
    )
    places = {record.name for record in records if record.type == logs.COMPONENT}
    for name, found in groups.items():
        packages = frozenset(record.type.partition(":")[0] for record in found)
        before = taken_over.get(name, "")
        yield Resources(name, found, kinds, logs=name in places, packages=packages, taken_over=before)


def _absent(rule: Rule, profile: str) -> str:
    return "not applicable" if profile in rule.profiles else f"not in profile {profile}"
