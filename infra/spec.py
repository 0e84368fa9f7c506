"""The spec: what a person asks for under ``tandem:storage`` in ``stacks/Pulumi.<stack>.yaml``.

`load_spec` checks it whole, before anything is made, and tells every problem at once. What a backend may say is in
`infra.backend`; the extra keys of a driver are in ``infra/<driver>.py``, which is loaded only when it is declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from infra.backend import BackendSpec, Exemption, Model
from infra.checks import backend_problems, exemption_problems, spec_problems
from infra.context import Context
from infra.endpoints import problems as emulator_problems
from infra.fields import Tags
from infra.kv import KVSpec
from infra.kv import read as read_kv
from infra.logs import Logging, LoggingSpec
from infra.problems import problems_of
from infra.stack import KEYS
from runtime.config import DRIVERS, StorageOperationConfig
from runtime.errors import ConfigError, Problem
from runtime.fields import BackendName
from runtime.validation import did_you_mean

if TYPE_CHECKING:
    from types import ModuleType

    from infra.stack import Stack

__all__ = ["BackendSpec", "StorageSpec", "context_of", "drivers", "load_spec", "module_of"]

ROOT = "storage"

_BACKEND_NAME = TypeAdapter(BackendName)

Profile = Literal["dev", "standard", "regulated"]

M = TypeVar("M", bound=BaseModel)


class StorageSpec(Model):
    """All storage of one stack.

    Attributes:
        profile: How strict the defaults and the refusals are.
        tags: Owner tags of every resource whose service has tags.
        service: Limits on uploads, for the application.
        logging: Whether accesses are logged, and for how long that is kept.
        backends: The named backends, sorted by name: Pulumi hands mappings over in an order of its own.
        kv: The named key-value stores, sorted by name.
        exemptions: Security rules that a backend does not keep, with the reason and until when.
    """

    profile: Profile = "standard"
    tags: Tags = Field(default_factory=dict)
    service: StorageOperationConfig = StorageOperationConfig()
    logging: LoggingSpec = Logging()
    backends: tuple[BackendSpec, ...] = ()
    kv: tuple[KVSpec, ...] = ()
    exemptions: tuple[Exemption, ...] = ()


@cache
def drivers() -> tuple[str, ...]:
    """The drivers that can be provisioned: those of the contract that have a module here."""
    return tuple(name for name in DRIVERS if find_spec(f"infra.{name}"))


def module_of(driver: str) -> ModuleType:
    """``infra/<driver>.py``, found by its name."""
    return import_module(f"infra.{driver}")


def load_spec(stack: Stack) -> StorageSpec:
    """The stack's spec with every default of its profile in place.

    Raises:
        ConfigError: with every problem of the spec, not only the first.
    """
    problems = list(_stack_problems(stack))
    document = stack.config.get("tandem:storage")
    spec = StorageSpec()
    if isinstance(document, Mapping):
        spec = _load(stack, document, problems)
    else:
        message = "is required" if document is None else f"found {document!r}"
        problems.append(Problem("tandem:storage", message, "a mapping with profile, tags and backends"))
    problems = list(dict.fromkeys(problems))  # two backends can miss the same account
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"the storage spec has {count}", source=stack.source, problems=problems)
    return spec


def context_of(stack: Stack, spec: StorageSpec) -> Context:
    """What the backends of a spec share, offline."""
    return Context(stack, spec.profile, spec.tags, logging=spec.logging)


def _load(stack: Stack, document: Mapping[str, Any], problems: list[Problem]) -> StorageSpec:
    header = {key: value for key, value in document.items() if key not in {"backends", "kv"}}
    head, found = _validated(StorageSpec, header, ROOT, None)
    problems += found
    spec = head or StorageSpec()
    # a profile that does not exist turns off what depends on it; it is a problem already
    profile = spec.profile if header.get("profile", spec.profile) == spec.profile else None
    backends, found = _backends(stack, spec, profile, document.get("backends"))
    problems += [*found, *spec_problems(backends, ROOT), *exemption_problems(spec.exemptions, document, ROOT)]
    kv, found = read_kv(document.get("kv"), f"{ROOT}.kv", Context(stack, profile, spec.tags) if profile else None)
    problems += found
    return spec.model_copy(update={"backends": tuple(sorted(backends, key=lambda backend: backend.name)), "kv": kv})


def _backends(
    stack: Stack, spec: StorageSpec, profile: str | None, document: Any
) -> tuple[list[BackendSpec], list[Problem]]:
    root = f"{ROOT}.backends"
    if not isinstance(document, Mapping) or not document:
        message = "is required" if document is None else f"found {document!r}"
        return [], [Problem(root, message, "a mapping of names to backends, at least one")]
    backends, problems = [], []
    context = Context(stack, profile or spec.profile, spec.tags, logging=spec.logging)
    for name, data in document.items():
        path = f"{root}.{name}"
        fault = _name_problem(name, path)
        problems += fault
        model, found = _model(data, path)
        problems += found
        if model is None:
            continue
        values = {**model.from_stack(stack), **data, "name": "unnamed" if fault else name}
        if "name" in data:
            problems.append(Problem(f"{path}.name", "unknown key: the name is the key above it"))
        backend, found = _validated(model, values, path, profile)
        problems += found
        if backend is not None:
            checked = backend_problems(backend, context) if profile else iter(())
            problems += [_below(path, each) for each in checked]
            backends.append(backend.resolved(context.profile))
    return backends, problems


def _below(path: str, problem: Problem) -> Problem:
    """A backend's problem with its full path; those of the stack's own keys have it already."""
    if problem.path.startswith("tandem:"):
        return problem
    return Problem(f"{path}.{problem.path}", problem.message, problem.allowed)


def _name_problem(name: Any, path: str) -> list[Problem]:
    try:
        _BACKEND_NAME.validate_python(name)
    except ValidationError as exc:
        return problems_of(exc, BackendSpec, None, path)
    return []


def _model(data: Any, path: str) -> tuple[type[BackendSpec] | None, list[Problem]]:
    known = drivers()
    if not isinstance(data, Mapping):
        return None, [Problem(path, f"found {data!r}", "a mapping with at least a driver")]
    driver = data.get("driver")
    if driver is None:
        return None, [Problem(f"{path}.driver", "is required", ", ".join(known))]
    if driver not in known:
        hint = did_you_mean(str(driver), known)
        return None, [Problem(f"{path}.driver", f"unknown driver {driver!r}{hint}", ", ".join(known))]
    return module_of(driver).Spec, []


def _validated(
    model: type[M], data: Mapping[str, Any], path: str, profile: str | None
) -> tuple[M | None, list[Problem]]:
    """The model and its problems; what can be kept of a wrong document is kept, for the checks that follow."""
    context = {"profile": profile or data.get("profile")}
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as exc:
        problems = problems_of(exc, model, data, path)
        wrong = {str(item["loc"][0]) for item in exc.errors(include_url=False) if item["loc"]}
    try:
        sound = {key: value for key, value in data.items() if key not in wrong}
        return model.model_validate(sound, context=context), problems
    except ValidationError:  # a required key is among the wrong ones: no model, its problems are known
        return None, problems


def _stack_problems(stack: Stack) -> Iterator[Problem]:
    for key in stack.config:
        if key.startswith("tandem:") and key not in KEYS:
            yield Problem(key, f"unknown key{did_you_mean(key, KEYS)}", ", ".join(KEYS))
    yield from emulator_problems(stack)
    accounts = stack.config.get("tandem:accounts")
    if accounts is not None and not isinstance(accounts, Mapping):
        yield Problem("tandem:accounts", f"found {accounts!r}", "a mapping of providers to accounts")
        return
    for provider, value in (accounts or {}).items():
        if not isinstance(value, str):
            yield Problem(f"tandem:accounts.{provider}", f"found {value!r}", "text; quote numbers")
