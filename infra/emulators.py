"""``tandem emulators``: start, stop and look at the servers that a stack lives on.

They outlive the command. What runs is recorded in ``.tandem/<stack>/emulators.json``; keys are in files of their own
that only their owner reads (`infra.endpoints` says where). A server keeps its port over restarts, and with it the
contract that names it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from infra import private, processes
from infra.endpoints import Choice, choices, key_file, read_state, state_directory
from runtime.errors import ConfigError, Problem, StorageUnavailableError
from runtime.testing.servers import NAMES, Keys, PortTakenError, Server, Toolbox, answers, start
from runtime.testing.servers import find as recipe_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from infra.stack import Stack

PATIENCE_SECONDS: Final = 5.0
"""How long a server of ours that runs may take to answer before it is started anew."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server of a stack, as it is now.

    Attributes:
        server: Its name in the catalogue.
        providers: The stack's providers that it stands in for.
        status: ``running``, ``unresponsive``, ``dead`` (was started, is gone) or ``stopped``.
        message: What happened or what to do, when there is something to say.
        url: Base address.
        port: Loopback port.
        pid: Process id.
        started_at: ISO 8601, UTC.
        uptime_seconds: Since it was started.
        log: File with its output.
    """

    server: str
    providers: tuple[str, ...]
    status: str
    message: str | None = None
    url: str | None = None
    port: int | None = None
    pid: int | None = None
    started_at: str | None = None
    uptime_seconds: float | None = None
    log: str | None = None


def up(stack: Stack, on_event: Callable[[str], None] = lambda _: None) -> list[ServerState]:
    """Start what the stack needs and does not run; what runs is left alone.

    Args:
        stack: The stack.
        on_event: Called with a line for whatever takes time, or a person should know.

    Raises:
        ConfigError: the stack names a server that there is not, or that does not speak its provider's API.
        StorageUnavailableError: a server can not be had, does not start, or its pinned port is taken.
    """
    wanted = _wanted(stack)
    with _locked(stack, on_event):
        state = read_state(stack)
        for name in sorted(set(state["servers"]) - set(wanted)):
            on_event(f"{name} is not in {stack.source} any more: {_remove(stack, state, name)}")
        for name, choice in wanted.items():
            _ensure(stack, state, name, choice, on_event)
    return status(stack)


def down(stack: Stack) -> list[ServerState]:
    """Stop the stack's servers, and only them. Ports are remembered; keys, and objects held in memory, are not."""
    stopped = []
    with _locked(stack):
        state = read_state(stack)
        for name, record in sorted(state["servers"].items()):
            message = _remove(stack, state, name)
            stopped.append(ServerState(name, tuple(record["providers"]), "stopped", message, port=record["port"]))
    return stopped


def status(stack: Stack) -> list[ServerState]:
    """How the stack's servers are; nothing is started or stopped."""
    servers, wanted = read_state(stack)["servers"], _wanted(stack)
    return [
        _state(name, servers[name]) if name in servers else ServerState(name, _providers(stack, name), "stopped")
        for name in sorted({*servers, *wanted})
    ]


def _wanted(stack: Stack) -> dict[str, Choice]:
    """The servers that the stack needs, by name, with their pinned ports."""
    found: list[Problem] = []
    wanted: dict[str, Choice] = {}
    for provider, choice in choices(stack).items():
        path = f"tandem:emulators.{provider}"
        fitting = [name for name in NAMES if provider in recipe_of(name).stands_in_for]
        if not fitting:
            known = sorted({known for name in NAMES for known in recipe_of(name).stands_in_for})
            found.append(Problem(path, "no emulator stands in for this provider", ", ".join(known)))
        elif choice.server not in fitting:
            found.append(Problem(path, f"found {choice.server!r}", ", ".join(fitting)))
        if choice.port or choice.server not in wanted:
            wanted[choice.server] = choice
    if found:
        raise ConfigError("the stack's emulators are wrong", source=stack.source, problems=found)
    return dict(sorted(wanted.items()))


def _providers(stack: Stack, server: str) -> tuple[str, ...]:
    return tuple(provider for provider, choice in choices(stack).items() if choice.server == server)


def _ensure(stack: Stack, state: dict[str, Any], name: str, choice: Choice, on_event: Callable[[str], None]) -> None:
    """Have server *name* run, with the keys of all its providers in place."""
    providers = _providers(stack, name)
    record = state["servers"].get(name)
    keys = _read_keys(stack, record["providers"] if record else providers)
    if record and (reason := _reason_to_restart(name, record, choice, keys)):
        on_event(f"{name}: {reason}; starting it again")
        processes.end(record)
        record = None
    if record is None:
        record, keys = _launch(stack, state, name, choice, keys, on_event)
    elif tuple(record["providers"]) == providers:
        return
    try:
        _write_keys(stack, providers, keys)
        state["servers"][name] = {**record, "providers": list(providers)}
        state["ports"][name] = record["port"]
        _save(stack, state)
    except BaseException:  # a server that nobody has on record could never be stopped
        processes.end(record)
        raise


def _reason_to_restart(name: str, record: Mapping[str, Any], choice: Choice, keys: Keys | None) -> str | None:
    if processes.find(record) is None:
        return processes.absence(record)
    if choice.port and choice.port != record["port"]:
        return f"it runs on port {record['port']}, and the stack file says {choice.port}"
    if not _answers_in_time(name, record["port"]):
        return f"pid {record['pid']} runs and does not answer"
    if record["keys"] and keys is None:
        return "its keys were removed"
    return None


def _launch(
    stack: Stack,
    state: Mapping[str, Any],
    name: str,
    choice: Choice,
    keys: Keys | None,
    on_event: Callable[[str], None],
) -> tuple[dict[str, Any], Keys]:
    """Start a server on its pinned port, else on the one it had last, else on a free one."""
    home = private.directory(state_directory(stack) / "servers" / name)
    log = private.directory(state_directory(stack) / "logs") / f"{name}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))  # its last lines may tell why the server ended
    # with the keys of its last start, where it can take them, applications that hold these go on
    options: dict[str, Any] = {"toolbox": Toolbox(log=on_event), "keys": keys, "log": log}
    port = choice.port or state["ports"].get(name) or 0
    try:
        server = start(name, home, port, **options)
    except PortTakenError as error:
        taken = f"port {port} is in use by {processes.holder(port)}"
        if choice.port:
            hint = f"free it, or change the port of {name} in {stack.source}"
            raise StorageUnavailableError(f"{name} can not start: {taken}", hint=hint, retryable=False) from error
        on_event(f"{name}: {taken}; taking another port, which the next `tandem up` writes into the storage config")
        server = start(name, home, **options)
    try:
        record = _record(server)
        on_event(f"{name} runs on {server.url} (pid {server.pid})")
    except BaseException:
        server.stop()
        raise
    server.detach()
    return record, Keys(server.access_key, server.secret_key)


def _record(server: Server) -> dict[str, Any]:
    return {
        **processes.identity(server.pid),
        "port": server.port,
        "url": server.url,
        "region": server.region,
        "keys": bool(server.secret_key),
        "log": str(server.log),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _remove(stack: Stack, state: dict[str, Any], name: str) -> str:
    """Stop a server and forget it, but for its port."""
    record = state["servers"].pop(name)
    message = processes.end(record)
    for provider in record["providers"]:
        for file in _key_files(stack, provider):
            file.unlink(missing_ok=True)
    _save(stack, state)
    return message


def _answers_in_time(name: str, port: int) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not answers(port, recipe_of(name).probe):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _state(name: str, record: Mapping[str, Any]) -> ServerState:
    process = processes.find(record)
    healthy = process is not None and answers(record["port"], recipe_of(name).probe)
    message = None
    if process is None:
        message = processes.absence(record)
    elif not healthy:
        message = f"it does not answer; see {record['log']}"
    return ServerState(
        server=name,
        providers=tuple(record["providers"]),
        status="running" if healthy else "unresponsive" if process else "dead",
        message=message,
        url=record["url"],
        port=record["port"],
        pid=record["pid"] if process else None,
        started_at=record["started_at"],
        uptime_seconds=round(time.time() - record["created"], 1) if process else None,
        log=record["log"],
    )


def _key_files(stack: Stack, provider: str) -> list[Path]:
    return [key_file(stack, provider, kind) for kind in ("access_key", "secret_key")]


def _read_keys(stack: Stack, providers: list[str] | tuple[str, ...]) -> Keys | None:
    """The keys that all *providers* share; None when a file of one is missing."""
    files = [_key_files(stack, provider) for provider in providers]
    if not files or not all(file.is_file() for pair in files for file in pair):
        return None
    return Keys(*(file.read_text() for file in files[0]))


def _write_keys(stack: Stack, providers: tuple[str, ...], keys: Keys | None) -> None:
    if keys is None or not keys.secret_key:
        return
    for provider in providers:
        for file, value in zip(_key_files(stack, provider), (keys.access_key, keys.secret_key), strict=True):
            private.write(file, value)


def _save(stack: Stack, state: Mapping[str, Any]) -> None:
    private.write(state_directory(stack) / "emulators.json", json.dumps(state, indent=2, sort_keys=True) + "\n")


def _locked(stack: Stack, on_event: Callable[[str], None] = lambda _: None) -> AbstractContextManager[None]:
    """One command at a time on a stack's servers."""
    lock = state_directory(stack) / "emulators.lock"
    return private.locked(lock, lambda: on_event("waiting for another `tandem emulators` of this stack"))
