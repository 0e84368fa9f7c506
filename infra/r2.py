"""Cloudflare R2: the bucket, its CORS, its lifecycle and its public addresses, and the contract's entry.

R2 always encrypts, and has no versions, policies, tags or grants: a spec that asks for one is refused. Its resources
know nothing of each other, so each of them repeats the jurisdiction.

`pulumi_cloudflare` loads all of its 700 modules at once (4 s and 330 MB, measured), so only what makes resources
imports it: the spec and the contract do without.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import pulumi
from pydantic import Field

from infra import naming
from infra.backend import BackendSpec
from runtime.config import NamedStorageConfig, StorageR2Config
from runtime.errors import Problem
from runtime.fields import R2BucketName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.context import Context
    from infra.endpoints import Endpoint

_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")


class Spec(BackendSpec):
    """A backend on R2.

    Attributes:
        jurisdiction: Where the objects must stay, by law; R2 cannot move a bucket later.
        location: Where they should be, as a hint.
        storage_class: Class of new objects.
        zone: Id of the Cloudflare zone of *public_url*: the program then serves the bucket there, to everybody.
        existing: A bucket that is there already.
    """

    provider = "cloudflare"
    emulated_account = "0" * 32
    encryptions = dict.fromkeys(("dev", "standard", "regulated"), "AES256")
    cannot = {  # noqa: RUF012 - a ClassVar of the base
        "versioning": "R2 keeps no versions",
        "tags": "R2 has no tags",
        "grants": "access to R2 is by tokens, which are made in the Cloudflare dashboard and given as the"
        " backend's access_key and secret_key",
    }

    driver: Literal["r2"]
    jurisdiction: Literal["default", "eu", "fedramp", "us"] = "default"
    location: Literal["apac", "eeur", "enam", "oc", "weur", "wnam"] | None = None
    storage_class: Literal["Standard", "InfrequentAccess"] = "Standard"
    zone: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    existing: R2BucketName | None = None

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
    """

    def __init__(self, spec: Spec, context: Context) -> None:
        super().__init__(
            "tandem:storage:R2Bucket", spec.name, {}, pulumi.ResourceOptions(**context.options(spec.provider))
        )
        self.resources: list[pulumi.CustomResource] = []
        self._cloudflare: Any = import_module("pulumi_cloudflare")
        self._spec, self._name = spec, bucket_name(spec, context)
        self._where = {
            "account_id": context.account("cloudflare", spec.emulated_account),
            "jurisdiction": spec.jurisdiction,
        }
        if spec.existing is None:
            self._bucket(protect=not context.dev)
        if spec.cors:
            self._set(self._cloudflare.R2BucketCors, "cors", rules=self._cors_rules())
        if spec.lifecycle is not None:
            self._set(self._cloudflare.R2BucketLifecycle, "lifecycle", rules=self._lifecycle_rules())
        if spec.existing is None:
            self._set(self._cloudflare.R2ManagedDomain, "managed-domain", enabled=False)
        if spec.zone and spec.public_url:
            host = urlsplit(spec.public_url).hostname
            self._set(
                self._cloudflare.R2CustomDomain, "domain", domain=host, zone_id=spec.zone, enabled=True, min_tls="1.2"
            )
        self.register_outputs({"bucket": self._name})

    def _bucket(self, *, protect: bool) -> None:
        made = self._cloudflare.R2Bucket(
            f"{self._spec.name}-bucket",
            name=self._name,
            location=self._spec.location,
            storage_class=self._spec.storage_class,
            **self._where,
            opts=self._options(protect=protect),
        )
        self.resources.append(made)

    def _set(self, kind: Any, role: str, **settings: Any) -> None:
        made = kind(
            f"{self._spec.name}-{role}", bucket_name=self._name, **self._where, **settings, opts=self._options()
        )
        self.resources.append(made)

    def _options(self, *, protect: bool = False) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=self.resources[-1:], protect=protect)

    def _cors_rules(self) -> list[Any]:
        cloudflare = self._cloudflare
        return [
            cloudflare.R2BucketCorsRuleArgs(
                id=f"cors-{index}",
                allowed=cloudflare.R2BucketCorsRuleAllowedArgs(
                    origins=list(rule.origins), methods=list(rule.methods), headers=list(rule.headers)
                ),
                expose_headers=list(rule.expose),
                max_age_seconds=rule.contract().max_age,
            )
            for index, rule in enumerate(self._spec.cors)
        ]

    def _lifecycle_rules(self) -> list[Any]:
        """All rules: a write replaces R2's own default too, which aborts uploads after a week."""
        cloudflare, lifecycle = self._cloudflare, self._spec.lifecycle
        rules = []
        if lifecycle and (abort := lifecycle.abort_multipart_after):
            condition = cloudflare.R2BucketLifecycleRuleAbortMultipartUploadsTransitionConditionArgs(
                type="Age", max_age=int(abort.total_seconds())
            )
            action = cloudflare.R2BucketLifecycleRuleAbortMultipartUploadsTransitionArgs(condition=condition)
            rules.append(self._rule("abort-multipart", "", abort_multipart_uploads_transition=action))
        for index, rule in enumerate(lifecycle.rules if lifecycle else ()):
            condition = cloudflare.R2BucketLifecycleRuleDeleteObjectsTransitionConditionArgs(
                type="Age", max_age=int(rule.expire_after.total_seconds())
            )
            action = cloudflare.R2BucketLifecycleRuleDeleteObjectsTransitionArgs(condition=condition)
            rules.append(self._rule(f"expire-{index}", rule.prefix, delete_objects_transition=action))
        return rules

    def _rule(self, name: str, prefix: str, **action: Any) -> Any:
        conditions = self._cloudflare.R2BucketLifecycleRuleConditionsArgs(prefix=prefix)
        return self._cloudflare.R2BucketLifecycleRuleArgs(id=name, enabled=True, conditions=conditions, **action)


def provision(spec: Spec, context: Context) -> Bucket:
    """Make the backend's bucket."""
    return Bucket(spec, context)


def provider(endpoint: Endpoint) -> pulumi.ProviderResource:
    """The provider of an emulated stack: R2's settings are written to the S3 server at *endpoint*."""
    cloudflare = import_module("pulumi_cloudflare")
    token = pulumi.Output.secret(f"{endpoint.access_key}:{endpoint.secret_key}")
    made: pulumi.ProviderResource = cloudflare.Provider("cloudflare", base_url=endpoint.url, api_token=token)
    return made


def entry(spec: Spec, context: Context) -> NamedStorageConfig:
    """The backend as the contract has it; its keys come from ``<NAME>_ACCESS_KEY`` and ``<NAME>_SECRET_KEY``."""
    endpoint = context.endpoint("cloudflare")
    if endpoint is not None:
        url = endpoint.url
        keys = (context.reference(endpoint.access_key_file), context.reference(endpoint.secret_key_file))
    else:
        url = endpoint_url(context.account("cloudflare", spec.emulated_account), spec.jurisdiction)
        variable = spec.name.upper().replace("-", "_")
        keys = (f"${{{variable}_ACCESS_KEY}}", f"${{{variable}_SECRET_KEY}}")
    settings: dict[str, Any] = {"bucket": bucket_name(spec, context), "endpoint_url": url}
    settings |= {"access_key": keys[0], "secret_key": keys[1], "public_url": spec.public_url}
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
    return spec.existing or naming.bucket(stack.project, stack.name, spec.name, account)
