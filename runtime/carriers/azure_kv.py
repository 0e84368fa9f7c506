"""Azure Key Vault: ``azure-kv:vault-name/media``, with the default Azure credential.

A vault in another cloud is named by its address: ``azure-kv:https://vault-name.vault.azure.cn/media``.

Source:
    https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret
"""

from __future__ import annotations

import re
from typing import Final

from runtime.carriers import CarrierError
from runtime.carriers._https import send

VERSION: Final = "7.4"
_NAME: Final = re.compile(
    r"(?:(?P<url>https?://[^/]+)|(?P<vault>[A-Za-z0-9-]{3,24}))/(?P<secret>[A-Za-z0-9-]{1,127}(?:/[0-9a-f]+)?)"
)


def fetch(name: str) -> str:
    """The current version of the secret, or the one that *name* ends with."""
    url, scope = _address(name)
    return str(send("GET", url, _token(scope))["value"])


def store(name: str, text: str) -> None:
    """Add a version."""
    url, scope = _address(name)
    send("PUT", url, _token(scope), {"value": text})


def _address(name: str) -> tuple[str, str]:
    """Address of the secret, and what a token for it is for."""
    named = _NAME.fullmatch(name)
    if named is None:
        raise CarrierError("is no secret's name; allowed: <vault>/<secret>[/<version>], or the vault's address")
    base = named["url"] or f"https://{named['vault']}.vault.azure.net"
    # vaults of the other clouds want tokens of their own names: vault.azure.cn, vault.usgovcloudapi.net
    suffix = base.partition(".")[2] if base.startswith("https://") and ".vault." in base else "vault.azure.net"
    return f"{base}/secrets/{named['secret']}?api-version={VERSION}", f"https://{suffix}/.default"


def _token(scope: str) -> str:
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415 - only where it is used
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - as above

    try:
        with DefaultAzureCredential() as credential:
            return str(credential.get_token(scope).token)
    except ClientAuthenticationError as exc:  # `CredentialUnavailableError` is one
        raise CarrierError(f"can not be asked for: no Azure credentials ({type(exc).__name__})") from exc
