"""What the data plane of Azure shows of a container and its account: CORS and public access.

Versioning, encryption, lifecycle, network and TLS are settings of the account, which only Azure Resource Manager shows.

Source:
    https://learn.microsoft.com/rest/api/storageservices/get-blob-service-properties
    https://learn.microsoft.com/rest/api/storageservices/get-container-properties
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from runtime.config import CorsRule
from runtime.drivers._http import Request, ServiceError
from runtime.live import LiveSettings, Unseen

if TYPE_CHECKING:
    from runtime.drivers._http import HttpClient, Reply

_OPERATIONS: Final = "Microsoft.Storage/storageAccounts"
_BY_MANAGER: Final = {
    "versioning": f"{_OPERATIONS}/blobServices/read",
    "encryption": f"{_OPERATIONS}/read",
    "lifecycle": f"{_OPERATIONS}/managementPolicies/read",
    "public_blocked": f"{_OPERATIONS}/read",
    "logging": "Microsoft.Insights/diagnosticSettings/read",
    "grants": "Microsoft.Authorization/roleAssignments/read",
}
_WHY: Final = "the data plane does not show it, only Azure Resource Manager does"


async def live_settings(http: HttpClient, account_url: str, container_url: str, *, shared: bool) -> LiveSettings:
    """What can be seen with a key, a signature or a token of the data plane.

    Args:
        http: The driver's client.
        account_url: The account.
        container_url: The container.
        shared: Whether other backends live in the same account, as on the emulator, which has one.
    """
    unseen = {name: Unseen(_WHY, right) for name, right in _BY_MANAGER.items()}
    known: dict[str, Any] = {}
    container = await _read(http, container_url, {"restype": "container"}, "blobServices/containers/read")
    if isinstance(container, Unseen):
        unseen["public"] = container
    else:
        known["public"] = "x-ms-blob-public-access" in container.headers
    properties = await _read(http, f"{account_url}/", {"restype": "service", "comp": "properties"}, "blobServices/read")
    if isinstance(properties, Unseen):
        unseen["cors"] = properties
    else:
        known["cors"] = _cors(properties.body)
    return LiveSettings(**known, unseen=unseen, shared_cors=shared)


async def _read(http: HttpClient, url: str, query: dict[str, str], right: str) -> Reply | Unseen:
    try:
        return await http.read(Request("GET", url, query))
    except ServiceError as exc:
        if exc.status != HTTPStatus.FORBIDDEN:
            raise
        return Unseen(str(exc), f"{_OPERATIONS}/{right}")


def _cors(body: bytes) -> tuple[CorsRule, ...]:
    document = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    return tuple(
        CorsRule(
            origins=_listed(rule, "AllowedOrigins"),
            methods=_listed(rule, "AllowedMethods"),
            headers=_listed(rule, "AllowedHeaders"),
            expose=_listed(rule, "ExposedHeaders"),
            max_age=int(rule.findtext("MaxAgeInSeconds") or 0),
        )
        for rule in document.iterfind("Cors/CorsRule")
    )


def _listed(rule: Any, tag: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in (rule.findtext(tag) or "").split(",") if part.strip())
