"""A verdict as SARIF 2.1.0, which code hosts show beside the line that is meant.

Source:
    https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from infra.apps import RULE as APP_RULE
from infra.policy import Status
from infra.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra.apps import Unmet
    from infra.policy import Report, Verdict
    from infra.rules.common import Check

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: Report, file: Path, missing: Sequence[Unmet] = ()) -> dict[str, Any]:
    """The document: one result for each check that does not hold; those that are exempt are suppressed, not left out.

    Args:
        report: The verdict.
        file: The stack's file, for the line of each backend.
        missing: What applications require and the stack does not give; shown in the application's file.
    """
    lines = backend_lines(file)
    told = [each for each in report.verdicts if each.status in {Status.FAILED, Status.EXEMPT}]
    results = [_result(report, verdict, broken, lines) for verdict in told for broken in verdict.broken]
    results += [_unmet(report, each) for each in missing]
    driver = {
        "name": "tandem",
        "version": version("tandem-storage"),
        "rules": [*(_rule(index) for index in _INDEX.values()), *([_REQUIRED] if missing else [])],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


_INDEX = {rule.id: index for index, rule in enumerate(RULES)}


def _rule(index: int) -> dict[str, Any]:
    rule = RULES[index]
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "properties": {"tags": ["security"], "sources": list(rule.sources), "profiles": sorted(rule.profiles)},
    }


def _result(report: Report, verdict: Verdict, broken: Check, lines: Mapping[str, int]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": report.source}}
    if verdict.backend in lines:
        place["region"] = {"startLine": lines[verdict.backend]}
    logical = {"fullyQualifiedName": f"{verdict.backend}/{broken.resource}", "kind": "resource"}
    text = f"{broken}. {verdict.note}" if verdict.note else str(broken)
    found: dict[str, Any] = {
        "ruleId": verdict.rule,
        "ruleIndex": _INDEX[verdict.rule],
        "level": "error",
        "message": {"text": text},
        "locations": [{"physicalLocation": place, "logicalLocations": [logical]}],
        "partialFingerprints": {"tandem/v1": f"{report.stack}/{verdict.rule}/{broken.resource}/{broken.path}"},
    }
    if verdict.status is Status.EXEMPT:
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": verdict.note}]
    return found


_REQUIRED = {"id": APP_RULE, "shortDescription": {"text": "The stack gives what its applications require"}}


def _unmet(report: Report, each: Unmet) -> dict[str, Any]:
    return {
        "ruleId": APP_RULE,
        "ruleIndex": len(_INDEX),
        "level": "error",
        "message": {"text": f"{each.problem} (stack {report.stack})"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": Path(each.app).as_posix()}}}],
        "partialFingerprints": {"tandem/v1": f"{report.stack}/{APP_RULE}/{each.problem.path}"},
    }


def backend_lines(file: Path) -> dict[str, int]:
    """The line of each backend's name in a stack file; the first line is 1."""
    node: Any = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    for key in ("config", "tandem:storage", "backends"):
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        node = next((value for name, value in pairs if name.value == key), None)
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return {name.value: name.start_mark.line + 1 for name, _ in pairs}
