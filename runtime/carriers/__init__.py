"""Places of the clouds that hold text: parameter stores and secret managers. One module each.

They carry the storage config itself (``LEX_STORAGE_CONFIG=ssm:/apps/shop/storage``), and secrets that it refers to
(``${aws-sm:prod/media#secret_key}``):

| written | what |
|---|---|
| ``ssm:/apps/shop/storage`` | AWS Systems Manager Parameter Store; a secure string is decrypted |
| ``aws-sm:prod/media`` | AWS Secrets Manager; a name or an ARN |
| ``gcp-sm:projects/shop/secrets/media`` | Google Secret Manager; with ``/versions/7`` a certain version |
| ``azure-kv:vault-name/media`` | Azure Key Vault; with ``/<version>`` a certain one |

``#key`` takes one key of a secret that is a JSON object. Each module has ``fetch(name)`` and ``store(name, text)``,
asks with the cloud's own default credentials, and imports the cloud's SDK when it is called.
"""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from runtime.errors import StorageError

if TYPE_CHECKING:
    from types import ModuleType

CARRIERS: Final = {
    "ssm": "aws",
    "aws-sm": "aws",
    "gcp-sm": "gcp",
    "azure-kv": "azure",
}
"""By the scheme of a carrier: the extra of this distribution that brings its SDK."""

_SDKS: Final = {"aws": "boto3", "gcp": "google.auth", "azure": "azure.identity"}


class CarrierError(Exception):
    """A carrier gives no text: why, as the rest of a sentence that begins with the reference. Never holds a secret."""


class Carriers:
    """What was fetched for one load: each text once, however often it is referred to. Shows nothing of it."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Carriers: {len(self._texts)} fetched>"

    def get(self, reference: str) -> str:
        """The text that *reference* stands for.

        Args:
            reference: ``scheme:name`` or ``scheme:name#key``.

        Raises:
            CarrierError: there is none, it may not be read, or nobody answers.
        """
        address, hash_, key = reference.partition("#")
        if address not in self._texts:
            scheme, _, name = address.partition(":")
            self._texts[address] = carrier(scheme).fetch(name)
        return _key_of(self._texts[address], key) if hash_ else self._texts[address]


def is_carried(source: str) -> bool:
    """Whether *source* names a text in a carrier."""
    scheme, colon, name = source.partition(":")
    return bool(colon and name) and scheme in CARRIERS


def carrier(scheme: str) -> ModuleType:
    """The module of a carrier.

    Raises:
        CarrierError: its SDK is not installed.
    """
    extra = CARRIERS[scheme]
    try:
        missing = find_spec(_SDKS[extra]) is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise CarrierError(f"needs a package that is not installed: pip install 'tandem-storage[{extra}]'")
    return import_module(f"runtime.carriers.{scheme.replace('-', '_')}")


def put(address: str, text: str) -> None:
    """Keep *text* at *address*; what is there becomes an older version.

    Raises:
        StorageError: it may not be written, or nobody answers.
    """
    scheme, _, name = address.partition(":")
    try:
        carrier(scheme).store(name, text)
    except CarrierError as exc:
        raise StorageError(f"{address} {exc}") from exc


def _key_of(text: str, key: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        raise CarrierError("is no JSON object, so it has no keys: leave # out for all of it") from None
    if not isinstance(found, dict) or key not in found:
        raise CarrierError(f"has no key {key!r}")
    value = found[key]
    return value if isinstance(value, str) else json.dumps(value)
