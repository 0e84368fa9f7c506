from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import pytest

import runtime
from runtime import BlobStore, BlobStoreProtocol, Named, UnknownBackendError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from decimal import Decimal


class Lexigram:
    """Stands for lexigram's packages: a marker and a protocol of the same names."""

    @dataclass
    class Named:
        name: str

    class BlobStoreProtocol(Protocol):
        async def download(self, path: str) -> bytes: ...


class MediaService:
    def __init__(
        self, primary: BlobStoreProtocol, thumbnails: Annotated[BlobStoreProtocol, Named("thumbnails")]
    ) -> None:
        self.primary = primary
        self.thumbnails = thumbnails


@dataclass
class Record:
    store: Annotated[BlobStore, Named("thumbnails")]
    limit: int = 3


def function(
    first: BlobStore, /, second: Annotated[BlobStoreProtocol | None, Named("thumbnails")] = None, *, third: int = 3
) -> tuple[Any, ...]:
    return first, second, third


def for_lexigram(
    store: Annotated[Lexigram.BlobStoreProtocol, Lexigram.Named("thumbnails")], other: Lexigram.BlobStoreProtocol
) -> tuple[Any, ...]:
    return store, other


def optional(store: BlobStoreProtocol | None = None) -> Any:
    return store


class Created:
    def __new__(cls, store: BlobStoreProtocol) -> Any:
        created = super().__new__(cls)
        created.store = store  # type: ignore[attr-defined] # made here
        return created


class Called:
    def __call__(self, store: Annotated[BlobStoreProtocol, Named("thumbnails")]) -> Any:
        return store

    def method(self, store: BlobStoreProtocol) -> Any:
        return store


def needs_more(store: BlobStore, size: int, owner: str) -> tuple[Any, ...]:
    return store, size, owner


def for_checkers_only(store: BlobStore, price: Decimal | None = None) -> tuple[Any, ...]:
    return store, price


def unresolvable(store: BlobStore, price: Decimal) -> tuple[Any, ...]:
    return store, price


def misspelt(store: Annotated[BlobStore, Named("thumbnail")]) -> Any:
    return store


def another_marker(database: Annotated[str, Named("thumbnails")] = "postgres") -> str:
    return database


async def asynchronous(store: BlobStore) -> BlobStore:
    return store


@pytest.fixture
async def storage() -> AsyncIterator[runtime.Storage]:
    backends = [
        {"name": "avatars", "driver": "memory"},
        {"name": "thumbnails", "driver": "memory"},
        {"name": "media", "driver": "memory", "primary": True},
    ]
    async with runtime.open_storage({"backends": backends}) as opened:
        yield opened


async def test_a_class_gets_the_backends_that_its_constructor_names(storage: runtime.Storage) -> None:
    service = storage.inject(MediaService)
    assert service.primary is storage["media"]
    assert service.thumbnails is storage["thumbnails"]


async def test_a_dataclass_gets_them_too(storage: runtime.Storage) -> None:
    record = storage.inject(Record, limit=5)
    assert (record.store, record.limit) == (storage["thumbnails"], 5)


async def test_a_function_gets_them_by_every_kind_of_parameter(storage: runtime.Storage) -> None:
    assert storage.inject(function) == (storage["media"], storage["thumbnails"], 3)
    assert storage.inject(function, third=4) == (storage["media"], storage["thumbnails"], 4)
    assert storage.inject(optional) is storage["media"]
    assert await storage.inject(asynchronous) is storage["media"]


async def test_whatever_can_be_called_gets_them(storage: runtime.Storage) -> None:
    assert storage.inject(Created).store is storage.primary
    assert storage.inject(Called()) is storage["thumbnails"]
    assert storage.inject(Called().method) is storage.primary
    assert storage.inject(partial(partial(needs_more, size=3), owner="a")) == (storage.primary, 3, "a")


async def test_lexigrams_marker_and_protocol_are_understood(storage: runtime.Storage) -> None:
    assert storage.inject(for_lexigram) == (storage["thumbnails"], storage["media"])


async def test_an_argument_of_the_caller_wins(storage: runtime.Storage) -> None:
    fake = object()
    assert storage.inject(optional, store=fake) is fake


async def test_what_is_no_store_must_be_given(storage: runtime.Storage) -> None:
    with pytest.raises(TypeError, match="needs_more needs arguments that are no stores: size, owner"):
        storage.inject(needs_more)
    assert storage.inject(needs_more, size=1, owner="me") == (storage["media"], 1, "me")
    with pytest.raises(TypeError, match="unexpected keyword argument 'sice'"):
        storage.inject(needs_more, size=1, owner="me", sice=2)


async def test_an_unknown_name_fails_at_once_with_the_known_ones(storage: runtime.Storage) -> None:
    with pytest.raises(UnknownBackendError, match=r"did you mean 'thumbnails'\?.*avatars, thumbnails, media") as caught:
        storage.inject(misspelt)
    assert caught.value.__notes__ == ["asked for by parameter 'store' of misspelt"]


async def test_an_annotation_for_type_checkers_only_matters_only_where_it_is_needed(storage: runtime.Storage) -> None:
    assert storage.inject(for_checkers_only) == (storage["media"], None)
    with pytest.raises(TypeError, match=r"price \(its annotation 'Decimal' can not be resolved; import it at run time"):
        storage.inject(unresolvable)


async def test_a_store_that_can_not_be_resolved_is_not_left_at_its_default(storage: runtime.Storage) -> None:
    def hidden(store: Hidden.BlobStoreProtocol | None = None) -> Any:  # type: ignore[name-defined] # noqa: F821 - that is the test
        return store

    with pytest.raises(TypeError, match="can not be resolved"):
        storage.inject(hidden)


async def test_a_named_parameter_of_another_type_is_left_alone(storage: runtime.Storage) -> None:
    assert storage.inject(another_marker) == "postgres"
