"""The stand-in providers of a run: which resource is whose, and what it means when a server does not answer."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from infra.engine.planning import PROVIDER_PREFIX
from infra.engine.providers import stand_in
from infra.engine.providers.values import wire_map
from runtime.errors import ConfigError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from infra.engine.providers.base import StandIn
    from infra.engine.state import Entry


class Connections:
    """Configured stand-ins by the URN of the explicit provider that a program makes.

    A resource that is deleted without its program (its provider is gone from it, or the stack is destroyed) gets its
    provider from the state.
    """

    def __init__(self, recorded: Mapping[str, Entry]) -> None:
        self._recorded = recorded
        self._live: dict[str, StandIn] = {}
        self._down: dict[int, StorageUnavailableError] = {}
        self._lock = Lock()

    def connect(self, entry: Entry) -> StandIn:
        """Configure the stand-in that an explicit provider asks for.

        Raises:
            ConfigError: it has no stand-in, or an endpoint that is not on this machine.
        """
        provider = stand_in(entry.type.removeprefix(PROVIDER_PREFIX))
        provider.configure_now(wire_map(entry.inputs, entry.secrets))
        with self._lock:
            self._live[entry.urn] = provider
        return provider

    def of(self, entry: Entry) -> StandIn:
        """The stand-in of a resource.

        Raises:
            ConfigError: it names no explicit provider: the default one is the real cloud.
        """
        if not entry.provider:
            package = entry.type.partition(":")[0]
            stand_in(package)  # a better message where there is none at all
            raise ConfigError(
                f"{entry.urn}: this resource uses the default {package} provider, which is the real cloud; "
                "the embedded engine talks to emulators only",
                hint=f"give it an explicit {package} Provider with the emulator's endpoint",
            )
        with self._lock:
            found = self._live.get(entry.provider)
        if found is not None:
            return found
        recorded = self._recorded.get(entry.provider)
        if recorded is None:
            raise ConfigError(f"{entry.urn}: its provider {entry.provider} is neither in the program nor in the state")
        return self.connect(recorded)

    def package(self, urn: str) -> StandIn | None:
        """The stand-in of a provider that this run has registered."""
        with self._lock:
            return self._live.get(urn)

    @contextmanager
    def reaching(self, provider: StandIn) -> Iterator[None]:
        """Calls to a provider; that no server answers becomes one clear error, at once after the first time.

        Raises:
            StorageUnavailableError: no server answers.
        """
        with self._lock:
            down = self._down.get(id(provider))
        if down is not None:
            raise StorageUnavailableError(down.message, hint=down.hint)
        try:
            yield
        except StorageError:
            raise
        except Exception as exc:
            if not provider.unreachable(exc):
                raise
            error = StorageUnavailableError(
                f"the emulator of the {provider.name} provider does not answer: {exc}",
                hint="start it with `tandem emulators up`; after that `up` finds it at its new address",
            )
            with self._lock:
                self._down[id(provider)] = error
            raise error from exc
