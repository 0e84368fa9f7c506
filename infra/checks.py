"""What is wrong between the keys of one backend, and between backends: rules that no single value can break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from infra import keys, logs, retention
from infra.backend import SERVICE_KEYS, BackendSpec
from runtime.config import fallback_fault, transfer_faults
from runtime.errors import Problem
from runtime.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra.backend import Exemption
    from infra.context import Context

_CREDENTIALS: Final = {"authorization", "cookie"}

_LONGEST_SIGNATURE: Final = timedelta(days=7)
"""As long as S3, Google Cloud, Azure and R2 sign."""


def backend_problems(backend: BackendSpec, context: Context) -> Iterator[Problem]:
    """Everything wrong with one backend whose values are right each by itself; paths are below the backend."""
    for check in _CHECKS:
        yield from check(backend, context)
    yield from backend.problems(context)


def spec_problems(backends: Sequence[BackendSpec], root: str) -> Iterator[Problem]:
    """Everything wrong between backends."""
    primaries = [backend.name for backend in backends if backend.primary]
    for name in primaries[1:]:
        yield Problem(
            f"{root}.backends.{name}.primary", f"found a second primary backend beside {primaries[0]!r}", "one"
        )
    named = {backend.name: backend for backend in backends}
    for backend in backends:
        fault = fallback_fault(backend.name, backend.read_fallback, named)
        if fault is not None:
            yield Problem(f"{root}.backends.{backend.name}.read_fallback", fault, "another backend of this spec")
    owners: dict[tuple[str, str], str] = {}
    for backend in backends:
        there = backend.existing or backend.take_over
        if there is None:
            continue
        owner = owners.setdefault((backend.driver, there), backend.name)
        if owner != backend.name:
            path = f"{root}.backends.{backend.name}.{'existing' if backend.existing else 'take_over'}"
            yield Problem(path, f"found {there!r}, which {owner!r} adopts already", "another bucket")


def exemption_problems(exemptions: Sequence[Exemption], document: Mapping[str, Any], root: str) -> Iterator[Problem]:
    """Exemptions of backends that there are not, and two for the same."""
    named = document.get("backends")
    names = list(named) if isinstance(named, Mapping) else []
    seen: set[tuple[str, str]] = set()
    for index, each in enumerate(exemptions):
        path = f"{root}.exemptions[{index}]"
        if each.backend not in names and logs.provider_of(each.backend) is None:
            found = f"there is no backend {each.backend!r}{did_you_mean(each.backend, names)}"
            yield Problem(f"{path}.backend", found, ", ".join(names) or None)
        if (each.rule, each.backend) in seen:
            yield Problem(f"{path}.rule", f"found {each.rule!r} for {each.backend!r} twice", "one for each")
        seen.add((each.rule, each.backend))


def _cannot(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    for key, reason in backend.cannot.items():
        if key in backend.model_fields_set and getattr(backend, key):
            yield Problem(key, f"driver {backend.driver} can not do this: {reason}", "leave it out")


def _cors(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    most = backend.most_cors_rules
    if len(backend.cors) > most:
        yield Problem("cors", f"found {len(backend.cors)} rules", f"at most {most} on {backend.driver}")
    for index, rule in enumerate(backend.cors):
        if "*" not in rule.origins:
            continue
        named = sorted(header for header in rule.headers if header.lower() in _CREDENTIALS)
        if named:
            yield Problem(
                f"cors[{index}].origins",
                f"found '*' together with the header {named[0]!r}: every site could use a visitor's credentials",
                "named origins",
            )
        if len(rule.origins) > 1:
            yield Problem(f"cors[{index}].origins", "found '*' beside other origins", "'*' alone, or named origins")


def _encryption(backend: BackendSpec, context: Context) -> Iterator[Problem]:
    found = backend.encryption
    allowed = list(dict.fromkeys([SERVICE_KEYS, *backend.encryptions.values()]))
    if "encryption" in backend.cannot:
        return
    if found is not None and found.type not in allowed:
        yield Problem("encryption.type", f"found {found.type!r} on driver {backend.driver}", ", ".join(allowed))
    elif found is not None and found.kms_key_id and not found.customer_key:
        yield Problem("encryption.kms_key_id", f"found a key, but the type is {SERVICE_KEYS}", ", ".join(allowed[1:]))
    customer = found.customer_key if found else backend.encryptions.get(context.profile, SERVICE_KEYS) != SERVICE_KEYS
    if context.profile == "regulated" and backend.provider and not customer:
        there_are = ", ".join(allowed[1:]) or f"another driver: {backend.driver} has no customer keys"
        yield Problem("encryption", "profile regulated asks for a customer's key", there_are)


def _key_times(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    yield from keys.problems(backend)


def _versioning(backend: BackendSpec, context: Context) -> Iterator[Problem]:
    if context.profile == "regulated" and backend.provider and backend.versioning is False:
        yield Problem("versioning", "found False, and profile regulated keeps every version", "true")
    versioned = backend.resolved(context.profile).versioning
    expiry = backend.lifecycle.expire_noncurrent_after if backend.lifecycle else None
    if expiry is not None and not versioned and backend.existing is None:
        yield Problem("lifecycle.expire_noncurrent_after", "there are no versions to expire", "with versioning: true")


def _retention(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    yield from retention.problems(backend)


def _lifecycle(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, rule in enumerate(backend.lifecycle.rules if backend.lifecycle else ()):
        if first.setdefault(rule.prefix, index) != index:
            path = f"lifecycle.rules[{index}].prefix"
            yield Problem(path, f"found {rule.prefix!r}, as rules[{first[rule.prefix]}] has", "one rule for a prefix")


def _grants(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    for name, count in Counter(grant.name for grant in backend.grants).items():
        if count > 1:
            yield Problem("grants", f"found {count} grants to {name!r}", "one grant for an identity")
    for index, grant in enumerate(backend.grants):
        path = f"grants[{index}].access"
        if "presign" in grant.access and not {"read", "write", "delete", "admin"} & set(grant.access):
            yield Problem(path, "presign alone signs nothing: a URL can do what its signer can", "with read or write")
        if "admin" in grant.access and len(grant.access) > 1:
            yield Problem(
                path, f"found admin beside {len(grant.access) - 1} more, and it is all of them", "admin alone"
            )
        if (kind := grant.to.kind) and kind not in backend.identities:
            known = ", ".join(sorted(backend.identities)) or "an identity's name"
            yield Problem(f"grants[{index}].to.{kind}", f"driver {backend.driver} makes no such identity", known)


def _public(backend: BackendSpec, context: Context) -> Iterator[Problem]:
    if backend.public and context.profile == "regulated":
        yield Problem("public", "found True, and profile regulated forbids public buckets", "false, or another profile")


def _logging(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    if backend.logging and not backend.can_log:
        found = f"driver {backend.driver} can not do this: nothing there logs accesses"
        yield Problem("logging", found, "leave it out")


def _ownership(backend: BackendSpec, context: Context) -> Iterator[Problem]:
    if backend.force_destroy and not context.dev:
        yield Problem("force_destroy", f"found True in profile {context.profile}", "false; objects go in profile dev")
    if backend.existing is not None and backend.take_over is not None:
        yield Problem("take_over", "found beside existing, which leaves the bucket to its owner", "one of the two")
    if backend.force_destroy and backend.take_over is not None:
        yield Problem("force_destroy", "found True on a bucket that was there before the stack", "leave it out")
    if backend.force_destroy and backend.existing is not None:
        yield Problem("force_destroy", "found True on an existing bucket, which is never deleted", "leave it out")


def _presign(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    if backend.presign_max_age is not None and not timedelta(0) < backend.presign_max_age <= _LONGEST_SIGNATURE:
        yield Problem("presign_max_age", "found what no signature lives", "more than 0s, at most 7d")


def _transfer(backend: BackendSpec, _: Context) -> Iterator[Problem]:
    for location, message, allowed in transfer_faults(backend.driver, backend.transfer):
        yield Problem(f"transfer.{location}", message, allowed)


_CHECKS: Final[tuple[Callable[[BackendSpec, Context], Iterator[Problem]], ...]] = (
    _cannot,
    _cors,
    _encryption,
    _transfer,
    _key_times,
    _versioning,
    _retention,
    _lifecycle,
    _grants,
    _public,
    _logging,
    _ownership,
    _presign,
)
