"""How long objects can not be deleted, by nobody: what each cloud takes, and what contradicts it in a spec."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from runtime.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.backend import BackendSpec

MOST_DAYS = 36_500
"""A hundred years, which S3 and GCS take at most."""


def problems(backend: BackendSpec) -> Iterator[Problem]:
    """Why a backend can not keep what its ``retention`` promises."""
    found = backend.retention
    if found is None:
        return
    if not backend.retains:
        yield Problem(
            "retention", f"driver {backend.driver} can not do this: what is there can be deleted", "leave it out"
        )
        return
    if found.keep > timedelta(days=MOST_DAYS):
        yield Problem("retention.keep", f"found {found.keep.days}d", f"1d to {MOST_DAYS}d")
    if found.locked and backend.retains == "open":
        message = f"found True, and whoever may write the settings of {backend.driver} can always end it"
        yield Problem("retention.locked", message, "false")
    if backend.force_destroy:
        yield Problem("force_destroy", "found True beside retention, which nothing deletes", "one of the two")
    if backend.retains == "new":
        for key in ("existing", "take_over"):
            if getattr(backend, key) is not None:
                yield Problem("retention", f"found beside {key}: only a new bucket can get it", "leave it out")
    yield from _versioning(backend)
    yield from _expiry(backend, found.keep)


def _versioning(backend: BackendSpec) -> Iterator[Problem]:
    if backend.retains == "instead of versions" and backend.versioning:
        yield Problem("versioning", "found True beside retention, and GCS does one of the two", "leave it out")
    if backend.retains == "new" and backend.versioning is False:
        yield Problem("versioning", "found False beside retention, which is of versions", "leave it out")


def _expiry(backend: BackendSpec, keep: timedelta) -> Iterator[Problem]:
    if not backend.expiry_deletes:
        return
    for index, rule in enumerate(backend.lifecycle.rules if backend.lifecycle else ()):
        if rule.expire_after < keep:
            message = f"found {rule.expire_after.days}d, and retention keeps objects for {keep.days}d"
            yield Problem(f"lifecycle.rules[{index}].expire_after", message, f"{keep.days}d or more")
