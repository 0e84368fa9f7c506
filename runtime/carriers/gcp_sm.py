"""Google Secret Manager: ``gcp-sm:projects/shop/secrets/media``, with application default credentials.

``CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER`` names another endpoint, as it does for gcloud.

Source:
    https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from os import environ
from typing import Any, Final

from runtime.carriers import CarrierError
from runtime.carriers._https import CONFLICT, send

ENDPOINT: Final = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
_NAME: Final = re.compile(r"projects/(?P<project>[^/]+)/secrets/(?P<secret>[^/]+)(?P<version>/versions/[^/]+)?")
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


def fetch(name: str) -> str:
    """The latest version of the secret, or the one that *name* ends with."""
    named = _parsed(name)
    version = named["version"] or "/versions/latest"
    url = f"{_endpoint()}/v1/projects/{named['project']}/secrets/{named['secret']}{version}:access"
    payload = send("GET", url, _token())["payload"]["data"]
    try:
        return b64decode(payload).decode()
    except UnicodeDecodeError:
        raise CarrierError("holds bytes and no text") from None


def store(name: str, text: str) -> None:
    """Add a version, and the secret itself where there is none."""
    named = _parsed(name)
    token, secrets = _token(), f"{_endpoint()}/v1/projects/{named['project']}/secrets"
    new: dict[str, Any] = {"replication": {"automatic": {}}}
    send("POST", f"{secrets}?secretId={named['secret']}", token, new, also=CONFLICT)
    data = {"payload": {"data": b64encode(text.encode()).decode()}}
    send("POST", f"{secrets}/{named['secret']}:addVersion", token, data)


def _parsed(name: str) -> re.Match[str]:
    named = _NAME.fullmatch(name)
    if named is None:
        raise CarrierError("is no secret's name; allowed: projects/<project>/secrets/<secret>[/versions/<version>]")
    return named


def _endpoint() -> str:
    return environ.get(ENDPOINT, "https://secretmanager.googleapis.com").rstrip("/")


def _token() -> str:
    import google.auth  # noqa: PLC0415 - only where it is used
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - as above
    from google.auth.transport.requests import Request  # noqa: PLC0415 - as above

    try:
        credentials = google.auth.default(_SCOPES)[0]
        credentials.refresh(Request())
    except GoogleAuthError as exc:
        raise CarrierError(f"can not be asked for: no Google credentials ({type(exc).__name__})") from exc
    return str(credentials.token)
