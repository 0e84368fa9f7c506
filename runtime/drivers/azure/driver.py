r"""Azure Blob Storage.

Paths: a path is the blob's name, percent-encoded in URLs. Azure takes ``\`` for ``/``, so the driver refuses it.

Limits: 50,000 blocks of 4,000 MiB; an aborted upload leaves uncommitted blocks, which nobody can see or list as
objects and which the service throws away after a week (or with the next write of the blob). So there is no `sweep`:
``List Blobs`` with ``include=uncommittedblobs`` names such blobs without a time, and all that removes their blocks
earlier is a commit, which makes an object that everybody sees. Two multipart uploads
of one path at a time: the first that completes wins, the other one is told to try again.

Errors: by ``x-ms-error-code`` and status.

Requests go over our own HTTP client, which costs a fifth of the CPU of azure-storage-blob and, unlike obstore,
takes every name and gives every header and code back (measured in ``runtime/DESIGN.md``). The official SDKs fetch
tokens (azure-identity), sign URLs, get user delegation keys, read the container's settings, and are `raw`.

Source:
    https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobServiceClient

from runtime import checksums
from runtime.driver import MIB, Bytes, Capabilities, DeleteFailure, StoredVersion
from runtime.drivers._each import each_removed
from runtime.drivers._http import HttpClient, Reply, Request, ServiceError
from runtime.drivers._http_reading import HttpReading
from runtime.drivers.azure import batch, wire
from runtime.drivers.azure.copying import copy_blob
from runtime.drivers.azure.credentials import SasToken, Token, credential_of
from runtime.drivers.azure.errors import detail_of, kind_of, read_error
from runtime.drivers.azure.presign import Presigner
from runtime.drivers.azure.settings import live_settings
from runtime.drivers.azure.versions import remove_version, version_pages
from runtime.errors import AlreadyExistsError, ConfigError, InvalidPathError, PreconditionFailedError
from runtime.models import UploadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig, StorageAzureConfig
    from runtime.errors import StorageError
    from runtime.live import LiveSettings
    from runtime.models import FileInfo, ObjectPage, PresignedRequest

_START_FROM_VERSION: Final = "2026-02-06"  # the first that knows startFrom


class AzureDriver(HttpReading):
    """One container of one storage account."""

    repeats = timed = True  # `runtime.drivers._http` does it

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self.own_checksum = checksums.own_algorithm(backend, "md5")
        settings: StorageAzureConfig = backend.settings
        self._settings = settings
        self._account_url = settings.endpoint_url or f"https://{settings.account_name}.blob.core.windows.net"
        self._container_url = f"{self._account_url}/{settings.container}"
        self._credential = credential_of(settings)
        if isinstance(self._credential, Token) and urlsplit(self._account_url).scheme != "https":
            raise ConfigError("azure.endpoint_url is http: tokens are sent over https only; give an account_key")
        self._http = HttpClient(self._credential.authorize, read_error, backend, renew=self._credential.renew)
        self._sdk: BlobServiceClient | None = None
        self._uploads: set[str] = set()
        self._presigner = Presigner(settings, self._account_url, self._http)
        self.capabilities = Capabilities(
            presign=frozenset({"GET", "PUT"}) if self._credential.signs else frozenset(),
            public=True,
            if_not_exists=True,
            if_match=True,
            delete_if_match=True,
            copy_if_not_exists=True,
            copy_if_match=True,
            storage_class=True,
            tags=True,
            checksums=frozenset({"crc64nvme", "md5"}),
            max_part_size=4000 * MIB,
            max_parts=50_000,
        )

    async def close(self) -> None:
        await self._http.close()
        sdk, self._sdk = self._sdk, None
        if sdk is not None:
            await sdk.close()
        await self._credential.close()

    @property
    def raw(self) -> BlobServiceClient:
        if self._sdk is None:
            self._sdk = BlobServiceClient(self._account_url, credential=self._credential.for_sdk)
        return self._sdk

    # reading

    async def head(self, path: str) -> FileInfo:
        reply = await self._http.read(Request("HEAD", self._blob_url(path)))
        return wire.info_of(path, reply.headers)

    def _asked(self, path: str, start: int, end: int | None, etag: str | None = None) -> Request:
        headers = {}
        if start or end is not None:
            headers["x-ms-range"] = f"bytes={start}-{'' if end is None else end - 1}"
        if etag is not None:
            headers["if-match"] = wire.quoted(etag)
        return Request("GET", self._blob_url(path), headers=headers)

    def _told(self, path: str, headers: Mapping[str, str]) -> FileInfo:
        return wire.info_of(path, headers)

    def _checksum(self, headers: Mapping[str, str]) -> str | None:
        return wire.checksum_of(headers)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        query = {"restype": "container", "comp": "list", "maxresults": str(limit)}
        query |= {"prefix": prefix} if prefix else {}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"marker": cursor} if cursor else {}
        headers = {}
        if start_after:
            query["startFrom"] = start_after
            headers["x-ms-version"] = _START_FROM_VERSION
        reply = await self._http.read(Request("GET", self._container_url, query, headers))
        page = wire.page_of(reply.body)
        if start_after:  # startFrom includes its name, and older servers do not know it
            page = replace(
                page,
                objects=tuple(info for info in page.objects if info.path > start_after),
                prefixes=tuple(name for name in page.prefixes if name > start_after),
            )
        return page

    # writing

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        headers = {"x-ms-blob-type": "BlockBlob", **wire.write_headers(options), **wire.sent_checksum(options.checksum)}
        try:
            reply = await self._write(Request("PUT", self._blob_url(path), headers=headers, body=(data,)), options)
        except ServiceError as exc:
            if exc.code == "BlobAlreadyExists" and await self._only_blocks(path):
                return await self._put_as_block(path, data, options)
            raise
        md5 = reply.headers.get("content-md5")
        return wire.written(path, len(data), options, reply.headers, f"md5:{md5}" if md5 else None)

    async def _only_blocks(self, path: str) -> bool:
        """Whether a blob that is said to exist does not: blocks of an upload that was broken off are all there is."""
        try:
            await self.head(path)
        except ServiceError as exc:
            return exc.code == "BlobNotFound"
        return False

    async def _put_as_block(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        """Write by a list of one block: its condition counts committed blobs only (Azurite; Put Blob's counts all)."""
        upload_id = await self.start_multipart(path, options)
        try:
            parts = [await self.put_part(path, upload_id, 1, (data,), options.checksum)] if data else []
            md5 = await checksums.compute("md5", data)  # which Put Blob computes, and a list of blocks does not
            return await self.complete_multipart(path, upload_id, parts, len(data), replace(options, checksum=md5))
        finally:
            await self.abort_multipart(path, upload_id)

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        upload_id = secrets.token_hex(16)
        self._uploads.add(upload_id)
        return upload_id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        name = b64encode(f"{upload_id}{number:05}".encode()).decode()
        query = {"comp": "block", "blockid": name}
        self._check_upload(upload_id)
        if checksum is None and self.own_checksum is not None:  # the service takes blocks by MD5 too, 15 times as slow
            checksum = await checksums.compute("crc64nvme", *data)
        headers = wire.sent_checksum(checksum)
        await self._http.read(Request("PUT", self._blob_url(path), query, headers, tuple(data)), {201})
        return name

    async def complete_multipart(
        self,
        path: str,
        upload_id: str,
        parts: Sequence[str],
        size: int,
        options: UploadOptions,
    ) -> FileInfo:
        headers = wire.write_headers(options)
        self._check_upload(upload_id)
        kept = (options.checksum or "").startswith("md5:")
        if options.checksum is not None and kept:  # the service does not hold it against the blocks
            headers["x-ms-blob-content-md5"] = options.checksum.removeprefix("md5:")
        body = wire.block_list(list(parts))
        request = Request("PUT", self._blob_url(path), {"comp": "blocklist"}, headers, (body,))
        reply = await self._write(request, options)
        self._uploads.discard(upload_id)
        return wire.written(path, size, options, reply.headers, options.checksum if kept else None)

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        """Nothing to do on the service: see Limits above."""
        self._uploads.discard(upload_id)

    def _check_upload(self, upload_id: str) -> None:
        """The service knows no uploads, so it can not tell that one was aborted."""
        if upload_id not in self._uploads:
            raise ServiceError(404, "NoSuchUpload")

    async def _write(self, request: Request, options: UploadOptions) -> Reply:
        conditional = options.if_not_exists or options.if_match is not None
        try:
            return await self._http.read(replace(request, repeatable=not conditional), {201})
        except ServiceError as exc:
            raise _conditional(exc, options) from exc.__cause__

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        headers = {} if if_match is None else {"if-match": wire.quoted(if_match)}
        request = Request("DELETE", self._blob_url(path), headers=headers, repeatable=if_match is None)
        try:
            await self._http.read(request, {202})
        except ServiceError as exc:
            if exc.code != "BlobNotFound":
                raise
            if if_match is not None:
                exc.kind = PreconditionFailedError
                raise

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        failures: list[DeleteFailure] = []
        for start in range(0, len(paths), batch.MAX_REQUESTS):
            some = paths[start : start + batch.MAX_REQUESTS]
            refused = await self._delete_some(some)
            failures += [DeleteFailure(some[n], exc) for n, exc in refused.items() if exc.code != "BlobNotFound"]
        return failures

    async def _delete_some(self, paths: Sequence[str]) -> Mapping[int, ServiceError]:
        requests = [await self._credential.authorize(Request("DELETE", self._blob_url(path))) for path in paths]
        request = Request(
            "POST",
            self._container_url,
            {"restype": "container", "comp": "batch"},
            {"content-type": f"multipart/mixed; boundary={batch.BOUNDARY}"},
            (batch.body_of(requests),),
        )
        reply = await self._http.read(request, {202})
        return batch.refusals_of(reply.headers.get("content-type", ""), reply.body, len(paths))

    def versions(self) -> AsyncGenerator[Sequence[StoredVersion], None]:
        return version_pages(self.raw.get_container_client(self._settings.container))

    async def remove_versions(self, versions: Sequence[StoredVersion]) -> Sequence[DeleteFailure]:
        container = self.raw.get_container_client(self._settings.container)
        return await each_removed(versions, lambda each: remove_version(container, each), attrgetter("path"))

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        url = self._blob_url(source)
        credential = self._credential
        readable = credential.signed_source(url) if isinstance(credential, SasToken) else url
        conditions = UploadOptions(if_not_exists=if_not_exists, if_match=if_match)
        try:
            return await copy_blob(self._http, url, readable, self._blob_url(destination), destination, conditions)
        except ServiceError as exc:
            raise _conditional(exc, conditions) from exc.__cause__

    # addresses

    def _blob_url(self, path: str) -> str:
        if "\\" in path:
            raise InvalidPathError("azure takes a backslash for a slash", path=path)
        return f"{self._container_url}/{quote(path, '/~')}"

    def url(self, path: str) -> str:
        base = self._settings.public_url
        return f"{base}/{quote(path, '/~')}" if base else self._blob_url(path)

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        return await self._presigner.presign(self._blob_url(path), path, method, expires_in, content_type)

    # state and errors

    async def check(self) -> Mapping[str, Any]:
        await self.list_objects("", limit=1)
        encryption = self._settings.encryption
        facts: dict[str, Any] = {"account": self._settings.account_name, "container": self._settings.container}
        if encryption.enabled:
            facts |= {"encryption": encryption.type, "encryption_key": encryption.kms_key_id}
        try:
            found = await self.raw.get_container_client(self._settings.container).get_container_properties()
        except HttpResponseError as exc:
            if exc.status_code != 403:  # noqa: PLR2004 - a container's signature may not ask for its settings
                raise
            return facts | {"settings": "not readable with these credentials"}
        return facts | {"public_access": found.public_access or "none", "immutable": found.has_immutability_policy}

    async def live_settings(self) -> LiveSettings:
        shared = self._settings.endpoint_url is not None
        return await live_settings(self._http, self._account_url, self._container_url, shared=shared)

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return kind_of(error)

    def error_detail(self, error: Exception) -> str | None:
        return detail_of(error)


def _conditional(error: ServiceError, options: UploadOptions) -> ServiceError:
    """*error* of a conditional write, as what it says about the condition."""
    if options.if_not_exists and error.code in {"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"}:
        error.kind = AlreadyExistsError
    elif options.if_match is not None and error.code in {"BlobNotFound", "TargetConditionNotMet"}:
        error.kind = PreconditionFailedError
    return error


driver_class = AzureDriver
