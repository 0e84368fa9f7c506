"""Grants on GCS: the roles that the program gives, on fake-gcs-server behind a front that knows their permissions.

No emulator has Google's IAM. The front asks of every request the permissions that the service's documentation names
for it, also the two that surprise: replacing an object takes ``delete``, and who may not list is told 403 of what is
missing.

Source:
    https://cloud.google.com/storage/docs/access-control/iam-json
    https://cloud.google.com/storage/docs/access-control/iam-roles
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra import gcp
from runtime.config import NamedStorageConfig
from runtime.drivers.gcs import GCSDriver
from runtime.errors import PermissionDeniedError
from runtime.grants import NEEDS
from runtime.store import BlobStore
from runtime.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.types import Receive, Scope, Send

    from runtime.testing.fixtures import ServerFactory

pytestmark = pytest.mark.anyio

ROLES = {
    "roles/storage.legacyBucketReader": {"list"},
    "roles/storage.legacyObjectReader": {"get"},
    "roles/storage.objectAdmin": {"create", "delete", "get", "list", "update"},
    "roles/storage.objectCreator": {"create"},
    "roles/storage.objectUser": {"create", "delete", "get", "list", "update"},
    "roles/storage.objectViewer": {"get", "list"},
}
"""What each role may do with objects."""

ACCESS = [
    ["read"],
    ["write"],
    ["list"],
    ["delete"],
    ["read", "list"],
    ["read", "write"],
    ["write", "delete"],
    ["read", "write", "delete"],
    ["read", "write", "list", "delete"],
    ["admin"],
]

OBJECT = re.compile(r"/(?:download/)?storage/v1/b/[^/]+/o/([^/]+)")
REWRITE = re.compile(r"/storage/v1/b/[^/]+/o/([^/]+)/rewriteTo/b/[^/]+/o/([^/]+)")


class Front:
    """Passes on what the permissions allow."""

    def __init__(self, upstream: str) -> None:
        self.permissions: set[str] = set()
        self.bucket = ""
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        request = Request(scope, receive)
        async with httpx.AsyncClient(base_url=self._upstream) as client:
            answer = await self._answer(request, await request.body(), client)
        await answer(scope, receive, send)

    async def _answer(self, request: Request, body: bytes, client: httpx.AsyncClient) -> Response:
        path = request.scope["raw_path"].decode()
        if missing := await self._needed(request, path, body, client) - self.permissions:
            return _denied(missing)
        kept = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        target = f"{path}?{request.url.query}"
        sent = await client.request(request.method, target, content=body, headers=kept)
        if sent.status_code == 404 and "list" not in self.permissions:
            return _denied({"list"})
        dropped = {"connection", "content-length", "date", "server", "transfer-encoding"}
        headers = {name: value for name, value in sent.headers.items() if name not in dropped}
        return Response(sent.content, sent.status_code, headers)

    async def _needed(self, request: Request, path: str, body: bytes, client: httpx.AsyncClient) -> set[str]:
        if path.startswith("/upload/"):
            found = re.search(rb'"name": ?"([^"]+)"', body)
            return await self._creating(found[1].decode() if found else request.query_params["name"], client)
        if rewrite := REWRITE.fullmatch(path):
            return {"get"} | await self._creating(unquote(rewrite[2]), client)
        if path.startswith(f"/{self.bucket}/"):  # the XML API, which reads
            return {"get"}
        if OBJECT.fullmatch(path):
            return {"GET": {"get"}, "DELETE": {"delete"}}[request.method]
        return {"list"}

    async def _creating(self, name: str, client: httpx.AsyncClient) -> set[str]:
        there = await client.get(f"/storage/v1/b/{self.bucket}/o/{name}")
        return {"create", "delete"} if there.is_success else {"create"}


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def _denied(missing: set[str]) -> Response:
    message = f"Permission 'storage.objects.{min(missing)}' denied on resource (or it may not exist)."
    return JSONResponse({"error": {"code": 403, "message": message, "errors": [{"reason": "forbidden"}]}}, 403)


@pytest.fixture
def front(server: ServerFactory) -> Iterator[tuple[Front, str]]:
    upstream = server("fake-gcs-server").url
    made = Front(upstream)
    made.bucket = f"t-{secrets.token_hex(8)}"
    httpx.post(f"{upstream}/storage/v1/b", json={"name": made.bucket}).raise_for_status()
    with serving(made) as url:
        yield made, url


def backend(front: tuple[Front, str], access: list[str], *, known: bool) -> BlobStore:
    """The store of an application that has the roles for *access*; *known* is whether the contract says so."""
    iam, url = front
    iam.permissions = set().union(*(ROLES[role] for role in gcp.object_roles(access)))
    if gcp.deletes_apart(access):
        iam.permissions |= {permission.rpartition(".")[2] for permission in gcp.DELETER[1]}
    found: dict[str, Any] = {
        "name": "exports",
        "driver": "gcs",
        "gcs": {"bucket": iam.bucket, "project_id": "p", "endpoint_url": url},
        "expect": {"grants": [{"to": "me", "access": access}]},
    }
    entry = NamedStorageConfig.model_validate(found | ({"identity": "me"} if known else {}))
    return BlobStore(entry, GCSDriver(entry))


async def prepare(front: tuple[Front, str], *names: str) -> None:
    async with backend(front, ["admin"], known=False) as store:
        for name in names:
            await store.upload(name, b"1")


def operations() -> dict[str, Callable[[BlobStore, str], Awaitable[object]]]:
    async def listed(store: BlobStore, _: str) -> None:
        [_ async for _ in store.list()]

    return {
        "upload": lambda store, run: store.upload(f"new-{run}", b"1"),
        "download": lambda store, _: store.download("there"),
        "info": lambda store, _: store.info("there"),
        "exists": lambda store, _: store.exists("there"),
        "list": listed,
        "copy": lambda store, run: store.copy("there", f"copied-{run}"),
        "move": lambda store, run: store.move(f"from-{run}", f"to-{run}"),
        "update": lambda store, _: store.update("there", lambda old: old or b"1"),
        "delete": lambda store, run: store.delete(f"extra-{run}"),
    }


async def refused(call: Awaitable[object]) -> bool:
    try:
        await call
    except PermissionDeniedError:
        return True
    return False


@pytest.mark.parametrize("access", ACCESS, ids="-".join)
async def test_contract_refuses_what_the_roles_do_not_allow(front: tuple[Front, str], access: list[str]) -> None:
    await prepare(front, "there", "from-early", "from-late", "extra-early", "extra-late")
    async with backend(front, access, known=True) as knowing, backend(front, access, known=False) as trying:
        for operation, call in operations().items():
            early, late = await refused(call(knowing, "early")), await refused(call(trying, "late"))
            needs = {*NEEDS[operation], *({"delete"} if operation == "update" else ())}
            assert early == late == (not needs <= set(access) and "admin" not in access), operation


async def test_replacing_without_the_right_to_delete_is_explained(front: tuple[Front, str]) -> None:
    await prepare(front, "there")
    async with backend(front, ["write"], known=True) as store:
        await store.upload("new", b"1")
        with pytest.raises(PermissionDeniedError, match="to replace an object takes delete too"):
            await store.upload("there", b"2")
    async with backend(front, ["write", "delete"], known=True) as store:
        await store.upload("there", b"2")


async def test_missing_object_is_explained_to_who_may_not_list(front: tuple[Front, str]) -> None:
    async with backend(front, ["read"], known=True) as store:
        with pytest.raises(PermissionDeniedError, match="may simply not be there"):
            await store.exists("nowhere")
    async with backend(front, ["read", "list"], known=True) as store:
        assert not await store.exists("nowhere")
