"""The contract that a stack stands for now, beside the one that was written last: what the next `up` changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from infra.changes import changes
from infra.emit import document
from infra.endpoints import endpoints
from infra.spec import context_of, load_spec
from runtime.errors import ConfigError, Problem
from runtime.validation import read_yaml

if TYPE_CHECKING:
    from infra.changes import Change
    from infra.stack import Stack
    from runtime.config import StorageDocument


def contract(stack: Stack) -> StorageDocument:
    """What `up` would write, from the spec alone; no engine runs.

    Raises:
        ConfigError: the spec is wrong, or the stack's emulators do not run, so that their addresses are not known.
    """
    spec = load_spec(stack)
    return document(spec, replace(context_of(stack, spec), endpoints=endpoints(stack)))


def written(stack: Stack) -> dict[str, Any]:
    """The ``storage`` of the contract that was written last; empty before the first deployment.

    Raises:
        ConfigError: there is a file, and it can not be read as a contract.
    """
    if not stack.contract.is_file():
        return {}
    found = read_yaml(stack.contract)
    storage = found.get("storage") if isinstance(found, dict) else None
    if not isinstance(storage, dict):
        raise ConfigError(
            "is no contract, so nobody can tell what would break",
            source=str(stack.contract),
            problems=[Problem("storage", "is required")],
            hint="take it from version control or the stack's output, or remove it if no application uses the stack",
        )
    return storage


def pending(stack: Stack) -> list[Change]:
    """What the next `up` changes in the contract, each difference classed.

    Raises:
        ConfigError: as for `contract` and `written`.
    """
    return changes(written(stack), contract(stack).to_dict()["storage"])
