"""The kinds of values that the contract and the spec hold: names, buckets, addresses; each with its own message."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKEND: Final = re.compile(r"[a-z](?:[_-]?[a-z0-9])*")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_S3: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_GCS: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?)*")
_R2: Final = re.compile(_LABEL)
_AZURE: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9])*|\$root|\$web|\$logs")

_S3_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_S3_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def _backend_name(name: str) -> str:
    # `__` is what separates the keys of an override, so no name may hold it
    if len(name) > 63 or not _BACKEND.fullmatch(name):  # noqa: PLR2004 - said in the message
        raise ValueError(
            "can not name a backend; allowed: 1 to 63 lower-case letters and digits, words joined by"
            " a single - or _, a letter first"
        )
    return name


def _bucket(service: str, shape: re.Pattern[str], longest: int, allowed: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        if not 3 <= len(name) <= longest or not shape.fullmatch(name):  # noqa: PLR2004 - said in the message
            raise ValueError(f"can not name {service}; allowed: 3 to {longest} {allowed}")
        return name

    return check


def _not_reserved_on_s3(name: str) -> str:
    if name.startswith(_S3_PREFIXES) or name.endswith(_S3_SUFFIXES):
        raise ValueError(
            f"is reserved by S3: no bucket name starts with {', '.join(_S3_PREFIXES)}"
            f" or ends with {', '.join(_S3_SUFFIXES)}"
        )
    return _not_an_address(name)


def _not_reserved_on_gcs(name: str) -> str:
    if name.startswith("goog") or "google" in name:
        raise ValueError("is reserved by Google: no bucket name starts with 'goog' or holds 'google'")
    if "." not in name and len(name) > 63:  # noqa: PLR2004 - said in the message
        raise ValueError("is too long: 63 characters, or 222 when dots divide it")
    return _not_an_address(name)


def _not_an_address(name: str) -> str:
    try:
        IPv4Address(name)
    except AddressValueError:
        return name
    raise ValueError("looks like an IP address, which no bucket name may")


def _http_url(url: str) -> str:
    # never echo the URL: what is wrong with it may be that it holds a password
    allowed = "allowed: http:// or https://, a host, an optional port and path"
    try:
        parts = urlsplit(url)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError as exc:
        raise ValueError(f"is not a URL; {allowed}") from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_number or re.search(r"\s", url):
        raise ValueError(f"is not an HTTP URL; {allowed}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"holds credentials, which belong into the backend's own keys; {allowed}")
    if "?" in url or "#" in url:
        raise ValueError(f"holds a query or a fragment; {allowed}")
    return url.rstrip("/")


def _redis_url(secret: SecretStr) -> SecretStr:
    # a reference stays as it is until the document is loaded
    url = secret.get_secret_value()
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not (right or (url.startswith("unix://") and len(url) > len("unix://")) or url.startswith("${")):
        raise ValueError("is not the address of a Redis server; allowed: redis://…, rediss://… (TLS), unix://…")
    return secret


BackendName = Annotated[str, AfterValidator(_backend_name)]
"""What an application calls a backend."""

HttpUrl = Annotated[str, AfterValidator(_http_url), Field(json_schema_extra={"format": "uri"})]
"""An HTTP address without credentials, query or fragment; slashes at its end are cut off."""

Secret = Annotated[SecretStr, Field(min_length=1)]
"""A secret: hidden in every repr and message, given as a reference in a generated document."""

RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url), Field(min_length=1)]
"""Address of a Redis server; it may hold its password, so it is shown nowhere."""

Region = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
"""A region's technical name."""

S3BucketName = Annotated[
    str,
    AfterValidator(
        _bucket(
            "an S3 bucket", _S3, 63, "lower-case letters, digits, - and single dots; a letter or digit at both ends"
        )
    ),
    AfterValidator(_not_reserved_on_s3),
]
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""

R2BucketName = Annotated[
    str,
    AfterValidator(
        _bucket("an R2 bucket", _R2, 63, "lower-case letters, digits and -; a letter or digit at both ends")
    ),
]
"""Source: https://developers.cloudflare.com/r2/buckets/create-buckets/"""

GCSBucketName = Annotated[
    str,
    AfterValidator(
        _bucket(
            "a Google Cloud Storage bucket",
            _GCS,
            222,
            "lower-case letters, digits, -, _ and dots; a letter or digit at both ends; at most 63 between dots",
        )
    ),
    AfterValidator(_not_reserved_on_gcs),
]
"""Source: https://cloud.google.com/storage/docs/buckets#naming"""

AzureContainerName = Annotated[
    str,
    AfterValidator(
        _bucket(
            "an Azure container", _AZURE, 63, "lower-case letters, digits and single -; a letter or digit at both ends"
        )
    ),
]
"""Source: https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata"""

AzureAccountName = Annotated[
    str,
    AfterValidator(
        _bucket("a storage account", re.compile(r"[a-z0-9]+"), 24, "lower-case letters and digits, nothing else")
    ),
]
"""Source: https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-name"""
