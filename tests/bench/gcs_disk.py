"""Google Cloud Storage for large objects: resumable uploads and downloads of a folder, a piece at a time.

fake-gcs-server hashes all that it has again at each part and copies the whole several times at the end, so an object
of 2 GiB takes it half an hour and several times its size in memory. This one is strict where Google is: parts come in
order, in multiples of 256 KiB, the last one says so, and its CRC32C has to be that of all the bytes.

Source:
    https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import email
import json
import re
import secrets
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.checksums import Crc, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

_QUANTUM: Final = 256 * 1024
_PIECE: Final = 1024 * 1024
_SENT: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_WANTED: Final = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class _Object:
    """One object, or what is there of it."""

    name: str
    file: Path
    size: int = 0
    generation: int = 0

    def __post_init__(self) -> None:
        self.crc = Crc("crc32c")

    @property
    def crc32c(self) -> str:
        return written("crc32c", self.crc.digest()).removeprefix("crc32c:")

    @property
    def resource(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "size": str(self.size),
            "updated": "2026-01-01T00:00:00Z",
            "generation": str(self.generation),
            "crc32c": self.crc32c,
        }


class DiskGCS:
    """An ASGI application.

    Args:
        folder: Where the objects are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, _Object] = {}
        self.app = Starlette(
            routes=[
                Route("/upload/storage/v1/b/{bucket}/o", self._begin, methods=["POST"]),
                Route("/upload/storage/v1/b/{bucket}/o", self._part, methods=["PUT"]),
                Route("/storage/v1/b/{bucket}/o/{name:path}", self._describe),
                Route("/{bucket}/{name:path}", self._media),
            ]
        )

    async def _begin(self, request: Request) -> Response:
        if request.query_params["uploadType"] == "multipart":
            kind = request.headers["content-type"].encode()
            message: Any = email.message_from_bytes(b"content-type: " + kind + b"\n\n" + await request.body())
            told, content = message.get_payload()
            made = self._new(json.loads(told.get_payload())["name"])
            self._append(made, content.get_payload(decode=True))
            return JSONResponse(self._commit(made))
        upload = secrets.token_hex(8)
        self._uploads[upload] = self._new(request.query_params["name"])
        return Response(headers={"location": f"{request.url.remove_query_params('fields')}&upload_id={upload}"})

    async def _part(self, request: Request) -> Response:
        upload = self._uploads[request.query_params["upload_id"]]
        found = _SENT.fullmatch(request.headers["content-range"])
        if found is None or (found[1] is not None and int(found[1]) != upload.size):
            return Response(f"{upload.size} bytes are here", 400)
        before = upload.size
        async for piece in request.stream():
            self._append(upload, piece)
        if found[3] == "*":
            if (upload.size - before) % _QUANTUM:
                return Response("no multiple of 256 KiB", 400)
            return Response(status_code=308, headers={"range": f"bytes=0-{upload.size - 1}"})
        if upload.size != int(found[3]) or request.headers["x-goog-hash"] != f"crc32c={upload.crc32c}":
            return JSONResponse({"error": {"errors": [{"reason": "invalid"}]}}, 400)
        del self._uploads[request.query_params["upload_id"]]
        return JSONResponse(self._commit(upload))

    def _new(self, name: str) -> _Object:
        return _Object(name, self._folder / secrets.token_hex(8))

    @staticmethod
    def _append(made: _Object, piece: bytes) -> None:
        with made.file.open("ab", 0) as file:
            file.write(piece)
        made.crc.update(piece)
        made.size += len(piece)

    def _commit(self, made: _Object) -> dict[str, Any]:
        made.generation = len(self._objects) + 1
        self._objects[made.name] = made
        return made.resource

    async def _describe(self, request: Request) -> Response:
        return JSONResponse(self._objects[request.path_params["name"]].resource)

    async def _media(self, request: Request) -> Response:
        there = self._objects[request.path_params["name"]]
        wanted = _WANTED.fullmatch(request.headers.get("range", ""))
        start = int(wanted[1]) if wanted else 0
        end = min(int(wanted[2]) + 1, there.size) if wanted and wanted[2] else there.size
        headers = {
            "content-length": str(end - start),
            "last-modified": formatdate(usegmt=True),
            "x-goog-generation": str(there.generation),
            "x-goog-hash": f"crc32c={there.crc32c}",
        }
        if wanted:
            headers["content-range"] = f"bytes {start}-{end - 1}/{there.size}"
        return StreamingResponse(_pieces(there.file, start, end), 206 if wanted else 200, headers)


async def _pieces(file: Path, start: int, end: int) -> AsyncIterator[bytes]:
    with file.open("rb") as opened:
        opened.seek(start)
        while start < end:
            piece = await run_sync(opened.read, min(_PIECE, end - start))
            start += len(piece)
            yield piece
