"""The statements of AWS policies, for rules."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from infra.rules.common import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra.recording import Record

EVERYBODY: Final = ("*", {"AWS": "*"}, {"AWS": ["*"]})
"""How a policy says everybody."""


def statements(record: Record, key: str = "policy") -> list[dict[str, Any]]:
    """The statements of a resource's policy; empty while it is not known."""
    text = record.inputs.get(key)
    return _parsed(text) if isinstance(text, str) else []


@lru_cache(maxsize=64)  # every rule about policies reads the same few, one backend after the other
def _parsed(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text).get("Statement", [])
    except ValueError:
        return []
    return found if isinstance(found, list) else [found]


def every_allow(
    record: Record, test: Callable[[dict[str, Any]], bool], expected: str, *, key: str = "policy"
) -> Iterator[Check]:
    """Every Allow of a policy, each by its place."""
    for index, statement in enumerate(statements(record, key)):
        if statement.get("Effect") == "Allow":
            path = f"{key}.Statement[{index}]"
            yield Check(record.name, record.type, path, statement, expected, test(statement))


def denies(condition: dict[str, Any]) -> Callable[[Record], Iterator[Check]]:
    """That a policy denies everything under a condition, on the bucket and on its objects."""

    def test(record: Record) -> Iterator[Check]:
        found = [each for each in statements(record) if each.get("Condition") == condition]
        ok = any(_denies_all(each) for each in found)
        expected = f"Deny s3:* to everybody on the bucket and its objects when {json.dumps(condition)}"
        yield Check(record.name, record.type, "policy", found or None, expected, ok)

    return test


def _denies_all(statement: dict[str, Any]) -> bool:
    resources = _listed(statement.get("Resource"))
    buckets = {each for each in resources if not each.endswith("/*")}
    whole = bool(buckets) and all(f"{each}/*" in resources for each in buckets)
    denied = statement.get("Effect") == "Deny" and _listed(statement.get("Action")) == ["s3:*"]
    return denied and statement.get("Principal") in EVERYBODY and whole


def _listed(found: Any) -> list[str]:
    return [found] if isinstance(found, str) else list(found or ())


def is_named(statement: dict[str, Any], *, whole: str | None) -> bool:
    """Whether a statement names its actions, and its resources too unless they may be *whole*."""
    actions, resources = _listed(statement.get("Action")), _listed(statement.get("Resource"))
    return bool(actions) and not any("*" in action for action in actions) and whole not in resources


def is_account(statement: dict[str, Any]) -> bool:
    """Whether a statement is about the account itself, which then administers by IAM."""
    principal = statement.get("Principal")
    return isinstance(principal, dict) and str(principal.get("AWS", "")).endswith(":root")
