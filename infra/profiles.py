"""What each profile means by default, and where a spec asks for less than its profile: said aloud, never refused.

One table, `KEYS`, has every key whose default depends on the profile or can be made weaker; the comparison of a spec
with its profile and the table in ``stacks/README.md`` both come from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra.backend import SERVICE_KEYS, BackendSpec, Encryption
from infra.context import Context
from infra.logs import Logging
from infra.rules import RULES
from infra.stack import Stack
from runtime.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra.spec import StorageSpec

PROFILES: Final = ("dev", "standard", "regulated")

MARKS: Final = ("<!-- profiles -->", "<!-- end of profiles -->")
"""Between them is the generated part of the guide."""

_NETWORKS: Final = ("public", "ips", "private")
_SKUS: Final = ("Standard_LRS", "Standard_GRS", "Standard_ZRS", "Standard_GZRS")


@dataclass(frozen=True, slots=True)
class Key:
    """A key whose default a spec can change for the worse.

    Attributes:
        path: Where it is below a backend.
        strength: How much a value protects: more is more.
    """

    path: str
    strength: Callable[[Any], Any]

    def value(self, backend: BackendSpec, context: Context) -> Any:
        """What a backend has there, after its defaults."""
        if self.path == "logging":
            return backend.logged(context) if backend.can_log else None
        node: Any = backend
        for part in self.path.split("."):
            node = getattr(node, part, None)
        return node


def _longer(found: timedelta | None) -> timedelta:
    return timedelta(0) if found is None else found


def _sooner(found: timedelta | None) -> timedelta:
    return timedelta.min if found is None else -found


KEYS: Final = (
    Key("encryption.type", lambda found: found not in {None, SERVICE_KEYS}),
    Key("encryption.rotate_after", _sooner),
    Key("encryption.delete_after", _longer),
    Key("infrastructure_encryption", bool),
    Key("versioning", bool),
    Key("lifecycle.abort_multipart_after", _sooner),
    Key("lifecycle.expire_noncurrent_after", _longer),
    Key("soft_delete", _longer),
    Key("change_feed", _longer),
    Key("logging", bool),
    Key("public", lambda found: not found),
    Key("network", lambda found: _NETWORKS.index(found) if found else -1),
    Key("sku", lambda found: _SKUS.index(found) if found else -1),
    Key("presign_max_age", _sooner),
    Key("sas_max_age", _sooner),
    Key("force_destroy", lambda found: not found),
)
"""Every key whose default depends on the profile, or that can be weaker than it."""


@dataclass(frozen=True, slots=True)
class Weaker:
    """A key that protects less than its profile does by default.

    Attributes:
        backend: Name of the backend; empty for the stack.
        key: The key, with its path.
        found: What the spec says.
        default: What it would be if the spec said nothing.
    """

    backend: str
    key: str
    found: str
    default: str


def weaker(spec: StorageSpec, context: Context) -> tuple[Weaker, ...]:
    """Where a spec asks for less than its profile."""
    found = [each for backend in spec.backends for each in _weaker(backend, context)]
    if not context.logging.on(context.profile) and Logging().on(context.profile):
        found.insert(0, Weaker("", "logging", "false", "true"))
    days, default = context.logging.days(context.profile), Logging().days(context.profile)
    if days < default:
        found.insert(0, Weaker("", "logging.keep", f"{days}d", f"{default}d"))
    return tuple(found)


def _weaker(backend: BackendSpec, context: Context) -> Iterator[Weaker]:
    if backend.existing is not None or backend.provider is None:
        return  # what the spec does not say is somebody else's there
    for key in KEYS:
        if key.path.partition(".")[0] not in backend.said:
            continue
        plain = key.value(_without(backend, key).resolved(context.profile), context)
        found = key.value(backend, context)
        if found == plain or (key.path == "network" and plain is None):
            continue
        if key.path.startswith("encryption.") and found is None:
            continue  # without a key of the program there is none that rotates
        if key.strength(found) < key.strength(plain):
            yield Weaker(backend.name, key.path, _text(found), _text(plain))


def _without(backend: BackendSpec, key: Key) -> BackendSpec:
    """A backend as if its spec did not have a key."""
    top, _, inner = key.path.partition(".")
    field = type(backend).model_fields.get(top)
    if field is None:
        return backend
    value: Any = field.get_default()
    held = getattr(backend, top)
    if inner in {"rotate_after", "delete_after"} and isinstance(held, Encryption):
        value = held.model_copy(update={inner: None})
    return backend.model_copy(update={top: value})


def _text(found: Any) -> str:
    if isinstance(found, timedelta):
        return f"{found.days}d" if found.days and not found % timedelta(days=1) else format_duration(found)
    if isinstance(found, bool):
        return str(found).lower()
    return "none" if found is None else str(found)


def table() -> str:
    """What differs between the profiles, in Markdown: the defaults, and the rules that not every profile asks for."""
    lines = [
        "| default of | on | dev | standard | regulated |",
        "|---|---|---|---|---|",
        *_defaults(),
        *_logging(),
        "",
        "| rules | dev | standard | regulated |",
        "|---|---|---|---|",
        *_rules(),
    ]
    return "\n".join(lines)


def _defaults() -> Iterator[str]:
    for key in KEYS:
        shown: dict[tuple[str, ...], list[str]] = {}
        for driver in _clouds():
            values = tuple(_shown(key, driver, profile) for profile in PROFILES)
            if len(set(values)) > 1:
                shown.setdefault(values, []).append(driver)
        for values, drivers in shown.items():
            yield f"| `{key.path}` | {', '.join(drivers)} | {' | '.join(values)} |"


def _shown(key: Key, driver: str, profile: str) -> str:
    backend = _minimal(driver).resolved(profile)
    if key.path == "network" and hasattr(backend, "network"):
        return _text(backend.network) if backend.network else "required"
    found = key.value(backend, _context(profile))
    return "-" if found is None else _text(found)


def _clouds() -> list[str]:
    """The drivers that something is provisioned for."""
    from infra.spec import drivers, module_of  # noqa: PLC0415 - the spec itself knows of the verdict

    return [driver for driver in drivers() if module_of(driver).Spec.provider]


def _minimal(driver: str) -> BackendSpec:
    from infra.spec import module_of  # noqa: PLC0415 - as above

    model: type[BackendSpec] = module_of(driver).Spec
    return model.model_validate({"name": "example", "driver": driver, **model.example})


def _context(profile: str) -> Context:
    return Context(Stack("example", "example", Path(), {}), profile)


def _logging() -> Iterator[str]:
    values = (f"{Logging().days(profile)}d" for profile in PROFILES)
    yield f"| `logging.keep` | the stack | {' | '.join(values)} |"


def _rules() -> Iterator[str]:
    shown: dict[tuple[str, ...], list[str]] = {}
    for rule in RULES:
        shown.setdefault(tuple("yes" if each in rule.profiles else "no" for each in PROFILES), []).append(rule.id)
    for asked, ids in sorted(shown.items()):
        yield f"| {_ranges(ids)} | {' | '.join(asked)} |"


def _ranges(ids: list[str]) -> str:
    """``AWS-01 02 05, GCP-01``: each family's name once."""
    families: dict[str, list[str]] = {}
    for each in ids:
        family, _, number = each.partition("-")
        families.setdefault(family, []).append(number)
    return ", ".join(f"{family}-{' '.join(numbers)}" for family, numbers in families.items())


def written(guide: str) -> str:
    """The generated part of a guide."""
    start, end = (re.escape(mark) for mark in MARKS)
    found = re.search(rf"{start}\n(.*?)\n{end}", guide, flags=re.DOTALL)
    return found[1] if found else ""


def rewritten(guide: str) -> str:
    """A guide with the generated part as it should be."""
    return guide.replace(written(guide), table())
