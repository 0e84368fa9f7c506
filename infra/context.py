"""What every backend of one stack shares while it is planned: the stack, the profile, the accounts, the emulators."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pulumi

from infra.logs import Logging
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from infra.adoption import Found
    from infra.endpoints import Endpoint
    from infra.logs import Place
    from infra.stack import Stack

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """One stack at work.

    Attributes:
        stack: The stack.
        profile: ``dev``, ``standard`` or ``regulated``.
        tags: Owner tags of the whole spec.
        endpoints: Where the running emulators of the stack listen, by provider.
        providers: The explicit provider of each emulated service, made once per program; empty offline.
        logging: What the spec says of access logs.
        adopted: What is there of the backends that are taken over, by their names; empty offline.
        logs: The stack's places for logs, made once per program, by their names.
        shared: What several backends use, by a name of its own; see `once`.
        identities: What a cluster has to be told of each identity that was made: a role's ARN, a client id, an e-mail.
    """

    stack: Stack
    profile: str
    tags: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    providers: Mapping[str, pulumi.ProviderResource] = field(default_factory=dict)
    logging: Logging = field(default_factory=Logging)
    logs: Mapping[str, Place] = field(default_factory=dict)
    adopted: Mapping[str, Found] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def dev(self) -> bool:
        """Whether losing what is stored would hurt nobody."""
        return self.profile == "dev"

    def emulated(self, provider: str | None) -> bool:
        """Whether the stack has this provider's service on an emulator."""
        return provider in self.stack.emulators

    def endpoint(self, provider: str) -> Endpoint | None:
        """Where the emulator of a provider listens; None when the stack uses the real cloud.

        Raises:
            ConfigError: the stack's emulators are not running.
        """
        if not self.emulated(provider):
            return None
        if provider not in self.endpoints:
            raise ConfigError(
                f"the {provider} emulator of stack {self.stack.name!r} is not running",
                hint=f"tandem emulators up -s {self.stack.name}",
            )
        return self.endpoints[provider]

    def speaks_tls(self, provider: str) -> bool:
        """Whether a provider's service is reached over TLS: a policy against plain http would lock out the others."""
        endpoint = self.endpoint(provider)
        return endpoint is None or endpoint.url.startswith("https://")

    def account(self, provider: str, emulated: str) -> str:
        """The account that a provider works in, *emulated* on an emulator; empty when the stack names none."""
        return emulated if self.emulated(provider) else str(self.stack.accounts.get(provider, ""))

    def reference(self, file: Path) -> str:
        """How the contract refers to a secret in a file: relative to itself, so that a checkout can move."""
        return f"${{file:{os.path.relpath(file, self.stack.directory)}}}"

    def key_references(self, endpoint: Endpoint) -> dict[str, str]:
        """The emulator's key pair as the contract has it."""
        return {
            "access_key": self.reference(endpoint.access_key_file),
            "secret_key": self.reference(endpoint.secret_key_file),
        }

    def owner_tags(self, backend: str, tags: Mapping[str, str]) -> dict[str, str]:
        """The tags of a backend's resources: whose they are, then the spec's own."""
        ours = {"tandem:project": self.stack.project, "tandem:stack": self.stack.name, "tandem:backend": backend}
        return {**self.tags, **tags, **ours}

    def stack_tags(self) -> dict[str, str]:
        """The tags of what several backends share."""
        return {**self.tags, "tandem:project": self.stack.project, "tandem:stack": self.stack.name}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What *make* gives when it is first asked for, and the same for whoever asks later in this run."""
        if name not in self.shared:
            self.shared[name] = make()
        found: T = self.shared[name]
        return found

    def options(self, provider: str | None) -> pulumi.ResourceOptions:
        """Options of a component: the explicit provider of its children, where there is one."""
        explicit = self.providers.get(provider) if provider else None
        return pulumi.ResourceOptions(providers=[explicit] if explicit else None)
