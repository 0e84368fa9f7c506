"""What an application needs of its storage: names, capabilities and grants, declared once and checked three times.

In code, checked when the storage is opened::

    requires = Requires({"avatars": Need(capabilities={"presign"}, grants={"read", "write"})})
    async with runtime.open_storage(requires=requires) as storage:
        ...

or in the application's ``pyproject.toml``, which code reads with `Requires.read`, and ``tandem check``, ``preview`` and
``up`` with ``--app PATH``, so that a backend that is still needed can not be removed or renamed::

    [tool.tandem.requires.avatars]
    capabilities = ["presign"]
    grants = ["read", "write"]

    [tool.tandem.requires - kv.sessions]
    driver = "redis"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from runtime.config import KV_DRIVERS, VERBS, Model
from runtime.errors import ConfigError, Problem
from runtime.fields import BackendName
from runtime.validation import did_you_mean, problems_of, why_unreadable

if TYPE_CHECKING:
    from runtime.config import GrantConfig, NamedStorageConfig, StorageConfig

CAPABILITIES: Final = ("cors", "customer_key", "presign", "public", "public_blocked", "tls_only", "versioning")
"""What ``expect.capabilities`` of a backend can hold."""

FILE: Final = "pyproject.toml"
BACKENDS: Final = "requires"
KV: Final = "requires-kv"

N = TypeVar("N", bound=Model)

_CREDENTIALS: Final = frozenset({"access_key", "account_key", "sas_token", "credentials_path"})


def _one_of(*allowed: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"is not known{did_you_mean(value, allowed)}; allowed: {', '.join(allowed)}")
        return value

    return AfterValidator(check)


class Need(Model):
    """What is needed of one backend.

    Attributes:
        driver: The only driver that will do; any when it is None.
        capabilities: What it has to be provisioned for: ``presign``, ``versioning``, …
        grants: What the application has to be allowed: ``read``, ``write``, …
    """

    driver: str | None = None
    capabilities: frozenset[Annotated[str, _one_of(*CAPABILITIES)]] = frozenset()
    grants: frozenset[Annotated[str, _one_of(*VERBS)]] = frozenset()


class KVNeed(Model):
    """What is needed of one key-value store.

    Attributes:
        driver: The only driver that will do; any when it is None.
    """

    driver: Annotated[str, _one_of(*KV_DRIVERS)] | None = None


@dataclass(frozen=True, slots=True)
class Requires:
    """Everything that an application needs of its storage.

    Attributes:
        backends: Needs by the name of a backend.
        kv: Needs by the name of a key-value store.
        source: Where it was declared, for messages.
    """

    backends: Mapping[str, Need] = field(default_factory=dict)
    kv: Mapping[str, KVNeed] = field(default_factory=dict)
    source: str = "the application"

    @classmethod
    def names(cls, backends: Iterable[str] = (), kv: Iterable[str] = ()) -> Self:
        """That these stores exist, whatever they are: from the names of a module of ``tandem config types``."""
        return cls({name: Need() for name in backends}, {name: KVNeed() for name in kv})

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The declaration in an application's ``pyproject.toml``, named by the file or by its directory.

        Raises:
            ConfigError: there is none, or it is wrong; every problem is listed.
        """
        file = Path(path)
        file = file / FILE if file.is_dir() else file
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as exc:
            raise ConfigError("this is not valid TOML", source=str(file), problems=[Problem("", str(exc))]) from exc
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(why_unreadable(exc), source=str(file)) from exc
        own = document.get("tool", {}).get("tandem", {})
        if not (isinstance(own, Mapping) and own.keys() & {BACKENDS, KV}):
            hint = f"declare [tool.tandem.{BACKENDS}.<name of a backend>]"
            raise ConfigError(
                "declares nothing that the application requires of its storage", source=str(file), hint=hint
            )
        backends, wrong = _needs(own, BACKENDS, Need)
        kv, wrong_kv = _needs(own, KV, KVNeed)
        if problems := [*wrong, *wrong_kv]:
            raise ConfigError("what the application requires is declared wrongly", source=str(file), problems=problems)
        return cls(backends, kv, str(file))

    def unmet(self, config: StorageConfig) -> list[Problem]:
        """What of it *config* does not give, all of it; paths as in ``pyproject.toml``."""
        problems: list[Problem] = []
        backends = {backend.name: backend for backend in config.named_backends()}
        for name, need in self.backends.items():
            path = f"{BACKENDS}.{name}"
            if (backend := backends.get(name)) is None:
                problems.append(_no_such("backend", name, backends, path))
            else:
                problems += _unmet(backend, need, path)
        stores = {store.name: store for store in config.kv}
        for name, need_kv in self.kv.items():
            path = f"{KV}.{name}"
            if (store := stores.get(name)) is None:
                problems.append(_no_such("key-value store", name, stores, path))
            elif need_kv.driver not in {None, store.driver}:
                problems.append(Problem(f"{path}.driver", f"found {store.driver!r}", str(need_kv.driver)))
        return problems

    def demand(self, config: StorageConfig, source: str) -> None:
        """That *config* gives all of it.

        Args:
            config: What was configured.
            source: What it is called in the message.

        Raises:
            ConfigError: with everything that is missing.
        """
        if problems := self.unmet(config):
            raise ConfigError(
                f"{self.source} requires what this storage config does not give",
                source=source,
                problems=problems,
                hint="change the stack's file and run `tandem up`, or what the application requires",
            )


def _needs(own: Mapping[str, Any], key: str, model: type[N]) -> tuple[dict[str, N], list[Problem]]:
    root = f"tool.tandem.{key}"
    declared = own.get(key, {})
    if not isinstance(declared, Mapping):
        return {}, [Problem(root, f"found {declared!r}", "tables by the names of stores")]
    needs: dict[str, N] = {}
    problems: list[Problem] = []
    for name, values in declared.items():
        try:
            TypeAdapter(BackendName).validate_python(name)
            needs[name] = model.model_validate(values)
        except ValidationError as exc:
            found = problems_of(exc, values, model=model)
            problems += [
                Problem(f"{root}.{name}.{each.path}".rstrip("."), each.message, each.allowed) for each in found
            ]
    return needs, problems


def _no_such(kind: str, name: str, known: Iterable[str], path: str) -> Problem:
    names = list(known)
    return Problem(path, f"there is no {kind} {name!r}{did_you_mean(name, names)}", ", ".join(names) or "none")


def _unmet(backend: NamedStorageConfig, need: Need, path: str) -> Iterator[Problem]:
    if need.driver not in {None, backend.driver}:
        yield Problem(f"{path}.driver", f"found {backend.driver!r}", need.driver)
    promised = backend.expect.capabilities if backend.expect else ()
    if missing := sorted(need.capabilities - set(promised)):
        has = ", ".join(promised) or "nothing"
        message = f"backend {backend.name!r} is not promised {', '.join(missing)}; it is promised {has}"
        yield Problem(f"{path}.capabilities", message)
    if need.grants:
        yield from _ungranted(backend, need.grants, path)


def _ungranted(backend: NamedStorageConfig, wanted: frozenset[str], path: str) -> Iterator[Problem]:
    """Who has credentials of its own, or no identity at all, is not judged: the contract does not know what it may."""
    grants = [grant for grant in backend.grants if backend.identity in {None, grant.to}]
    if not backend.grants and not _by_identity(backend):
        return
    if any(_covers(grant, wanted) for grant in grants):
        return
    who = repr(backend.identity) if backend.identity else "the application"
    best = max((set(grant.access) for grant in grants), key=lambda access: len(access & wanted), default=set())
    missing = ", ".join(verb for verb in VERBS if verb in wanted - best)
    has = ", ".join(verb for verb in VERBS if verb in best) or "nothing"
    yield Problem(f"{path}.grants", f"{who} is not granted {missing} on backend {backend.name!r}; it is granted {has}")


def _covers(grant: GrantConfig, wanted: frozenset[str]) -> bool:
    return "admin" in grant.access or wanted <= set(grant.access)


def _by_identity(backend: NamedStorageConfig) -> bool:
    """Whether the application is known by what it is and not by a key, so that somebody has to grant it everything."""
    settings, fields = backend.settings, getattr(type(backend.settings), "model_fields", {})
    own = _CREDENTIALS & set(fields)
    return (
        bool(own)
        and backend.expect is not None
        and not any(getattr(settings, key) for key in (*own, *({"endpoint_url"} & set(fields))))
    )
