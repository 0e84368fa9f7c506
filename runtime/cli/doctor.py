"""``tandem doctor``: ask every backend whether an application could use it, and say what to mend."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from runtime.cli.exits import FAILED, of_drift
from runtime.cli.options import ConfigFile, Json, StackName
from runtime.cli.output import out, print_drift, print_json, print_warning
from runtime.cli.session import load, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.config import NamedKVConfig, NamedStorageConfig, StorageConfig
    from runtime.drift import Finding
    from runtime.driver import Capabilities
    from runtime.health import HealthCheckResult
    from runtime.kv.base import KVStorage
    from runtime.loading import LoadedConfig
    from runtime.proving import Proof

MOST_ENTRIES: Final = 1000
"""Entries of one key-value store that are looked at for secrets."""


@dataclass(slots=True)
class Examined:
    """What was found of one backend, or of one key-value store.

    Attributes:
        backend: Name of the backend.
        driver: Its driver.
        health: Its own answer.
        capabilities: What it can do, in words.
        proofs: What became of an object, with ``--write``.
        kv: Whether it is a key-value store.
        secrets: What of its entries looks like a secret.
        drift: What is not as the contract says.
    """

    backend: str
    driver: str
    health: HealthCheckResult
    capabilities: list[str] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    kv: bool = False
    secrets: set[str] = field(default_factory=set)
    drift: list[Finding] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What the table calls it."""
        return f"kv {self.backend}" if self.kv else self.backend

    @property
    def usable(self) -> bool:
        """Whether an application can use it."""
        return self.health.is_healthy() and all(proof.ok for proof in self.proofs)


def doctor(
    *,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="Also write, describe, list, read and delete an object on every backend, and use presigned URLs.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 6 when a promise of the config can not be compared.")
    ] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Check the config, every backend and key-value store: does it answer, how fast, what can it do, what is unsafe.

    A config that says what it promises (`expect`, as `tandem up` writes it) is compared with each bucket's live
    settings, with the credentials of the application. Ends with exit code 1 when a backend can not be used or is not
    as promised. What may not be looked at is told, with the right that is missing; with --strict it is exit code 6.
    Warnings alone change nothing.
    """
    from runtime.drift import counted, listed  # noqa: PLC0415 - keeps pydantic out of `tandem --help`
    from runtime.verifying import edited  # noqa: PLC0415 - as above

    loaded = load(config, stack)
    findings = run(_examine, loaded, write)
    drift = edited(loaded) + [each for finding in findings for each in finding.drift]
    warnings = warnings_of(loaded) + [line for finding in findings for line in _of_secrets(finding)]
    if as_json:
        print_json({**_report(loaded, warnings, findings), "drift": listed(drift)})
    else:
        _print(loaded, warnings, findings)
        if drift:
            out().print(f"[bold]contract and live settings[/]: {counted(drift)}")
        print_drift(drift)
    usable = all(finding.usable for finding in findings)
    if code := of_drift(drift, strict=strict) if usable else FAILED:
        raise typer.Exit(code)


def warnings_of(loaded: LoadedConfig) -> list[str]:
    """What works and is unsafe in the config itself, each with what to do about it."""
    from runtime.advice import advice  # noqa: PLC0415 - keeps pydantic out of `tandem --help`

    return advice(loaded.config, loaded.stack, loaded.literals)


async def _examine(loaded: LoadedConfig, write: bool) -> list[Examined]:
    import anyio  # noqa: PLC0415 - as above

    config = loaded.config
    found: dict[str, Examined] = {}
    found_kv: dict[str, Examined] = {}

    async def examine(backend: NamedStorageConfig) -> None:
        found[backend.name] = await _finding(loaded, backend, write=write)

    async def examine_kv(store: NamedKVConfig) -> None:
        found_kv[store.name] = await _kv_finding(config, store)

    backends = config.named_backends()
    async with anyio.create_task_group() as tasks:
        for backend in backends:
            tasks.start_soon(examine, backend)
        for store in config.kv:
            tasks.start_soon(examine_kv, store)
    return [found[backend.name] for backend in backends] + [found_kv[store.name] for store in config.kv]


async def _kv_finding(config: StorageConfig, entry: NamedKVConfig) -> Examined:
    from runtime.kv.stores import made  # noqa: PLC0415 - as above

    store = made(entry)
    try:
        health = await store.health_check(config.health_check_timeout)
        finding = Examined(entry.name, entry.driver, health, kv=True)
        if health.is_healthy():
            finding.secrets = {found async for found in _secrets_in(store)}
        return finding
    finally:
        await store.disconnect()


async def _secrets_in(store: KVStorage) -> AsyncIterator[str]:
    from runtime.kv.suspicion import secret_in  # noqa: PLC0415 - as above

    left = MOST_ENTRIES
    for namespace in await store.namespaces():
        keys = (await store.list_keys(namespace=namespace))[:left]
        left -= len(keys)
        for key, value in (await store.get_many(keys, namespace)).items():
            if found := secret_in(key, value):
                yield found


def _of_secrets(finding: Examined) -> list[str]:
    advice = "keep passwords and API keys in a vault, and passwords of users as hashes"
    return [f"{finding.label}: holds what looks like a secret ({found}): {advice}" for found in sorted(finding.secrets)]


async def _finding(loaded: LoadedConfig, backend: NamedStorageConfig, *, write: bool) -> Examined:
    from runtime.errors import StorageError  # noqa: PLC0415 - as above
    from runtime.health import HealthCheckResult, HealthStatus  # noqa: PLC0415 - as above
    from runtime.proving import prove  # noqa: PLC0415 - as above
    from runtime.registry import Storage  # noqa: PLC0415 - as above
    from runtime.verifying import drift_of, repair_of  # noqa: PLC0415 - as above

    alone = loaded.config.only([backend.name]).model_copy(update={"enabled": True})
    try:
        async with Storage(alone) as storage:
            store = storage[backend.name]
            health = (await storage.health_check())[backend.name]
            finding = Examined(backend.name, backend.driver, health)
            if health.is_healthy():
                finding.capabilities = in_words(store.capabilities) if hasattr(store, "capabilities") else []
                finding.proofs = [proof async for proof in prove(store)] if write else []
                finding.drift = await drift_of(store, repair_of(loaded.stack), write=write)
            return finding
    except StorageError as exc:  # it can not even be opened: a broken plug-in, a missing credential file
        status = HealthStatus.UNHEALTHY
        health = HealthCheckResult(backend.name, status, message=str(exc), error=f"{type(exc).__name__}: {exc}")
        return Examined(backend.name, backend.driver, health)


def in_words(capabilities: Capabilities) -> list[str]:
    """What a backend can do, in the words of `runtime.driver.Capabilities`."""
    words = [f"presign {' '.join(sorted(capabilities.presign))}"] if capabilities.presign else []
    words += [name for name, value in asdict(capabilities).items() if value is True]
    return words + ([f"checksum {' '.join(sorted(capabilities.checksums))}"] if capabilities.checksums else [])


def _report(loaded: LoadedConfig, warnings: list[str], findings: list[Examined]) -> dict[str, Any]:
    return {
        "source": loaded.source,
        "stack": loaded.stack,
        "warnings": [*loaded.notes, *warnings],
        "backends": [_described(finding) for finding in findings if not finding.kv],
        "kv": [_described(finding) for finding in findings if finding.kv],
    }


def _described(finding: Examined) -> dict[str, Any]:
    return {
        "name": finding.backend,
        "driver": finding.driver,
        "usable": finding.usable,
        "status": finding.health.status,
        "message": finding.health.message,
        "error": finding.health.error,
        "latency_ms": round(finding.health.duration_ms, 1),
        "details": finding.health.details,
        "capabilities": finding.capabilities,
        "proofs": finding.proofs,
    }


def _print(loaded: LoadedConfig, warnings: list[str], findings: list[Examined]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    console = out()
    console.print(f"config: {loaded.source}", markup=False)
    table = Table("backend", "driver", "status", "latency", "can", box=None, pad_edge=False, header_style="bold")
    for finding in findings:
        style = "green" if finding.usable else "bold red"
        status = finding.health.status.value if finding.usable or not finding.health.is_healthy() else "not usable"
        table.add_row(
            finding.label,
            finding.driver,
            f"[{style}]{status}[/]",
            f"{finding.health.duration_ms:.0f} ms",
            escape(", ".join(finding.capabilities)) or "-",
        )
    console.print(table)
    for finding in findings:
        if wrong := finding.health.error or finding.health.message:
            console.print(f"{finding.label}: {wrong}", markup=False, style="red")
        for proof in finding.proofs:
            if not proof.ok:
                console.print(f"{finding.backend}: {proof.step}: {proof.detail}", markup=False, style="red")
    for warning in warnings:
        print_warning(warning)
