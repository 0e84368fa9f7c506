"""The contract of a stack: what `runtime` reads, computed from the spec alone.

Nothing in it comes from the cloud, so it is the same offline, in a preview, and under both engines. The program
writes it as its last act, when every resource of every backend exists.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pulumi

from infra.spec import module_of
from runtime.config import StorageConfig, StorageDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.context import Context
    from infra.spec import StorageSpec
    from infra.stack import Stack

__all__ = ["contract_path", "document", "emit", "write"]

READABLE = 0o644


class Provisioned(Protocol):
    """What a driver's ``provision`` gives."""

    resources: list[pulumi.CustomResource]


def contract_path(stack: Stack) -> Path:
    """Where a stack's contract is written."""
    return stack.contract


def document(spec: StorageSpec, context: Context) -> StorageDocument:
    """The whole contract, from plain strings.

    Raises:
        ConfigError: the stack lives on emulators that are not running, so that their addresses are not known.
    """
    backends = tuple(module_of(backend.driver).entry(backend, context) for backend in spec.backends)
    first = next((backend for backend in backends if backend.primary), backends[0])
    values = {"default_driver": first.driver, "backends": backends}
    if spec.service.model_fields_set:
        values["service"] = spec.service
    if spec.kv:
        values["kv"] = tuple(store.entry(context) for store in spec.kv)
    storage = StorageConfig(**values)
    return StorageDocument(project=context.stack.project, stack=context.stack.name, storage=storage)


def emit(spec: StorageSpec, context: Context, provisioned: Sequence[Provisioned]) -> None:
    """Export the contract as the stack's output ``storage``; write its file once everything exists."""
    contract = document(spec, context)
    pulumi.export("storage", contract.to_dict())
    if pulumi.runtime.is_dry_run():
        return
    made = [resource.id for bucket in provisioned for resource in bucket.resources]
    text = contract.to_yaml()
    # an id is known when its resource was made; if one was not, this never runs and an old file stays as it is
    pulumi.Output.all(*made).apply(lambda _: write(contract_path(context.stack), text))


def write(path: Path, text: str) -> None:
    """Put a file in place whole: a reader sees the old one or the new one, also when the power fails."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(READABLE)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the new name too
    finally:
        os.close(directory)
