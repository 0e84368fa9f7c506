"""Where a stack's emulators listen: what `infra.emulators` recorded, read by the program and by both engines.

.tandem/<stack>/emulators.json      which servers run, on which ports; no secret
.tandem/<stack>/secrets/<provider>_{access,secret}_key
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import ConfigError, Problem, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.stack import Stack

VERSION: Final = 1
"""Of the form of ``emulators.json``; another one is refused rather than misread."""

HIGHEST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One provider's emulator.

    Attributes:
        url: Base address on the loopback interface, without a trailing slash.
        region: Region that requests are signed for; empty where there is none.
        access_key: Access key id (Azure: the account; GCS: empty).
        secret_key: Secret of that key (Azure: the account's key; GCS: empty).
        access_key_file: File that holds the access key, for references in the contract.
        secret_key_file: File that holds the secret key.
    """

    url: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    access_key_file: Path
    secret_key_file: Path


@dataclass(frozen=True, slots=True)
class Choice:
    """What a stack file says of one provider's emulator: its name, and its port if that is to be a certain one."""

    server: str
    port: int | None = None


def state_directory(stack: Stack) -> Path:
    """Where everything is kept that a stack has on this machine: ``$TANDEM_STATE`` or ``.tandem``, then its name."""
    chosen = os.environ.get("TANDEM_STATE")
    return (Path(chosen).expanduser().resolve() if chosen else stack.root / ".tandem") / stack.name


def key_file(stack: Stack, provider: str, kind: str) -> Path:
    """File of one secret; *kind* is ``access_key`` or ``secret_key``."""
    return state_directory(stack) / "secrets" / f"{provider}_{kind}"


def problems(stack: Stack) -> Iterator[Problem]:
    """What is wrong with the stack's ``tandem:emulators``."""
    declared = stack.config.get("tandem:emulators")
    if declared is None:
        return
    if not isinstance(declared, Mapping):
        yield Problem("tandem:emulators", f"found {declared!r}", "a mapping of providers to servers")
        return
    ports: dict[str, int] = {}
    for provider, value in declared.items():
        path = f"tandem:emulators.{provider}"
        if (choice := _choice(value)) is None:
            yield Problem(path, f"found {value!r}", "a server's name, or {server: NAME, port: 1-65535}")
        elif choice.port and ports.setdefault(choice.server, choice.port) != choice.port:
            yield Problem(
                f"{path}.port", f"{choice.server} has port {ports[choice.server]} already", "one port a server"
            )


def choices(stack: Stack) -> dict[str, Choice]:
    """The emulator of each provider, as the stack file has it.

    Raises:
        ConfigError: with every problem of ``tandem:emulators``.
    """
    if found := list(problems(stack)):
        raise ConfigError("the stack's emulators are wrong", source=stack.source, problems=found)
    declared: Mapping[str, Any] = stack.config.get("tandem:emulators") or {}
    chosen = {provider: _choice(value) for provider, value in sorted(declared.items())}
    return {provider: choice for provider, choice in chosen.items() if choice}


def read_state(stack: Stack) -> dict[str, Any]:
    """The recorded servers by name, with the ports that they had last; empty when none was ever started.

    Raises:
        StorageError: the file is not ours to read: damaged, or written by a newer version.
    """
    path = state_directory(stack) / "emulators.json"
    try:
        state = json.loads(path.read_text())
    except FileNotFoundError:
        return {"version": VERSION, "servers": {}, "ports": {}}
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} can not be read", hint="stop the servers by hand and remove the file") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise StorageError(f"{path} was written by another version of tandem", hint="run its `emulators down`")
    return state


def endpoints(stack: Stack) -> dict[str, Endpoint]:
    """Where the emulators of the stack listen, by provider; those that were not started are missing.

    Raises:
        StorageError: a key's file is gone, or the record can not be read.
    """
    servers = read_state(stack)["servers"]
    declared = choices(stack)
    return {
        provider: _endpoint(stack, provider, servers[choice.server])
        for provider, choice in declared.items()
        if choice.server in servers and provider in servers[choice.server]["providers"]
    }


def placeholders(stack: Stack) -> dict[str, Endpoint]:
    """An address for the emulator of each provider where nobody listens: for what is computed and never asked."""
    return {
        provider: Endpoint(
            url="http://127.0.0.1:1",
            region="eu-west-1",
            access_key="access",
            secret_key="secret",  # noqa: S106 - nobody is asked
            access_key_file=key_file(stack, provider, "access_key"),
            secret_key_file=key_file(stack, provider, "secret_key"),
        )
        for provider in choices(stack)
    }


def _endpoint(stack: Stack, provider: str, record: Mapping[str, Any]) -> Endpoint:
    files = {kind: key_file(stack, provider, kind) for kind in ("access_key", "secret_key")}
    try:
        keys = {kind: path.read_text() if record["keys"] else "" for kind, path in files.items()}
    except OSError as error:
        hint = f"tandem emulators down -s {stack.name}, then up"
        raise StorageError(f"the emulator's key {error.filename} can not be read", hint=hint) from error
    return Endpoint(
        url=record["url"],
        region=record["region"],
        access_key=keys["access_key"],
        secret_key=keys["secret_key"],
        access_key_file=files["access_key"],
        secret_key_file=files["secret_key"],
    )


def _choice(value: object) -> Choice | None:
    if isinstance(value, str) and value:
        return Choice(value)
    if not isinstance(value, Mapping) or not set(value) <= {"server", "port"}:
        return None
    server, port = value.get("server"), value.get("port")
    right = port is None or (isinstance(port, int) and not isinstance(port, bool) and 0 < port <= HIGHEST_PORT)
    return Choice(server, port) if isinstance(server, str) and server and right else None
