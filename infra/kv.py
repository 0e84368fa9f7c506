"""The key-value stores of a stack: nothing is provisioned for them, the contract says where they are.

::

    kv:
      sessions: {driver: redis, primary: true}      # its address is a secret: ${SESSIONS_URL}
      flags: {driver: local, base_path: ./storage/flags}

A Redis or Valkey server is a managed service with a network of its own, which this program does not make; an
application is given its address, as it is given R2's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, StrictBool, TypeAdapter, ValidationError

from infra.backend import Model
from infra.problems import problems_of
from runtime.config import KV_DRIVERS, KVLocalConfig, KVMemoryConfig, KVRedisConfig, NamedKVConfig, literal_secrets
from runtime.errors import Problem
from runtime.fields import BackendName
from runtime.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.context import Context

_FOR_SEVERAL: Final = ("redis",)
"""Drivers that serve several instances."""


class KVSpec(Model):
    """One key-value store.

    Attributes:
        name: What the application calls it; the key above it.
        driver: What keeps the entries.
        primary: Whether it is also the store without a name.
        base_path: Directory of the driver local; below the project, or absolute on the application's machines.
        fsync: Whether the driver local waits for the disk at every write.
        url: Address of the driver redis, as a reference or without a password; ``${<NAME>_URL}`` when left out.
        prefix: First part of every key of the driver redis; ``<project>-<stack>-<name>`` when left out.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _of_driver: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "memory": (),
        "local": ("base_path", "fsync"),
        "redis": ("url", "prefix"),
    }

    name: BackendName = Field(exclude=True)
    driver: Literal["memory", "local", "redis"]
    primary: StrictBool = False
    base_path: str | None = Field(default=None, min_length=1)
    fsync: StrictBool | None = None
    url: str | None = Field(default=None, min_length=1)
    prefix: str | None = Field(default=None, min_length=1, max_length=200)

    def problems(self, context: Context) -> Iterator[Problem]:
        """What is wrong between its keys, and with its place; paths are below the store."""
        own = self._of_driver[self.driver]
        for key in (key for keys in self._of_driver.values() for key in keys):
            if key in self.model_fields_set and key not in own:
                yield Problem(key, f"driver {self.driver} has no such key", ", ".join(own) or "leave it out")
        if not context.dev and self.driver not in _FOR_SEVERAL:
            yield Problem("driver", f"found {self.driver!r}: its entries are on one machine", "redis, or profile dev")
        root = context.stack.root
        path = Path(self.base_path or ".")
        if not path.is_absolute() and not (root / path).resolve().is_relative_to(root):
            yield Problem("base_path", f"found {self.base_path!r}, which leaves the project", "./… or an absolute path")
        if self.url and literal_secrets({"url": self.url}):
            yield Problem("url", "holds a password", "${NAME}, or an address without a password")

    def entry(self, context: Context) -> NamedKVConfig:
        """The store as the contract has it."""
        primary: dict[str, Any] = {"primary": True} if self.primary else {}
        settings: KVMemoryConfig | KVLocalConfig | KVRedisConfig
        if self.driver == "redis":
            stack = context.stack
            settings = KVRedisConfig.model_validate(
                {
                    "url": self.url or f"${{{self.name.upper().replace('-', '_')}_URL}}",
                    "prefix": self.prefix or f"{stack.project}-{stack.name}-{self.name}",
                }
            )
        elif self.driver == "local":
            fsync = {} if self.fsync is None else {"fsync": self.fsync}
            settings = KVLocalConfig(base_path=self.base_path or f"./storage/{self.name}", **fsync)
        else:
            settings = KVMemoryConfig()
        return NamedKVConfig.model_validate(
            {"name": self.name, "driver": self.driver, **primary, self.driver: settings}
        )


def read(document: Any, root: str, context: Context | None) -> tuple[tuple[KVSpec, ...], list[Problem]]:
    """The stores of a spec, sorted by name, and everything that is wrong with them.

    Args:
        document: What stands under ``kv``; None for none.
        root: Path of it.
        context: The stack; None when its profile does not exist, and what depends on it can not be judged.
    """
    if document is None:
        return (), []
    if not isinstance(document, Mapping):
        return (), [Problem(root, f"found {document!r}", "a mapping of names to key-value stores")]
    stores: list[KVSpec] = []
    problems: list[Problem] = []
    for name, data in document.items():
        store, found = _read(name, data, f"{root}.{name}")
        problems += found
        if store is not None:
            stores.append(store)
            below = store.problems(context) if context else ()
            problems += [Problem(f"{root}.{name}.{each.path}", each.message, each.allowed) for each in below]
    primaries = [store.name for store in stores if store.primary]
    problems += [
        Problem(f"{root}.{name}.primary", f"found a second primary store beside {primaries[0]!r}", "one")
        for name in primaries[1:]
    ]
    return tuple(sorted(stores, key=lambda store: store.name)), problems


def _read(name: Any, data: Any, path: str) -> tuple[KVSpec | None, list[Problem]]:
    problems: list[Problem] = []
    try:
        TypeAdapter(BackendName).validate_python(name)
    except ValidationError as exc:
        problems += problems_of(exc, KVSpec, None, path)
    known = ", ".join(KV_DRIVERS)
    if not isinstance(data, Mapping):
        return None, [*problems, Problem(path, f"found {data!r}", "a mapping with at least a driver")]
    driver = data.get("driver")
    if driver not in KV_DRIVERS:
        hint = did_you_mean(str(driver), KV_DRIVERS)
        message = "is required" if driver is None else f"unknown driver {driver!r}{hint}"
        return None, [*problems, Problem(f"{path}.driver", message, known)]
    try:
        return KVSpec.model_validate({**data, "name": "unnamed" if problems else name}), problems
    except ValidationError as exc:
        return None, [*problems, *problems_of(exc, KVSpec, data, path)]
