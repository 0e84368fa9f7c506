"""Google Secret Manager and Azure Key Vault on this machine, as far as `runtime.carriers` asks them.

    tokens = TokenServer()
    with serving(tokens) as tokens.url, serving(SecretManagers(tokens.knows)) as url:
        ...

Both want a token that is known and hold versions. MiniStack serves what AWS has.

Source:
    https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets
    https://learn.microsoft.com/rest/api/keyvault/secrets
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_VERSION: Final = "7.4"


class SecretManagers:
    """An ASGI application.

    Args:
        knows_token: Whether a bearer token holds.

    Attributes:
        asked: Method and path of every request.
        forbidden: Names of secrets that nobody may read.
        google: The versions of each secret of Google, by project and name.
        azure: The versions of each secret of the vault.
    """

    def __init__(self, knows_token: Callable[[str], bool]) -> None:
        self.asked: list[str] = []
        self.forbidden: set[str] = set()
        self.google: dict[str, list[bytes]] = {}
        self.azure: dict[str, list[str]] = {}
        self._knows = knows_token
        self._app = Starlette(
            routes=[
                Route("/v1/projects/{project}/secrets", self._google_create, methods=["POST"]),
                Route("/v1/projects/{project}/secrets/{secret}:addVersion", self._google_add, methods=["POST"]),
                Route("/v1/projects/{project}/secrets/{secret}/versions/{version}:access", self._google_access),
                Route("/secrets/{secret}", self._azure_put, methods=["PUT"]),
                Route("/secrets/{secret}", self._azure_get),
                Route("/secrets/{secret}/{version}", self._azure_get),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] == "http":
            self.asked.append(f"{scope['method']} {scope['path']}")
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if not self._knows(request.headers.get("authorization", "").removeprefix("Bearer ")):
            return JSONResponse({"error": "unauthenticated"}, 401)
        if request.path_params.get("secret") in self.forbidden:
            return JSONResponse({"error": "forbidden"}, 403)
        return None

    async def _google_create(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        key = f"{request.path_params['project']}/{request.query_params['secretId']}"
        if "replication" not in await request.json():
            return JSONResponse({"error": "replication is required"}, 400)
        if key in self.google:
            return JSONResponse({"error": "already exists"}, 409)
        self.google[key] = []
        return JSONResponse({"name": key})

    async def _google_add(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        versions = self.google.get(_google_key(request))
        if versions is None:
            return JSONResponse({"error": "not found"}, 404)
        versions.append(b64decode((await request.json())["payload"]["data"], validate=True))
        return JSONResponse({"name": str(len(versions))})

    async def _google_access(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        versions, wanted = self.google.get(_google_key(request)) or [], request.path_params["version"]
        number = len(versions) if wanted == "latest" else int(wanted)
        if not 0 < number <= len(versions):
            return JSONResponse({"error": "not found"}, 404)
        return JSONResponse({"payload": {"data": b64encode(versions[number - 1]).decode()}})

    async def _azure_put(self, request: Request) -> Response:
        if refusal := self._refusal(request) or _wrong_version(request):
            return refusal
        value = (await request.json())["value"]
        self.azure.setdefault(request.path_params["secret"], []).append(value)
        return JSONResponse({"value": value})

    async def _azure_get(self, request: Request) -> Response:
        if refusal := self._refusal(request) or _wrong_version(request):
            return refusal
        versions = self.azure.get(request.path_params["secret"], [])
        number = int(request.path_params.get("version", len(versions)))
        if not 0 < number <= len(versions):
            return JSONResponse({"error": "not found"}, 404)
        return JSONResponse({"value": versions[number - 1]})


def _google_key(request: Request) -> str:
    return f"{request.path_params['project']}/{request.path_params['secret']}"


def _wrong_version(request: Request) -> Response | None:
    if request.query_params.get("api-version") == _VERSION:
        return None
    return JSONResponse({"error": "api-version"}, 400)
