"""One HTTPS request with a token, for the carriers that have no SDK here; errors in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runtime.carriers import CarrierError

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 10
OK = 200
NOT_FOUND = 404
CONFLICT = 409


def send(method: str, url: str, token: str, body: Mapping[str, Any] | None = None, *, also: int = OK) -> Any:
    """The JSON of the answer.

    Args:
        method: HTTP method.
        url: Address; https, or this machine.
        token: Bearer token.
        body: JSON to send.
        also: Another status that is as good as 200.

    Raises:
        CarrierError: it was refused, or nobody answers.
    """
    import requests  # noqa: PLC0415 - only where it is used; google-auth and azure-core bring it

    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        raise CarrierError("is not asked for: a token goes over https only")
    try:
        answer = requests.request(
            method,
            url,
            json=body,
            headers={"authorization": f"Bearer {token}"},
            timeout=SECONDS,
            allow_redirects=False,  # a token is for this server only
        )
        if answer.status_code not in {OK, also}:
            raise CarrierError(_why(answer.status_code))
        return answer.json()
    except requests.RequestException as exc:  # of no JSON too
        raise CarrierError(f"can not be asked for: {type(exc).__name__}") from exc


def _why(status: int) -> str:
    known = {401: "may not be read: no valid token", 403: "may not be read with this identity", 404: "does not exist"}
    return known.get(status, f"was refused with status {status}")
