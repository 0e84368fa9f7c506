"""The Blob service of an Azurite: its client, and CORS rules in its form and in that of ``azure-native``."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient, CorsRule

from infra import azure_rm
from infra.engine.providers.compare import tidy
from infra.engine.providers.loopback import require_loopback
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LISTS: Final = ("allowedOrigins", "allowedMethods", "allowedHeaders", "exposedHeaders")


class Blobs:
    """The Blob service of the emulator.

    Attributes:
        subscription: Id that resource ids are made with.
        service: The SDK's client.
        url: Address of the emulator's account.
        lock: Held while the account's CORS rules are read and written.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        host = require_loopback(settings.get("metadataHost"), "azure-native:Provider metadata_host")
        account, key = settings.get("clientId"), settings.get("clientSecret")
        if not account or not key:
            raise ConfigError(
                "azure-native:Provider client_id and client_secret must be the emulator's account and key"
            )
        self.subscription: str = settings.get("subscriptionId") or azure_rm.EMULATED_SUBSCRIPTION
        self.url = f"{host.rstrip('/')}/{account}"
        # no second attempts: the SDK waits 15 s before them, and an emulator that is gone should be known at once
        options: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 60}
        self.service = BlobServiceClient(self.url, AzureNamedKeyCredential(account, key), **options)
        self.lock = Lock()

    def home(self, inputs: Mapping[str, Any]) -> azure_rm.Home:
        """Where Azure would have a resource with these properties."""
        names = ("resourceGroupName", "accountName", "containerName")
        return azure_rm.Home(self.subscription, *(inputs.get(name, "") for name in names))

    def cors(self) -> list[dict[str, Any]]:
        """The CORS rules of the account."""
        return [_rule(rule) for rule in self.service.get_service_properties()["cors"] or ()]

    def replace_cors(self, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
        """Take rules out of the account's, and add others."""
        with self.lock:
            others = [rule for rule in self.cors() if not among(rule, [*old, *new])]
            self.service.set_service_properties(cors=[_sdk_rule(rule) for rule in [*others, *new]])


def among(rule: dict[str, Any], rules: list[dict[str, Any]]) -> bool:
    """Whether a CORS rule is one of others, in any order of what it lists."""
    return any(tidy(rule, LISTS) == tidy(other, LISTS) for other in rules)


def _sdk_rule(rule: Mapping[str, Any]) -> CorsRule:
    origins, methods, headers, exposed = (rule.get(name) or [] for name in LISTS)
    age = rule.get("maxAgeInSeconds", 0)
    return CorsRule(origins, methods, allowed_headers=headers, exposed_headers=exposed, max_age_in_seconds=age)


def _rule(rule: CorsRule) -> dict[str, Any]:
    texts = (rule.allowed_origins, rule.allowed_methods, rule.allowed_headers, rule.exposed_headers)
    lists = ([item for item in (text or "").split(",") if item] for text in texts)
    return {**dict(zip(LISTS, lists, strict=True)), "maxAgeInSeconds": rule.max_age_in_seconds}
