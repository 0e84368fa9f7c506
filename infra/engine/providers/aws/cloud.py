"""What the AWS handlers work with: clients for one emulator, and the provider's own settings."""

from __future__ import annotations

from threading import Lock
from typing import Any

from infra.engine.providers import s3api
from infra.engine.providers.loopback import require_loopback
from runtime.errors import ConfigError


class Aws:
    """Clients of the services, made when first used and shared by all threads.

    Attributes:
        region: The region of resources that name none.
        default_tags: Tags that every taggable resource gets beside its own.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.region: str = settings.get("region") or ""
        keys = settings.get("accessKey"), settings.get("secretKey")
        if not self.region or not all(keys):
            raise ConfigError(
                "the aws provider needs region, access_key and secret_key: an emulator has no default chain"
            )
        self._keys: tuple[str, str] = (str(keys[0]), str(keys[1]))
        self._endpoints: dict[str, str] = {}
        for group in settings.get("endpoints") or ():
            for service, url in group.items():
                if url:
                    self._endpoints[service] = require_loopback(url, f"aws:Provider endpoints.{service}")
        require_loopback(self._endpoints.get("s3"), "aws:Provider endpoints.s3")
        self.default_tags: dict[str, str] = (settings.get("defaultTags") or {}).get("tags") or {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = Lock()

    def client(self, service: str, region: str) -> Any:
        """The boto3 client of a service in a region.

        Raises:
            ConfigError: the provider gives no endpoint for it, or one that is not on this machine.
        """
        with self._lock:
            if (service, region) not in self._clients:
                endpoint = self._endpoints.get(service)
                self._clients[service, region] = s3api.client(service, endpoint, region, *self._keys)
            return self._clients[service, region]

    def region_of(self, properties: dict[str, Any]) -> str:
        """The region of a resource: its own, or else the provider's."""
        return str(properties.get("region") or self.region)

    def s3(self, properties: dict[str, Any]) -> Any:
        """S3 in the region of a resource with these properties."""
        return self.client("s3", self.region_of(properties))

    def kms(self, properties: dict[str, Any]) -> Any:
        """The key management service in the region of a resource with these properties."""
        return self.client("kms", self.region_of(properties))

    @property
    def iam(self) -> Any:
        """Identity and access management, which has no regions."""
        return self.client("iam", self.region)

    @property
    def speaks_http(self) -> bool:
        """Whether S3 is reached without TLS, where a TLS-only policy would lock everybody out."""
        return self._endpoints["s3"].startswith("http:")

    def all_tags(self, inputs: dict[str, Any]) -> dict[str, str]:
        """The tags of a resource with the provider's default ones."""
        return {**self.default_tags, **(inputs.get("tags") or {})}

    def own_tags(self, tags: dict[str, str], state: dict[str, Any]) -> dict[str, str]:
        """The tags that a program wrote on the resource itself, out of all that the server shows."""
        asked = state.get("tags") or {}
        return {k: v for k, v in tags.items() if k in asked or self.default_tags.get(k) != v}
