"""Google Cloud Storage.

Paths: a path is the object's name, percent-encoded in URLs as one segment; no name is changed on the way.

Limits: parts of a resumable upload go one after the other, in multiples of 256 KiB. There is no `sweep`, as Google
has no list of such uploads; it forgets those that nobody finished after a week. Preconditions are object
generations, which are our etags.

Errors: by status and, where the JSON API gives one, by ``reason``.

Requests go over our own HTTP client: the JSON API for everything but reading, the XML API for reading, as only
that one gives an object's metadata with its content. It costs a third to a tenth of the CPU of
google-cloud-storage in threads (measured in ``runtime/DESIGN.md``). The official packages load and refresh
credentials (google-auth), sign URLs, read the bucket's settings, and are `raw`.

Source:
    https://cloud.google.com/storage/docs/json_api
    https://cloud.google.com/storage/docs/xml-api/overview
"""

from __future__ import annotations

import asyncio
import json
import secrets
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from google.api_core.exceptions import Forbidden
from google.cloud.storage import Client

from runtime import checksums
from runtime.driver import Bytes, Capabilities, DeleteFailure, StoredVersion
from runtime.drivers._each import each_removed
from runtime.drivers._http import HttpClient, Request, ServiceError
from runtime.drivers._http_reading import HttpReading
from runtime.drivers.gcs import wire
from runtime.drivers.gcs.credentials import GoogleAuth
from runtime.drivers.gcs.errors import detail_of, kind_of, read_error
from runtime.drivers.gcs.presign import Presigner
from runtime.drivers.gcs.settings import live_settings
from runtime.drivers.gcs.upload import QUANTUM, Session, upload_whole
from runtime.drivers.gcs.versions import remove_version, version_pages
from runtime.errors import AlreadyExistsError, ConfigError, PreconditionFailedError
from runtime.models import UploadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import NamedStorageConfig, StorageGCSConfig
    from runtime.errors import StorageError
    from runtime.live import LiveSettings
    from runtime.models import FileInfo, ObjectPage, PresignedRequest

_ENDPOINT: Final = "https://storage.googleapis.com"
_RAW: Final = {"accept-encoding": "gzip"}  # else the service unpacks objects that say Content-Encoding: gzip


class GCSDriver(HttpReading):
    """One bucket."""

    repeats = timed = True  # `runtime.drivers._http` does it
    hides_missing = replaces_by_deleting = True

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self.own_checksum = checksums.own_algorithm(backend, "crc32c")
        settings: StorageGCSConfig = backend.settings
        encryption = settings.encryption
        self._settings = settings
        self._kms_key = encryption.kms_key_id if encryption.enabled and encryption.type == "gcs:cmek" else None
        self._endpoint = settings.endpoint_url or _ENDPOINT
        bucket = quote(settings.bucket, "")
        self._bucket_url = f"{self._endpoint}/storage/v1/b/{bucket}"
        self._upload_url = f"{self._endpoint}/upload/storage/v1/b/{bucket}/o"
        self._media_url = f"{self._endpoint}/{bucket}"
        self._auth = GoogleAuth(settings)
        if urlsplit(self._endpoint).scheme != "https" and not self._auth.emulator:
            raise ConfigError("gcs.endpoint_url is http to another machine: tokens are sent over https only")
        self._http = HttpClient(self._auth.authorize, read_error, backend, renew=self._auth.renew)
        self._sdk: Client | None = None
        self._sessions: dict[str, Session] = {}
        self._presigner = Presigner(settings, self._auth, self._endpoint, lambda: self.raw.bucket(settings.bucket))
        self.capabilities = Capabilities(
            presign=frozenset() if self._auth.anonymous else frozenset({"GET", "PUT"}),
            public=True,
            if_not_exists=True,
            if_match=True,
            delete_if_match=True,
            copy_if_not_exists=True,
            copy_if_match=True,
            storage_class=True,
            checksums=frozenset({"crc32c", "md5"}),
            min_part_size=QUANTUM,
            parallel_parts=False,
        )

    async def close(self) -> None:
        await self._http.close()
        sdk, self._sdk = self._sdk, None
        if sdk is not None:
            await asyncio.to_thread(sdk.close)
        self._auth.close()

    @property
    def raw(self) -> Client:
        """The official client. The first use looks for credentials, which may block where none are configured."""
        if self._sdk is None:
            self._sdk = Client(
                project=self._settings.project_id,
                credentials=self._auth.load(),
                client_options={"api_endpoint": self._endpoint},
            )
        return self._sdk

    # reading

    async def head(self, path: str) -> FileInfo:
        reply = await self._http.read(Request("GET", self._object_url(path), {"fields": wire.FIELDS}))
        return wire.info_of(json.loads(reply.body))

    def _asked(self, path: str, start: int, end: int | None, etag: str | None = None) -> Request:
        headers = dict(_RAW)
        if start or end is not None:
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        query = {} if etag is None else {"generation": etag}
        return Request("GET", f"{self._media_url}/{_quoted(path, '/~')}", query, headers)

    def _told(self, path: str, headers: Mapping[str, str]) -> FileInfo:
        return wire.info_of_headers(path, headers)

    def _checksum(self, headers: Mapping[str, str]) -> str | None:
        return wire.checksum_of_headers(headers)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        query = {"maxResults": str(limit), "fields": f"items({wire.FIELDS}),prefixes,nextPageToken"}
        query |= {"prefix": prefix} if prefix else {}
        query |= {"delimiter": delimiter} if delimiter else {}
        query |= {"startOffset": start_after} if start_after else {}
        query |= {"pageToken": cursor} if cursor else {}
        reply = await self._http.read(Request("GET", f"{self._bucket_url}/o", query))
        return wire.page_of(reply.body, start_after)

    # writing

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        query = self._write_query(options)
        return await self._write(upload_whole(self._http, self._upload_url, query, path, data, options), options)

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        query = self._write_query(options)
        session = await Session.start(self._http, self._upload_url, query, path, options)
        upload_id = secrets.token_hex(8)  # not the session's address, which is as good as a password
        self._sessions[upload_id] = session
        return upload_id

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        await self._session(upload_id).send(self._http, data)
        return str(number)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        info = await self._write(self._session(upload_id).finish(self._http, size, options.checksum), options)
        del self._sessions[upload_id]
        return info

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        session = self._sessions.get(upload_id)
        if session is not None:
            await session.cancel(self._http)
            del self._sessions[upload_id]

    def _session(self, upload_id: str) -> Session:
        if upload_id not in self._sessions:
            raise ServiceError(404, "noSuchUpload")
        return self._sessions[upload_id]

    def _write_query(self, options: UploadOptions) -> dict[str, str]:
        return ({} if self._kms_key is None else {"kmsKeyName": self._kms_key}) | self._conditions(options)

    @staticmethod
    def _conditions(options: UploadOptions) -> dict[str, str]:
        query = {}
        if options.if_not_exists:
            query["ifGenerationMatch"] = "0"
        elif options.if_match is not None:
            query["ifGenerationMatch"] = wire.generation_of(options.if_match)
        return query

    async def _write(self, sending: Awaitable[dict[str, Any]], options: UploadOptions) -> FileInfo:
        try:
            return wire.info_of(await sending)
        except ServiceError as exc:
            if exc.status == 412 and options.if_not_exists:  # noqa: PLR2004 - precondition failed
                exc.kind = AlreadyExistsError
            raise

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        query = {} if if_match is None else {"ifGenerationMatch": wire.generation_of(if_match)}
        request = Request("DELETE", self._object_url(path), query, repeatable=if_match is None)
        try:
            await self._http.read(request, {200, 204})
        except ServiceError as exc:
            if exc.status != 404:  # noqa: PLR2004 - not found
                raise
            if if_match is not None:
                exc.kind = PreconditionFailedError
                raise
            await self._bucket_exists()

    async def _bucket_exists(self) -> None:
        """Raise when it was the bucket that is missing: an object's 404 does not say."""
        await self._http.read(Request("GET", f"{self._bucket_url}/o", {"maxResults": "1", "fields": "nextPageToken"}))

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        return await each_removed(paths, self.delete, str)

    def versions(self) -> AsyncGenerator[Sequence[StoredVersion], None]:
        return version_pages(self.raw, self._settings.bucket)

    async def remove_versions(self, versions: Sequence[StoredVersion]) -> Sequence[DeleteFailure]:
        bucket = self._settings.bucket
        return await each_removed(versions, lambda each: remove_version(self.raw, bucket, each), attrgetter("path"))

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        url = f"{self._object_url(source)}/rewriteTo/b/{quote(self._settings.bucket, '')}/o/{_quoted(destination)}"
        query = {"fields": f"done,rewriteToken,resource({wire.FIELDS})"}
        if self._kms_key is not None:
            query["destinationKmsKeyName"] = self._kms_key
        conditions = UploadOptions(if_not_exists=if_not_exists, if_match=if_match)
        query |= self._conditions(conditions)
        return await self._write(self._rewrite(url, query), conditions)

    async def _rewrite(self, url: str, query: dict[str, str]) -> dict[str, Any]:
        repeatable = "ifGenerationMatch" not in query
        while True:  # large objects take several calls, each continues the one before
            answer = json.loads((await self._http.read(Request("POST", url, query, repeatable=repeatable))).body)
            if answer["done"]:
                resource: dict[str, Any] = answer["resource"]
                return resource
            query["rewriteToken"] = answer["rewriteToken"]

    # addresses

    def _object_url(self, path: str) -> str:
        return f"{self._bucket_url}/o/{_quoted(path)}"

    def url(self, path: str) -> str:
        base = self._settings.public_url
        return f"{base or self._media_url}/{_quoted(path, '/~')}"

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        return await self._presigner.presign(path, method, expires_in, content_type)

    # state and errors

    async def check(self) -> Mapping[str, Any]:
        await self.list_objects("", limit=1)
        facts: dict[str, Any] = {"bucket": self._settings.bucket, "project": self._settings.project_id}
        if self._kms_key is not None:
            facts["encryption_key"] = self._kms_key
        try:
            bucket = await asyncio.to_thread(lambda: self.raw.get_bucket(self._settings.bucket))
        except Forbidden:
            return facts | {"settings": "not readable with these credentials"}
        return facts | {
            "location": bucket.location,
            "storage_class": bucket.storage_class,
            "versioning": bool(bucket.versioning_enabled),
            "public_access_prevention": bucket.iam_configuration.public_access_prevention,
            "default_encryption_key": bucket.default_kms_key_name,
        }

    async def live_settings(self) -> LiveSettings:
        emulator = self._auth.emulator
        return await live_settings(self._http, self._bucket_url, self._kms_key, emulator=emulator)

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return kind_of(error)

    def error_detail(self, error: Exception) -> str | None:
        return detail_of(error)


def _quoted(name: str, safe: str = "~") -> str:
    """A name as part of a URL; ``.`` and ``..`` alone would be taken for steps in a path."""
    return quote(name, safe) if name.strip(".") else name.replace(".", "%2E")


driver_class = GCSDriver
