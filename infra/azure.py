"""Azure Blob Storage: one account for each backend, its container and settings, and the contract's entry."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from infra import naming
from infra.backend import BackendSpec
from infra.fields import Days, Unique, wrong
from runtime.config import EncryptionConfig, NamedStorageConfig, StorageAzureConfig
from runtime.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pulumi

    from infra.context import Context

_EXISTING: Final = re.compile(r"[a-z0-9]{3,24}/(?=.{3,63}$)[a-z0-9](?:-?[a-z0-9])*")
_PRINCIPAL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_KEY: Final = re.compile(r"https://[a-z0-9-]+\.vault\.azure\.net/keys/[0-9A-Za-z-]+(?:/[0-9a-f]{32})?")


def _address(value: str) -> str:
    try:
        network = ip_network(value)
    except ValueError:
        raise wrong(f"found {value!r}", "a public IPv4 address or range: 203.0.113.7, 203.0.113.0/24") from None
    if network.version != 4 or (network.is_private and not network.is_global):  # noqa: PLR2004 - IPv4
        raise wrong(f"found {value!r}", "a public IPv4 address or range; Azure refuses private ones")
    return value


def _existing(value: str) -> str:
    if not _EXISTING.fullmatch(value):
        raise wrong(f"found {value!r}", "<account>/<container>")
    return value


class Spec(BackendSpec):
    """A backend on Azure Blob Storage, in a storage account of its own.

    Attributes:
        location: Azure region, ``westeurope``.
        network: Who can reach the account: ``public`` everybody with a signature or token, ``ips`` only *ips*,
            ``private`` only private endpoints (browsers can not). Profile dev takes ``public`` when it is left out.
        ips: Public IPv4 addresses or ranges that may come in, for network ``ips``.
        resource_group: A resource group that exists; the program makes one when it is left out.
        sku: Redundancy of the account.
        soft_delete: How long deleted blobs and containers can be restored, 1d to 365d.
        existing: ``<account>/<container>`` that is there already.
    """

    provider = "azure"
    emulated_account = "devstoreaccount1"
    encryptions = {"dev": "AES256", "standard": "AES256", "regulated": "azure:cmk"}  # noqa: RUF012 - a ClassVar
    most_cors_rules = 5

    driver: Literal["azure"]
    location: str = Field(pattern=r"^[a-z]+[0-9]?$", description="an Azure region such as westeurope")
    network: Literal["public", "private", "ips"] | None = None
    ips: Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Unique] = ()
    resource_group: str | None = Field(default=None, pattern=r"^[\w().-]{1,89}[\w()-]$")
    sku: Literal["Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS"] | None = None
    soft_delete: Days = timedelta(days=7)
    existing: Annotated[str, AfterValidator(_existing)] | None = None

    def problems(self, context: Context) -> Iterator[Problem]:
        """A network that nobody chose, and identities, keys and retentions that Azure does not know."""
        if self.network is None and not context.dev and self.existing is None:
            allowed = "public, ips (with ips: […]) or private"
            yield Problem(
                "network", "is a required choice outside profile dev: it decides whether browsers work", allowed
            )
        if (self.network == "ips") is not bool(self.ips):
            yield Problem(
                "ips", "goes with network: ips" if self.ips else "is required for network: ips", "both or none"
            )
        if self.soft_delete > timedelta(days=365):
            yield Problem("soft_delete", f"found {self.soft_delete.days}d", "1d to 365d")
        for index, grant in enumerate(self.grants):
            if not _PRINCIPAL.fullmatch(grant.to):
                yield Problem(f"grants[{index}].to", f"found {grant.to!r}", "the object id of a principal, a UUID")
        if self.customer_key and self.encryption and not _KEY.fullmatch(self.encryption.kms_key_id or ""):
            yield Problem(
                "encryption.kms_key_id", "azure:cmk needs a key", "https://<vault>.vault.azure.net/keys/<key>"
            )


def entry(spec: Spec, context: Context) -> NamedStorageConfig:
    """The backend as the contract has it; keyless, except on an emulator."""
    endpoint = context.endpoint("azure")
    account, container = names(spec, context)
    settings: dict[str, Any] = {"account_name": account, "container": container, "public_url": spec.public_url}
    if endpoint is not None:
        settings |= {"endpoint_url": endpoint.url, "account_key": context.reference(endpoint.secret_key_file)}
    if spec.encryption is not None:
        key = spec.encryption.kms_key_id
        settings["encryption"] = EncryptionConfig(enabled=True, type=spec.encryption.type, kms_key_id=key)
    return spec.named(StorageAzureConfig(**settings), capabilities=("presign",))


def names(spec: Spec, context: Context) -> tuple[str, str]:
    """Account and container, known before they exist."""
    if spec.existing:
        account, _, container = spec.existing.partition("/")
        return account, container
    stack, subscription = context.stack, context.account("azure", "")
    container = naming.bucket(stack.project, stack.name, spec.name, subscription)
    if context.emulated("azure"):
        return spec.emulated_account, container  # Azurite has the one account
    return naming.azure_account(stack.project, stack.name, spec.name, subscription), container


def provision(spec: Spec, context: Context) -> pulumi.ComponentResource:
    """Make the backend's account and container."""
    raise NotImplementedError  # issue 4, at work now
