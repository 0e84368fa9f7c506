"""What works in a storage config and is most likely not what was meant, each with what to do about it.

`load_config` warns of it at every start, loudly on purpose; `tandem doctor` lists the same lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from runtime.config import is_secret, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.config import NamedKVConfig, NamedStorageConfig, StorageConfig

PLACEHOLDERS: Final = frozenset(
    {
        "change-me",
        "changeme",
        "replace-me",
        "replaceme",
        "password",
        "123456",
        "secret",
        "your-secret-key",
        "xxx",
        "todo",
    }
    | {"test123", "dummy", "placeholder", "akiaiosfodnn7example", "wjalrxutnfemi/k7mdeng/bpxrficyexamplekey"}
)
"""What people write where a credential has yet to come, and the keys of AWS's documentation; compared in lower case."""

DEVELOPMENT: Final = frozenset({"dev", "development", "local", "test", "testing", "ci", "emulated"})
"""Environments where one machine is all there is. An environment that nothing tells is not judged."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def advice(config: StorageConfig, stack: str | None = None, literals: Sequence[str] = ()) -> list[str]:
    """One line for each thing that should be changed.

    Args:
        config: What was loaded.
        stack: Stack that generated it.
        literals: Paths of secrets that stand in the document in clear.
    """
    lines = [f"{path} is a literal secret: write ${{NAME}} or ${{file:PATH}} instead" for path in literals]
    environment = (config.env or stack or "").lower()
    elsewhere = bool(environment) and environment not in DEVELOPMENT
    for backend in config.named_backends() if config.enabled else ():
        lines += _of_backend(backend)
        if elsewhere and backend.driver == "local" and not backend.settings.shared:
            lines.append(
                f"{backend.name}: files of the driver local are on one machine; other instances lack them: use a"
                f" bucket in {environment}, or set `shared: true` when root_dir is a volume that all of them mount"
            )
    for store in config.kv if config.enabled else ():
        lines += _of_kv(store)
        if elsewhere and store.driver != "redis":
            lines.append(
                f"kv {store.name}: entries of the driver {store.driver} are on one machine; other instances lack them:"
                f" use the driver redis in {environment}"
            )
    return lines


def _of_kv(store: NamedKVConfig) -> Iterator[str]:
    settings = plain(store.settings)
    given = {"password": settings.get("password"), "url": urlsplit(str(settings.get("url") or "")).password}
    for key, value in given.items():
        if value and str(value).lower() in PLACEHOLDERS:
            has = "has a placeholder for a password" if key == "url" else "is a placeholder, not a credential"
            yield f"kv {store.name}: {key} {has}: set the real one by ${{NAME}}"


def _of_backend(backend: NamedStorageConfig) -> Iterator[str]:
    settings = plain(backend.settings)
    for key, value in settings.items():
        if is_secret(key) and str(value).lower() in PLACEHOLDERS:
            yield f"{backend.name}: {key} is a placeholder, not a credential: set the real one by ${{NAME}}"
    endpoint = urlsplit(str(settings.get("endpoint_url") or ""))
    if endpoint.scheme == "http" and endpoint.hostname not in LOOPBACK:
        yield f"{backend.name}: {endpoint.netloc} is spoken to without TLS: use an https endpoint_url"
