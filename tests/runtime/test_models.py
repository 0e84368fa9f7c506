from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest

from runtime.models import FileInfo, listed_info

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def test_listed_information_is_like_any_other() -> None:
    made = listed_info("a", 1, "a/b", MOMENT, "tag")
    usual = FileInfo("a", 1, "a/b", MOMENT, etag="tag")
    assert type(made) is FileInfo
    assert made == usual
    assert repr(made) == repr(usual)
    assert replace(made, size=2) == replace(usual, size=2)
    assert pickle.loads(pickle.dumps(made)) == usual  # noqa: S301 - our own bytes


def test_listed_information_can_not_be_changed() -> None:
    made = listed_info("a", 1, "a/b", MOMENT, None)
    with pytest.raises(FrozenInstanceError):
        made.size = 2  # type: ignore[misc] # what the checker refuses is refused at run time, too
