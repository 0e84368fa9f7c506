"""What is there of a GCS bucket that is taken over; its settings are part of it, so there is one thing to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import Forbidden, GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage

from infra import gcp
from infra.adoption import OWNERS, Found
from runtime.errors import ConfigError, NotFoundError, StorageUnavailableError

if TYPE_CHECKING:
    from infra.context import Context
    from infra.gcs import Spec


def look(spec: Spec, context: Context) -> Found:
    """The bucket as it is.

    Raises:
        NotFoundError: there is none.
        ConfigError: it is somewhere else, or somebody else's.
        StorageUnavailableError: Google, or the emulator, can not be asked.
    """
    name = str(spec.take_over)
    try:
        with _client(spec, context) as client:
            found: Any = client.lookup_bucket(name)
    except Forbidden as exc:
        raise ConfigError(f"bucket {name!r} is somebody else's, or these credentials may not see it") from exc
    except (GoogleAPIError, GoogleAuthError, OSError) as exc:
        raise StorageUnavailableError(
            f"Google can not be asked for bucket {name!r}: {type(exc).__name__}",
            backend=spec.name,
            hint="taking a bucket over needs credentials that may read its settings",
        ) from exc
    if found is None:
        raise NotFoundError(f"there is no bucket {name!r} to take over")
    remarks: tuple[str, ...] = ()
    if context.emulated("gcp"):
        remarks = ("the emulator keeps no labels, so whose the bucket is can not be checked",)
    elif found.location != spec.location.upper():
        raise ConfigError(
            f"bucket {name!r} is in {found.location}, and the spec says {spec.location}", hint="correct `location`"
        )
    return Found({f"{spec.name}-bucket": name}, _owner(found.labels or {}, context), remarks)


def _client(spec: Spec, context: Context) -> Any:
    endpoint = context.endpoint("gcp")
    if endpoint is None:
        return _Closing(storage.Client(project=spec.project))
    options = {"api_endpoint": endpoint.url}
    return _Closing(storage.Client(project=spec.project, credentials=AnonymousCredentials(), client_options=options))


class _Closing:
    """The SDK's client, closed at the end of a block."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __enter__(self) -> Any:
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _owner(labels: dict[str, str], context: Context) -> dict[str, str]:
    """The owner tags that became these labels; a label that is ours is given back as we write it."""
    ours = dict(zip(OWNERS, (context.stack.project, context.stack.name), strict=True))
    found = {}
    for tag in OWNERS:
        ((label, value),) = gcp.labels({tag: ours[tag]}).items()
        if label in labels:
            found[tag] = ours[tag] if labels[label] == value else labels[label]
    return found
