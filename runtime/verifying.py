"""Whether every backend is still what the contract says: contract against live bucket, with the application's identity.

    found = await runtime.verify()                 # the config that the application would find
    found = await storage.verify(write=True)       # of an open storage, with a presign round trip

`tandem doctor` prints it. Nothing is repaired here: each finding says what to run. What may not be looked at is a
finding too, with the right that is missing.
"""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from runtime.drift import Drift, Finding, apart, compare, listed
from runtime.errors import (
    ConfigError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
    StorageUnavailableError,
    UnauthenticatedError,
)
from runtime.grants import ungranted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runtime.config import NamedKVConfig, NamedStorageConfig, StorageConfig
    from runtime.loading import LoadedConfig, Source
    from runtime.models import PresignedRequest
    from runtime.store import BlobStore

    _Work = Callable[[], Awaitable[list[Finding]]]

AT_ONCE: Final = 16
"""Backends that are looked at at the same time."""

FETCH_SECONDS: Final = 10.0
SIGNED_FOR: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        source: What was verified: the file, variable or argument.
        findings: Every difference, and what could not be compared, backend after backend.
        backends: The backends that were looked at.
    """

    source: str
    findings: tuple[Finding, ...]
    backends: tuple[str, ...] = field(default=())

    @property
    def drifted(self) -> tuple[Finding, ...]:
        """The findings that are differences; without what could not be compared."""
        return tuple(apart(self.findings)[0])

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """What could not be compared: never a difference, and never taken for a pass."""
        return tuple(apart(self.findings)[1])

    def document(self) -> dict[str, Any]:
        """The whole for a machine."""
        return {"source": self.source, **listed(self.findings)}


async def verify(config: Source = None, *, write: bool = False) -> Verification:
    """Compare every backend of a config with what its service has now.

    Args:
        config: As for `runtime.open_storage`.
        write: Also write, sign, fetch and remove one scratch object on every backend that signs URLs.

    Raises:
        ConfigError: no config was found, or it is wrong.
    """
    from runtime.loading import read_config  # noqa: PLC0415 - an open storage is verified without it

    loaded = read_config(config)
    findings = edited(loaded)
    findings += await _verify_all(loaded.config, repair_of(loaded.stack), write=write)
    names = (backend.name for backend in loaded.config.named_backends())
    return Verification(loaded.source, tuple(findings), tuple(names) if loaded.config.enabled else ())


def repair_of(stack: str | None) -> str:
    """What makes the cloud as the contract says."""
    return f"run `tandem up -s {stack}`" if stack else "run `tandem up` for the stack of this config"


def edited(loaded: LoadedConfig) -> list[Finding]:
    """That a generated document is not as it was generated."""
    if loaded.edited is None:
        return []
    stated, actual = loaded.edited
    fix = f"the file was edited by hand: change the stack instead, and {repair_of(loaded.stack)}"
    return [Finding("", "fingerprint", stated, actual, Drift.BREAKING, fix)]


async def verify_storage(
    config: StorageConfig, stores: Mapping[str, BlobStore], *, write: bool = False
) -> Verification:
    """The same for stores that are open already."""
    repair = repair_of(None)
    work = {name: partial(_verify_store, store, repair, write=write) for name, store in stores.items()}
    return Verification(config.name, tuple(await _in_parallel(work)), tuple(stores))


async def _verify_all(config: StorageConfig, repair: str, *, write: bool) -> list[Finding]:
    if not config.enabled:
        return []
    work: dict[str, _Work] = {}
    for backend in config.named_backends():
        work[backend.name] = partial(_verify_backend, config, backend, repair, write=write)
    for store in config.kv:
        work[f"kv:{store.name}"] = partial(_verify_kv, config, store)
    return await _in_parallel(work)


async def _in_parallel(work: Mapping[str, _Work]) -> list[Finding]:
    found: dict[str, list[Finding]] = {}
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(name: str, ask: _Work) -> None:
        async with limit:
            found[name] = await ask()

    async with anyio.create_task_group() as tasks:
        for name, ask in work.items():
            tasks.start_soon(one, name, ask)
    return [finding for name in work for finding in found[name]]


async def _verify_backend(
    config: StorageConfig, backend: NamedStorageConfig, repair: str, *, write: bool
) -> list[Finding]:
    from runtime.registry import Storage  # noqa: PLC0415 - it loads this module for `Storage.verify`

    # alone, so that one backend that can not be opened does not hide the others
    alone = config.only([backend.name])
    try:
        async with Storage(alone) as storage:
            return await _verify_store(storage[backend.name], repair, write=write)
    except StorageError as exc:
        return [unreachable(backend, exc, repair)]


async def _verify_kv(config: StorageConfig, entry: NamedKVConfig) -> list[Finding]:
    from runtime.kv.stores import made  # noqa: PLC0415 - most applications have none

    store = made(entry)
    try:
        health = await store.health_check(config.health_check_timeout)
    finally:
        await store.disconnect()
    if health.is_healthy():
        return []
    found = health.error or health.message or health.status.value
    fix = "look at the address and the credentials of its server"
    return [Finding(entry.name, f"kv.{entry.name}", "reachable", found, Drift.BREAKING, fix)]


async def _verify_store(store: BlobStore, repair: str, *, write: bool) -> list[Finding]:
    findings: list[Finding] = []
    try:
        await store.describe()
    except StorageError as exc:
        if type(exc) is not PermissionDeniedError or not (lacking := ungranted(store, "list")):
            return [unreachable(store.backend, exc, repair)]
        fix = f"its grant lacks {lacking}, which looking at the bucket takes"
        findings = [Finding(store.name, f"backends.{store.name}", "reachable", None, Drift.UNKNOWN, fix)]
    return findings + await drift_of(store, repair, write=write)


async def drift_of(store: BlobStore, repair: str, *, write: bool) -> list[Finding]:
    """What of a backend that answers is not as its contract says.

    Args:
        store: An opened backend.
        repair: What makes the bucket as the contract says, for the findings.
        write: Also sign URLs of a scratch object and use them.
    """
    if not hasattr(store, "live_settings"):  # a plug-in's own store has no settings to ask for
        return []
    try:
        findings = compare(store.backend, await store.live_settings(), repair)
    except StorageError as exc:
        return [unreachable(store.backend, exc, repair)]
    return findings + (await round_trip(store, repair) if write else [])


def unreachable(backend: NamedStorageConfig, error: StorageError, repair: str) -> Finding:
    """That an application can not use a backend, as its own identity was answered."""
    kind = next((kind for kind in _ANSWERS if isinstance(error, kind)), StorageError)
    keys, advice = _ANSWERS.get(kind, ((), "look at the backend's settings and at the service"))
    key = next((key for key in keys if getattr(backend.settings, key, None) is not None), None)
    path = f"backends.{backend.name}" + (f".{backend.driver}.{key}" if key else "")
    expected = str(getattr(backend.settings, key)) if key in _PLACES else "reachable"
    knows = type(error) is not kind or kind is StorageUnavailableError  # what is not installed, what makes a directory
    fix = error.hint if error.hint and knows else advice.format(repair=repair)
    return Finding(backend.name, path, expected, f"{type(error).__name__}: {error.message}", Drift.BREAKING, fix)


_PLACES: Final = frozenset({"bucket", "container", "region", "root_dir"})
"""Keys whose values can be shown."""

_ANSWERS: Final[Mapping[type[StorageError], tuple[tuple[str, ...], str]]] = {
    NotFoundError: (("bucket", "container", "root_dir"), "{repair}"),
    UnauthenticatedError: (
        ("access_key", "account_key", "sas_token", "credentials_path"),
        "the credentials are not accepted (revoked, expired or wrong): give the application new ones",
    ),
    PermissionDeniedError: ((), "give the application's identity access: `grants` of this backend in the stack"),
    StorageUnavailableError: (("endpoint_url",), "look at the address and the network"),
    ConfigError: (("region",), "{repair}, or look at the backend's settings"),
}
"""By the kind of an answer: the keys of a driver's settings that it is about, of which the first that is set is named,
and what to do."""


async def round_trip(store: BlobStore, repair: str) -> list[Finding]:
    """Sign URLs and use them over plain HTTP as a browser would, on a scratch object that is removed again."""
    signs = store.capabilities.presign & {"GET", "PUT"}
    expect = store.backend.expect
    if not signs or (expect is not None and expect.capabilities and "presign" not in expect.capabilities):
        return []
    if lacking := ungranted(store, "upload", "presign", "delete"):
        fix = f"its grant does not allow {lacking}, which a scratch object takes"
        return [Finding(store.name, f"backends.{store.name}.presign", "accepted", None, Drift.UNKNOWN, fix)]
    trip = _RoundTrip(store, repair)
    found: list[Finding | None] = []
    try:
        found += [await trip.use(method) for method in sorted(signs)]
    finally:
        with anyio.CancelScope(shield=True):
            found.append(await trip.remove())
    return [finding for finding in found if finding is not None]


class _RoundTrip:
    """Presigned URLs of one scratch object."""

    def __init__(self, store: BlobStore, repair: str) -> None:
        self._store, self._repair = store, repair
        self._path = f"tandem-verify/{secrets.token_hex(8)}.txt"

    async def use(self, method: str) -> Finding | None:
        """What is wrong with a URL for *method*."""
        content = secrets.token_hex(32).encode()
        try:
            if method == "GET":
                await self._store.upload(self._path, content, content_type="text/plain")
            request = await self._store.presign(self._path, method=method, expires_in=SIGNED_FOR)
            status, found = await anyio.to_thread.run_sync(_send, request, content if method == "PUT" else None)
            if method == "PUT" and status < _REFUSED:
                found = await self._store.download(self._path)
        except PermissionDeniedError as exc:
            fix = f"this identity may not {exc.operation or 'presign'}: give it the right, or ask with one that has it"
            return self._finding(method, None, Drift.UNKNOWN, fix)
        except (StorageError, OSError) as exc:
            return self._wrong(method, exc.message if isinstance(exc, StorageError) else type(exc).__name__)
        if status >= _REFUSED:
            return self._wrong(method, f"refused with {status}")
        return None if found == content else self._wrong(method, "other bytes than were written")

    async def remove(self) -> Finding | None:
        """Delete the scratch object; what is left when that fails is told."""
        try:
            await self._store.delete(self._path)
        except StorageError as exc:
            return self._finding("scratch", self._path, Drift.UNKNOWN, f"it could not be removed: {exc.message}")
        return None

    def _wrong(self, method: str, found: str) -> Finding:
        return self._finding(method, found, Drift.BREAKING, self._repair)

    def _finding(self, what: str, found: str | None, drift: Drift, fix: str) -> Finding:
        expected = "removed" if what == "scratch" else "accepted"
        return Finding(self._store.name, f"backends.{self._store.name}.presign.{what}", expected, found, drift, fix)


_REFUSED: Final = 300


def _send(request: PresignedRequest, body: bytes | None) -> tuple[int, bytes]:
    if not request.url.startswith(("http://", "https://")):
        raise ConnectionError("the presigned URL is not an HTTP URL")
    headers = dict(request.headers)
    if body is not None:
        headers.setdefault("Content-Type", "application/octet-stream")  # else urllib says that it is a form
    plain = urllib.request.Request(request.url, body, headers, method=request.method)  # noqa: S310 - checked
    try:
        with urllib.request.urlopen(plain, timeout=FETCH_SECONDS) as response:  # noqa: S310 - checked above
            return response.status, response.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, b""
