"""Cloudflare R2: S3 with other manners.

R2 encrypts always and takes no key, has no ACLs, object tags, object versions or form uploads, knows one region,
and wants all parts of an upload but the last to have one size. Its keys are always given.

Source:
    https://developers.cloudflare.com/r2/api/s3/api/
    https://developers.cloudflare.com/r2/platform/limits/
    https://developers.cloudflare.com/r2/api/s3/conditional-operations/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from runtime.driver import MIB, Driver
from runtime.drivers.s3 import S3Driver
from runtime.drivers.s3.settings import ask, settings_of
from runtime.live import LiveEncryption, LiveSettings, Unseen

if TYPE_CHECKING:
    from runtime.config import EncryptionConfig

_ADMIN: Final = "an R2 token with Admin Read"
_UNSEEN: Final = {
    "grants": Unseen("only Cloudflare's own API shows tokens", "an API token with API Tokens Read"),
    "public": Unseen("only Cloudflare's own API shows public domains", "an API token with Workers R2 Storage Read"),
}


class R2Driver(S3Driver):
    """One R2 bucket."""

    capabilities = replace(
        S3Driver.capabilities,
        delete_if_match=False,
        tags=False,
        checksums=frozenset({"md5"}),  # Content-MD5; the newer headers have long been refused, see boto3#4392
        max_part_size=5 * 1024 * MIB - 5 * MIB,
        equal_parts=True,
    )
    hides_missing = False  # every token that reads lists too

    def _configured_encryption(self) -> EncryptionConfig | None:
        return None

    versions, remove_versions = Driver.versions, Driver.remove_versions  # R2 keeps none

    async def live_settings(self) -> LiveSettings:
        live = settings_of(await ask(self._requests, ("cors", "lifecycle")), self._settings.bucket)
        # R2's tokens have no actions: bucket settings are for Admin Read, which no application should need
        unseen = {name: replace(why, right=why.right and _ADMIN) for name, why in live.unseen.items()}
        unseen.pop("presign_max_age", None)  # no bucket of R2 has such a limit
        return replace(
            live, versioning=False, encryption=LiveEncryption(customer_key=False), unseen={**unseen, **_UNSEEN}
        )


driver_class = R2Driver
