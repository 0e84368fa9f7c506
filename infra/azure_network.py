"""The private endpoint of a storage account: the address by which a virtual network reaches its blobs.

`pulumi_azure_native.network` is 9 MB of classes, of which two are needed here; as `infra.cloudflare` does, they are
registered with their tokens and typed arguments, and a test compares each with the installed package.

Source:
    https://learn.microsoft.com/en-us/azure/storage/common/storage-private-endpoints
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the test that compares the types resolves it
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from infra.declared import Declared

if TYPE_CHECKING:
    import pulumi

    from infra.azure_rm import Home

_NETWORK: Final = r"^/subscriptions/[0-9a-fA-F-]{36}/resource[gG]roups/[^/]+/providers/Microsoft\.Network"

SUBNET: Final = rf"{_NETWORK}/virtualNetworks/[^/]+/subnets/[^/]+$"
"""Resource id of a subnet."""

DNS_ZONE: Final = rf"{_NETWORK}/privateDnsZones/privatelink\.blob\.core\.[a-z.]+$"
"""Resource id of the private DNS zone that has the names of blob endpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """Where an endpoint gets its address."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateLinkServiceConnection:
    """What an endpoint leads to."""

    name: str
    private_link_service_id: str
    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateEndpointArgs:
    """A private endpoint."""

    token: ClassVar[str] = "azure-native:network:PrivateEndpoint"  # noqa: S105 - a type token

    private_endpoint_name: str
    resource_group_name: str
    location: str
    subnet: Subnet
    private_link_service_connections: tuple[PrivateLinkServiceConnection, ...]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateDnsZoneConfig:
    """A zone that names an endpoint."""

    name: str
    private_dns_zone_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateDnsZoneGroupArgs:
    """The zones that name an endpoint."""

    token: ClassVar[str] = "azure-native:network:PrivateDnsZoneGroup"  # noqa: S105 - a type token

    private_dns_zone_group_name: str
    private_endpoint_name: str
    resource_group_name: str
    private_dns_zone_configs: tuple[PrivateDnsZoneConfig, ...]


class _Resource(Declared):
    """One resource of Azure's provider."""

    package = "pulumi-azure-native"


def endpoint(
    backend: str, home: Home, location: str, subnet: str, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> pulumi.CustomResource:
    """The address of the account's blobs in *subnet*."""
    connection = PrivateLinkServiceConnection(name="blob", private_link_service_id=home.account_id, group_ids=("blob",))
    args = PrivateEndpointArgs(
        private_endpoint_name=home.account,
        resource_group_name=home.group,
        location=location,
        subnet=Subnet(id=subnet),
        private_link_service_connections=(connection,),
        tags=tags,
    )
    return _Resource(f"{backend}-endpoint", args, opts)


def names(backend: str, home: Home, zone: str, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """That the account's usual name leads to its `endpoint`, wherever *zone* answers."""
    args = PrivateDnsZoneGroupArgs(
        private_dns_zone_group_name="default",
        private_endpoint_name=home.account,
        resource_group_name=home.group,
        private_dns_zone_configs=(PrivateDnsZoneConfig(name="blob", private_dns_zone_id=zone),),
    )
    return _Resource(f"{backend}-endpoint-names", args, opts)
