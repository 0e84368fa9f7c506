"""Whether a bucket's key is the one that the contract names, when one of them is an alias: AWS KMS is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from runtime.live import LiveSettings, Unseen

if TYPE_CHECKING:
    from runtime.config import StorageR2Config, StorageS3Config
    from runtime.live import LiveEncryption

RIGHT: Final = "kms:DescribeKey"
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})


async def compared(
    live: LiveSettings, encryption: LiveEncryption, named: str, settings: StorageS3Config | StorageR2Config
) -> LiveSettings:
    """*live* with the keys compared by the ids that KMS knows them by; where it does not answer, with the reason.

    Args:
        live: What was read of the bucket.
        encryption: Its encryption, with a customer's key.
        named: The key that the contract names.
        settings: Whose credentials ask.
    """
    import aioboto3  # noqa: PLC0415 - a second that no application pays: only verification asks for keys
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    keys: dict[str, Any] = {}
    if settings.access_key is not None and settings.secret_key is not None:
        keys["aws_access_key_id"] = settings.access_key.get_secret_value()
        keys["aws_secret_access_key"] = settings.secret_key.get_secret_value()
    session = aioboto3.Session()
    try:
        async with session.client(
            "kms", endpoint_url=settings.endpoint_url, region_name=settings.region, **keys
        ) as kms:
            arns = [(await kms.describe_key(KeyId=key))["KeyMetadata"]["Arn"] for key in (named, encryption.key)]
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        if code == "NotFoundException":  # an alias that points nowhere is not the bucket's key
            return replace(live, encryption=replace(encryption, same_key=False))
        why = Unseen(f"KMS refused: {code}", RIGHT if code in _DENIED else None)
    except BotoCoreError as exc:
        why = Unseen(f"KMS can not be asked: {type(exc).__name__}", RIGHT)
    else:
        return replace(live, encryption=replace(encryption, same_key=arns[0] == arns[1]))
    return replace(live, encryption=None, unseen={**live.unseen, "encryption": why})
