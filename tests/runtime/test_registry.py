from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import runtime
from runtime import (
    BlobStore,
    ConfigError,
    DriverRegistry,
    StorageUnavailableError,
    UnknownBackendError,
    extras,
    open_storage,
    plugins,
)
from runtime.config import DRIVERS
from runtime.drivers.memory import MemoryDriver
from runtime.errors import NotSupportedError
from runtime.health import HealthCheckResult, HealthStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta
    from pathlib import Path

    from runtime.config import NamedStorageConfig
    from runtime.models import FileInfo

S3 = {"name": "avatars", "driver": "s3", "s3": {"bucket": "bucket", "region": "eu-west-1"}}
TWO = {"backends": [{"name": "one", "driver": "memory"}, {"name": "two", "driver": "memory"}]}
EVENTS: list[str] = []


class Noisy(MemoryDriver):
    """Tells when it is opened and closed; fails where its backend's name says so."""

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        EVENTS.append(f"make {backend.name}")

    async def open(self) -> None:
        EVENTS.append(f"open {self.backend.name}")
        if "unopenable" in self.backend.name:
            raise NotSupportedError("will not open")

    async def close(self) -> None:
        await anyio.sleep(0.001)
        EVENTS.append(f"close {self.backend.name}")
        if "unclosable" in self.backend.name:
            raise NotSupportedError("will not close")

    async def check(self) -> dict[str, Any]:
        if "sick" in self.backend.name:
            raise NotSupportedError("feels unwell")
        if "slow" in self.backend.name:
            EVENTS.append(f"ask {self.backend.name}")
            await anyio.sleep(0.1)
            EVENTS.append(f"told {self.backend.name}")
        return {}


@pytest.fixture(autouse=True)
def no_events() -> None:
    EVENTS.clear()


def noisy(*names: str, check: bool = False, **config: Any) -> runtime.Storage:
    backends = [{"name": name, "driver": "memory"} for name in names]
    return open_storage({"backends": backends, **config}, check=check, registry=DriverRegistry({"memory": Noisy}))


# opening and closing


async def test_backends_open_in_order_and_close_in_reverse() -> None:
    async with noisy("a", "b", "c") as storage:
        assert list(storage) == ["a", "b", "c"]
        assert len(storage) == 3
        assert "b" in storage
        assert "d" not in storage
        assert isinstance(storage["b"], BlobStore)
    opened = [f"open {name}" for name in "abc"]
    assert [*(f"make {name}" for name in "abc"), *opened, "close c", "close b", "close a"] == EVENTS


async def test_open_and_close_work_without_a_context_too() -> None:
    storage = noisy("a")
    assert await storage.open() is storage
    await storage.open()
    await storage["a"].upload("x", b"1")
    await storage.close()
    await storage.close()
    assert EVENTS == ["make a", "open a", "close a"]


async def test_a_failure_while_opening_closes_what_was_open() -> None:
    with pytest.raises(NotSupportedError, match="will not open") as caught:
        await noisy("a", "unclosable", "unopenable", "z").open()
    assert caught.value.backend == "unopenable"
    assert EVENTS[-2:] == ["close unclosable", "close a"]
    assert "open z" not in EVENTS
    assert caught.value.__notes__ == ["then closing 'unclosable' failed too (NotSupportedError)"]


async def test_closing_goes_on_when_one_backend_fails() -> None:
    with pytest.raises(NotSupportedError, match="will not close") as caught:
        async with noisy("a", "unclosable-1", "unclosable-2", "z"):
            pass
    assert EVENTS[-4:] == ["close z", "close unclosable-2", "close unclosable-1", "close a"]
    assert caught.value.__notes__ == ["closing 'unclosable-1' failed too (NotSupportedError)"]


async def test_the_applications_own_error_is_not_hidden_by_a_failing_close() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with noisy("unclosable"):
            raise ZeroDivisionError
    assert caught.value.__notes__ == ["then closing the storage failed too (NotSupportedError)"]


async def test_everything_is_closed_when_the_application_is_cancelled() -> None:
    with anyio.move_on_after(0.01):
        async with noisy("a", "b"):
            await anyio.sleep(5)
    assert EVENTS[-2:] == ["close b", "close a"]


async def test_a_storage_that_is_not_open_says_so() -> None:
    storage = noisy("a")
    for use in (lambda: storage["a"], lambda: list(storage), lambda: storage.primary, lambda: storage.inject(list)):
        with pytest.raises(StorageUnavailableError, match="not open") as caught:
            use()
        assert "open_storage" in (caught.value.hint or "")


async def test_disabled_storage_says_so_when_it_is_used() -> None:
    async with noisy("a", enabled=False) as storage:
        assert EVENTS == []
        with pytest.raises(ConfigError, match="disabled"):
            storage["a"]
        with pytest.raises(ConfigError, match="disabled"):
            await storage.health_check()


# names


async def test_an_unknown_backend_is_a_key_error_that_lists_the_names() -> None:
    async with noisy("avatars", "exports") as storage:
        with pytest.raises(KeyError, match=r"no backend is called 'avatar'.*avatars, exports") as caught:
            storage["avatar"]
        assert isinstance(caught.value, UnknownBackendError)
        assert storage.get("avatar") is None


async def test_the_primary_backend_is_the_marked_one_else_the_first() -> None:
    async with noisy("a", "b") as storage:
        assert storage.primary is storage["a"]
    marked = {"backends": [*TWO["backends"], {"name": "main", "driver": "memory", "primary": True}]}
    async with open_storage(marked) as storage:
        assert storage.primary is storage["main"]


async def test_without_backends_there_is_the_default_one(tmp_path: Path) -> None:
    root = {"local": {"root_dir": str(tmp_path)}}
    async with open_storage({"default_driver": "memory", "drivers": root}) as storage:
        assert list(storage) == ["default"]
        assert storage.primary is storage["default"]


# health


async def test_health_is_asked_in_parallel_and_by_name() -> None:
    async with noisy("slow-1", "slow-2", "slow-3", "sick") as storage:
        results = await storage.health_check()
        asked = [event.split()[0] for event in EVENTS if event.startswith(("ask", "told"))]
        assert asked == [*["ask"] * 3, *["told"] * 3]
        assert list(results) == ["slow-1", "slow-2", "slow-3", "sick"]
        assert [result.is_healthy() for result in results.values()] == [True, True, True, False]


async def test_checking_at_open_collects_every_failure_and_closes() -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        await noisy("fine", "sick-1", "slow", "sick-2", check=True, health_check_timeout=0.05).open()
    text = str(caught.value)
    assert "3 of 4 backends are not healthy" in text
    assert "sick-1: NotSupportedError: describe: feels unwell [sick-1]" in text
    assert "slow: StorageTimeoutError: no answer within 0.05 s [slow]" in text
    assert "fine" not in text
    assert EVENTS[-4:] == ["close sick-2", "close slow", "close sick-1", "close fine"]


async def test_checking_at_open_lets_healthy_backends_through() -> None:
    async with noisy("fine", check=True) as storage:
        assert (await storage.health_check(timeout=1))["fine"].is_healthy()


# our own drivers


def refuse_import(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(name: str) -> Any:
        if name == "runtime.drivers.s3":
            raise error
        return import_module(name)

    monkeypatch.setattr(plugins, "import_module", refuse)


def uninstall(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    real = metadata.distribution

    def distribution(name: str) -> Any:
        if name in missing:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "distribution", distribution)


@pytest.mark.parametrize("module", ["aioboto3", "httptools", "lxml.etree"])
async def test_a_missing_extra_is_told_with_the_command_by_every_use_and_not_before(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    cause = ModuleNotFoundError(f"No module named {module!r}", name=module)
    refuse_import(monkeypatch, cause)
    async with open_storage({"backends": [S3, *TWO["backends"]]}) as storage:
        store = storage["avatars"]
        uses: list[Any] = [
            store.upload("a", b"x"),
            store.upload("a", b"x", tags={"a": "b"}, storage_class="COLD", if_not_exists=True),
            store.upload("a", (b"x" * 10_000_000 for _ in range(2))),
            store.download("a"),
            anext(store.stream("a")),
            store.info("a"),
            store.exists("a"),
            anext(store.list()),
            store.list_page(),
            store.delete("a"),
            store.delete("a", if_match="x"),
            store.delete_batch(["a"]),
            store.copy("a", "b"),
            store.move("a", "b"),
            store.copy_batch([("a", "b")]),
            store.get_url("a"),
            store.get_presigned_url("a"),
            store.presign("a"),
            store.describe(),
        ]
        for use in uses:
            with pytest.raises(StorageUnavailableError, match=r"pip install 'tandem-storage\[aws\]'") as caught:
                await use
            assert caught.value.__cause__ is cause
            assert not caught.value.retryable
            assert (caught.value.backend, caught.value.operation is not None) == ("avatars", True)
        with pytest.raises(StorageUnavailableError, match="pip install"):
            _ = store.raw
        with pytest.raises(StorageUnavailableError, match="pip install"):
            _ = store.capabilities
        health = await store.health_check()
        assert health.status is HealthStatus.UNHEALTHY
        assert "pip install 'tandem-storage[aws]'" in (health.error or "")
        await storage["one"].upload("the others", b"work")


async def test_what_an_sdk_brings_along_is_missing_together_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_import(monkeypatch, ModuleNotFoundError("No module named 'botocore'", name="botocore"))
    uninstall(monkeypatch, "aioboto3")
    async with open_storage({"backends": [S3]}) as storage:
        with pytest.raises(StorageUnavailableError, match="pip install"):
            await storage["avatars"].info("a")


@pytest.mark.parametrize(
    "bug",
    [
        ModuleNotFoundError("No module named 'botocore'", name="botocore"),  # though aioboto3 is installed
        ModuleNotFoundError("No module named 'jsonn'", name="jsonn"),
        ModuleNotFoundError("No module named 'runtime.nothing'", name="runtime.nothing"),
        ModuleNotFoundError("raised by hand, with no name"),
        ImportError("cannot import name 'x' from 'aioboto3'", name="aioboto3"),
        SyntaxError("invalid syntax"),
    ],
)
async def test_a_bug_in_a_driver_is_not_taken_for_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch, bug: Exception
) -> None:
    refuse_import(monkeypatch, bug)
    with pytest.raises(type(bug)) as caught:
        await open_storage({"backends": [S3]}).open()
    assert caught.value is bug


async def test_a_bug_of_our_own_stays_one_when_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "aioboto3")
    refuse_import(monkeypatch, bug := ModuleNotFoundError("No module named 'runtime.x'", name="runtime.x"))
    with pytest.raises(ModuleNotFoundError) as caught:
        await open_storage({"backends": [S3]}).open()
    assert caught.value is bug


@pytest.mark.parametrize("driver", [name for name, model in DRIVERS.items() if model.install_extra])
def test_the_extra_of_every_driver_exists_in_the_metadata(driver: str) -> None:
    extra = DRIVERS[driver].install_extra
    assert extra is not None
    assert extras._packages(extra), f"pyproject.toml has no extra {extra!r}"


# plug-ins


class PlainStore:
    """A store of another distribution: the protocol and nothing else."""

    def __init__(self, backend: NamedStorageConfig) -> None:
        self.backend = backend

    async def upload(self, path: str, data: Any, content_type: Any = None, **options: Any) -> FileInfo: ...  # type: ignore[empty-body] # only its being there counts
    async def download(self, path: str) -> bytes: ...  # type: ignore[empty-body] # as above
    def stream(self, path: str, chunk_size: int = 8192) -> AsyncIterator[bytes]: ...  # type: ignore[empty-body] # as above
    async def delete(self, path: str) -> None: ...
    async def exists(self, path: str) -> bool: ...  # type: ignore[empty-body] # as above
    async def info(self, path: str) -> FileInfo: ...  # type: ignore[empty-body] # as above
    def list(self, prefix: str = "") -> AsyncIterator[FileInfo]: ...  # type: ignore[empty-body] # as above
    async def get_url(self, path: str) -> str: ...  # type: ignore[empty-body] # as above
    async def get_presigned_url(self, path: str, expires_in: timedelta = ..., method: str = "GET") -> str: ...  # type: ignore[empty-body] # as above

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:  # noqa: ASYNC109 - the protocol's
        if timeout > 4:
            raise RuntimeError("plug-ins may do this")
        return HealthCheckResult(self.backend.name)

    def close(self) -> None:
        EVENTS.append("close plug-in")


def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, *, twice: bool = False) -> None:
    """Install a distribution with an entry point, as pip would lay it out."""
    (tmp_path / "acme_blobs.py").write_text(code)
    for name in ["acme-storage", "other-storage"][: 2 if twice else 1]:
        info = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text("[lexigram.storage.backends]\nacme = acme_blobs:make\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_blobs", raising=False)


ACME = {"backends": [{"name": "avatars", "driver": "acme", "acme": {"bucket": "b"}}]}


async def test_a_plug_in_may_give_a_driver_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from runtime.drivers.memory import MemoryDriver\nclass make(MemoryDriver): pass\n"
    plug_in(tmp_path, monkeypatch, code)
    async with open_storage(ACME) as storage:
        store = storage["avatars"]
        assert store.backend.settings == {"bucket": "b"}
        await store.upload("a", b"x")
        assert await store.download("a") == b"x"
    assert "acme" in DriverRegistry().names()


async def test_a_plug_in_may_give_a_store_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(tmp_path, monkeypatch, "def make(config): return config.plugin['make'](config)\n")
    config = {"backends": [{"name": "avatars", "driver": "acme", "acme": {"make": PlainStore}}]}
    async with open_storage(config) as storage:
        assert type(storage["avatars"]).__name__ == "PlainStore"
        assert (await storage.health_check())["avatars"].error == "RuntimeError"
        assert (await storage.health_check(1))["avatars"].is_healthy()
    assert EVENTS == ["close plug-in"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_there\n", "can not be loaded: ModuleNotFoundError: No module named 'nothing_there'"),
        ("x = 1\n", "can not be loaded: AttributeError: .*no attribute 'make'"),
        ("raise ValueError('secret')\n", r"can not be loaded: ValueError \["),
        ("make = 3\n", "is int, not a Driver class or a factory"),
        ("def make(config): raise ValueError('secret')\n", r"can not be made: ValueError \["),
    ],
)
async def test_a_broken_plug_in_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    plug_in(tmp_path, monkeypatch, code)
    with pytest.raises(ConfigError, match=message) as caught:
        await open_storage(ACME).open()
    assert "'acme' = 'acme_blobs:make' of acme-storage 1.2" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.backend == "avatars"


async def test_a_plug_in_that_gives_something_else_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(tmp_path, monkeypatch, "def make(config): return {}\n")
    with pytest.raises(ConfigError, match="gave dict, neither a Driver nor a BlobStoreProtocol"):
        await open_storage(ACME).open()


async def test_two_plug_ins_of_one_name_are_an_error_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(tmp_path, monkeypatch, "make = dict\n", twice=True)
    with pytest.raises(ConfigError, match=r"registered twice: by .*(acme|other)-storage 1\.2 and .*-storage 1\.2"):
        await open_storage(ACME).open()


async def test_a_broken_plug_in_that_nobody_uses_hurts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(tmp_path, monkeypatch, "import nothing_there\n")
    async with open_storage(TWO) as storage:
        assert list(storage) == ["one", "two"]


async def test_a_registered_factory_comes_before_all_others() -> None:
    registry = DriverRegistry()
    registry.register("memory", Noisy)
    async with open_storage(TWO, registry=registry):
        pass
    assert EVENTS[:2] == ["make one", "make two"]
