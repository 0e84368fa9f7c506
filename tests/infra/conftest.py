from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import yaml

from infra.endpoints import VERSION, key_file, state_directory
from infra.provision import program
from infra.recording import Record, Recording, record
from infra.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ACCOUNTS = {
    "aws": "123456789012",
    "azure": "00000000-0000-4000-8000-000000000001",
    "cloudflare": "0123456789abcdef0123456789abcdef",
    "gcp": "example-prod",
}


class MakeStack(Protocol):
    def __call__(self, backends: str | Mapping[str, Any], *, name: str = "test", **keys: Any) -> Stack: ...


class Run(Protocol):
    def __call__(
        self,
        stack: Stack,
        *,
        preview: bool = False,
        create: Callable[[Record], Mapping[str, Any]] | None = None,
    ) -> Recording: ...


@pytest.fixture
def make_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStack:
    """Write a project with one stack: backends as YAML text or a mapping, other keys of the spec and of the stack."""
    monkeypatch.delenv("TANDEM_STATE", raising=False)

    def make(backends: str | Mapping[str, Any], *, name: str = "test", **keys: Any) -> Stack:
        found = yaml.safe_load(backends) if isinstance(backends, str) else backends
        spec = {"profile": keys.pop("profile", "standard"), "backends": found}
        spec |= {key: keys.pop(key) for key in ("tags", "service", "kv", "logging", "exemptions") if key in keys}
        config = {"aws:region": "eu-west-1", "tandem:accounts": ACCOUNTS, "tandem:storage": spec} | keys
        (tmp_path / "stacks").mkdir(exist_ok=True)
        (tmp_path / "Pulumi.yaml").write_text("name: tandem\nstackConfigDir: stacks\n")
        given = {key: value for key, value in config.items() if value is not None}
        (tmp_path / "stacks" / f"Pulumi.{name}.yaml").write_text(yaml.safe_dump({"config": given}, sort_keys=False))
        return Stack.read(name, tmp_path)

    return make


@pytest.fixture
def emulate() -> Callable[[Stack, str], None]:
    """Record a running emulator for the stack's providers; nothing listens, and nothing asks."""

    def write(stack: Stack, url: str = "http://127.0.0.1:4566") -> None:
        servers = {
            server: {
                "url": url,
                "region": "eu-west-1",
                "keys": True,
                "providers": [provider for provider, name in stack.emulators.items() if name == server],
            }
            for server in set(stack.emulators.values())
        }
        directory = state_directory(stack)
        for provider in stack.emulators:
            for kind in ("access_key", "secret_key"):
                path = key_file(stack, provider, kind)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{provider}-{kind}")
        state = {"version": VERSION, "servers": servers, "ports": {}}
        (directory / "emulators.json").write_text(json.dumps(state))

    return write


@pytest.fixture
def run() -> Run:
    """Run the program for a stack without any engine and give what it registered."""

    def call(
        stack: Stack, *, preview: bool = False, create: Callable[[Record], Mapping[str, Any]] | None = None
    ) -> Recording:
        return record(program, stack, preview=preview, create=create)

    return call
