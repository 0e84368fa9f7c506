"""A strict front for Google Cloud Storage emulators, which take every signature and allow every origin.

It stands between a client and an emulator (fake-gcs-server) and answers as the service would

* signed URLs: GOOG4-RSA-SHA256, headers and lifetime are verified (`runtime.testing._goog4`);
* the JSON API and unsigned object requests: only with an access token that is known, or for a public bucket;
* CORS: by the bucket's declared rules, preflight requests included;
* ``ifGenerationMatch`` of deletions and rewrites, which fake-gcs-server drops: compared, one such request at a time;
* the checksum of a resumable upload: verified before its last chunk arrives (`runtime.testing._goog_hash`).

    front = GCSFront(upstream.url, keys={email: public_key}, cors={"bucket": [CorsRule(...)]})
    with serving(front) as url:
        ...  # endpoint_url of a gcs backend

Source:
    https://cloud.google.com/storage/docs/cross-origin
"""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

import aiohttp
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from yarl import URL

from runtime.testing._goog4 import RefusedError, Signed, is_signed, verify
from runtime.testing._goog_hash import Uploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from runtime.config import CorsRule

_JSON_API: Final = ("/storage/v1/", "/upload/storage/v1/", "/download/storage/v1/", "/batch/storage/v1")
_METHODS: Final = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
_REWRITE: Final = "/rewriteTo/b/"
_NOT_PASSED_ON: Final = frozenset({"connection", "host", "keep-alive", "origin", "te", "transfer-encoding"})
_NOT_PASSED_BACK: Final = frozenset({"connection", "date", "keep-alive", "server", "transfer-encoding"})


class GCSFront:
    """An ASGI application.

    Args:
        upstream: Address of the emulator.
        keys: Public keys of those who may sign, by e-mail address.
        knows_token: Whether an access token is good; without it the JSON API is open to all.
        cors: Rules by bucket.
        public: Buckets whose objects anybody may read.
        now: The clock.
    """

    def __init__(
        self,
        upstream: str,
        *,
        keys: Mapping[str, RSAPublicKey],
        knows_token: Callable[[str], bool] | None = None,
        cors: Mapping[str, Sequence[CorsRule]] | None = None,
        public: Collection[str] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.cors = dict(cors or {})
        self._upstream = upstream.rstrip("/")
        self._keys = keys
        self._knows_token = knows_token
        self._public = public
        self._now = now
        self._uploads = Uploads()
        self._conditional = asyncio.Lock()
        self._app = Starlette(routes=[Route("/{path:path}", self._answer, methods=_METHODS)], lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=("Accept-Encoding", "Content-Type")
        ) as self._session:
            yield

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("ascii")
        if path.startswith(_JSON_API):
            if not self._has_token(request, otherwise=self._knows_token is None):
                return _refused(401, "authError", "Invalid Credentials")
            if _is_conditional(request, path):
                async with self._conditional:
                    return await self._if_generation_matches(request, path)
            return await self._forward(request, path)
        cors = self._cors_headers(request, path)
        if request.method == "OPTIONS":
            return Response(headers=cors)
        try:
            self._check(request, path)
        except RefusedError as exc:
            return _xml_refusal(exc, cors)
        answer = await self._forward(request, path)
        for name in [name for name in answer.headers if name.startswith("access-control-")]:
            del answer.headers[name]
        answer.headers.update(cors)
        return answer

    def _check(self, request: Request, path: str) -> None:
        """Raise unless this request for an object is allowed."""
        if is_signed(request.url.query):
            verify(Signed(request.method, path, request.url.query, request.headers), self._keys, self._now())
        elif self._has_token(request):
            return
        elif self._knows_token is not None and "authorization" in request.headers:  # looked at, whoever may read
            raise RefusedError(401, "AuthenticationRequired", "Authentication required.")
        elif not self._anybody_may(request, path):
            raise RefusedError(403, "AccessDenied", "Anonymous caller does not have access")

    def _has_token(self, request: Request, *, otherwise: bool = False) -> bool:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if self._knows_token is None or kind != "Bearer":
            return otherwise
        return self._knows_token(token)

    def _anybody_may(self, request: Request, path: str) -> bool:
        return request.method in {"GET", "HEAD"} and _bucket(path) in self._public

    def _cors_headers(self, request: Request, path: str) -> dict[str, str]:
        """What a browser is told; nothing when no rule allows the request."""
        origin = request.headers.get("origin")
        preflight = request.method == "OPTIONS"
        method = request.headers.get("access-control-request-method", "") if preflight else request.method
        for rule in self.cors.get(_bucket(path), ()):
            if origin is None or not {origin, "*"} & set(rule.origins) or method not in rule.methods:
                continue
            # the service has one list: headers that may be sent and headers that may be read
            listed = sorted({*rule.headers, *rule.expose}, key=str.lower)
            headers = {"access-control-allow-origin": "*" if "*" in rule.origins else origin, "vary": "Origin"}
            if not preflight:
                return headers | {"access-control-expose-headers": ", ".join(listed)}
            wanted = request.headers.get("access-control-request-headers", "")
            asked = {name.strip().lower() for name in wanted.split(",") if name.strip()}
            if asked <= {name.lower() for name in listed}:
                return headers | {
                    "access-control-allow-methods": ", ".join(rule.methods),
                    "access-control-allow-headers": ", ".join(listed),
                    "access-control-max-age": str(rule.max_age),
                }
        return {}

    async def _if_generation_matches(self, request: Request, path: str) -> Response:
        target = f"/storage/v1/b/{path.rpartition(_REWRITE)[2]}" if _REWRITE in path else path
        async with self._session.get(URL(f"{self._upstream}{target}", encoded=True)) as answer:
            found = (await answer.json())["generation"] if answer.status == 200 else "0"
        if found != request.query_params["ifGenerationMatch"]:
            return _refused(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        return await self._forward(request, path)

    async def _forward(self, request: Request, path: str) -> Response:
        """Let the emulator answer."""
        query = request.url.query
        data: Any = request.stream() if _has_body(request) else None
        if request.method == "PUT" and "upload_id" in request.query_params:
            body = await self._uploads.body(request.query_params["upload_id"], request.headers, request.stream())
            if body is None:
                return _refused(400, "invalid", "Provided CRC32C doesn't match calculated CRC32C.")
            data = io.BytesIO(body)  # aiohttp warns of large bodies that are bytes
        sent = await self._session.request(
            request.method,
            URL(f"{self._upstream}{path}{'?' if query else ''}{query}", encoded=True),
            headers=[(k, v) for k, v in request.headers.items() if k not in _NOT_PASSED_ON],
            data=data,
            allow_redirects=False,
        )
        headers = {k.lower(): v for k, v in sent.headers.items() if k.lower() not in _NOT_PASSED_BACK}
        if "location" in headers:  # an upload goes on through the front
            headers["location"] = headers["location"].replace(self._upstream, str(request.base_url).rstrip("/"), 1)
        return StreamingResponse(_body(sent), sent.status, headers)


def _is_conditional(request: Request, path: str) -> bool:
    return "ifGenerationMatch" in request.query_params and (request.method == "DELETE" or _REWRITE in path)


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


async def _body(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:
        async for chunk in answer.content.iter_any():
            yield chunk


def _bucket(path: str) -> str:
    return path.lstrip("/").partition("/")[0]


def _refused(status: int, reason: str, message: str) -> JSONResponse:
    error: dict[str, Any] = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return JSONResponse({"error": error}, status)


def _xml_refusal(refused: RefusedError, headers: Mapping[str, str]) -> Response:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{refused.code}</Code>"
    body += f"<Message>{escape(refused.why)}</Message></Error>"
    return Response(body, refused.status, headers, "application/xml")
