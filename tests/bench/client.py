"""What every client that is compared can do; the clients are in ``clients/``, by the name that the tables give them.

Every client does the same work in the way that its own documentation recommends, with parts of the same size and
as many in flight. What it has no call for raises `NotOffered` and is a dash in the tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

MIB = 1024 * 1024
PART = 8 * MIB
PARTS_IN_FLIGHT = 4
CHUNK = MIB

NAMES = ("tandem", "obstore", "opendal", "aiobotocore", "s3fs")


class NotOffered(Exception):  # noqa: N818 - an answer, not an error
    """The client has no such call."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the objects are.

    Attributes:
        url: ``http://127.0.0.1:1234`` for S3, ``file:///tmp/x`` for a directory, ``memory:`` for this process.
        bucket: Name of the bucket.
        region: Region to sign for.
        access_key: Access key id.
        secret_key: Its secret; of a server that lives as long as the run.
    """

    url: str
    bucket: str = "bench"
    region: str = "us-east-1"
    access_key: str = "bench"
    secret_key: str = "bench"

    @property
    def kind(self) -> str:
        """``s3``, ``local`` or ``memory``."""
        return {"file": "local", "memory": "memory"}.get(urlsplit(self.url).scheme, "s3")

    @property
    def directory(self) -> str:
        """The directory of a local site, which is made when it is not there."""
        path = Path(urlsplit(self.url).path)
        path.mkdir(parents=True, exist_ok=True)
        return str(path)


class Client(ABC):
    """One client, opened on one site.

    Attributes:
        distribution: What PyPI calls it.
        sites: Kinds of sites that it can work on here.
        module: What an application imports.
    """

    distribution: ClassVar[str]
    module: ClassVar[str]
    sites: ClassVar[frozenset[str]] = frozenset({"s3"})

    def __init__(self, site: Site) -> None:
        self.site = site

    @abstractmethod
    async def open(self) -> None:
        """Make the client; no object is touched."""

    async def close(self) -> None:  # noqa: B027 - some clients close themselves
        """Close it."""

    @abstractmethod
    async def put(self, path: str, data: bytes) -> None:
        """Write a small object."""

    @abstractmethod
    async def get(self, path: str) -> int:
        """Read a small object whole, and give its length."""

    @abstractmethod
    async def info(self, path: str) -> int:
        """Ask for an object's size."""

    @abstractmethod
    async def count(self, prefix: str) -> int:
        """List everything below *prefix* (which ends with a slash) with size, etag and time, and count it."""

    @abstractmethod
    async def delete(self, path: str) -> None:
        """Remove one object."""

    async def presign(self, path: str) -> str:
        """Sign a GET."""
        raise NotOffered(path)

    def presign_now(self, path: str) -> str:
        """The same without awaiting."""
        raise NotOffered(path)

    async def delete_batch(self, paths: Sequence[str]) -> None:
        """Remove a thousand objects in one request."""
        raise NotOffered(str(len(paths)))

    @abstractmethod
    async def upload(self, path: str, pieces: AsyncIterator[bytes]) -> None:
        """Write a large object of unknown size from an iterator, `PARTS_IN_FLIGHT` parts of `PART` at once."""

    @abstractmethod
    async def stream(self, path: str) -> int:
        """Read a large object in chunks of about `CHUNK` over one connection, and count its bytes."""

    async def download_to(self, path: str, file: Path, connections: int) -> None:
        """Read a large object into a file over several connections."""
        raise NotOffered(f"{path} {file} {connections}")


def load(name: str) -> type[Client]:
    """The client called *name*.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    client: type[Client] = import_module(f"tests.bench.clients.{name}").client
    return client


def released(name: str) -> str | None:
    """The version of the client called *name* that is installed here; None when none is."""
    try:
        return version(load(name).distribution)
    except ModuleNotFoundError:  # PackageNotFoundError is one, too
        return None
