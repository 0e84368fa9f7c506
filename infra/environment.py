"""``tandem env``: the variables that a stack's contract refers to, and what they stand for.

The contract holds references only. In a real cloud their values are secrets of the stack (``tandem:secrets``, set
with ``pulumi config set --secret --path tandem:secrets.MEDIA_SECRET_KEY``), which the program hands on as the stack
output ``secrets``. A stack on emulators refers to files instead; what it gets here is what other S3 clients need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.emit import document
from infra.endpoints import endpoints
from infra.engine.automation import PulumiEngine
from infra.identities.r2 import KeyPair
from infra.provision import SECRETS, plan
from infra.spec import context_of, load_spec
from runtime.errors import StorageError
from runtime.interpolation import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from infra.stack import Stack


def environment(stack: Stack) -> dict[str, str]:
    """The variables by name, secrets in clear, and ``LEX_STORAGE_CONFIG`` with the contract's path.

    Raises:
        ConfigError: the spec is wrong, or the stack was never made.
        StorageError: the contract refers to a variable that the stack has no secret for.
    """
    if stack.emulators:
        found = _of_emulators(stack)
    else:
        found = resolved(stack, PulumiEngine().outputs(stack).get(SECRETS) or {})
    return {"LEX_STORAGE_CONFIG": str(stack.contract), **found}


def resolved(stack: Stack, secrets: Mapping[str, Any]) -> dict[str, str]:
    """The secrets of a stack as variables; an error when one that its contract refers to is missing."""
    if missing := sorted(_referenced(stack) - set(secrets)):
        commands = "; ".join(f"pulumi config set --secret --path tandem:secrets.{name}" for name in missing)
        raise StorageError(f"the stack has no secret for {', '.join(missing)}", hint=f"{commands}; then tandem up")
    return {name: str(value) for name, value in sorted(secrets.items())}


def _of_emulators(stack: Stack) -> dict[str, str]:
    found = endpoints(stack).get("aws")
    keys = _of_tokens(stack)
    if found is None:
        return keys
    return {
        "AWS_ENDPOINT_URL_S3": found.url,
        "AWS_ACCESS_KEY_ID": found.access_key,
        "AWS_SECRET_ACCESS_KEY": found.secret_key,
        **keys,
    }


def _of_tokens(stack: Stack) -> dict[str, str]:
    """The key pairs of R2 tokens, from the files that the program wrote; those that are not made yet are missing."""
    spec = load_spec(stack)
    files = {
        variable: file
        for backend in spec.backends
        if "token" in backend.identities
        for grant in backend.grants
        for variable, file in KeyPair(grant, backend, context_of(stack, spec)).files.items()
    }
    return {variable: file.read_text() for variable, file in files.items() if file.is_file()}


def _referenced(stack: Stack) -> set[str]:
    """Names of the environment variables that the stack's contract refers to."""
    spec = load_spec(stack)
    texts = _texts(document(spec, plan(stack, spec)).to_dict())
    return {name for text in texts for name in _variables(text)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _variables(text: str) -> Iterator[str]:
    for reference in REFERENCE.finditer(text):
        name = reference.group()[2:-1]
        if not name.startswith("file:"):
            yield name.partition(":")[0]
