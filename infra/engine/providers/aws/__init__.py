"""The stand-in for ``pulumi_aws``: S3, KMS and IAM on an emulator that speaks their APIs."""

from __future__ import annotations

from typing import Any

from infra.engine.providers import s3api
from infra.engine.providers.aws import eks, iam, kms, s3
from infra.engine.providers.aws.bucket import Bucket
from infra.engine.providers.aws.cloud import Aws
from infra.engine.providers.base import StandIn


class AwsProvider(StandIn):
    """``pulumi_aws.Provider`` with ``endpoints``, ``region``, ``access_key`` and ``secret_key``."""

    name = "aws"
    handlers = (Bucket, *s3.HANDLERS, *kms.HANDLERS, *iam.HANDLERS, *eks.HANDLERS)

    def connect(self, settings: dict[str, Any]) -> Aws:
        """Clients for the emulator that the provider's endpoints name."""
        return Aws(settings)

    def unreachable(self, error: BaseException) -> bool:
        """Whether an error means that no server answered."""
        return s3api.unreachable(error)

    def conflict(self, error: BaseException) -> bool:
        """Whether an error means that something of this name exists already."""
        return s3api.conflict(error)


provider_class = AwsProvider
