"""What is there of an R2 bucket that is taken over: itself. Nothing else of it can be imported, and it has no tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.adoption import Found
from infra.engine.providers import s3api
from runtime.errors import NotFoundError

if TYPE_CHECKING:
    from infra.context import Context
    from infra.r2 import Spec

REGION: Final = "us-east-1"
WRITTEN_OVER: Final = "Cloudflare can not import CORS rules, lifecycle and domains: the spec's are written over them"
NO_OWNER: Final = "R2 has no tags, so whose the bucket is can not be checked"


def look(spec: Spec, context: Context) -> Found:
    """The bucket's import id. Whether a real one is there is told by the import itself.

    Raises:
        NotFoundError: there is no such bucket on the emulator.
    """
    name, endpoint = str(spec.take_over), context.endpoint("cloudflare")
    if endpoint is not None:
        s3 = s3api.client("s3", endpoint.url, endpoint.region or REGION, endpoint.access_key, endpoint.secret_key)
        if s3api.ask(s3.head_bucket, Bucket=name) is None:
            raise NotFoundError(f"there is no bucket {name!r} to take over")
    account = context.account("cloudflare", spec.emulated_account)
    return Found({f"{spec.name}-bucket": f"{account}/{name}/{spec.jurisdiction}"}, remarks=(WRITTEN_OVER, NO_OWNER))
