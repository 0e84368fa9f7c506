"""What is there of an S3 bucket that is taken over: itself, its tags, and which settings it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.adoption import Found
from infra.engine.providers import s3api
from runtime.errors import ConfigError, NotFoundError, StorageUnavailableError

if TYPE_CHECKING:
    from infra.context import Context
    from infra.s3 import Spec

SETTINGS: Final = {
    "cors": ("get_bucket_cors", "CORSRules", {"NoSuchCORSConfiguration"}),
    "encryption": (
        "get_bucket_encryption",
        "ServerSideEncryptionConfiguration",
        {"ServerSideEncryptionConfigurationNotFoundError"},
    ),
    "lifecycle": ("get_bucket_lifecycle_configuration", "Rules", {"NoSuchLifecycleConfiguration"}),
    "logging": ("get_bucket_logging", "LoggingEnabled", set[str]()),
    "ownership": ("get_bucket_ownership_controls", "OwnershipControls", {"OwnershipControlsNotFoundError"}),
    "policy": ("get_bucket_policy", "Policy", {"NoSuchBucketPolicy"}),
    "public-access": (
        "get_public_access_block",
        "PublicAccessBlockConfiguration",
        {"NoSuchPublicAccessBlockConfiguration"},
    ),
    "versioning": ("get_bucket_versioning", "Status", set[str]()),
}
"""Role of a resource in `infra.s3` -> the call that shows it, what its answer then holds, and the codes of "none"."""


def look(spec: Spec, context: Context) -> Found:
    """The bucket as it is.

    Raises:
        NotFoundError: there is none.
        ConfigError: it is in another region, or somebody else's account.
        StorageUnavailableError: AWS, or the emulator, can not be asked.
    """
    name, s3 = str(spec.take_over), _client(spec, context)
    try:
        _demand(s3, name, spec.region)
        tags = s3api.ask(s3.get_bucket_tagging, frozenset({"NoSuchTagSet"}), Bucket=name) or {}
        ids = {f"{spec.name}-bucket": name}
        for role, (call, member, absent) in SETTINGS.items():
            answer = s3api.ask(getattr(s3, call), frozenset(absent), Bucket=name)
            if answer and answer.get(member):
                ids[f"{spec.name}-{role}"] = name
    except ClientError as exc:
        raise ConfigError(f"bucket {name!r} can not be looked at: {s3api.error_code(exc)}", backend=spec.name) from exc
    except BotoCoreError as exc:
        raise StorageUnavailableError(
            f"AWS can not be asked for bucket {name!r}: {type(exc).__name__}",
            backend=spec.name,
            hint="taking a bucket over needs credentials that may read its settings",
        ) from exc
    return Found(ids, {tag["Key"]: tag["Value"] for tag in tags.get("TagSet", ())})


def _client(spec: Spec, context: Context) -> Any:
    endpoint = context.endpoint("aws")
    if endpoint is not None:
        return s3api.client(
            "s3", endpoint.url, endpoint.region or spec.region, endpoint.access_key, endpoint.secret_key
        )
    session: Any = boto3.session.Session(region_name=spec.region)
    return session.client("s3")


def _demand(s3: Any, name: str, region: str) -> None:
    try:
        answer = s3.head_bucket(Bucket=name)
    except ClientError as exc:
        if s3api.error_code(exc) in s3api.NO_BUCKET:
            raise NotFoundError(f"there is no bucket {name!r} to take over") from exc
        if s3api.error_code(exc) == "403":
            raise ConfigError(f"bucket {name!r} is somebody else's, or these credentials may not see it") from exc
        raise
    where = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", region)
    if where != region:
        raise ConfigError(f"bucket {name!r} is in {where}, and the spec says {region}", hint="correct `region`")
