"""Amazon S3 and compatible servers.

Every operation is a signed request of our own (`runtime.drivers.s3.requests`) over our own HTTP/1.1 client
(`runtime.drivers._wire.client`). aioboto3 gives the default chain's credentials and `S3Driver.raw`.

Paths: passed on byte for byte. Limits: 5 GiB a request or part, 10,000 parts, metadata of 2 KB, URLs of 7 days.
Errors: by S3's code, else by HTTP status (`runtime.drivers.s3.errors`).

Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from runtime import checksums
from runtime.driver import MIB, Capabilities, DeleteFailure, Driver, StoredVersion
from runtime.drivers._each import each_removed
from runtime.drivers._wire.reading import NoBytes
from runtime.drivers.s3 import checksum as s3_checksum
from runtime.drivers.s3.address import Address, encode
from runtime.drivers.s3.batch import delete_many, writable
from runtime.drivers.s3.credentials import CredentialSource
from runtime.drivers.s3.errors import ServiceError, behind_the_end, classify, detail
from runtime.drivers.s3.headers import condition_headers, encryption_headers, info_from_headers, write_headers, written
from runtime.drivers.s3.keys import compared
from runtime.drivers.s3.listing import page_query, parse_page
from runtime.drivers.s3.multipart import Multipart, field
from runtime.drivers.s3.raw import RawClient
from runtime.drivers.s3.reading import open_object, range_header, trimmed
from runtime.drivers.s3.requests import Requests
from runtime.drivers.s3.settings import RIGHTS, ask, region_of, settings_of
from runtime.drivers.s3.signing import Signer
from runtime.drivers.s3.uploads import unfinished
from runtime.drivers.s3.versions import remove_versions, version_pages
from runtime.errors import AlreadyExistsError, PreconditionFailedError
from runtime.models import FileInfo, ObjectPage, PresignedRequest, UploadOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from datetime import timedelta

    from runtime.config import EncryptionConfig, NamedStorageConfig, StorageR2Config, StorageS3Config
    from runtime.driver import ByteRange, Bytes, ObjectReader
    from runtime.errors import StorageError
    from runtime.live import LiveSettings
    from runtime.models import UnfinishedUpload

for _package in ("aioboto3", "lxml"):  # imported late, as few calls need them; missing at once
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)

_ENDLESS: Final = 1 << 62
_NOT_FOUND: Final = 404
_NO_BATCH: Final = frozenset({"NotImplemented", "MethodNotAllowed"})


class S3Driver(Driver):
    """One S3 bucket."""

    capabilities = Capabilities(
        presign=frozenset({"DELETE", "GET", "HEAD", "PUT"}),
        public=True,
        if_not_exists=True,
        if_match=True,
        delete_if_match=True,
        copy_if_not_exists=True,
        copy_if_match=True,
        storage_class=True,
        tags=True,
        checksums=frozenset(s3_checksum.HEADERS),
        min_part_size=5 * MIB,
        max_part_size=5 * 1024 * MIB,
        max_parts=10_000,
        list_multiparts=True,
    )
    repeats = timed = hides_missing = True
    parts_linger = True  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        settings: StorageS3Config | StorageR2Config = backend.settings
        self._settings = settings
        self._address = Address.of(settings.bucket, settings.region, settings.endpoint_url)
        self._credentials = CredentialSource(settings.access_key, settings.secret_key)
        self._signer = Signer(settings.region)
        self._encryption = self._configured_encryption()
        self._sse = encryption_headers(self._encryption) if self._encryption else {}
        self._requests = Requests(self._address, settings.region, self._credentials, backend)
        self.own_checksum = checksums.own_algorithm(backend, self._best_checksum())
        if self.own_checksum is not None and self.own_checksum not in self.capabilities.checksums:
            told = self.capabilities.checksums | {self.own_checksum}
            self.capabilities = replace(self.capabilities, checksums=told)
        self._asks = {} if self.own_checksum is None else s3_checksum.MODE
        self._multipart = Multipart(self._requests, self._sse, self.own_checksum, tags=self.capabilities.tags)
        self._raw = RawClient(backend, self._address)
        self._batches = True

    def _best_checksum(self) -> str | None:
        """Compatible servers have broken on checksums that they did not know: boto3#4392."""
        return "crc32c" if self._settings.endpoint_url is None else None

    def _configured_encryption(self) -> EncryptionConfig | None:
        encryption: EncryptionConfig = self.backend.settings.encryption
        return encryption

    async def close(self) -> None:
        try:
            await self._requests.close()
        finally:
            await self._raw.close()

    @property
    def raw(self) -> RawClient:
        return self._raw

    async def head(self, path: str) -> FileInfo:
        return info_from_headers(path, (await self._requests.send("HEAD", path, headers=self._asks)).headers)

    async def get(self, path: str, byte_range: ByteRange | None = None) -> ObjectReader:
        if byte_range is not None and byte_range.start == byte_range.end:
            return NoBytes(await self.head(path))
        try:
            return await open_object(self._requests, path, byte_range, self._asks)
        except ServiceError as exc:
            if byte_range is None or not behind_the_end(exc):
                raise
        return NoBytes(await self.head(path))

    async def content(self, path: str, byte_range: ByteRange | None = None) -> bytes | None:
        headers = self._asks if byte_range is None else {"range": range_header(byte_range)}
        try:
            answer = await self._requests.send("GET", path, headers=headers, most=_ENDLESS)
        except ServiceError as exc:
            if byte_range is None or not behind_the_end(exc):
                raise
            return b""
        if byte_range is None:
            await checksums.check(s3_checksum.told(answer.headers), answer.body)
        return trimmed(answer, byte_range)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        start_after: str = "",
        cursor: str | None = None,
        limit: int = 1000,
    ) -> ObjectPage:
        query = page_query(prefix, delimiter, start_after, cursor, limit)
        return parse_page((await self._requests.send("GET", query=query)).body)

    async def put(self, path: str, data: Bytes, options: UploadOptions) -> FileInfo:
        headers = {**write_headers(options), **self._sse, **condition_headers(options)}
        kept = False
        if options.checksum is not None:
            told = s3_checksum.sent(options.checksum, self.capabilities.checksums)
            kept = bool(told) and not options.checksum.startswith("md5:")
            headers |= told
        try:
            answer = (await self._requests.send("PUT", path, headers=headers, body=(data,))).headers
        except ServiceError as exc:
            raise _conditional(exc, options) from exc.__cause__
        etag, version = answer.get("etag"), answer.get("x-amz-version-id")
        return written(path, len(data), options, etag, version, kept=kept)

    async def start_multipart(self, path: str, options: UploadOptions) -> str:
        return await self._multipart.start(path, options)

    async def put_part(
        self, path: str, upload_id: str, number: int, data: Sequence[Bytes], checksum: str | None = None
    ) -> str:
        return await self._multipart.put(path, upload_id, number, data, checksum)

    async def complete_multipart(
        self, path: str, upload_id: str, parts: Sequence[str], size: int, options: UploadOptions
    ) -> FileInfo:
        try:
            return await self._multipart.complete(path, upload_id, parts, size, options)
        except ServiceError as exc:
            raise _conditional(exc, options) from exc.__cause__

    async def abort_multipart(self, path: str, upload_id: str) -> None:
        await self._multipart.abort(path, upload_id)

    async def list_multiparts(self, prefix: str) -> Sequence[UnfinishedUpload]:
        return await unfinished(self._requests, prefix)

    async def delete(self, path: str, *, if_match: str | None = None) -> None:
        if if_match is None:
            await self._requests.send("DELETE", path)
            return
        try:
            await self.head(path)  # servers say that a version was deleted of what is not there
            await self._requests.send("DELETE", path, headers={"if-match": f'"{if_match}"'})
        except ServiceError as exc:
            if exc.status == _NOT_FOUND and exc.code != "NoSuchBucket":
                exc.kind = PreconditionFailedError
            raise

    async def delete_batch(self, paths: Sequence[str]) -> Sequence[DeleteFailure]:
        together = [path for path in paths if writable(path)] if self._batches else []
        failures: list[DeleteFailure] = []
        if together:
            try:
                failures += await delete_many(self._requests, together)
            except ServiceError as exc:
                if exc.code not in _NO_BATCH:
                    raise
                self._batches, together = False, []
        known = set(together)
        singly = [path for path in paths if path not in known]
        return [*failures, *await each_removed(singly, self.delete, str)]

    def versions(self) -> AsyncGenerator[Sequence[StoredVersion], None]:
        return version_pages(self._raw, self._settings.bucket)

    async def remove_versions(self, versions: Sequence[StoredVersion]) -> Sequence[DeleteFailure]:
        return await remove_versions(self._raw, self._settings.bucket, versions)

    async def copy(
        self, source: str, destination: str, *, if_not_exists: bool = False, if_match: str | None = None
    ) -> FileInfo:
        copy_source = f"/{encode(self._settings.bucket)}/{encode(source)}"
        conditions = UploadOptions(if_not_exists=if_not_exists, if_match=if_match)
        if if_not_exists or if_match is not None:  # servers that do not know them on a copy overwrite nevertheless
            try:
                await self._multipart.copy(source, copy_source, destination, conditions)
            except ServiceError as exc:
                raise _conditional(exc, conditions) from exc.__cause__
            return await self.head(destination)
        headers = {"x-amz-copy-source": copy_source, **self._sse}
        try:
            field(await self._requests.send("PUT", destination, headers=headers), "ETag")
        except ServiceError as exc:
            # One request copies at most 5 GiB; S3 has no code of its own for it.
            if exc.code != "InvalidRequest" or (await self.head(source)).size <= self.capabilities.max_part_size:
                raise
            await self._multipart.copy(source, copy_source, destination, conditions)
        return await self.head(destination)

    def url(self, path: str) -> str:
        if self._settings.public_url:
            return f"{self._settings.public_url.rstrip('/')}/{encode(path)}"
        return self._address.url(path)

    async def presign(
        self, path: str, *, method: str, expires_in: timedelta, content_type: str | None = None
    ) -> PresignedRequest:
        now = datetime.now(UTC)
        credentials = self._credentials.now() or await self._credentials.get()
        headers = {"host": self._address.host}
        if content_type is not None:
            headers["content-type"] = content_type
        target = self._address.target(path)
        query = self._signer.query(credentials, now, method, target, headers, max(1, int(expires_in.total_seconds())))
        ends = now + expires_in
        return PresignedRequest(
            method,
            f"{self._address.scheme}://{self._address.host}{target}?{query}",
            min(ends, credentials.expires_at) if credentials.expires_at else ends,
            {} if content_type is None else {"Content-Type": content_type},
        )

    async def check(self) -> Mapping[str, Any]:
        try:
            answer = await self._requests.send("HEAD")
        except ServiceError as exc:
            if exc.code:
                raise
            await self._requests.send("GET", query=[("list-type", "2"), ("max-keys", "1")])
            raise  # HEAD has no body to say why; when listing is allowed, this identity may only not look at the bucket
        region = answer.headers.get("x-amz-bucket-region", self._settings.region)
        return {"bucket": self._settings.bucket, "region": region, "endpoint": self._address.host}

    async def live_settings(self) -> LiveSettings:
        named = self._encryption.kms_key_id if self._encryption else None
        region = await region_of(self._requests)
        answers = await ask(self._requests, RIGHTS)
        identities = [grant.to for grant in self.backend.grants]
        live = settings_of(answers, self._settings.bucket, named, identities)
        encryption = live.encryption
        if named and encryption is not None and encryption.customer_key and encryption.same_key is None:
            live = await compared(live, encryption, named, self._settings)
        return replace(live, region=region)

    def error_type(self, error: Exception) -> type[StorageError] | None:
        return classify(error)

    def error_detail(self, error: Exception) -> str | None:
        return detail(error)


def _conditional(error: ServiceError, options: UploadOptions) -> ServiceError:
    """*error* of a conditional write, as what it says about the condition."""
    if options.if_not_exists and error.kind is PreconditionFailedError:
        error.kind = AlreadyExistsError
    elif options.if_match is not None and error.code in {"NoSuchKey", "NotFound"}:
        error.kind = PreconditionFailedError  # there is no version to match
    return error


driver_class = S3Driver
