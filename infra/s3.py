"""AWS S3: the bucket and its settings, one sidecar resource for each, and the contract's entry.

Sidecars only: the settings inside `aws.s3.Bucket` are deprecated, and mixing both makes them delete each other. They
run one after the other, because S3 answers 409 when a bucket's settings are written at the same time.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import pulumi
import pulumi_aws as aws
from pulumi_aws import kms, s3
from pydantic import AfterValidator, Field

from infra import adoption, keys, logs, naming
from infra import aws_settings as settings
from infra.aws import BucketRules, Home, bucket_policy, key_policy, role_policy
from infra.backend import SERVICE_KEYS, BackendSpec, EncryptionType
from infra.fields import wrong
from infra.identities import aws as identity_aws
from infra.logs import aws as aws_logs
from runtime.config import EncryptionConfig, NamedStorageConfig, StorageS3Config
from runtime.errors import Problem
from runtime.fields import S3BucketName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra.backend import Encryption, Grant
    from infra.context import Context
    from infra.endpoints import Endpoint
    from infra.stack import Stack

_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")
_IDENTITY: Final = re.compile(r"(?:arn:aws[a-z-]*:iam::\d{12}:)?(?:role|user)/[\w+=,.@/-]{1,512}")

_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise wrong(f"found {value!r}", "an AWS region such as eu-west-1")
    return value


class Spec(BackendSpec):
    """A backend on S3.

    Attributes:
        region: AWS region; ``aws:region`` of the stack when it is left out.
        namespace: Whose names the bucket's is unique among: everybody's, or the account's own in the region.
        existing: A bucket that is there already.
        take_over: One that becomes the stack's.
    """

    provider = "aws"
    emulated_account = "000000000000"
    encryptions = {"dev": "AES256", "standard": "aws:kms", "regulated": "aws:kms"}  # noqa: RUF012 - a ClassVar above
    key_times = keys.Times(
        rotate_after=keys.days(365),
        rotations=(keys.days(90), keys.days(2560)),
        rescue=keys.days(30),
        rescues=(keys.days(7), keys.days(30)),
    )
    retains = "new"
    example = {"region": "eu-west-1"}  # noqa: RUF012 - a ClassVar above
    expiry_deletes = False
    can_log = True
    # a week is as long as SigV4 signs; the bucket's policy also ends what older signatures leave open
    presign_ages = {"standard": timedelta(days=7), "regulated": timedelta(hours=12)}  # noqa: RUF012 - a ClassVar above
    identities = identity_aws.KINDS

    driver: Literal["s3"]
    region: Annotated[str, AfterValidator(_region)] = Field(description="here, or aws:region for the whole stack")
    namespace: Literal["global", "account-regional"] = "global"
    existing: S3BucketName | None = None
    take_over: S3BucketName | None = None

    @classmethod
    def from_stack(cls, stack: Stack) -> dict[str, Any]:
        """The stack's region."""
        region = stack.config.get("aws:region")
        return {} if region is None else {"region": region}

    def log_place(self, context: Context) -> str:  # noqa: ARG002 - the drivers' hook
        """S3 writes logs within a region only."""
        return logs.name("aws", self.region)

    def default_encryption(self, profile: str) -> EncryptionType | None:
        """The profile's; a public bucket keeps S3's own keys, because nobody may use a KMS key anonymously."""
        return SERVICE_KEYS if self.public else super().default_encryption(profile)

    def problems(self, context: Context) -> Iterator[Problem]:
        """Identities that IAM does not know, and an account that ARNs need."""
        for index, grant in enumerate(self.grants):
            if grant.to.known is not None and not _IDENTITY.fullmatch(grant.to.known):
                allowed = f"role/<name>, user/<name>, their ARN, or a mapping: {', '.join(sorted(self.identities))}"
                yield Problem(f"grants[{index}].to", f"found {grant.to.known!r}", allowed)
        resolved = self.resolved(context.profile)
        if self.public and self.customer_key:
            yield Problem(
                "encryption.type", "found 'aws:kms' on a public bucket: nobody may use a key anonymously", "AES256"
            )
        if self.retention and self.transfer.checksum == "when_required":
            wish = "auto: S3 takes no upload without a checksum where objects are retained"
            yield Problem("transfer.checksum", "found 'when_required' beside retention", wish)
        given = self.encryption.kms_key_id if self.encryption else None
        if given and not _KEY.fullmatch(given) and any(grant.to.kind for grant in self.grants):
            found = f"found {given!r}: a role's policy names a key by its ARN"
            yield Problem("encryption.kms_key_id", found, "arn:aws:kms:<region>:<account>:key/<id>")
        account = context.account("aws", self.emulated_account)
        if _regional(self) and (self.existing or self.take_over):
            yield Problem("namespace", "is for a new bucket, and this one has its name", "leave it out")
        needed = bool(self.grants) or resolved.customer_key or self.logged(context) or _regional(self)
        if needed and not re.fullmatch(r"\d{12}", account):
            wish = "is required for customer keys, grants, access logs and names of the account's own"
            found = f"found {account!r}" if account else wish
            yield Problem("tandem:accounts.aws", found, 'the account, quoted: "123456789012"')


class Bucket(pulumi.ComponentResource):
    """An S3 bucket with everything that its spec asks for.

    Attributes:
        resources: What was made, in order; the contract is written when all of it exists.
    """

    def __init__(self, spec: Spec, context: Context) -> None:
        super().__init__("tandem:storage:S3Bucket", spec.name, {}, adoption.options(spec, context))
        self.resources: list[pulumi.CustomResource] = []
        self._spec, self._dev = spec, context.dev
        self._namespace = spec.namespace if _regional(spec) else None
        self._name, self._home = bucket_name(spec, context), home(spec, context)
        self._tags = context.owner_tags(spec.name, spec.tags)
        self._key_arn: Any = None
        self._bucket()
        self._access()
        self._encryption()
        if spec.versioning is not None:
            self._set(s3.BucketVersioning, "versioning", versioning_configuration=settings.versioning(spec.versioning))
        if spec.retention is not None:
            self._set(s3.BucketObjectLockConfiguration, "object-lock", rule=settings.object_lock(spec.retention))
        if rules := settings.lifecycle_rules(spec):
            self._set(s3.BucketLifecycleConfiguration, "lifecycle", rules=rules)
        if spec.cors:
            self._set(s3.BucketCorsConfiguration, "cors", cors_rules=settings.cors_rules(spec))
        if policy := bucket_policy(self._home.bucket(self._name), _rules(spec, context)):
            self._set(s3.BucketPolicy, "policy", policy=policy)
        if spec.logged(context):
            self._logging(context)
        for grant in spec.grants:
            if grant.to.kind:
                self._role(grant, context)
        self.register_outputs({"bucket": self._name})

    def _bucket(self) -> None:
        if self._spec.existing:
            opts = pulumi.ResourceOptions(parent=self)
            self.resources.append(
                s3.Bucket.get(f"{self._spec.name}-bucket", self._name, opts, region=self._home.region)
            )
            return
        gone, lock = bool(self._spec.force_destroy), True if self._spec.retention else None
        self._set(
            s3.Bucket,
            "bucket",
            protect=not self._dev,
            force_destroy=gone,
            object_lock_enabled=lock,
            bucket_namespace=self._namespace,
            tags=self._tags,
        )

    def _access(self) -> None:
        if self._spec.existing and not self._spec.public:
            return
        closed = not self._spec.public
        self._set(
            s3.BucketPublicAccessBlock,
            "public-access",
            block_public_acls=True,
            ignore_public_acls=True,
            block_public_policy=closed,
            restrict_public_buckets=closed,
        )
        rule = s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced")
        self._set(s3.BucketOwnershipControls, "ownership", rule=rule)

    def _encryption(self) -> None:
        encryption = self._spec.encryption
        if encryption is None:
            return
        key: Any = encryption.kms_key_id
        if encryption.customer_key and key is None:
            key = self._key(encryption)
        if encryption.customer_key:
            self._key_arn = key
        rule = settings.encryption(encryption, key)
        self._set(s3.BucketServerSideEncryptionConfiguration, "encryption", rules=[rule])

    def _key(self, encryption: Encryption) -> Any:
        key = kms.Key(
            f"{self._spec.name}-key",
            description=f"Encrypts the bucket {self._name}",
            enable_key_rotation=True,
            rotation_period_in_days=_days(encryption.rotate_after),
            deletion_window_in_days=_days(encryption.delete_after),
            policy=key_policy(self._home, _named(self._spec, self._home)),
            region=self._home.region,
            tags=self._tags,
            opts=self._options(protect=not self._dev),
        )
        self.resources.append(key)
        alias = kms.Alias(
            f"{self._spec.name}-key-alias",
            name=f"alias/{self._name}",
            target_key_id=key.key_id,
            region=self._home.region,
            opts=self._options(),
        )
        self.resources.append(alias)
        return key.arn

    def _logging(self, context: Context) -> None:
        place = context.logs[self._spec.log_place(context)]
        by_event = s3.BucketLoggingTargetObjectKeyFormatPartitionedPrefixArgs(partition_date_source="EventTime")
        self._set(
            s3.BucketLogging,
            "logging",
            after=place.resources[-1:],
            target_bucket=aws_logs.bucket_name(self._home, context),
            target_prefix=f"{self._spec.name}/",
            target_object_key_format=s3.BucketLoggingTargetObjectKeyFormatArgs(partitioned_prefix=by_event),
        )

    def _role(self, grant: Grant, context: Context) -> None:
        """The role of a grant, unless another backend has made it, and its rights here."""
        made_role, new = identity_aws.role(grant, context, self._home)
        self.resources += new
        bucket = self._home.bucket(self._name)
        policy = pulumi.Output.from_input(self._key_arn).apply(
            lambda key: role_policy(grant.access, bucket, self._home, key)
        )
        self.resources.append(identity_aws.rights(self._spec.name, grant, made_role, policy, self._options()))

    def _set(
        self, kind: Any, role: str, *, protect: bool = False, after: Sequence[pulumi.Resource] = (), **inputs: Any
    ) -> None:
        """Make one resource of the bucket, after the one before and those of elsewhere."""
        options, name = self._options(after, protect=protect), f"{self._spec.name}-{role}"
        self.resources.append(kind(name, bucket=self._name, region=self._home.region, **inputs, opts=options))

    def _options(self, after: Sequence[pulumi.Resource] = (), *, protect: bool = False) -> pulumi.ResourceOptions:
        after = [*self.resources[-1:], *after]
        return pulumi.ResourceOptions(parent=self, depends_on=after, protect=protect, retain_on_delete=protect or None)


def provision(spec: Spec, context: Context) -> Bucket:
    """Make the backend's bucket."""
    return Bucket(spec, context)


def provision_logs(spec: Spec, context: Context) -> aws_logs.Logs:
    """Make the bucket for the logs of the backend's region."""
    return aws_logs.Logs(home(spec, context), context)


def provider(endpoint: Endpoint) -> aws.Provider:
    """The provider of an emulated stack: its S3 and KMS are at *endpoint*, and no AWS is ever asked."""
    if not endpoint.url.startswith("https://"):
        # once for each run that changes something: `tandem up` previews first
        say = pulumi.log.info if pulumi.runtime.is_dry_run() else pulumi.log.warn
        say("the TLS-only policy of S3 buckets is left out: the emulator of this stack speaks plain http")
    return aws.Provider(
        "aws",
        region=endpoint.region,
        access_key=endpoint.access_key,
        secret_key=pulumi.Output.secret(endpoint.secret_key),
        endpoints=[aws.ProviderEndpointArgs(s3=endpoint.url, kms=endpoint.url, iam=endpoint.url)],
        s3_use_path_style=True,
        skip_credentials_validation=True,
        skip_metadata_api_check=True,
        skip_region_validation=True,
        skip_requesting_account_id=True,
    )


def entry(spec: Spec, context: Context) -> NamedStorageConfig:
    """The backend as the contract has it."""
    endpoint = context.endpoint("aws")
    found: dict[str, Any] = {"bucket": bucket_name(spec, context), "region": spec.region}
    found |= {"public_url": spec.public_url, "encryption": _encryption(spec, context)}
    if endpoint is not None:
        found |= {"endpoint_url": endpoint.url, **context.key_references(endpoint)}
    held = {"tls_only": _rules(spec, context).tls_only, "public_blocked": not (spec.existing or spec.public)}
    capabilities = ["presign", *(name for name, kept in held.items() if kept)]
    return spec.named(StorageS3Config(**found), capabilities=capabilities, logged=spec.logged(context))


def bucket_name(spec: Spec, context: Context) -> str:
    """The bucket's name, known before it exists."""
    stack, account = context.stack, context.account("aws", spec.emulated_account)
    if there := spec.existing or spec.take_over:
        return there
    if _regional(spec):
        return naming.regional_bucket(stack.project, stack.name, spec.name, account, spec.region)
    return naming.bucket(stack.project, stack.name, spec.name, account)


def _regional(spec: Spec) -> bool:
    return spec.namespace == "account-regional"


def home(spec: Spec, context: Context) -> Home:
    """Region and account of the backend."""
    return Home(spec.region, context.account("aws", spec.emulated_account))


def _rules(spec: Spec, context: Context) -> BucketRules:
    where = home(spec, context)
    # on an existing bucket only what the spec declares: a policy replaces the one that is there
    granted = _named(spec, where)
    declared = not spec.existing or bool(granted) or spec.public or spec.presign_max_age is not None
    return BucketRules(
        tls_only=declared and context.speaks_tls("aws"),
        presign_max_age=spec.presign_max_age,
        grants=granted,
        public=spec.public,
    )


def _named(spec: Spec, where: Home) -> list[tuple[str, Sequence[str]]]:
    """The grants to identities that exist, which the bucket's and the key's policies name; roles have their own."""
    return [(where.identity(grant.to.known), grant.access) for grant in spec.grants if grant.to.known]


def _encryption(spec: Spec, context: Context) -> EncryptionConfig:
    found = spec.encryption
    if found is None:
        return EncryptionConfig()
    # the alias, because a key's own id is not known before it exists
    made = home(spec, context).alias(bucket_name(spec, context)) if found.customer_key else None
    return EncryptionConfig(enabled=True, type=found.type, kms_key_id=found.kms_key_id or made)


def _days(found: timedelta | None) -> int | None:
    return found.days if found else None
