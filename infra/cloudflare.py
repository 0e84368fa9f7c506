"""The resource types of `pulumi_cloudflare` that R2 needs, without the other seven hundred.

That package loads all its types at once: 4.3 s and 330 MB on a laptop (measured, 6.23.1), on every preview of every
stack with an R2 bucket. The same tokens and properties are registered here, for the same version of the plugin; a
test compares each of them with the installed package. The classes take their properties as typed arguments, so a
misspelt one is an error here and not something that Cloudflare never hears of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

import pulumi

from infra.declared import Declared, installed, plugin
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PACKAGE: Final = "pulumi-cloudflare"


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketArgs:
    """An R2 bucket."""

    token: ClassVar[str] = "cloudflare:index/r2Bucket:R2Bucket"  # noqa: S105 - a type token

    account_id: str
    name: str
    jurisdiction: str
    location: str | None = None
    storage_class: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsAllowed:
    """What a CORS rule lets in."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsRule:
    """One CORS rule."""

    id: str
    allowed: CorsAllowed
    expose_headers: tuple[str, ...]
    max_age_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsArgs:
    """All CORS rules of a bucket."""

    token: ClassVar[str] = "cloudflare:index/r2BucketCors:R2BucketCors"  # noqa: S105 - a type token

    account_id: str
    bucket_name: str
    jurisdiction: str
    rules: tuple[CorsRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Which objects a lifecycle rule is for; an empty prefix means all."""

    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """An age in seconds."""

    max_age: int
    type: str = "Age"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What happens at an age."""

    condition: Age


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """One lifecycle rule."""

    id: str
    conditions: Conditions
    enabled: bool = True
    abort_multipart_uploads_transition: Transition | None = None
    delete_objects_transition: Transition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleArgs:
    """All lifecycle rules of a bucket."""

    token: ClassVar[str] = "cloudflare:index/r2BucketLifecycle:R2BucketLifecycle"  # noqa: S105 - a type token

    account_id: str
    bucket_name: str
    jurisdiction: str
    rules: tuple[LifecycleRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCondition:
    """Until when objects can not be deleted."""

    max_age_seconds: int
    type: str = "Age"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRule:
    """One rule of a bucket lock; an empty prefix means all objects."""

    id: str
    condition: LockCondition
    enabled: bool = True
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockArgs:
    """All rules of a bucket's lock; they beat its lifecycle."""

    token: ClassVar[str] = "cloudflare:index/r2BucketLock:R2BucketLock"  # noqa: S105 - a type token

    account_id: str
    bucket_name: str
    jurisdiction: str
    rules: tuple[LockRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedDomainArgs:
    """The bucket's address below r2.dev, which is rate-limited and not for production."""

    token: ClassVar[str] = "cloudflare:index/r2ManagedDomain:R2ManagedDomain"  # noqa: S105 - a type token

    account_id: str
    bucket_name: str
    jurisdiction: str
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDomainArgs:
    """A domain of a zone that serves the bucket to everybody."""

    token: ClassVar[str] = "cloudflare:index/r2CustomDomain:R2CustomDomain"  # noqa: S105 - a type token

    account_id: str
    bucket_name: str
    jurisdiction: str
    domain: str
    zone_id: str
    enabled: bool
    min_tls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionGroup:
    """One permission, by its id."""

    id: str | pulumi.Output[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """Permissions on resources, which are a JSON object."""

    effect: str
    permission_groups: tuple[PermissionGroup, ...]
    resources: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestIp:
    """The addresses that a token works from, in CIDR notation."""

    ins: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCondition:
    """When a token works."""

    request_ip: RequestIp


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenArgs:
    """A token of the account; its id and the hash of its value are a key pair of R2."""

    token: ClassVar[str] = "cloudflare:index/accountToken:AccountToken"  # noqa: S105 - a type token

    account_id: str
    name: str
    policies: tuple[TokenPolicy, ...]
    expires_on: str
    condition: TokenCondition | None = None


class Resource(Declared):
    """One resource of Cloudflare's provider."""

    package = PACKAGE


class Token(Resource):
    """A token, with its value.

    Attributes:
        value: What the account's API is called with; a secret.
    """

    value: pulumi.Output[str]

    def __init__(self, name: str, args: TokenArgs, opts: pulumi.ResourceOptions) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(name, args, pulumi.ResourceOptions.merge(secret, opts), value=None)


def permission_group(account: str, name: str, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The id of a permission, by its name.

    Source:
        https://developers.cloudflare.com/fundamentals/api/how-to/create-via-api/#find-permission-groups
    """
    function = "cloudflare:index/getAccountApiTokenPermissionGroupsList:getAccountApiTokenPermissionGroupsList"
    wanted = {"accountId": account, "name": quote(name)}
    options = pulumi.InvokeOutputOptions(parent=parent, version=installed(PACKAGE))
    found: pulumi.Output[Any] = pulumi.runtime.invoke_output(function, wanted, options)
    return found.apply(lambda answer: _exactly(answer.get("results") or (), name))


def _exactly(groups: Iterable[Mapping[str, Any]], name: str) -> str:
    found = [str(group["id"]) for group in groups if group.get("name") == name]
    if len(found) != 1:
        raise ConfigError(
            f"Cloudflare knows {len(found)} permission groups {name!r}",
            hint="the API token of the program needs the permission `Account API Tokens Write`",
        )
    return found[0]


class Provider(pulumi.ProviderResource):
    """Cloudflare's provider with an API of its own.

    Args:
        name: Name of the resource.
        base_url: Where the API is.
        api_token: What it is called with.
    """

    def __init__(self, name: str, *, base_url: str, api_token: str) -> None:
        settings = {"baseUrl": base_url, "apiToken": pulumi.Output.secret(api_token)}
        super().__init__("cloudflare", name, settings, plugin(PACKAGE))
