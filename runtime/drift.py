"""What is not as the contract says: findings, and the comparison of a backend's promises with its live settings.

Nothing here asks a service: `runtime.verifying` does, and `tandem drift` compares the spec, the file and the stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from runtime.config import LifecycleConfig, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from runtime.config import CorsRule, EncryptionConfig, ExpectConfig, GrantConfig, NamedStorageConfig
    from runtime.live import LiveSettings


class Drift(StrEnum):
    """What a difference means."""

    BREAKING = "breaking"
    """An application that relies on the contract notices."""

    SECURITY = "security"
    """Somebody can do more, or is protected less, than was promised."""

    SAFE = "safe"
    """Nobody notices for now."""

    UNKNOWN = "unknown"
    """It could not be compared; never taken for a pass."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    Attributes:
        backend: Name of the backend; empty for the whole contract.
        path: Where the contract says otherwise: ``backends.avatars.expect.cors[0].origins``.
        expected: What was promised, as plain data.
        found: What there is; None for nothing, or for not known.
        drift: What the difference means.
        fix: What to run or to change.
    """

    backend: str
    path: str
    expected: Any
    found: Any
    drift: Drift
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected!r}, found {self.found!r} ({self.drift}); {self.fix}"

    def document(self) -> dict[str, Any]:
        """The finding for a machine."""
        return {
            "backend": self.backend,
            "path": self.path,
            "expected": self.expected,
            "found": self.found,
            "class": self.drift.value,
            "fix": self.fix,
        }


def apart(findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The differences, and what could not be compared."""
    found = list(findings)
    unknown = [finding for finding in found if finding.drift is Drift.UNKNOWN]
    return [finding for finding in found if finding.drift is not Drift.UNKNOWN], unknown


def counted(findings: Iterable[Finding]) -> str:
    """``2 differences, 3 could not be compared``."""
    differing, unknown = (len(each) for each in apart(findings))
    count = {0: "no differences", 1: "1 difference"}.get(differing, f"{differing} differences")
    return f"{count}, {unknown} could not be compared" if unknown else count


def listed(findings: Iterable[Finding]) -> dict[str, list[dict[str, Any]]]:
    """For a machine: ``differences``, and ``unknown`` for what could not be compared."""
    differing, unknown = apart(findings)
    return {
        "differences": [finding.document() for finding in differing],
        "unknown": [finding.document() for finding in unknown],
    }


def compare(backend: NamedStorageConfig, live: LiveSettings, repair: str) -> list[Finding]:
    """Every promise of a backend that its live settings do not keep, in the order of the contract.

    Only keys that the contract has are compared; what it leaves out nobody promised.

    Args:
        backend: The entry of the contract.
        live: What its driver read.
        repair: What makes the bucket as the contract says, for the findings' `fix`.
    """
    return [*_Comparison(backend, live, repair).findings()]


_VERBS: Final = frozenset({"read", "write", "list", "delete"})
"""What of a grant a bucket can be asked for; presigning is nobody's right by itself."""


class _Comparison:
    """One backend under comparison."""

    def __init__(self, backend: NamedStorageConfig, live: LiveSettings, repair: str) -> None:
        self._backend, self._live, self._repair = backend, live, repair
        self._settings = f"backends.{backend.name}.{backend.driver}"
        self._expect = f"backends.{backend.name}.expect"

    def findings(self) -> Iterator[Finding]:
        yield from self._region()
        encryption: EncryptionConfig | None = getattr(self._backend.settings, "encryption", None)
        if encryption is not None and encryption.enabled:
            yield from self._known("encryption", f"{self._settings}.encryption", encryption, self._encryption)
        if (expect := self._backend.expect) is not None:
            yield from self._promises(expect)

    def _promises(self, expect: ExpectConfig) -> Iterator[Finding]:
        comparisons: dict[str, Callable[[Any, Any], Iterator[Finding]]] = {
            "versioning": self._versioning,
            "public": self._public,
            "cors": self._cors,
            "lifecycle": self._lifecycle,
            "presign_max_age": self._presign_max_age,
            "logging": self._logging,
        }
        if self._live.presign_max_age is None and "presign_max_age" not in self._live.unseen:
            del comparisons["presign_max_age"]  # no bucket of this service has such a limit: the application keeps it
        for name, comparison in comparisons.items():
            if name in expect.model_fields_set:
                yield from self._known(name, f"{self._expect}.{name}", getattr(expect, name), comparison)
        if expect.grants:
            yield from self._known("grants", f"{self._expect}.grants", expect.grants, self._grants)
        for index, name in enumerate(expect.capabilities):
            if name in {"tls_only", "public_blocked"}:
                yield from self._known(name, f"{self._expect}.capabilities[{index}]", name, self._capability)

    def _known(
        self, name: str, path: str, expected: Any, compare: Callable[[Any, Any], Iterator[Finding]]
    ) -> Iterator[Finding]:
        """What a comparison finds; or that there is nothing to compare, and which right is missing."""
        found = getattr(self._live, name)
        if found is not None:
            yield from compare(expected, found)
            return
        unseen = self._live.unseen.get(name)
        if unseen is None and not expected:
            return  # the driver has no such thing, and none was promised
        why = unseen.why if unseen else f"the driver {self._backend.driver} does not say"
        fix = f"it needs {unseen.right}" if unseen and unseen.right else "look at it by other means"
        yield Finding(self._backend.name, path, plain(expected), None, Drift.UNKNOWN, f"{why}: {fix}")

    def _finding(self, path: str, expected: Any, found: Any, drift: Drift) -> Finding:
        return Finding(self._backend.name, path, plain(expected), plain(found), drift, self._repair)

    def _region(self) -> Iterator[Finding]:
        expected, found = getattr(self._backend.settings, "region", None), self._live.region
        if expected and found and expected != found:
            path = f"{self._settings}.region"
            yield Finding(
                self._backend.name, path, expected, found, Drift.BREAKING, f"the bucket is in {found}: {self._repair}"
            )

    def _encryption(self, expected: EncryptionConfig, found: Any) -> Iterator[Finding]:
        path, wants_key = f"{self._settings}.encryption", expected.type != "AES256"
        if wants_key != found.customer_key:
            words = "a customer's key" if found.customer_key else "keys of the service"
            drift = Drift.SECURITY if wants_key else Drift.BREAKING  # a key that the application may not use
            yield self._finding(f"{path}.type", expected.type, found.key or words, drift)
        elif wants_key and found.same_key is False:
            yield self._finding(f"{path}.kms_key_id", expected.kms_key_id, found.key, Drift.SECURITY)

    def _versioning(self, expected: bool, found: bool) -> Iterator[Finding]:
        if expected != found:
            drift = Drift.BREAKING if expected else Drift.SAFE
            yield self._finding(f"{self._expect}.versioning", expected, found, drift)

    def _public(self, expected: bool, found: bool) -> Iterator[Finding]:
        if expected != found:
            drift = Drift.BREAKING if expected else Drift.SECURITY
            yield self._finding(f"{self._expect}.public", expected, found, drift)

    def _logging(self, expected: bool, found: bool) -> Iterator[Finding]:
        if expected != found:
            yield self._finding(f"{self._expect}.logging", expected, found, Drift.SECURITY if expected else Drift.SAFE)

    def _grants(self, expected: Sequence[GrantConfig], found: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
        for grant in expected:
            path = f"{self._expect}.grants.{grant.to}.access"
            wanted = _VERBS if "admin" in grant.access else _VERBS & set(grant.access)
            if (there := found.get(grant.to)) is None:
                fix = "what it may is in a policy of its own, not the bucket's: look at it by other means"
                yield Finding(self._backend.name, path, sorted(wanted), None, Drift.UNKNOWN, fix)
            elif there != wanted:
                drift = Drift.BREAKING if wanted - there else Drift.SECURITY
                yield self._finding(path, sorted(wanted), sorted(there), drift)

    def _capability(self, expected: str, found: bool) -> Iterator[Finding]:
        if not found:
            index = self._backend.expect.capabilities.index(expected) if self._backend.expect else 0
            yield self._finding(f"{self._expect}.capabilities[{index}]", expected, None, Drift.SECURITY)

    def _presign_max_age(self, expected: int, found: int) -> Iterator[Finding]:
        if expected != found:
            drift = Drift.SECURITY if not found or found > expected else Drift.BREAKING
            yield self._finding(f"{self._expect}.presign_max_age", expected, found or None, drift)

    def _cors(self, expected: Sequence[CorsRule], found: Sequence[CorsRule]) -> Iterator[Finding]:
        merged = self._live.one_header_list
        for index, rule, live in _aligned(
            [_cors_parts(rule, merged) for rule in expected], [_cors_parts(rule, merged) for rule in found]
        ):
            path = f"{self._expect}.cors[{index}]"
            if rule is None and self._live.shared_cors:
                continue
            if rule is None or live is None:
                yield self._finding(
                    path, _plain_rule(rule), _plain_rule(live), Drift.SECURITY if rule is None else Drift.BREAKING
                )
                continue
            for part, wanted in rule.items():
                if wanted != live[part]:
                    yield self._finding(
                        f"{path}.{part}", _listed(wanted), _listed(live[part]), _cors_drift(part, wanted, live[part])
                    )

    def _lifecycle(self, expected: LifecycleConfig, found: LifecycleConfig) -> Iterator[Finding]:
        path = f"{self._expect}.lifecycle"
        for name in ("abort_multipart_days", "expire_noncurrent_days"):
            wanted, there = getattr(expected, name), getattr(found, name)
            if wanted != there:
                yield self._finding(f"{path}.{name}", wanted, there, _sooner(wanted, there))
        rules = {rule.prefix: rule.expire_days for rule in expected.rules}
        live = {rule.prefix: rule.expire_days for rule in found.rules}
        for index, prefix in enumerate(dict.fromkeys([*rules, *live])):
            wanted, there = rules.get(prefix), live.get(prefix)
            if wanted != there:
                place = f"{path}.rules[{index}]"
                yield self._finding(place, _expiry(prefix, wanted), _expiry(prefix, there), _sooner(wanted, there))


def _sooner(expected: int | None, found: int | None) -> Drift:
    """Objects that go earlier than promised are missed; those that stay only cost."""
    earlier = found is not None and (expected is None or found < expected)
    return Drift.BREAKING if earlier else Drift.SAFE


def _expiry(prefix: str, days: int | None) -> dict[str, Any] | None:
    return None if days is None else {"prefix": prefix, "expire_days": days}


_Parts = dict[str, Any]


def _cors_parts(rule: CorsRule, merged: bool) -> _Parts:
    headers, expose = ({name.lower() for name in names} for names in (rule.headers, rule.expose))
    parts: _Parts = {"origins": frozenset(rule.origins), "methods": frozenset(rule.methods)}
    parts |= (
        {"headers": frozenset(headers | expose)}
        if merged
        else {"headers": frozenset(headers), "expose": frozenset(expose)}
    )
    return {**parts, "max_age": rule.max_age}


def _cors_drift(part: str, expected: Any, found: Any) -> Drift:
    if part == "max_age":
        return Drift.SAFE
    if expected - found:
        return Drift.BREAKING  # a browser is refused what it was promised
    return Drift.SECURITY if part in {"origins", "methods"} else Drift.SAFE


def _aligned(expected: list[_Parts], found: list[_Parts]) -> Iterator[tuple[int, _Parts | None, _Parts | None]]:
    """Rules that belong together: equal ones first, then those most alike; what is left over is missing or extra."""
    left = list(found)
    changed: list[tuple[int, _Parts]] = []
    for index, rule in enumerate(expected):
        if rule in left:
            left.remove(rule)
        else:
            changed.append((index, rule))
    for index, rule in changed:
        nearest = max(left, key=partial(_alike, rule), default=None)
        if nearest is not None:
            left.remove(nearest)
        yield index, rule, nearest
    yield from ((len(expected) + index, None, rule) for index, rule in enumerate(left))


def _alike(one: _Parts, other: _Parts) -> tuple[int, int]:
    """How much two CORS rules have in common: origins and methods first, then how many parts are equal."""
    common = sum(len(one[part] & other[part]) for part in ("origins", "methods"))
    return common, sum(value == other[part] for part, value in one.items())


def _listed(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value


def _plain_rule(rule: _Parts | None) -> dict[str, Any] | None:
    return None if rule is None else {part: _listed(value) for part, value in rule.items()}
