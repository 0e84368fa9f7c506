"""One server for all the places where credentials come from: Google's, Microsoft's and Amazon's token endpoints.

It checks what they check (assertions, flavor headers, secrets), gives tokens that end, and notes who asked.

    tokens = TokenServer(lifetime=4)
    with serving(tokens) as url:
        tokens.url = url
        ...
        assert tokens.asked == ["google-metadata"]

| kind | request |
|---|---|
| ``google-key`` | ``POST /token``: a service account's signed assertion |
| ``google-metadata`` | ``GET /computeMetadata/v1/…``: the metadata server of a machine on Google Cloud |
| ``google-sts`` | ``POST /v1/token``: workload identity federation |
| ``google-impersonation`` | ``POST /v1/projects/-/serviceAccounts/…:generateAccessToken`` |
| ``google-sign`` | ``POST /v1/projects/-/serviceAccounts/…:signBlob`` |
| ``azure-imds`` | ``GET /metadata/identity/oauth2/token``: managed identity of a virtual machine |
| ``azure-app-service`` | ``GET /msi/token``: managed identity of App Service and Functions |
| ``azure-workload`` | ``POST /<tenant>/oauth2/v2.0/token``: workload identity of Kubernetes (needs HTTPS) |
| ``aws-web-identity``, ``aws-assume-role`` | ``POST /``: AWS STS |

Source:
    https://developers.google.com/identity/protocols/oauth2/service-account
    https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
    https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from google.auth import jwt
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

SIGNER: Final = "signer@tandem-test.iam.gserviceaccount.com"
TENANT: Final = "11111111-2222-3333-4444-555555555555"
_GOOGLE_AUDIENCE: Final = "https://oauth2.googleapis.com/token"  # google-auth names it wherever the token comes from
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MACHINE: Final = {"project/project-id": "tandem-test", "universe/universe-domain": "googleapis.com"}
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


class TokenServer:
    """An ASGI application.

    Args:
        lifetime: Seconds that a token holds.

    Attributes:
        lifetime: As given; may be changed while it runs.
        told: Seconds that it says a token holds, where that is not true; None for `lifetime`.
        asked: The kind of every request.
        key: The key of the service account `SIGNER`.
        subject_token: What federation accepts from outside.
        secret: What App Service's endpoint wants to see.
        url: Own address; set it once it is served.
        fails: Whether every endpoint answers with 503.
        delay: Seconds to wait before each answer.
    """

    def __init__(self, lifetime: float = 3600) -> None:
        self.lifetime = lifetime
        self.told: float | None = None
        self.asked: list[str] = []
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.subject_token = secrets.token_urlsafe(16)
        self.secret = secrets.token_urlsafe(16)
        self.url = ""
        self.fails = False
        self.delay = 0.0
        self._ends: dict[str, float] = {}
        machine = "/computeMetadata/v1/instance/service-accounts/{account}"
        self._app = Starlette(
            routes=[
                Route("/token", self._google_key, methods=["POST"]),
                Route("/v1/token", self._google_sts, methods=["POST"]),
                Route("/v1/projects/-/serviceAccounts/{call}", self._google_iam, methods=["POST"]),
                Route(machine + "/token", self._google_metadata),
                Route("/computeMetadata/v1/{path:path}", self._google_facts),
                Route("/", self._google_facts),
                Route("/metadata/identity/oauth2/token", self._azure_imds),
                Route("/msi/token", self._azure_app_service),
                Route("/{tenant}/v2.0/.well-known/openid-configuration", self._azure_discovery),
                Route("/common/discovery/instance", self._azure_instance),
                Route("/{tenant}/oauth2/v2.0/token", self._azure_workload, methods=["POST"]),
                Route("/", self._aws_sts, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if self.delay and scope["type"] == "http":
            await asyncio.sleep(self.delay)
        if self.fails and scope["type"] == "http":
            await Response(status_code=503)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def knows(self, token: str) -> bool:
        """Whether *token* was given here and has not ended."""
        return self._ends.get(token, 0) > time.time()

    def revoke(self) -> None:
        """End every token that was given."""
        self._ends.clear()

    @property
    def _told(self) -> float:
        return self.lifetime if self.told is None else self.told

    def service_account_key(self) -> dict[str, str]:
        """A key file of `SIGNER` whose tokens come from here."""
        pkcs8, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        private = self.key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        return {
            "type": "service_account",
            "project_id": "tandem-test",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": SIGNER,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }

    def federation(self, subject_token_file: str, *, impersonate: bool = False) -> dict[str, Any]:
        """A credential file of workload identity federation whose tokens come from here."""
        pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider"
        account = f"{self.url}/v1/projects/-/serviceAccounts/{SIGNER}:generateAccessToken"
        return {
            "type": "external_account",
            "audience": pool,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": f"{self.url}/v1/token",
            "credential_source": {"file": subject_token_file},
            **({"service_account_impersonation_url": account} if impersonate else {}),
        }

    def _give(self, kind: str, audience: str = "") -> str:
        self.asked.append(kind)
        token = _unsigned_jwt(audience, self.lifetime) if audience else secrets.token_urlsafe(32)
        self._ends[token] = time.time() + self.lifetime
        return token

    def _plain(self, token: str, **more: str) -> JSONResponse:
        answer = {"access_token": token, "expires_in": int(self._told), "token_type": "Bearer"}
        return JSONResponse(answer | more)

    def _bearer(self, request: Request) -> bool:
        return self.knows(request.headers.get("authorization", "").removeprefix("Bearer "))

    async def _google_key(self, request: Request) -> Response:
        given = await _form(request)
        public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            claims = jwt.decode(given.get("assertion", ""), certs=public, audience=_GOOGLE_AUDIENCE)
        except ValueError:
            return _refused("invalid_grant")
        if given.get("grant_type") != _JWT_BEARER or claims["iss"] != SIGNER:
            return _refused("invalid_grant")
        return self._plain(self._give("google-key"))

    async def _google_sts(self, request: Request) -> Response:
        given = await _form(request)
        if given.get("grant_type") != _EXCHANGE or given.get("subject_token") != self.subject_token:
            return _refused("invalid_grant")
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return self._plain(self._give("google-sts"), issued_token_type=kind)

    async def _google_iam(self, request: Request) -> Response:
        email, _, call = request.path_params["call"].partition(":")
        if email != SIGNER or not self._bearer(request):
            return _refused("denied", 403)
        if call == "generateAccessToken":
            token = self._give("google-impersonation")
            return JSONResponse({"accessToken": token, "expireTime": _iso(time.time() + self._told)})
        self.asked.append("google-sign")
        payload = b64decode((await request.json())["payload"])
        signature = self.key.sign(payload, PKCS1v15(), SHA256())
        return JSONResponse({"keyId": "1", "signedBlob": b64encode(signature).decode()})

    async def _google_metadata(self, request: Request) -> Response:
        if request.headers.get("metadata-flavor") != "Google":
            return _refused("flavor", 403)
        return _flavored(self._plain(self._give("google-metadata")))

    async def _google_facts(self, request: Request) -> Response:
        if request.headers.get("metadata-flavor") != "Google":
            return _refused("flavor", 403)
        path = request.path_params.get("path", "")
        if path.startswith("instance/service-accounts/"):
            return _flavored(JSONResponse({"aliases": ["default"], "email": SIGNER, "scopes": []}))
        return _flavored(PlainTextResponse(_MACHINE.get(path, "")))

    async def _azure_imds(self, request: Request) -> Response:
        if request.headers.get("metadata") != "true":
            return _refused("bad_request")
        return self._azure(request, "azure-imds")

    async def _azure_app_service(self, request: Request) -> Response:
        if request.headers.get("x-identity-header") != self.secret:
            return _refused("unauthorized", 401)
        return self._azure(request, "azure-app-service")

    def _azure(self, request: Request, kind: str) -> Response:
        resource = request.query_params["resource"]
        ends = str(int(time.time() + self._told))
        return self._plain(self._give(kind, resource), resource=resource, expires_on=ends)

    async def _azure_discovery(self, request: Request) -> Response:
        here = f"{self.url}/{request.path_params['tenant']}"
        return JSONResponse(
            {
                "issuer": f"{here}/v2.0",
                "authorization_endpoint": f"{here}/oauth2/v2.0/authorize",
                "token_endpoint": f"{here}/oauth2/v2.0/token",
            }
        )

    async def _azure_instance(self, _request: Request) -> Response:
        return JSONResponse({"tenant_discovery_endpoint": f"{self.url}/{TENANT}/v2.0/.well-known/openid-configuration"})

    async def _azure_workload(self, request: Request) -> Response:
        given = await _form(request)
        if given.get("client_assertion") != self.subject_token:
            return _refused("invalid_client", 401)
        audience = given["scope"].partition(" ")[0].removesuffix("/.default")
        return self._plain(self._give("azure-workload", audience))

    async def _aws_sts(self, request: Request) -> Response:
        given = await _form(request)
        action = given.get("Action", "")
        if action == "AssumeRoleWithWebIdentity" and given.get("WebIdentityToken") == self.subject_token:
            return self._aws(action, self._give("aws-web-identity"))
        if action == "AssumeRole" and "authorization" in request.headers:
            return self._aws(action, self._give("aws-assume-role"))
        return Response("<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", 403)

    def _aws(self, action: str, token: str) -> Response:
        values = {
            "AccessKeyId": "ASIA" + secrets.token_hex(8).upper(),
            "SecretAccessKey": secrets.token_hex(20),
            "SessionToken": token,
            "Expiration": _iso(time.time() + self._told),
        }
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
        space = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
        result = f"<{action}Result><Credentials>{inner}</Credentials></{action}Result>"
        return Response(f"<{action}Response {space}>{result}</{action}Response>", media_type="text/xml")


def _flavored(response: Response) -> Response:
    response.headers["metadata-flavor"] = "Google"
    return response


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode()))


def _refused(error: str, status: int = 400) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": error}, status)


def _iso(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unsigned_jwt(audience: str, lifetime: float) -> str:
    """A token with the claims that Azurite looks at; it checks no signature."""
    now = int(time.time())
    claims: Mapping[str, Any] = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "nbf": now - 60,
        "iat": now,
        "exp": int(now + lifetime),
        "jti": secrets.token_hex(8),
        "oid": TENANT,
        "tid": TENANT,
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])
