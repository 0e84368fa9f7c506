"""``tandem doctor``: ask every backend whether an application could use it, and say what to mend."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from runtime.cli.exits import FAILED
from runtime.cli.options import ConfigFile, Json, StackName
from runtime.cli.output import out, print_json, print_warning
from runtime.cli.session import load, run

if TYPE_CHECKING:
    from runtime.config import NamedStorageConfig, StorageConfig
    from runtime.driver import Capabilities
    from runtime.health import HealthCheckResult
    from runtime.loading import LoadedConfig
    from runtime.proving import Proof

PLACEHOLDERS: Final = frozenset({"change-me", "changeme", "password", "123456", "secret", "your-secret-key", "xxx"})
PRODUCTION: Final = frozenset({"production", "prod"})
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(slots=True)
class Finding:
    """What was found of one backend.

    Attributes:
        backend: Name of the backend.
        driver: Its driver.
        health: Its own answer.
        capabilities: What it can do, in words.
        proofs: What became of an object, with ``--write``.
    """

    backend: str
    driver: str
    health: HealthCheckResult
    capabilities: list[str] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether an application can use it."""
        return self.health.is_healthy() and all(proof.ok for proof in self.proofs)


def doctor(
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Also write, describe, list, read and delete an object on every backend.")
    ] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    stack: StackName = None,
) -> None:
    """Check the config and every backend in it: does it answer, how fast, what can it do, what is unsafe.

    Ends with exit code 1 when a backend can not be used. Warnings alone do not change the exit code.
    """
    loaded = load(config, stack)
    warnings = warnings_of(loaded)
    findings = run(_examine, loaded.config, write)
    if as_json:
        print_json(_report(loaded, warnings, findings))
    else:
        _print(loaded, warnings, findings)
    if not all(finding.usable for finding in findings):
        raise typer.Exit(FAILED)


def warnings_of(loaded: LoadedConfig) -> list[str]:
    """What works and is unsafe in the config itself, each with what to do about it."""
    warnings = [f"{path} is a literal secret: write ${{NAME}} or ${{file:PATH}} instead" for path in loaded.literals]
    for backend in loaded.config.named_backends():
        warnings += _unsafe_settings(backend)
        if backend.driver == "local" and (loaded.config.env or "").lower() in PRODUCTION:
            warnings.append(f"{backend.name}: files of the driver local are on one machine; other instances lack them")
    return warnings


def _unsafe_settings(backend: NamedStorageConfig) -> list[str]:
    from runtime.config import is_secret, plain  # noqa: PLC0415 - keeps pydantic out of `tandem --help`

    settings = plain(backend.settings)
    placeholders = [
        f"{backend.name}: {key} is a placeholder, not a credential"
        for key, value in settings.items()
        if is_secret(key) and str(value).lower() in PLACEHOLDERS
    ]
    endpoint = urlsplit(str(settings.get("endpoint_url") or ""))
    if endpoint.scheme == "http" and endpoint.hostname not in LOOPBACK:
        placeholders.append(f"{backend.name}: {endpoint.netloc} is spoken to without TLS: use an https endpoint_url")
    return placeholders


async def _examine(config: StorageConfig, write: bool) -> list[Finding]:
    import anyio  # noqa: PLC0415 - as above

    found: dict[str, Finding] = {}

    async def examine(backend: NamedStorageConfig) -> None:
        found[backend.name] = await _finding(config, backend, write=write)

    backends = config.named_backends()
    async with anyio.create_task_group() as tasks:
        for backend in backends:
            tasks.start_soon(examine, backend)
    return [found[backend.name] for backend in backends]


async def _finding(config: StorageConfig, backend: NamedStorageConfig, *, write: bool) -> Finding:
    from runtime.errors import StorageError  # noqa: PLC0415 - as above
    from runtime.health import HealthCheckResult, HealthStatus  # noqa: PLC0415 - as above
    from runtime.proving import prove  # noqa: PLC0415 - as above
    from runtime.registry import open_storage  # noqa: PLC0415 - as above

    alone = config.model_copy(update={"backends": (backend,), "enabled": True})
    try:
        async with open_storage(alone) as storage:
            store = storage[backend.name]
            health = (await storage.health_check())[backend.name]
            finding = Finding(backend.name, backend.driver, health)
            if health.is_healthy():
                finding.capabilities = in_words(store.capabilities) if hasattr(store, "capabilities") else []
                finding.proofs = [proof async for proof in prove(store)] if write else []
            return finding
    except StorageError as exc:  # it can not even be opened: a broken plug-in, a missing credential file
        status = HealthStatus.UNHEALTHY
        health = HealthCheckResult(backend.name, status, message=str(exc), error=f"{type(exc).__name__}: {exc}")
        return Finding(backend.name, backend.driver, health)


def in_words(capabilities: Capabilities) -> list[str]:
    """What a backend can do, in the words of `runtime.driver.Capabilities`."""
    words = [f"presign {' '.join(sorted(capabilities.presign))}"] if capabilities.presign else []
    words += [name for name, value in asdict(capabilities).items() if value is True]
    return words + [f"checksum {name}" for name in sorted(capabilities.checksums)]


def _report(loaded: LoadedConfig, warnings: list[str], findings: list[Finding]) -> dict[str, Any]:
    return {
        "source": loaded.source,
        "stack": loaded.stack,
        "warnings": [*loaded.notes, *warnings],
        "backends": [
            {
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
            for finding in findings
        ],
    }


def _print(loaded: LoadedConfig, warnings: list[str], findings: list[Finding]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    console = out()
    console.print(f"config: {loaded.source}", markup=False)
    table = Table("backend", "driver", "status", "latency", "can", box=None, pad_edge=False, header_style="bold")
    for finding in findings:
        style = "green" if finding.usable else "bold red"
        status = finding.health.status.value if finding.usable or not finding.health.is_healthy() else "not usable"
        table.add_row(
            finding.backend,
            finding.driver,
            f"[{style}]{status}[/]",
            f"{finding.health.duration_ms:.0f} ms",
            escape(", ".join(finding.capabilities)) or "-",
        )
    console.print(table)
    for finding in findings:
        if wrong := finding.health.error or finding.health.message:
            console.print(f"{finding.backend}: {wrong}", markup=False, style="red")
        for proof in finding.proofs:
            if not proof.ok:
                console.print(f"{finding.backend}: {proof.step}: {proof.detail}", markup=False, style="red")
    for warning in warnings:
        print_warning(warning)
