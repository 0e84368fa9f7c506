"""The S3 API of an emulator: its client, its answers, its shapes. Used for AWS and, as R2 speaks S3, for Cloudflare."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError

from infra.engine.providers.loopback import require_loopback
from runtime.errors import AlreadyExistsError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_BUCKET: Final = frozenset({"NoSuchBucket", "404"})  # HEAD has no body, so botocore only has the status

CONFLICTS: Final = frozenset({
    "AlreadyExistsException", "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "EntityAlreadyExists",
    "EntityAlreadyExistsException",
})  # fmt: skip

_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=32,
    retries={"mode": "standard", "total_max_attempts": 3},
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
)
_ACRONYM: Final = re.compile(r"^[A-Z]+(?=[A-Z][a-z]|$)")
_DELETE_AT_ONCE: Final = 1000  # what one DeleteObjects takes


def client(service: str, endpoint: object, region: str, access_key: str, secret_key: str) -> Any:
    """A boto3 client for an emulator, never for AWS."""
    url = require_loopback(endpoint, f"the endpoint of {service}")
    session: Any = boto3.session.Session(access_key, secret_key, region_name=region)  # the stubs want literal names
    return session.client(service, endpoint_url=url, config=_CONFIG)


def error_code(error: ClientError) -> str:
    """The service's code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def ask(call: Callable[..., Any], absent: frozenset[str] = NO_BUCKET, **arguments: Any) -> dict[str, Any] | None:
    """The answer of a call, or None when it fails with one of the codes that mean "there is none"."""
    try:
        answer: dict[str, Any] = call(**arguments)
    except ClientError as exc:
        if error_code(exc) in absent:
            return None
        raise
    answer.pop("ResponseMetadata", None)
    return answer


def unreachable(error: BaseException) -> bool:
    """Whether no server answered."""
    return isinstance(error, EndpointConnectionError | ConnectionClosedError | HTTPClientError)


def conflict(error: BaseException) -> bool:
    """Whether something of that name exists already."""
    return isinstance(error, ClientError) and error_code(error) in CONFLICTS


def to_api(shape: Any, value: Any) -> Any:
    """A setting as the program writes it, in the names of botocore's model.

    A member that this version of botocore does not know can not be sent; reading back shows that it is missing.
    """
    if shape.type_name == "structure" and isinstance(value, dict):
        members = {name.lower(): (name, member) for name, member in shape.members.items()}
        known = ((members.get(key.lower()), item) for key, item in value.items() if item is not None)
        return {found[0]: to_api(found[1], item) for found, item in known if found}
    if shape.type_name == "list":
        if isinstance(value, dict):  # tags: a map for Pulumi
            value = [{"key": key, "value": item} for key, item in value.items()]
        return [to_api(shape.member, item) for item in value]
    return value


def from_api(value: Any) -> Any:
    """An answer of botocore in the names that a program writes."""
    if isinstance(value, dict):
        return {_camel(key): _tag_map(item) if key == "Tags" else from_api(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_api(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _camel(name: str) -> str:
    lowered = _ACRONYM.sub(lambda match: match[0].lower(), name)
    if lowered == name:
        lowered = name[:1].lower() + name[1:]
    return re.sub(r"ID$", "Id", lowered)


def _tag_map(tags: list[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def input_shape(api: Any, operation: str, member: str) -> Any:
    """Botocore's model of one member of an operation's input (``PutBucketCors``, ``CORSConfiguration``)."""
    return api.meta.service_model.operation_model(operation).input_shape.members[member]


def create_bucket(s3: Any, name: str, region: str, *, object_lock: bool = False) -> None:
    """Make a bucket that is not there yet.

    Raises:
        AlreadyExistsError: it is there; on S3 in us-east-1 making one's own bucket again would silently succeed.
    """
    if ask(s3.head_bucket, Bucket=name) is not None:
        raise AlreadyExistsError(
            f"bucket {name!r} exists already and is not in this stack's state",
            hint="adopt it with `existing:` in the spec, or delete it",
        )
    arguments: dict[str, Any] = {"Bucket": name}
    if region not in {"us-east-1", "auto"}:
        arguments["CreateBucketConfiguration"] = {"LocationConstraint": region}
    if object_lock:
        arguments["ObjectLockEnabledForBucket"] = True
    s3.create_bucket(**arguments)


def delete_bucket(s3: Any, name: str, *, force: bool) -> None:
    """Remove a bucket, with everything in it only when *force* says so.

    Raises:
        StorageError: it holds objects and *force* is false.
    """
    if force and ask(s3.head_bucket, Bucket=name) is not None:
        _empty(s3, name)
    try:
        ask(s3.delete_bucket, Bucket=name)
    except ClientError as exc:
        if error_code(exc) != "BucketNotEmpty":
            raise
        raise StorageError(
            f"bucket {name!r} still holds objects, so it was not deleted",
            hint="empty it with `tandem purge`, or set force_destroy in the program, run up, and try again",
        ) from exc


def _empty(s3: Any, name: str) -> None:
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", ()):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        for start in range(0, len(found), _DELETE_AT_ONCE):
            objects = [
                {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                for entry in found[start : start + _DELETE_AT_ONCE]
            ]
            answer = s3.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", ()):
                raise StorageError(f"bucket {name!r}: object {error['Key']!r} can not be deleted: {error['Code']}")
