"""What the catalogue says of one server; a module of this package that ends with ``recipe = …`` is an entry."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from runtime.testing.servers._process import answers

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.testing.servers._install import Toolbox


@dataclass(frozen=True, slots=True)
class Keys:
    """The credentials of one server; both empty where the server asks for none."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Site:
    """Where one server runs.

    Attributes:
        directory: Its own directory: data, log, temporary files.
        port: Loopback port.
        keys: Credentials that it is started with.
    """

    directory: Path
    port: int
    keys: Keys

    @property
    def url(self) -> str:
        """Base address, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"


class Recipe(ABC):
    """How one server is found, started and asked whether it is ready.

    Attributes:
        name: The name it is asked for by.
        stands_in_for: The Pulumi providers whose object storage it can play.
        region: Region that its clients sign for.
        probe: Path whose GET it answers once it is ready.
        start_seconds: How long it may take to answer, on a busy machine.
        quick: Whether installing it takes seconds, not minutes.
    """

    name: ClassVar[str]
    stands_in_for: ClassVar[tuple[str, ...]] = ("aws", "cloudflare")  # R2 is an S3
    region: ClassVar[str] = "us-east-1"
    probe: ClassVar[str] = "/"
    start_seconds: ClassVar[float] = 60.0
    quick: ClassVar[bool] = True

    @abstractmethod
    def program(self, toolbox: Toolbox) -> list[str]:
        """The command without its arguments, installed if need be.

        Raises:
            ServerUnavailableError: it can not be had here.
        """

    @abstractmethod
    def arguments(self, site: Site) -> list[str]:
        """Arguments of the command: loopback only, nothing secret."""

    def environment(self, site: Site) -> dict[str, str]:
        """Variables that the server reads, beside the few that it inherits."""
        return {"TMPDIR": str(site.directory)}

    def ready(self, port: int) -> bool:
        """Whether the server on *port* answers."""
        return answers(port, self.probe)

    def keys(self) -> Keys:
        """Credentials to start it with."""
        return Keys()

    def admit(self, site: Site) -> Keys:
        """Credentials of a client, once the server is up."""
        return site.keys


def random_keys() -> Keys:
    """A pair in AWS's shape, fresh for every start."""
    return Keys("TANDEM" + secrets.token_hex(7).upper(), secrets.token_hex(20))
