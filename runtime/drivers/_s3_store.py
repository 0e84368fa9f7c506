"""obstore's store for one bucket, told everything that it would else take from ``AWS_*`` variables.

The contract decides where requests go and how they are signed. Run: ``AWS_ENDPOINT_URL_S3`` beats obstore's own
``endpoint``, and ``AWS_SESSION_TOKEN`` is added to keys that it does not belong to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obstore.store import S3Store

from runtime.drivers._s3_headers import encryption_config
from runtime.drivers._s3_requests import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS

if TYPE_CHECKING:
    from obstore.store import S3Config

    from runtime.config import EncryptionConfig, StorageR2Config, StorageS3Config
    from runtime.drivers._s3_address import Address
    from runtime.drivers._s3_credentials import CredentialSource


def open_store(
    settings: StorageS3Config | StorageR2Config,
    address: Address,
    credentials: CredentialSource,
    encryption: EncryptionConfig | None,
) -> S3Store:
    """A store that asks *credentials* and sends what *encryption* asks for; None for none."""
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
            "read_timeout": f"{READ_SECONDS}s",
            "timeout": "7d",  # bytes may move as long as they move
        },
        retry_config={"max_retries": ATTEMPTS - 1},
        credential_provider=credentials.for_obstore,
    )
