"""What the contract says that this application may do: the rest is refused before anything is asked.

A grant gives verbs to an identity; ``identity`` of the config says which of them the application is. The service
decides in the end: it refuses what nobody knew here, and what is refused here it would have refused too, later and
with less to say. Where no grant or no identity is known, nothing is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runtime.config import NamedStorageConfig
    from runtime.driver import Driver
    from runtime.store import BlobStore

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "copy": ("read", "write"),
    "copy_batch": ("read", "write"),
    "delete": ("delete",),
    "delete_batch": ("delete",),
    "download": ("read",),
    "download_to": ("read",),
    "exists": ("read",),
    "get_presigned_url": ("presign",),
    "info": ("read",),
    "list": ("list",),
    "list_page": ("list",),
    "move": ("read", "write", "delete"),
    "open_reader": ("read",),
    "open_writer": ("write",),
    "presign": ("presign",),
    "stream": ("read",),
    "sweep": ("write", "list"),
    "update": ("read", "write"),
    "upload": ("write",),
    "upload_from": ("write",),
}
"""The verbs that each operation needs; what is not here (`describe`, `get_url`, …) needs none."""

_SIGNED: Final[Mapping[str, str]] = {"GET": "read", "HEAD": "read", "PUT": "write", "POST": "write", "DELETE": "delete"}
"""What the signer must be allowed himself, for a URL can do no more than he."""

_OVERWRITES: Final = frozenset({"copy", "copy_batch", "move", "open_writer", "update", "upload", "upload_from"})


class Access:
    """What the application may do with one backend.

    Args:
        backend: Name of the backend.
        driver: What its service is like.
        identity: Who the application is.
        verbs: What is granted to it; nothing where it has no grant.

    Attributes:
        refused: The operations that it may not do.
    """

    __slots__ = ("_backend", "_driver", "_identity", "_verbs", "refused")

    def __init__(self, backend: str, driver: Driver | type[Driver], identity: str, verbs: Iterable[str]) -> None:
        self._backend = backend
        self._driver = driver
        self._identity = identity
        self._verbs = frozenset(verbs)
        self.refused = frozenset(operation for operation in NEEDS if self._missing(self._needs(operation)))

    def refusal(self, operation: str) -> PermissionDeniedError:
        """The error for an operation that is `refused`."""
        return self._error(operation, self._needs(operation))

    def demand_signature(self, operation: str, method: str) -> None:
        """That a request with this method may be signed.

        Raises:
            PermissionDeniedError: the signer may not do himself what the URL would let its holder do.
        """
        needs = ("presign", _SIGNED[method])
        if self._missing(needs):
            raise self._error(f"{operation} of a {method}", needs)

    def hint(self, operation: str) -> str | None:
        """What a service may mean that refuses something granted; None when there is nothing to say."""
        if self._driver.replaces_by_deleting and operation in _OVERWRITES and self._missing(("delete",)):
            return (
                f"to replace an object takes delete too on this service, which {self._identity!r} is not granted;"
                " upload with if_not_exists=True, or to a new path"
            )
        reads = NEEDS.get(operation) == ("read",)
        if reads and self._driver.hides_missing and self._missing(("list",)):
            return (
                f"{self._identity!r} is not granted list, and to those the service answers 403 instead of 404:"
                " the object may simply not be there"
            )
        return None

    def _needs(self, operation: str) -> tuple[str, ...]:
        if operation == "update" and self._driver.replaces_by_deleting:
            return (*NEEDS[operation], "delete")  # what it writes was there before
        return NEEDS[operation]

    def _missing(self, needs: Iterable[str]) -> list[str]:
        return [] if "admin" in self._verbs else [verb for verb in needs if verb not in self._verbs]

    def _error(self, wish: str, needs: tuple[str, ...]) -> PermissionDeniedError:
        backend = self._backend
        from runtime.config import VERBS  # noqa: PLC0415 - keeps pydantic out of `from runtime import BlobStore`

        allowed = ", ".join(verb for verb in VERBS if verb in self._verbs)
        granted = f"grant {self._identity!r} on backend {backend!r} allows {allowed}"
        if not allowed:
            granted = f"backend {backend!r} has no grant to {self._identity!r}"
        variable = f"LEX_STORAGE__BACKENDS__{backend.upper().replace('-', '_')}__IDENTITY"
        return PermissionDeniedError(
            f"{granted}; {wish} needs {' and '.join(needs)}",
            hint=f"change storage.backends.{backend}.grants in the stack's file and run `tandem up`;"
            f" who is somebody else says so in {variable}, or in an empty one to be refused nothing here",
        )


def access_to(backend: NamedStorageConfig, driver: Driver) -> Access | None:
    """What the application may do with *backend*, which *driver* opens; None when nobody knows."""
    if backend.identity is None or not backend.grants:
        return None
    verbs = [verb for grant in backend.grants if grant.to == backend.identity for verb in grant.access]
    return Access(backend.name, driver, backend.identity, verbs)


def ungranted(store: BlobStore, *operations: str) -> str:
    """The first of *operations* that the contract's grant is known not to allow; empty when it allows all."""
    access = access_to(store.backend, store.driver) if hasattr(store, "driver") else None
    return next((name for name in operations if access is not None and name in access.refused), "")
