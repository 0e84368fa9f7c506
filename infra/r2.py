"""Cloudflare R2: the bucket, its CORS, its lifecycle and its public addresses, and the contract's entry.

R2 always encrypts, and has no versions, policies or tags: a spec that asks for one is refused. Its resources know
nothing of each other, so each of them repeats the jurisdiction.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import pulumi
from pydantic import Field

from infra import adoption, cloudflare, naming
from infra.backend import BackendSpec
from infra.identities import r2 as identity_r2
from runtime.config import NamedStorageConfig, StorageR2Config
from runtime.errors import Problem
from runtime.fields import R2BucketName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.context import Context
    from infra.declared import Args
    from infra.endpoints import Endpoint

_ABORT: Final = timedelta(days=7)
"""What R2 does by itself, until the first lifecycle is written."""

_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")


class Spec(BackendSpec):
    """A backend on R2.

    Attributes:
        jurisdiction: Where the objects must stay, by law; R2 cannot move a bucket later.
        location: Where they should be, as a hint.
        storage_class: Class of new objects.
        zone: Id of the Cloudflare zone of *public_url*: the program then serves the bucket there, to everybody.
        existing: A bucket that is there already.
        take_over: One that becomes the stack's.
    """

    provider = "cloudflare"
    emulated_account = "0" * 32
    encryptions = dict.fromkeys(("dev", "standard", "regulated"), "AES256")
    retains = "open"
    cannot = {  # noqa: RUF012 - a ClassVar of the base
        "versioning": "R2 keeps no versions",
        "tags": "R2 has no tags",
        "force_destroy": "Cloudflare has no call that empties a bucket; `tandem purge` does",
    }
    identities = identity_r2.KINDS

    driver: Literal["r2"]
    jurisdiction: Literal["default", "eu", "fedramp", "us"] = "default"
    location: Literal["apac", "eeur", "enam", "oc", "weur", "wnam"] | None = None
    storage_class: Literal["Standard", "InfrequentAccess"] = "Standard"
    zone: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$", description="a zone's id: 32 hexadecimal digits")
    existing: R2BucketName | None = None
    take_over: R2BucketName | None = None

    def problems(self, context: Context) -> Iterator[Problem]:
        """What R2 refuses in combination, and an account that its endpoint needs."""
        account = context.account("cloudflare", self.emulated_account)
        if not _ACCOUNT.fullmatch(account):
            found = f"found {account!r}" if account else "is required for driver r2: its endpoint holds the account"
            yield Problem("tandem:accounts.cloudflare", found, "the account id, 32 hexadecimal digits")
        if self.location and self.jurisdiction != "default":
            yield Problem("location", "found beside a jurisdiction, which decides the place", "one of the two")
        if self.lifecycle and self.lifecycle.expire_noncurrent_after:
            yield Problem("lifecycle.expire_noncurrent_after", "R2 keeps no versions", "leave it out")
        yield from self._addresses()
        yield from identity_r2.problems(self)

    def _addresses(self) -> Iterator[Problem]:
        if self.zone and not self.public:
            wish = "public: true, or no zone and a Worker or Access in front of the bucket"
            yield Problem("zone", "a custom domain serves every object to everybody", wish)
        if self.public and not (self.zone and self.public_url):
            wish = "public_url and zone: R2 is public on a custom domain (r2.dev is not for production)"
            yield Problem("public", "found True without a domain to serve", wish)
        if self.zone and self.public_url and urlsplit(self.public_url).path:
            yield Problem(
                "public_url", f"found {self.public_url!r}", "no path: R2 serves the bucket at the domain's root"
            )


class Bucket(pulumi.ComponentResource):
    """An R2 bucket with everything that its spec asks for.

    Attributes:
        resources: What was made, in order; the contract is written when all of it exists.
        secrets: The values of the variables that the contract refers to, as far as the program makes them.
    """

    def __init__(self, spec: Spec, context: Context) -> None:
        super().__init__("tandem:storage:R2Bucket", spec.name, {}, adoption.options(spec, context))
        self.resources: list[pulumi.CustomResource] = []
        self._name = spec.name
        bucket = bucket_name(spec, context)
        account = context.account("cloudflare", spec.emulated_account)
        where = {"account_id": account, "bucket_name": bucket, "jurisdiction": spec.jurisdiction}
        if spec.existing is None:
            self._bucket(spec, account, bucket, protect=not context.dev)
        if spec.cors:
            self._set("cors", cloudflare.CorsArgs(**where, rules=_cors_rules(spec)))
        if rules := _lifecycle_rules(spec):
            self._set("lifecycle", cloudflare.LifecycleArgs(**where, rules=rules))
        if spec.retention:
            seconds = int(spec.retention.keep.total_seconds())
            rule = cloudflare.LockRule(id="retention", condition=cloudflare.LockCondition(max_age_seconds=seconds))
            self._set("lock", cloudflare.LockArgs(**where, rules=(rule,)))
        if spec.existing is None:
            self._set("managed-domain", cloudflare.ManagedDomainArgs(**where, enabled=False))
        if spec.zone and (host := urlsplit(spec.public_url or "").hostname):
            domain = cloudflare.CustomDomainArgs(**where, domain=host, zone_id=spec.zone, enabled=True, min_tls="1.2")
            self._set("domain", domain)
        self.secrets: dict[str, pulumi.Output[str]] = {}
        for grant in spec.grants:
            pair = identity_r2.KeyPair(grant, spec, context)
            token, values = pair.make(identity_r2.Bucket(account, spec.jurisdiction, bucket), self._options(), self)
            self.resources.append(token)
            self.secrets |= values
        self.register_outputs({"bucket": bucket})

    def _bucket(self, spec: Spec, account: str, bucket: str, *, protect: bool) -> None:
        args = cloudflare.BucketArgs(
            account_id=account,
            name=bucket,
            jurisdiction=spec.jurisdiction,
            location=spec.location,
            storage_class=spec.storage_class,
        )
        self._set("bucket", args, protect=protect)

    def _set(self, role: str, args: Args, *, protect: bool = False) -> None:
        """Make one resource of the bucket, after the one before."""
        self.resources.append(cloudflare.Resource(f"{self._name}-{role}", args, self._options(protect=protect)))

    def _options(self, *, protect: bool = False) -> pulumi.ResourceOptions:
        after, keep = self.resources[-1:], protect or None
        return pulumi.ResourceOptions(parent=self, depends_on=after, protect=protect, retain_on_delete=keep)


def provision(spec: Spec, context: Context) -> Bucket:
    """Make the backend's bucket."""
    return Bucket(spec, context)


def provider(endpoint: Endpoint) -> cloudflare.Provider:
    """The provider of an emulated stack: R2's settings are written to the S3 server at *endpoint*."""
    keys = f"{endpoint.access_key}:{endpoint.secret_key}"
    return cloudflare.Provider("cloudflare", base_url=endpoint.url, api_token=keys)


def entry(spec: Spec, context: Context) -> NamedStorageConfig:
    """The backend as the contract has it; its keys come from ``<NAME>_ACCESS_KEY`` and ``<NAME>_SECRET_KEY``."""
    endpoint = context.endpoint("cloudflare")
    if endpoint is not None:
        url, keys = endpoint.url, context.key_references(endpoint)
    else:
        url = endpoint_url(context.account("cloudflare", spec.emulated_account), spec.jurisdiction)
        variable = spec.name.upper().replace("-", "_")
        keys = {key: f"${{{variable}_{key.upper()}}}" for key in ("access_key", "secret_key")}
    if spec.grants:
        keys = identity_r2.KeyPair(spec.grants[0], spec, context).references()
    settings: dict[str, Any] = {"bucket": bucket_name(spec, context), "endpoint_url": url}
    settings |= {**keys, "public_url": spec.public_url}
    if endpoint is not None and endpoint.region:
        settings["region"] = endpoint.region  # an S3 emulator redirects what is signed for R2's `auto`
    return spec.named(StorageR2Config(**settings), capabilities=("presign",))


def endpoint_url(account: str, jurisdiction: str) -> str:
    """Where the S3 API of an account's buckets is; another jurisdiction has another host.

    Source:
        https://developers.cloudflare.com/r2/reference/data-location/#using-jurisdictions-with-the-s3-api
    """
    place = "" if jurisdiction == "default" else f".{jurisdiction}"
    return f"https://{account}{place}.r2.cloudflarestorage.com"


def bucket_name(spec: Spec, context: Context) -> str:
    """The bucket's name, known before it exists."""
    stack, account = context.stack, context.account("cloudflare", spec.emulated_account)
    return spec.existing or spec.take_over or naming.bucket(stack.project, stack.name, spec.name, account)


def _cors_rules(spec: Spec) -> tuple[cloudflare.CorsRule, ...]:
    return tuple(
        cloudflare.CorsRule(
            id=f"cors-{index}",
            allowed=cloudflare.CorsAllowed(origins=rule.origins, methods=rule.methods, headers=rule.headers),
            expose_headers=rule.expose,
            max_age_seconds=rule.contract().max_age,
        )
        for index, rule in enumerate(spec.cors)
    )


def _lifecycle_rules(spec: Spec) -> tuple[cloudflare.LifecycleRule, ...]:
    """All rules: a write replaces R2's own default too, which aborts uploads after a week."""
    if spec.lifecycle is None:
        return ()
    abort = spec.lifecycle.abort_multipart_after or _ABORT
    everything = cloudflare.Conditions(prefix="")
    rules = [
        cloudflare.LifecycleRule(
            id="abort-multipart", conditions=everything, abort_multipart_uploads_transition=_after(abort)
        )
    ]
    for index, rule in enumerate(spec.lifecycle.rules):
        where, action = cloudflare.Conditions(prefix=rule.prefix), _after(rule.expire_after)
        rules.append(cloudflare.LifecycleRule(id=f"expire-{index}", conditions=where, delete_objects_transition=action))
    return tuple(rules)


def _after(age: timedelta) -> cloudflare.Transition:
    return cloudflare.Transition(condition=cloudflare.Age(max_age=int(age.total_seconds())))
