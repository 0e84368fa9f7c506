"""A bucket's settings as its service has them at this moment; what a driver answers to `Driver.live_settings`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.config import CorsRule, LifecycleConfig


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why a setting is not known.

    Attributes:
        why: ``403 AccessDenied``; ``R2 shows it to its own API only``.
        right: What the identity lacks to look at it, as the service calls it; None when no right would help.
    """

    why: str
    right: str | None = None


@dataclass(frozen=True, slots=True)
class LiveEncryption:
    """Whose key encrypts objects whose upload does not say.

    Attributes:
        customer_key: Whether it is a key of the customer's.
        key: The key, as the service names it; None where it does not say.
        same_key: Whether it is the key that the contract names; None when that can not be told from the names.
    """

    customer_key: bool
    key: str | None = None
    same_key: bool | None = None


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What one bucket is set to. None: not known, and `unseen` says why, if anything can be said.

    Attributes:
        region: Where it is.
        versioning: Whether overwritten and deleted objects are kept.
        encryption: Whose key encrypts.
        cors: Its CORS rules.
        public: Whether anybody may read objects without a signature.
        public_blocked: Whether the service itself keeps anybody from making it public.
        tls_only: Whether requests without TLS 1.2 are refused.
        presign_max_age: Seconds after which presigned URLs are refused; 0 for their own expiry.
        logging: Whether the service logs each access.
        lifecycle: What it throws away by itself.
        grants: By the identities that the contract names, the verbs that the bucket itself allows each; without those
            whose rights are elsewhere.
        unseen: By the name of an attribute above, why it is not known.
        one_header_list: Whether the service has one list for headers that are sent and that are exposed.
        shared_cors: Whether the CORS rules are those of a whole account, where other backends may have theirs.
    """

    region: str | None = None
    versioning: bool | None = None
    encryption: LiveEncryption | None = None
    cors: tuple[CorsRule, ...] | None = None
    public: bool | None = None
    public_blocked: bool | None = None
    tls_only: bool | None = None
    presign_max_age: int | None = None
    logging: bool | None = None
    lifecycle: LifecycleConfig | None = None
    grants: Mapping[str, frozenset[str]] | None = None
    unseen: Mapping[str, Unseen] = field(default_factory=dict)
    one_header_list: bool = False
    shared_cors: bool = False
