"""What both carriers of AWS do: a client of the default chain, and its errors in our words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runtime.carriers import CarrierError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def client(service: str) -> Iterator[Any]:
    """A boto3 client: credentials, region and endpoint as every AWS tool finds them here.

    Raises:
        CarrierError: the call inside failed.
    """
    import boto3  # noqa: PLC0415 - only where it is used
    from botocore.config import Config  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})
    made = None
    try:
        made = boto3.client(service, config=config)  # type: ignore[call-overload] # any service
        yield made
    except ClientError as exc:
        raise CarrierError(f"was refused by AWS: {exc.response.get('Error', {}).get('Code', 'unknown')}") from exc
    except BotoCoreError as exc:  # its texts name no secrets: no credentials, no region, no answer
        raise CarrierError(f"can not be asked for: {type(exc).__name__}") from exc
    finally:
        if made is not None:
            made.close()
