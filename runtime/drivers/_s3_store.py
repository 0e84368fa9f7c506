"""obstore's store for one bucket, told everything that it would else take from ``AWS_*`` variables.

The contract decides where requests go and how they are signed. Run: ``AWS_ENDPOINT_URL_S3`` beats obstore's own
``endpoint``, and ``AWS_SESSION_TOKEN`` is added to keys that it does not belong to.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.store import S3Store

from runtime.drivers._s3_headers import encryption_config
from runtime.drivers._s3_requests import CONNECT_SECONDS

if TYPE_CHECKING:
    from obstore.store import S3Config

    from runtime.config import EncryptionConfig, NamedStorageConfig, StorageR2Config, StorageS3Config
    from runtime.drivers._s3_address import Address
    from runtime.drivers._s3_credentials import CredentialSource

_FOR_EVER: Final = timedelta(days=7)


def open_store(
    backend: NamedStorageConfig,
    address: Address,
    credentials: CredentialSource,
    encryption: EncryptionConfig | None,
) -> S3Store:
    """A store that asks *credentials* and sends what *encryption* asks for; None for none."""
    settings: StorageS3Config | StorageR2Config = backend.settings
    retry, silence = backend.retry, backend.limits.attempt_timeout
    config: S3Config = {
        "aws_endpoint_url_s3": address.obstore_endpoint,
        "endpoint": address.obstore_endpoint,
        "region": settings.region,
        "virtual_hosted_style_request": address.virtual,
        "unsigned_payload": address.secure,  # TLS protects the bytes
        "skip_signature": False,
        "s3_express": False,
        "request_payer": False,
        "conditional_put": "etag",
        "disable_tagging": False,
        "disable_bulk_delete": True,  # a single delete is a DELETE, which carries any name
    }
    if encryption is not None:
        config.update(encryption_config(encryption))
    return S3Store(
        settings.bucket,
        config=config,
        client_options={
            "allow_http": not address.secure,
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "read_timeout": _FOR_EVER if silence is None else timedelta(seconds=silence),
            "timeout": _FOR_EVER,  # bytes may move as long as they move
        },
        retry_config={
            "max_retries": retry.attempts - 1,
            "retry_timeout": timedelta(seconds=retry.budget),
            "backoff": {
                "init_backoff": timedelta(seconds=retry.pause),
                "max_backoff": timedelta(seconds=retry.longest_pause),
                "base": 2,
            },
        },
        credential_provider=credentials.for_obstore,
    )
