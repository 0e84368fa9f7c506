"""What is there of an Azure container that is taken over, with its whole account: ids of Resource Manager."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient

from infra.adoption import OWNERS, Found
from infra.azure import home
from runtime.errors import ConfigError, NotFoundError, StorageUnavailableError

if TYPE_CHECKING:
    from infra.azure import Spec
    from infra.azure_rm import Home
    from infra.context import Context

MANAGEMENT: Final = "https://management.azure.com"
API: Final = "2023-05-01"


def look(spec: Spec, context: Context) -> Found:
    """The account, its Blob service and the container; what expires is written over, as an account may have no rules.

    Raises:
        NotFoundError: there is no such account or container.
        StorageUnavailableError: Azure, or the emulator, can not be asked.
    """
    where = home(spec, context)
    ids = {
        f"{spec.name}-account": where.account_id,
        f"{spec.name}-service": f"{where.account_id}/blobServices/default",
        f"{spec.name}-bucket": where.container_id,
    }
    try:
        if context.emulated("azure"):
            _demand_container(context, where)
            return Found(ids, remarks=("the emulator keeps no tags, so whose the account is can not be checked",))
        account = _asked(where.account_id)
        _asked(where.container_id)
    except (AzureError, httpx.HTTPError) as exc:
        raise StorageUnavailableError(
            f"Azure can not be asked for {spec.take_over!r}: {type(exc).__name__}",
            backend=spec.name,
            hint="taking an account over needs credentials that may read it (az login, or a managed identity)",
        ) from exc
    tags = account.get("tags") or {}
    return Found(ids, {name: tags[name] for name in OWNERS if name in tags})


def _demand_container(context: Context, where: Home) -> None:
    endpoint = context.endpoint("azure")
    assert endpoint is not None, "asked on an emulator only"  # noqa: S101 - for the type
    url = f"{endpoint.url}/{endpoint.access_key}"
    with BlobServiceClient(url, credential=endpoint.secret_key) as service:
        try:
            service.get_container_client(where.container).get_container_properties()
        except ResourceNotFoundError as exc:
            raise NotFoundError(f"there is no container {where.container!r} to take over") from exc


def _asked(resource_id: str) -> dict[str, Any]:
    with DefaultAzureCredential() as credential:
        token = credential.get_token(f"{MANAGEMENT}/.default").token
    answer = httpx.get(
        f"{MANAGEMENT}{resource_id}",
        params={"api-version": API},
        headers={"authorization": f"Bearer {token}"},
        timeout=60,
    )
    if answer.status_code == HTTPStatus.NOT_FOUND:
        raise NotFoundError(f"there is no {resource_id} to take over")
    if answer.status_code == HTTPStatus.FORBIDDEN:
        raise ConfigError(f"{resource_id} is somebody else's, or these credentials may not see it")
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
