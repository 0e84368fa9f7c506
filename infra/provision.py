"""The program: from a stack's spec to its resources and its contract. Both engines run this one function."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pulumi

from infra.adoption import look
from infra.emit import emit
from infra.endpoints import endpoints
from infra.spec import context_of, load_spec, module_of
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.context import Context
    from infra.emit import Provisioned
    from infra.logs import Place
    from infra.spec import StorageSpec
    from infra.stack import Stack
    from runtime.errors import StorageError


IDENTITIES: Final = "identities"
"""Stack output with what a cluster has to be told of the identities that were made."""

SECRETS: Final = "secrets"
"""Stack output with the values of the variables that the contract refers to, encrypted in the state."""


class ProgramError(ConfigError, pulumi.RunError):
    """A wrong spec, inside of Pulumi: it prints the message of a `pulumi.RunError` alone, without a traceback."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(error.message, source=error.source, problems=error.problems, hint=error.hint)


def for_pulumi(error: StorageError) -> pulumi.RunError:
    """An error of ours as one whose message Pulumi prints alone."""
    return ProgramError(error) if isinstance(error, ConfigError) else pulumi.RunError(str(error))


def program(stack: Stack) -> None:
    """Provision every backend of a stack and emit its contract; called inside a Pulumi run.

    Raises:
        ConfigError: the spec is wrong, or the stack's emulators are not running; nothing was registered then.
    """
    spec = load_spec(stack)
    context = plan(stack, spec)
    context = replace(context, adopted=look(spec, context))
    provisioned = register(spec, context)
    emit(spec, context, provisioned)
    _export_secrets(provisioned)
    if context.identities:
        pulumi.export(IDENTITIES, context.identities)


def _export_secrets(provisioned: Sequence[Provisioned]) -> None:
    """The variables that the contract refers to: those that a person gave, and the keys that were made just now."""
    given = pulumi.Config("tandem").get_secret_object(SECRETS)
    made = {name: value for bucket in provisioned for name, value in getattr(bucket, "secrets", {}).items()}
    if made:
        both = pulumi.Output.all(pulumi.Output.from_input(given), pulumi.Output.all(**made))
        pulumi.export(SECRETS, pulumi.Output.secret(both.apply(lambda found: {**(found[0] or {}), **found[1]})))
    elif given is not None:
        pulumi.export(SECRETS, given)


def register(spec: StorageSpec, context: Context) -> list[Provisioned]:
    """Register the resources of every backend; nothing is written and exported."""
    context = replace(context, providers=_providers(spec, context), shared={})
    context = replace(context, logs=_logs(spec, context))
    made = [module_of(backend.driver).provision(backend, context) for backend in spec.backends]
    return [*context.logs.values(), *made]


def plan(stack: Stack, spec: StorageSpec) -> Context:
    """What the backends of a stack share, with the addresses of its running emulators."""
    context = context_of(stack, spec)
    return replace(context, endpoints=endpoints(stack)) if stack.emulators else context


def _logs(spec: StorageSpec, context: Context) -> dict[str, Place]:
    """The places that the backends log to, each made once."""
    places: dict[str, Place] = {}
    for backend in spec.backends:
        name = backend.log_place(context) if backend.logged(context) else None
        if name is not None and name not in places:
            places[name] = module_of(backend.driver).provision_logs(backend, context)
    return places


def _providers(spec: StorageSpec, context: Context) -> dict[str, pulumi.ProviderResource]:
    """One explicit provider for each emulated service that a backend uses, so that no real cloud is asked."""
    providers: dict[str, pulumi.ProviderResource] = {}
    for backend in spec.backends:
        name = backend.provider
        if name and name not in providers and (endpoint := context.endpoint(name)):
            providers[name] = module_of(backend.driver).provider(endpoint)
    return providers
