"""Which version of an object is meant: the same one as before, or the one that an update may replace."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from runtime.errors import InvalidOptionError, NotSupportedError, PreconditionFailedError

if TYPE_CHECKING:
    from runtime.config import NamedStorageConfig
    from runtime.driver import Capabilities
    from runtime.models import FileInfo, UploadOptions


def demand_same(known: FileInfo, now: FileInfo) -> None:
    """Refuse an answer about another version than the *known* one.

    Raises:
        PreconditionFailedError: the object was replaced meanwhile.
    """
    same = known.etag == now.etag
    if known.etag is None:  # a service without etags: the next best
        same = same and (known.size, known.last_modified) == (now.size, now.last_modified)
    if not same:
        raise PreconditionFailedError("the object was replaced while it was read", etag=now.etag)


def check_update(options: UploadOptions, backend: NamedStorageConfig, capabilities: Capabilities) -> None:
    """Refuse an update that has conditions of its own, or a backend that can not write on a condition."""
    if options.if_match is not None or options.if_not_exists:
        raise InvalidOptionError("an update sets if_match and if_not_exists itself")
    for name in ("if_match", "if_not_exists"):
        if not getattr(capabilities, name):
            raise NotSupportedError(f"driver {backend.driver!r} does not support {name}, which an update needs")


def over(found: FileInfo | None, options: UploadOptions, *, typed: bool) -> UploadOptions:
    """*options*, on the condition that what was *found* is still there, with its attributes where none are given.

    Args:
        found: What is there; None for nothing.
        options: What the caller asks for.
        typed: Whether the content type in *options* is the caller's own, not a guess.
    """
    if found is None:
        return replace(options, if_not_exists=True)
    if found.etag is None:
        raise NotSupportedError("the service tells no etag of this object, so it can not be updated safely")
    return replace(
        options,
        if_match=found.etag,
        content_type=options.content_type if typed else found.content_type,
        metadata=options.metadata or found.metadata or None,
        cache_control=options.cache_control or found.cache_control,
        content_disposition=options.content_disposition or found.content_disposition,
        content_encoding=options.content_encoding or found.content_encoding,
    )


def pause_before(attempt: int, first: float, longest: float) -> float:
    """Seconds to wait before *attempt* (counted from 1 for the second): any time up to a doubling limit.

    Source:
        https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/ (full jitter)
    """
    return random.uniform(0, min(longest, first * 2.0 ** min(attempt - 1, 30)))  # noqa: S311 - spreads clients, hides nothing
