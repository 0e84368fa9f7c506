from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from runtime.drivers.memory import MemoryDriver
from runtime.errors import InvalidOptionError, NotSupportedError, QuotaExceededError, StorageError
from runtime.models import PresignedRequest, UploadOptions

if TYPE_CHECKING:
    from runtime.config import NamedStorageConfig
    from runtime.store import BlobStore
    from tests.runtime.conftest import StoreFactory

MD5 = "md5:XUFAKrxLKna5cZ2REBfFkg=="  # of b"hello"


class Able(MemoryDriver):
    """Declares everything; what it is asked for it would honour."""

    def __init__(self, backend: NamedStorageConfig) -> None:
        super().__init__(backend)
        self.capabilities = replace(MemoryDriver.capabilities, public=True, storage_class=True, tags=True)


async def test_all_options_at_once_by_value_by_name_and_by_dict_are_the_same(store: BlobStore) -> None:
    options = UploadOptions(
        content_type="application/pdf",
        metadata={"Department": "finance"},
        cache_control="public, max-age=3600",
        content_disposition='attachment; filename="a.pdf"',
        content_encoding="gzip",
    )
    by_name = {name: value for name, value in options.__dict__.items() if name != "content_type"}
    await store.upload("0", b"x", options)
    await store.upload("1", b"x", **options.__dict__)  # as lexigram's documentation writes it
    await store.upload("2", b"x", "application/pdf", **by_name)
    await store.upload("3", b"x", UploadOptions("application/pdf", metadata={"q": "r"}), **by_name)
    for number in range(4):
        info = await store.info(str(number))
        assert info.content_type == "application/pdf"
        assert info.metadata == {"department": "finance"}
        assert info.cache_control == "public, max-age=3600"
        assert info.content_disposition == 'attachment; filename="a.pdf"'
        assert info.content_encoding == "gzip"


async def test_options_without_a_content_type_get_the_guessed_one(store: BlobStore) -> None:
    info = await store.upload("a.png", b"x", UploadOptions(cache_control="no-store"))
    assert info.content_type == "image/png"


async def test_an_unknown_option_is_a_type_error_that_names_the_allowed_ones(store: BlobStore) -> None:
    with pytest.raises(TypeError, match=r"unknown upload option 'cache_controll' \(did you mean 'cache_control'\?\)"):
        await store.upload("a", b"x", cache_controll="no-store")
    assert not await store.exists("a")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"public": True}, NotSupportedError, "does not support public"),
        ({"storage_class": "COLD"}, NotSupportedError, "does not support storage_class"),
        ({"tags": {"a": "b"}}, NotSupportedError, "does not support tags"),
        (
            {"checksum": "sha512:qvTGHdzF6KLavt4P"},
            NotSupportedError,
            "allowed: crc32, crc32c, crc64nvme, md5",
        ),
        ({"checksum": "md5:short"}, InvalidOptionError, "digest in base64"),
        ({"checksum": "md5:"}, InvalidOptionError, "digest in base64"),
        ({"checksum": MD5.encode()}, TypeError, "checksum is a string"),
        ({"if_not_exists": True, "if_match": "x"}, InvalidOptionError, "exclude each other"),
        ({"if_match": ""}, InvalidOptionError, "if_match"),
        ({"content_type": "nonsense"}, InvalidOptionError, "looks like"),
        ({"content_type": "text/html\r\nX-Evil: 1"}, InvalidOptionError, "printable ASCII"),
        ({"cache_control": "a\nb"}, InvalidOptionError, "cache_control is printable ASCII"),
        ({"content_disposition": "attachment; filename=é"}, InvalidOptionError, "content_disposition"),
        ({"content_encoding": 3}, TypeError, "content_encoding is a string"),
        ({"metadata": {"naïve": "x"}}, InvalidOptionError, "metadata name"),
        ({"metadata": {"a b": "x"}}, InvalidOptionError, "metadata name"),
        ({"metadata": {"1a": "x"}}, InvalidOptionError, "metadata name"),
        ({"metadata": {"": "x"}}, InvalidOptionError, "metadata name"),
        ({"metadata": {"a": "ü"}}, InvalidOptionError, r"urllib\.parse\.quote"),
        ({"metadata": {"a": " x"}}, InvalidOptionError, "space at an end"),
        ({"metadata": {"a": ""}}, InvalidOptionError, "is empty"),
        ({"metadata": {"a": "x\r\nb: y"}}, InvalidOptionError, "printable ASCII"),
        ({"metadata": {"a": 3}}, TypeError, "metadata maps strings to strings"),
        ({"metadata": {"a": "x" * 2048}}, InvalidOptionError, "2,049 bytes, 2,048 are allowed"),
        ({"metadata": {"a": "x", "A": "y"}}, ValueError, "differ only in upper and lower case"),
    ],
)
async def test_what_can_not_be_honoured_is_refused_and_nothing_is_written(
    store: BlobStore, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        await store.upload("a", b"hello", **options)
    if isinstance(caught.value, StorageError):
        assert (caught.value.backend, caught.value.operation, caught.value.path) == ("avatars", "upload", "a")
    assert not await store.exists("a")


async def test_a_content_type_of_another_type_is_a_type_error(store: BlobStore) -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match="content_type is a string or UploadOptions, not int"):
        await store.upload("a", b"", wrong)


async def test_public_is_honoured_only_where_the_backend_was_provisioned_public(open_store: StoreFactory) -> None:
    private, public = await open_store(Able), await open_store(Able, expect={"public": True})
    with pytest.raises(NotSupportedError, match=r"not public.*in the spec"):
        await private.upload("a", b"x", public=True)
    assert (await public.upload("a", b"x", public=True)).size == 1


async def test_what_the_driver_declares_is_let_through(open_store: StoreFactory) -> None:
    able = await open_store(Able)
    await able.upload("a", b"hello", storage_class="COLD", tags={"a": "b"}, checksum=MD5, if_not_exists=True)


@pytest.mark.parametrize(
    ("allowed", "content_type", "accepted"),
    [
        (None, "text/html", True),
        ([], "text/html", False),
        (["image/*"], "image/png", True),
        (["image/*"], "text/html", False),
        (["*/*"], "text/html", True),
        (["Text/HTML"], "text/html; charset=utf-8", True),
        (["text/plain"], "text/html", False),
    ],
)
async def test_the_application_limits_the_types_that_may_be_uploaded(
    open_store: StoreFactory, allowed: list[str] | None, content_type: str, *, accepted: bool
) -> None:
    store = await open_store(service={"allowed_mime_types": allowed})
    if accepted:
        await store.upload("a", b"x", content_type)
    else:
        with pytest.raises(NotSupportedError, match="'text/html' are not allowed here; allowed: "):
            await store.upload("a", b"x", content_type)
    assert await store.exists("a") is accepted


async def test_the_guessed_type_is_limited_too(open_store: StoreFactory) -> None:
    store = await open_store(service={"allowed_mime_types": ["image/*"]})
    await store.upload("a.png", b"x")
    with pytest.raises(NotSupportedError, match="text/html"):
        await store.upload("a.html", b"x")


async def test_an_upload_above_the_applications_limit_is_refused_before_any_io(open_store: StoreFactory) -> None:
    mib = 1024 * 1024
    store = await open_store(part_size=8 * mib, service={"max_file_size_mb": 1})
    await store.upload("a", b"x" * mib)
    with pytest.raises(QuotaExceededError, match="1 MiB"):
        await store.upload("b", b"x" * (mib + 1))
    assert not await store.exists("b")


@pytest.mark.parametrize("seconds", [0, -1, 7 * 86400 + 1])
async def test_an_expiry_outside_of_7_days_is_refused(
    open_store: StoreFactory, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    store = await open_store()
    signing = replace(MemoryDriver.capabilities, presign=frozenset({"GET", "PUT", "DELETE"}))
    monkeypatch.setattr(store.driver, "capabilities", signing)
    for call in (store.get_presigned_url, store.presign):
        with pytest.raises(ValueError, match="more than 0 and at most 7 days"):
            await call("a", expires_in=timedelta(seconds=seconds))
        wrong: Any = 3600
        with pytest.raises(TypeError, match=r"datetime\.timedelta, not int"):
            await call("a", expires_in=wrong)


async def test_an_expiry_beyond_what_the_config_lets_signatures_live_is_refused(
    open_store: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(expect={"presign_max_age": 3600})
    monkeypatch.setattr(store.driver, "capabilities", replace(MemoryDriver.capabilities, presign=frozenset({"GET"})))
    signed = []

    async def sign(path: str, *, expires_in: timedelta, **_: Any) -> PresignedRequest:
        signed.append(expires_in)
        return PresignedRequest("GET", f"https://example.com/{path}", datetime.now(UTC) + expires_in)

    monkeypatch.setattr(store.driver, "presign", sign)
    for call in (store.get_presigned_url, store.presign):
        with pytest.raises(InvalidOptionError, match=r"at most 1:00:00 on this backend \(expect\.presign_max_age\)"):
            await call("a", expires_in=timedelta(seconds=3601))
        await call("a", expires_in=timedelta(seconds=3600))
    assert signed == [timedelta(hours=1)] * 2


async def test_a_method_that_is_not_signed_is_refused_with_the_allowed_ones(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotSupportedError, match="allowed methods: none"):
        await store.get_presigned_url("a")
    signing = replace(MemoryDriver.capabilities, presign=frozenset({"GET", "PUT", "DELETE"}))
    monkeypatch.setattr(store.driver, "capabilities", signing)
    with pytest.raises(NotSupportedError, match=r"DELETE requests are not signed.*allowed methods: GET, PUT"):
        await store.get_presigned_url("a", method="DELETE")
    with pytest.raises(NotSupportedError, match="allowed methods: DELETE, GET, PUT"):
        await store.presign("a", method="PATCH")
    with pytest.raises(InvalidOptionError, match="GET sends none"):
        await store.presign("a", method="GET", content_type="image/png")
