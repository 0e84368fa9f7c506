"""Physical names: computed from plain strings, the same on every run, valid for the service that gets them.

``<project>-<stack>-<backend>-<suffix>``; the suffix is a hash of the whole identity, account included, so names that
are cut short stay apart and two accounts never ask for the same global name.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

SUFFIX: Final = 8
"""Hex digits of the hash; 32 bits tell the backends of one organisation apart."""


def bucket(project: str, stack: str, backend: str, account: str = "", *, longest: int = 63) -> str:
    """A name for a bucket of S3 or R2, or for an Azure container: a-z, 0-9 and single hyphens.

    >>> bucket("tandem", "prod", "avatars", "123456789012")
    'tandem-prod-avatars-700a5624'
    """
    head = re.sub(r"[^a-z0-9]+", "-", f"{project}-{stack}-{backend}".lower()).strip("-")
    # no service takes names that start as its own do
    head = re.sub(r"^(?:sthree-|amzn-s3-demo-)+", "", head) or "x"
    return _joined(head, "-", identity(project, stack, backend, account), longest)


def regional_bucket(project: str, stack: str, backend: str, account: str, region: str) -> str:
    """A name in the account's own namespace of S3 for a region, which nobody else can take.

    >>> regional_bucket("tandem", "prod", "avatars", "123456789012", "eu-west-1")
    'tandem-prod-avatars-700a5624-123456789012-eu-west-1-an'

    Source:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/gpbucketnamespaces.html
    """
    end = f"-{account}-{region}-an"
    return bucket(project, stack, backend, account, longest=63 - len(end)) + end


def gcs_bucket(project: str, stack: str, backend: str, account: str = "") -> str:
    """A name for a Google Cloud Storage bucket: as `bucket`, without ``google`` or what looks like it.

    Source:
        https://cloud.google.com/storage/docs/buckets#naming
    """
    name = bucket(project, stack, backend, account)
    return re.sub(r"^g[o0]{2}g", "gg", re.sub(r"g[o0]{2,}g[l1]e", "ggle", name))


def azure_account(project: str, stack: str, backend: str, account: str = "") -> str:
    """A name for a storage account: 3 to 24 of a-z and 0-9."""
    head = re.sub(r"[^a-z0-9]+", "", f"{project}{stack}{backend}".lower())
    return _joined(head, "", identity(project, stack, backend, account), 24)


def identity(*parts: str) -> str:
    """The suffix: a hash of all parts, where ``a-b`` + ``c`` is not ``a`` + ``b-c``."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:SUFFIX]


def _joined(head: str, separator: str, suffix: str, longest: int) -> str:
    return f"{head[: longest - SUFFIX - len(separator)].rstrip('-')}{separator}{suffix}"
