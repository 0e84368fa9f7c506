"""A new, empty bucket on every kind of server, as the contract names it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import boto3
import httpx
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

from runtime.config import NamedStorageConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.testing.fixtures import ServerFactory

MIB: Final = 1024 * 1024

PLACES: Final = (
    "memory",
    "local",
    "ministack",
    "versitygw",
    "gofakes3",
    "versitygw-auto",
    "fake-gcs-server",
    "azurite",
)
"""What `place` knows: a driver without a server, or a server; ``versitygw-auto`` is one for the driver r2."""


def place(server: ServerFactory, kind: str, folder: Path, name: str = "media", **more: Any) -> NamedStorageConfig:
    """The entry of a backend whose bucket was made just now.

    Args:
        server: The session's servers.
        kind: One of `PLACES`.
        folder: Where a directory may be made.
        name: Of the backend.
        more: Further keys of the entry (``read_fallback``).
    """
    driver, settings = _MAKERS.get(kind, _s3)(server, kind, folder)
    return NamedStorageConfig.model_validate({"name": name, "driver": driver, driver: settings, **more})


def _bucket() -> str:
    return f"t-{secrets.token_hex(8)}"


def _memory(*_: Any) -> tuple[str, dict[str, Any]]:
    return "memory", {}


def _local(_server: ServerFactory, _kind: str, folder: Path) -> tuple[str, dict[str, Any]]:
    root = folder / _bucket()
    root.mkdir()
    return "local", {"root_dir": str(root)}


def _s3(server: ServerFactory, kind: str, _folder: Path) -> tuple[str, dict[str, Any]]:
    running, bucket = server(kind), _bucket()
    region = "auto" if kind.endswith("auto") else running.region
    client: Any = boto3.client(
        "s3",
        endpoint_url=running.url,
        region_name=region,
        aws_access_key_id=running.access_key,
        aws_secret_access_key=running.secret_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket=bucket)
    keys = {"endpoint_url": running.url, "access_key": running.access_key, "secret_key": running.secret_key}
    return ("r2" if region == "auto" else "s3"), {"bucket": bucket, "region": region, **keys}


def _gcs(server: ServerFactory, kind: str, _folder: Path) -> tuple[str, dict[str, Any]]:
    running, bucket = server(kind), _bucket()
    made = httpx.post(f"{running.url}/storage/v1/b", params={"project": "tandem-test"}, json={"name": bucket})
    made.raise_for_status()
    return "gcs", {"bucket": bucket, "project_id": "tandem-test", "endpoint_url": running.url}


def _azure(server: ServerFactory, kind: str, _folder: Path) -> tuple[str, dict[str, Any]]:
    running, container = server(kind), _bucket()
    url = f"{running.url}/{running.access_key}"
    with BlobServiceClient(url, credential=running.secret_key) as service:
        service.create_container(container)
    account = {"account_name": running.access_key, "account_key": running.secret_key}
    return "azure", {**account, "container": container, "endpoint_url": url}


_MAKERS: Final[dict[str, Callable[[ServerFactory, str, Path], tuple[str, dict[str, Any]]]]] = {
    "memory": _memory,
    "local": _local,
    "fake-gcs-server": _gcs,
    "azurite": _azure,
}
