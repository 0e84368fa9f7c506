"""The guide of lexigram-storage, sentence by sentence: each test's docstring is what the guide says.

``python tests/guide/table.py`` prints the table: statement, test, result. Names of modules are ours: ``runtime`` for
``lexigram.storage`` and ``lexigram.contracts``.
"""

from __future__ import annotations

import inspect
import tomllib
from datetime import timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

import runtime
from runtime import BlobStoreProtocol, EncryptionConfig, FileInfo, Named, StorageS3Config, UploadOptions
from runtime.config import DRIVERS, ENTRY_POINT_GROUP, KV_DRIVERS, NamedStorageConfig
from runtime.errors import InvalidValueError, NotSupportedError, StorageUnavailableError, StorageWarning
from runtime.health import HealthStatus
from runtime.kv import InMemoryKVStorage, KVStoreProtocol, LocalStorage
from runtime.loading import load_config
from runtime.registry import DriverRegistry
from runtime.testing.fakes import fake_storage
from tests.guide.statements import ELSEWHERE, STATEMENTS
from tests.places import place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runtime.testing.fakes import FakeStorage
    from runtime.testing.fixtures import ServerFactory

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLOUDS = {"s3": "aws", "gcs": "gcp", "azure": "azure", "r2": "aws"}
S3 = {"bucket": "myapp-avatars", "region": "us-east-1"}
R2 = {"bucket": "myapp", "access_key": "a", "secret_key": "b", "endpoint_url": "https://0.r2.cloudflarestorage.com"}
SETTINGS: dict[str, dict[str, Any]] = {
    "local": {},
    "memory": {},
    "s3": S3,
    "gcs": {"bucket": "myapp", "project_id": "myapp"},
    "azure": {"account_name": "myapp", "container": "myapp"},
    "r2": R2,
}


# The services of the guide, as it prints them


class AvatarService:
    def __init__(self, store: BlobStoreProtocol) -> None:
        self.store = store

    async def upload_avatar(self, user_id: str, data: bytes) -> str:
        info = await self.store.upload(
            f"avatars/{user_id}.jpg",
            data,
            content_type="image/jpeg",
        )
        return info.path

    async def get_avatar_url(self, user_id: str) -> str:
        return await self.store.get_presigned_url(
            f"avatars/{user_id}.jpg",
            expires_in=timedelta(hours=1),
        )


class DocumentService:
    def __init__(self, store: BlobStoreProtocol) -> None:
        self.store = store

    async def save_document(self, doc_id: str, content: bytes, mime: str) -> FileInfo:
        return await self.store.upload(
            f"docs/{doc_id}.pdf",
            content,
            content_type=mime,
        )

    async def get_document(self, doc_id: str) -> bytes:
        return await self.store.download(f"docs/{doc_id}.pdf")

    async def stream_document(self, doc_id: str) -> AsyncIterator[bytes]:
        async for chunk in self.store.stream(f"docs/{doc_id}.pdf"):
            yield chunk

    async def list_documents(self) -> AsyncIterator[FileInfo]:
        return self.store.list(prefix="docs/")


class MediaService:
    def __init__(
        self,
        primary: BlobStoreProtocol,
        thumbnails: Annotated[BlobStoreProtocol, Named("thumbnails")],
    ) -> None:
        self.primary = primary
        self.thumbnails = thumbnails


class SessionStore:
    def __init__(self) -> None:
        self._kv = InMemoryKVStorage()

    async def set(self, key: str, value: dict[str, Any], ttl: int = 3600) -> None:
        await self._kv.set(key, value, ttl=ttl)

    async def get(self, key: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._kv.get(key)
        return found


@pytest.fixture
def fake() -> Any:
    with fake_storage({"backends": [{"name": "main", "driver": "memory"}]}) as storage:
        yield storage


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[runtime.BlobStore]:
    backend = {"name": "main", "driver": "local", "local": {"root_dir": str(tmp_path / "files")}}
    async with runtime.open_storage({"backends": [backend]}) as storage:
        yield storage.primary


# Requirements, problem, mental model


@pytest.mark.parametrize(
    ("extra", "package"), [("aws", "aioboto3"), ("gcp", "google-cloud-storage"), ("azure", "azure-storage-blob")]
)
def test_each_cloud_has_the_extra_of_the_guide(extra: str, package: str) -> None:
    """boto3: recommended, S3 / R2. google-cloud-storage: optional. azure-storage-blob: optional."""
    assert any(line.startswith(package) for line in PROJECT["optional-dependencies"][extra])
    assert not any(line.startswith(package) for line in PROJECT["dependencies"])


@pytest.mark.parametrize("kind", ["memory", "local", "versitygw", "fake-gcs-server", "azurite", "versitygw-auto"])
async def test_one_api_on_every_provider(server: ServerFactory, kind: str, tmp_path: Path) -> None:
    """Your application needs to store and retrieve files — user avatars, PDF reports, data exports — across one or more
    cloud providers. You want a single API that works with S3, GCS, Azure Blob, Cloudflare R2, and local filesystem,
    and you want to switch between them without rewriting code. For arbitrary binary objects — files, images, documents,
    backups.
    """
    async with runtime.open_storage({"backends": [place(server, kind, tmp_path)]}) as storage:
        assert isinstance(storage.primary, BlobStoreProtocol)
        service = storage.inject(DocumentService)
        content = bytes(range(256)) * 100
        info = await service.save_document("d1", content, "application/pdf")
        assert (info.path, info.size, info.content_type) == ("docs/d1.pdf", len(content), "application/pdf")
        assert await service.get_document("d1") == content
        assert b"".join([chunk async for chunk in service.stream_document("d1")]) == content
        assert [found.path async for found in await service.list_documents()] == ["docs/d1.pdf"]


async def test_the_operations_of_blob_storage(local: runtime.BlobStore) -> None:
    """Operations include upload, download, delete, list, generate presigned URLs, and streaming."""
    await local.upload("a", b"binary \x00")
    assert await local.download("a") == b"binary \x00"
    assert [info.path async for info in local.list()] == ["a"]
    assert b"".join([chunk async for chunk in local.stream("a")]) == b"binary \x00"
    await local.delete("a")
    assert not await local.exists("a")


async def test_the_protocol_of_blob_storage(local: runtime.BlobStore) -> None:
    """Protocol: BlobStoreProtocol."""
    assert isinstance(local, BlobStoreProtocol)


async def test_kv_is_for_small_records_with_an_optional_ttl() -> None:
    """For small, string-keyed records — session data, feature flags, ephemeral state — with optional TTL."""
    kv = InMemoryKVStorage()
    await kv.set("flag", True)
    await kv.set("gone", 1, ttl=0)
    assert (await kv.get("flag"), await kv.get("gone")) == (True, None)


async def test_kv_is_json_and_nothing_else() -> None:
    """KV is JSON-based and does not support binary blobs or presigned URLs."""
    with pytest.raises(InvalidValueError, match="store files in a blob store"):
        await InMemoryKVStorage().set("k", b"binary")
    assert not hasattr(InMemoryKVStorage(), "get_presigned_url")


async def test_the_classes_of_kv(tmp_path: Path) -> None:
    """Classes: InMemoryKVStorage, LocalStorage in lexigram.storage.kv."""
    for store in (InMemoryKVStorage(), LocalStorage(tmp_path)):
        async with store:
            assert isinstance(store, KVStoreProtocol)
            await store.set("k", {"v": 1})
            assert await store.get("k") == {"v": 1}


# Core concepts


async def test_the_avatar_service(fake: FakeStorage) -> None:
    """Sample: AvatarService with upload_avatar and get_avatar_url."""
    service = fake.inject(AvatarService)
    assert await service.upload_avatar("u1", b"jpeg") == "avatars/u1.jpg"
    fake.primary.assert_content("avatars/u1.jpg", b"jpeg")
    assert (await fake.primary.info("avatars/u1.jpg")).content_type == "image/jpeg"
    assert "avatars/u1.jpg" in await service.get_avatar_url("u1")


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_implements_the_interface(driver: str) -> None:
    """The primary interface for file storage. Every backend driver implements it."""
    backend = NamedStorageConfig.model_validate({"name": "main", "driver": driver, driver: SETTINGS[driver]})
    assert isinstance(DriverRegistry().build(backend), BlobStoreProtocol)


def test_the_drivers_by_their_identifiers() -> None:
    """Drivers: "local", "memory", "s3", "gcs", "azure", "r2"."""
    assert set(DRIVERS) == {"local", "memory", "s3", "gcs", "azure", "r2"}


@pytest.mark.parametrize(("driver", "extra"), [("local", None), ("memory", None), *CLOUDS.items()])
def test_the_extras_that_drivers_require(driver: str, extra: str | None) -> None:
    """Extras: none for local and memory, [aws] for s3 and r2, [gcp], [azure]."""
    assert DRIVERS[driver].install_extra == extra
    assert extra is None or extra in PROJECT["optional-dependencies"]


def test_the_registry_maps_names_to_drivers() -> None:
    """The DriverRegistry maps driver names to implementations and creates driver instances from config."""
    registry = DriverRegistry()
    assert registry.names()[: len(DRIVERS)] == list(DRIVERS)
    store = registry.build(NamedStorageConfig(name="main", driver="memory"))
    assert type(store.driver).__name__ == "MemoryDriver"


async def test_third_parties_register_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Third-party packages can register new drivers via the lexigram.storage.backends entry-point group."""
    assert ENTRY_POINT_GROUP == "lexigram.storage.backends"
    point = EntryPoint("toy", "runtime.drivers.memory:MemoryDriver", ENTRY_POINT_GROUP)
    found: Callable[..., list[EntryPoint]] = lambda **_: [point]  # noqa: E731 - a stand-in for importlib's function
    for module in ("config", "plugins"):
        monkeypatch.setattr(f"runtime.{module}.entry_points", found)
    async with runtime.open_storage({"backends": [{"name": "main", "driver": "toy"}]}) as storage:
        await storage.primary.upload("a", b"x")
        assert await storage.primary.download("a") == b"x"


MULTI = """
storage:
  backends:
    - name: avatars
      driver: s3
      s3:
        bucket: myapp-avatars
        region: us-east-1
    - name: exports
      driver: s3
      s3:
        bucket: myapp-exports
        region: us-east-1
"""


async def test_several_stores_with_named_bindings(tmp_path: Path) -> None:
    """Sample: declare multiple stores with named bindings; resolve with Annotated[BlobStoreProtocol, Named("name")]."""
    (tmp_path / "storage.yaml").write_text(MULTI)

    def service(
        avatars: Annotated[BlobStoreProtocol, Named("avatars")], exports: Annotated[BlobStoreProtocol, Named("exports")]
    ) -> list[BlobStoreProtocol]:
        return [avatars, exports]

    async with runtime.open_storage(tmp_path / "storage.yaml") as storage:
        assert storage.inject(service) == [storage["avatars"], storage["exports"]]
        assert [storage[name].backend.settings.bucket for name in storage] == ["myapp-avatars", "myapp-exports"]


async def test_upload_options_unpacked_as_the_guide_does(fake: FakeStorage) -> None:
    """Sample: UploadOptions(content_type, public, metadata, cache_control) and **options.__dict__."""
    options = UploadOptions(
        content_type="application/pdf",
        public=True,
        metadata={"department": "finance"},
        cache_control="public, max-age=3600",
    )
    with pytest.raises(
        NotSupportedError, match="public"
    ):  # honoured where the backend is declared public, else refused
        await fake.primary.upload("r.pdf", b"%PDF", **options.__dict__)
    public = {"backends": [{"name": "main", "driver": "memory", "expect": {"public": True}}]}
    with fake_storage(public) as storage:
        info = await storage.primary.upload("r.pdf", b"%PDF", **options.__dict__)
    assert (info.content_type, info.metadata, info.cache_control) == (
        "application/pdf",
        {"department": "finance"},
        "public, max-age=3600",
    )


# Typical usage


async def test_the_document_service(local: runtime.BlobStore) -> None:
    """Sample: DocumentService with save, get, stream and list."""
    service = DocumentService(local)
    info = await service.save_document("d1", b"%PDF" * 5000, "application/pdf")
    assert (info.path, info.size, info.content_type) == ("docs/d1.pdf", 20_000, "application/pdf")
    assert await service.get_document("d1") == b"%PDF" * 5000
    assert b"".join([chunk async for chunk in service.stream_document("d1")]) == b"%PDF" * 5000
    assert [found.path async for found in await service.list_documents()] == ["docs/d1.pdf"]


async def test_temporary_urls_download_and_upload(server: ServerFactory) -> None:
    """Sample: get_presigned_url with method GET for 24 hours, and with PUT for 15 minutes."""
    s3 = server("versitygw")
    settings = {
        "bucket": "guide",
        "region": s3.region,
        "endpoint_url": s3.url,
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
    }
    async with runtime.open_storage({"backends": [{"name": "main", "driver": "s3", "s3": settings}]}) as storage:
        store = storage.primary
        await store.raw.create_bucket(Bucket="guide")
        await store.upload("reports/monthly.pdf", b"%PDF")
        url = await store.get_presigned_url("reports/monthly.pdf", expires_in=timedelta(hours=24), method="GET")
        upload_url = await store.get_presigned_url("uploads/temp.bin", expires_in=timedelta(minutes=15), method="PUT")
        async with httpx.AsyncClient() as browser:
            assert (await browser.get(url)).content == b"%PDF"
            assert (await browser.put(upload_url, content=b"new")).status_code == 200
            assert (await browser.get(upload_url)).status_code == 403
        assert await store.download("uploads/temp.bin") == b"new"
        query = parse_qs(urlsplit(url).query), parse_qs(urlsplit(upload_url).query)
        assert [found["X-Amz-Expires"] for found in query] == [["86400"], ["900"]]


# Common patterns


def test_the_media_service() -> None:
    """Sample: MediaService with a primary store and Annotated[..., Named("thumbnails")]."""
    backends = [{"name": "media", "driver": "memory"}, {"name": "thumbnails", "driver": "memory"}]
    with fake_storage({"backends": backends}) as storage:
        service = storage.inject(MediaService)
        assert (service.primary, service.thumbnails) == (storage["media"], storage["thumbnails"])


async def test_the_session_store() -> None:
    """Sample: SessionStore over InMemoryKVStorage with a ttl."""
    sessions = SessionStore()
    await sessions.set("s1", {"user": "u1"})
    assert await sessions.get("s1") == {"user": "u1"}
    await sessions.set("s1", {"user": "u1"}, ttl=0)
    assert await sessions.get("s1") is None


async def test_encryption_that_is_asked_for_is_sent(server: ServerFactory) -> None:
    """Sample: StorageS3Config(..., encryption=EncryptionConfig(enabled=True, type="AES256"))."""
    s3 = server("moto")
    config = StorageS3Config(
        bucket="myapp-secure",
        region="us-east-1",
        encryption=EncryptionConfig(enabled=True, type="AES256"),
    )
    reached = StorageS3Config.model_validate(
        {**config.document(), "endpoint_url": s3.url, "access_key": s3.access_key, "secret_key": s3.secret_key}
    )
    backends = [NamedStorageConfig(name="main", driver="s3", s3=reached)]
    async with runtime.open_storage({"backends": backends}) as storage:
        client = storage.primary.raw
        await client.create_bucket(Bucket="myapp-secure")
        await storage.primary.upload("a", b"x")
        head = await client.head_object(Bucket="myapp-secure", Key="a")
    assert head["ServerSideEncryption"] == "AES256"


# Best practices


@pytest.mark.parametrize("turn", [1, 2])
async def test_the_memory_driver_in_unit_tests_is_stateless(fake: FakeStorage, turn: int) -> None:
    """Use the memory driver in unit tests — it's fast and stateless."""
    fake.primary.assert_count(0)
    await fake.primary.upload(f"{turn}", b"x")
    fake.primary.assert_count(1)


async def test_the_local_driver_with_a_gitkeep_in_its_root(tmp_path: Path) -> None:
    """Use the local driver in development with a .gitkeep in the root dir."""
    (tmp_path / ".gitkeep").touch()
    backend = {"name": "main", "driver": "local", "local": {"root_dir": str(tmp_path)}}
    async with runtime.open_storage({"backends": [backend]}) as storage:
        await storage.primary.upload("a", b"x")
        assert [info.path async for info in storage.primary.list()] == ["a"]
    assert (tmp_path / ".gitkeep").exists()


@pytest.mark.parametrize("driver", ["local", "memory"])
def test_the_default_driver_is_overridden_in_each_environment(driver: str) -> None:
    """Set storage.default_driver to the production backend and override via LEX_STORAGE__DEFAULT_DRIVER."""
    production = {"default_driver": "s3", "drivers": {"s3": S3}}
    assert load_config(production, environ={}).primary.driver == "s3"
    assert load_config(production, environ={"LEX_STORAGE__DEFAULT_DRIVER": driver}).primary.driver == driver


async def test_secrets_in_kv_are_warned_of() -> None:
    """Don't store secrets (passwords, API keys) in KV."""
    with pytest.warns(StorageWarning, match="keep passwords and API keys in a vault"):
        await InMemoryKVStorage().set("user:1", {"password": "hunter2"})


def test_local_in_production_is_warned_of() -> None:
    """Don't use the local driver in production across multiple app instances — files won't be shared."""
    config = {"env": "production", "backends": [{"name": "main", "driver": "local"}]}
    with pytest.warns(StorageWarning, match="on one machine; other instances lack them"):
        load_config(config, environ={})


async def test_a_put_url_can_be_bound_to_a_content_type(server: ServerFactory) -> None:
    """Don't use presigned URLs with method="PUT" for untrusted uploads without additional validation."""
    s3 = server("versitygw")
    settings = {
        "bucket": "guide-put",
        "region": s3.region,
        "endpoint_url": s3.url,
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
    }
    async with runtime.open_storage({"backends": [{"name": "main", "driver": "s3", "s3": settings}]}) as storage:
        await storage.primary.raw.create_bucket(Bucket="guide-put")
        request = await storage.primary.presign("a", method="PUT", content_type="image/png")
        async with httpx.AsyncClient() as browser:
            wrong = await browser.put(request.url, content=b"<script>", headers={"content-type": "text/html"})
            right = await browser.put(request.url, content=b"\x89PNG", headers=dict(request.headers))
        assert (wrong.status_code, right.status_code) == (403, 200)


# What the guide says elsewhere of the same things


async def test_health_checks_answer_for_blob_and_kv() -> None:
    """Two storage paradigms: blob / object storage, key-value (KV) storage. Health checks of both."""
    config = {"backends": [{"name": "main", "driver": "memory"}], "kv": [{"name": "sessions"}]}
    async with runtime.open_storage(config) as storage:
        assert {result.status for result in (await storage.health_check()).values()} == {HealthStatus.HEALTHY}


async def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extras required: what is missing is said with the command that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    kv = {"name": "sessions", "driver": "redis", "redis": {"url": "redis://127.0.0.1"}}
    async with runtime.open_storage({"default_driver": "memory", "kv": [kv]}) as storage:
        with pytest.raises(StorageUnavailableError, match=r"pip install 'tandem-storage\[redis\]'"):
            await storage.kv["sessions"].get("k")


def test_every_kv_store_has_a_driver_name() -> None:
    """KV storage: memory, a local file, and redis for many instances."""
    assert set(KV_DRIVERS) == {"memory", "local", "redis"}


def test_every_statement_of_the_guide_is_here_or_excused() -> None:
    """The table is complete: each statement is quoted by a test, or has one elsewhere, or a reason in DESIGN.md."""
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    quoted = " ".join(" ".join((inspect.getdoc(test) or "").split()) for test in tests)
    excuses = (
        (ROOT / "runtime/DESIGN.md")
        .read_text()
        .partition("## What of the guide is not here\n")[2]
        .partition("\n## ")[0]
    )
    assert all(inspect.getdoc(test) for test in tests)
    for statement in STATEMENTS:
        where = ELSEWHERE.get(statement)
        file, _, test = (where or "").partition("::")
        if where is None:
            assert statement in quoted
        elif test:
            assert f"def {test}(" in (ROOT / file).read_text()
        else:
            assert where in excuses, statement
