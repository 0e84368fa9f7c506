"""Where a bucket is: the URL of every object, the same for requests, presigned and canonical URLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

_SUFFIXES: Final = {"cn-": "amazonaws.com.cn", "eusc-": "amazonaws.eu"}
"""DNS suffix by the start of a region's name. Source: the partitions of botocore's endpoint data."""


def encode(path: str) -> str:
    """A path as SigV4 wants it in a URL: every byte but the unreserved ones and ``/`` is percent-encoded, once."""
    return quote(path, safe="/-_.~")


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket's place.

    Attributes:
        scheme: ``https``, or ``http`` for a server on this machine.
        host: Host and port as the ``Host`` header names them.
        root: Path of the bucket, encoded, without a last slash; empty when the host names the bucket.
        virtual: Whether the host names the bucket.
        custom: Whether the endpoint was given; then it is not known to be AWS.
    """

    scheme: str
    host: str
    root: str
    virtual: bool
    custom: bool

    @classmethod
    def of(cls, bucket: str, region: str, endpoint_url: str | None) -> Address:
        """The address of *bucket*: in the path of a given endpoint, else in the host name, as AWS wants it.

        A bucket with a dot is addressed in the path on AWS too: its name would not match the certificate.
        """
        if endpoint_url:
            parts = urlsplit(endpoint_url)
            default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
            host = parts.netloc.lower().removesuffix(default) if default else parts.netloc.lower()
            root = f"{quote(parts.path.rstrip('/'), safe='/-_.~%')}/{encode(bucket)}"
            return cls(parts.scheme, host, root, virtual=False, custom=True)
        suffix = next((dns for start, dns in _SUFFIXES.items() if region.startswith(start)), "amazonaws.com")
        host = f"s3.{region}.{suffix}"
        if "." in bucket:
            return cls("https", host, f"/{bucket}", virtual=False, custom=False)
        return cls("https", f"{bucket}.{host}", "", virtual=True, custom=False)

    @property
    def secure(self) -> bool:
        """Whether requests go through TLS."""
        return self.scheme == "https"

    def target(self, path: str | None) -> str:
        """The encoded path of an object in its URL, or of the bucket."""
        return (self.root or "/") if path is None else f"{self.root}/{encode(path)}"

    def url(self, path: str) -> str:
        """The object's URL without a signature."""
        return f"{self.scheme}://{self.host}{self.root}/{encode(path)}"
