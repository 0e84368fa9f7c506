"""Google Cloud Storage: the bucket, its customer key, who may use it, and the contract's entry."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import pulumi
from pulumi_gcp import Provider, kms, serviceaccount, storage
from pydantic import AfterValidator, Field

from infra import adoption, gcp, gcp_settings, keys, logs, naming
from infra.backend import BackendSpec
from infra.fields import Duration
from infra.identities import gcp as identity_gcp
from infra.logs import gcp as gcp_logs
from runtime.config import EncryptionConfig, NamedStorageConfig, StorageGCSConfig
from runtime.errors import Problem
from runtime.fields import GCSBucketName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from infra.backend import Grant
    from infra.context import Context
    from infra.endpoints import Endpoint
    from infra.stack import Stack

_KEY: Final = "storage"
_OF_A_NEW_BUCKET: Final = (
    "cors", "encryption", "lifecycle", "logging", "retention", "soft_delete", "storage_class", "tags", "versioning"
)  # fmt: skip


class Spec(BackendSpec):
    """A backend on Google Cloud Storage.

    Attributes:
        location: Multi-region, dual-region or region of the bucket.
        project: Project of the bucket; that of ``tandem:accounts`` or ``gcp:project`` when it is left out.
        storage_class: Class of new objects.
        soft_delete: How long deleted objects can be restored: 0s, or 7d to 90d. It costs what they cost.
        signer_email: Service account that signs URLs by IAM where the application has no key file.
        existing: A bucket that is there already.
        take_over: One that becomes the stack's.
    """

    provider = "gcp"
    emulated_account = "tandem-emulated"
    encryptions = {"dev": "AES256", "standard": "gcs:cmek", "regulated": "gcs:cmek"}  # noqa: RUF012 - a ClassVar
    key_times = keys.Times(
        rotate_after=keys.days(90),
        rotations=(keys.days(1), keys.days(36_500)),
        rescue=keys.days(30),
        rescues=(keys.days(1), keys.days(120)),
    )
    retains = "instead of versions"
    example = {"location": "EU", "project": "example"}  # noqa: RUF012 - a ClassVar above
    can_log = True
    # what IAM signs for an application without a key file is good for at least that long, and no longer for sure
    presign_ages = dict.fromkeys(("standard", "regulated"), timedelta(hours=12))
    identities = identity_gcp.KINDS

    driver: Literal["gcs"]
    location: Annotated[str, AfterValidator(gcp.location)] = Field(description="EU, US, ASIA or a region")
    project: Annotated[str, AfterValidator(gcp.project)] = Field(
        description='here, or tandem:accounts: {gcp: "<project>"} or gcp:project for the whole stack'
    )
    storage_class: Literal["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"] = "STANDARD"
    soft_delete: Duration | None = None
    signer_email: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[a-z0-9.-]+$", description="a service account's e-mail"
    )
    existing: GCSBucketName | None = None
    take_over: GCSBucketName | None = None

    @classmethod
    def from_stack(cls, stack: Stack) -> dict[str, Any]:
        """The stack's project."""
        if cls.provider in stack.emulators:
            return {"project": cls.emulated_account}
        project = stack.accounts.get("gcp") or stack.config.get("gcp:project")
        return {} if project is None else {"project": project}

    def problems(self, context: Context) -> Iterator[Problem]:
        """Identities and grants that IAM does not know, tags that are no labels, and what only a new bucket can get."""
        for index, grant in enumerate(self.grants):
            if grant.to.known is not None and not gcp.IDENTITY.fullmatch(grant.to.known):
                allowed = (
                    "serviceAccount:<e-mail>, user:<e-mail>, group:<e-mail>, principal://…, or a workload_identity"
                )
                yield Problem(f"grants[{index}].to", f"found {grant.to.known!r}", allowed)
            if _signs(grant.access) and not list(gcp.signers(self.member(grant, context), self.signer_email)):
                yield Problem("signer_email", f"is required: {grant.name} has no service account to sign with", "one")
        kept = self.soft_delete
        if kept and not timedelta(days=7) <= kept <= timedelta(days=90):
            yield Problem("soft_delete", "found what the service refuses", "0s, or 7d to 90d")
        tags = context.owner_tags(self.name, self.tags)
        if len(gcp.labels(tags)) < len(tags):
            yield Problem("tags", "two of the tags have the same name as labels", "names that differ in [a-z0-9_-]")
        yield from self._existing_problems()

    def log_place(self, context: Context) -> str:  # noqa: ARG002 - the drivers' hook
        """Where the bucket is, so that no name of an object leaves the place that was chosen."""
        return logs.name("gcp", self.project, self.location)

    def member(self, grant: Grant, context: Context) -> str:
        """A grant's identity as IAM names it."""
        return identity_gcp.member(grant, context, self.project)

    def _existing_problems(self) -> Iterator[Problem]:
        """A bucket's settings are part of the bucket, so one that somebody else manages keeps all of them."""
        for key in _OF_A_NEW_BUCKET if self.existing else ():
            if key in self.model_fields_set:
                wish = "leave it out, and set it where the bucket is managed"
                yield Problem(key, "GCS has no settings apart from the bucket, and this one exists already", wish)

    def resolved(self, profile: str) -> Self:
        """Soft delete too: nothing deleted is paid for in dev, a week of it elsewhere."""
        found = super().resolved(profile)
        if found.existing or found.soft_delete is not None:
            return found
        return found.model_copy(update={"soft_delete": timedelta(0 if profile == "dev" else 7)})


class Bucket(pulumi.ComponentResource):
    """A GCS bucket with everything that its spec asks for.

    GCS keeps a bucket's settings in the bucket, so there is one resource for them; beside it are its key and who may
    use it. A key ring can never be deleted, and neither its name nor that of a key be used again: both stay when the
    stack goes, and a stack that comes back names its key by ``kms_key_id``.

    Attributes:
        resources: What was made, in order; the contract is written when all of it exists.
    """

    def __init__(self, spec: Spec, context: Context) -> None:
        super().__init__("tandem:storage:GCSBucket", spec.name, {}, adoption.options(spec, context))
        self.resources: list[pulumi.CustomResource] = []
        self._spec, self._context = spec, context
        self._name = bucket_name(spec, context)
        self._labels = gcp.labels(context.owner_tags(spec.name, spec.tags))
        if spec.existing:
            self.resources.append(storage.Bucket.get(f"{spec.name}-bucket", self._name, opts=self._options()))
        else:
            self._bucket(self._key() if spec.customer_key else None)
        self._access()
        self.register_outputs({"bucket": self._name})

    def _bucket(self, key: str | None) -> None:
        spec = self._spec
        refused = storage.BucketEncryptionCustomerSuppliedEncryptionEnforcementConfigArgs(
            restriction_mode="FullyRestricted"
        )
        soft_delete = int((spec.soft_delete or timedelta(0)).total_seconds())
        bucket = storage.Bucket(
            f"{spec.name}-bucket",
            name=self._name,
            project=spec.project,
            location=spec.location,
            storage_class=spec.storage_class,
            uniform_bucket_level_access=True,
            public_access_prevention="inherited" if spec.public else "enforced",
            versioning=storage.BucketVersioningArgs(enabled=bool(spec.versioning)),
            # always said: what is left out is a week, which costs money
            soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=soft_delete),
            encryption=storage.BucketEncryptionArgs(
                default_kms_key_name=key, customer_supplied_encryption_enforcement_config=refused
            ),
            lifecycle_rules=gcp_settings.lifecycle_rules(spec) or None,
            cors=gcp_settings.cors_rules(spec) or None,
            labels=self._labels,
            force_destroy=bool(spec.force_destroy),
            logging=self._logging(),
            retention_policy=gcp_settings.retention(spec),
            opts=self._options(self._log_place(), protect=not self._context.dev),
        )
        self.resources.append(bucket)

    def _log_place(self) -> list[pulumi.CustomResource]:
        """What has to be there before the first log comes."""
        spec = self._spec
        return self._context.logs[spec.log_place(self._context)].resources[-1:] if spec.logged(self._context) else []

    def _logging(self) -> storage.BucketLoggingArgs | None:
        spec = self._spec
        if not spec.logged(self._context):
            return None
        name = gcp_logs.bucket_name(spec.project, spec.location, self._context)
        return storage.BucketLoggingArgs(log_bucket=name, log_object_prefix=spec.name)

    def _key(self) -> str:
        """The key's resource name: its owner's, or that of a new one that the storage service may use."""
        spec, keep = self._spec, not self._context.dev
        if spec.encryption and spec.encryption.kms_key_id:
            return spec.encryption.kms_key_id
        ring = kms.KeyRing(
            f"{spec.name}-key-ring",
            name=self._name,
            project=spec.project,
            location=gcp.key_location(spec.location),
            opts=self._options(protect=keep, retain_on_delete=True),
        )
        self.resources.append(ring)
        name = key_name(spec, self._context)
        key = kms.CryptoKey(
            f"{spec.name}-key",
            name=_KEY,
            key_ring=name.removesuffix(f"/cryptoKeys/{_KEY}"),
            purpose="ENCRYPT_DECRYPT",
            rotation_period=_seconds(spec.encryption.rotate_after if spec.encryption else None),
            destroy_scheduled_duration=_seconds(spec.encryption.delete_after if spec.encryption else None),
            labels=self._labels,
            opts=self._options(protect=keep, retain_on_delete=True),
        )
        self.resources.append(key)
        user = kms.CryptoKeyIAMMember(
            f"{spec.name}-key-user",
            crypto_key_id=name,
            role=gcp.KEY_USER,
            member=self._service_agent(),
            opts=self._options(),
        )
        self.resources.append(user)
        return name

    def _service_agent(self) -> Any:
        """Who encrypts for the project's buckets.

        Its address holds the project's number, so the cloud is asked, which also makes it: a new project has none. No
        emulator has one either, and none has IAM.
        """
        if self._context.emulated("gcp"):
            return "serviceAccount:service-0@gs-project-accounts.iam.gserviceaccount.com"
        options = pulumi.InvokeOutputOptions(parent=self)
        return storage.get_project_service_account_output(project=self._spec.project, opts=options).member

    def _access(self) -> None:
        spec = self._spec
        if spec.public:
            self._member("public", gcp.PUBLIC_READER, "allUsers")
        for grant in spec.grants:
            self._grant(grant)

    def _grant(self, grant: Grant) -> None:
        spec, context = self._spec, self._context
        who, member = naming.identity(grant.name), spec.member(grant, context)
        bound = identity_gcp.bind(grant, context, spec.project)
        for role in gcp.object_roles(grant.access):
            self._member(f"{role.rpartition('.')[2]}-{who}", role, member, bound)
        if gcp.deletes_apart(grant.access):
            deleter, made = identity_gcp.custom(gcp.DELETER, context, spec.project)
            self._member(f"deleter-{who}", deleter, member, [*bound, made])
        for email in gcp.signers(member, spec.signer_email) if _signs(grant.access) else ():
            role, before = self._signing(member, email)
            signer = serviceaccount.IAMMember(
                f"{spec.name}-signer-{who}",
                service_account_id=gcp.service_account(email),
                role=role,
                member=member,
                opts=self._options(after=[*bound, *before]),
            )
            self.resources.append(signer)

    def _signing(self, member: str, email: str) -> tuple[str, list[pulumi.CustomResource]]:
        """The role by which *member* signs in the name of a service account, and what has to be there before."""
        if member == f"serviceAccount:{email}":
            return gcp.TOKEN_CREATOR, []  # it can not become more than it is
        role, made = identity_gcp.custom(gcp.SIGNER, self._context, gcp.home_of(email) or self._spec.project)
        return role, [made]

    def _member(self, role: str, iam_role: str, member: str, after: Sequence[pulumi.Resource] = ()) -> None:
        # named by whom and what: by its place in the spec, a grant that moves up would be deleted after it was made
        name = f"{self._spec.name}-{role}"
        opts = self._options(after=after)
        made = storage.BucketIAMMember(name, bucket=self._name, role=iam_role, member=member, opts=opts)
        self.resources.append(made)

    def _options(
        self, after: Sequence[pulumi.Resource] = (), *, protect: bool = False, retain_on_delete: bool | None = None
    ) -> pulumi.ResourceOptions:
        before = [*self.resources[-1:], *after]
        return pulumi.ResourceOptions(
            parent=self, depends_on=before, protect=protect, retain_on_delete=retain_on_delete or protect or None
        )


def provision(spec: Spec, context: Context) -> Bucket:
    """Make the backend's bucket."""
    return Bucket(spec, context)


def provision_logs(spec: Spec, context: Context) -> gcp_logs.Logs:
    """Make the bucket for the logs of the backend's project and place."""
    return gcp_logs.Logs(spec.project, spec.location, context)


def provider(endpoint: Endpoint) -> Provider:
    """The provider of an emulated stack: storage and keys are at *endpoint*, and no Google is ever asked."""
    return Provider(
        "gcp",
        project=Spec.emulated_account,
        storage_custom_endpoint=f"{endpoint.url}/storage/v1/",
        kms_custom_endpoint=f"{endpoint.url}/kms/v1/",
        iam_custom_endpoint=f"{endpoint.url}/iam/v1/",
        access_token=pulumi.Output.secret("emulator"),  # or the real provider would look for the user's own
    )


def entry(spec: Spec, context: Context) -> NamedStorageConfig:
    """The backend as the contract has it."""
    endpoint = context.endpoint("gcp")
    settings: dict[str, Any] = {"bucket": bucket_name(spec, context), "project_id": spec.project}
    settings |= {"signer_email": _signer(spec, context), "public_url": spec.public_url}
    settings["endpoint_url"] = endpoint.url if endpoint else None
    if spec.encryption is not None:
        key = (spec.encryption.kms_key_id or key_name(spec, context)) if spec.encryption.customer_key else None
        settings["encryption"] = EncryptionConfig(enabled=True, type=spec.encryption.type, kms_key_id=key)
    capabilities = [] if endpoint else ["presign"]  # no emulator gives credentials, which signatures are made with
    if not (spec.existing or spec.public or endpoint):  # and none knows of public access prevention
        capabilities.append("public_blocked")
    return spec.named(StorageGCSConfig(**settings), capabilities=capabilities, logged=spec.logged(context))


def _signer(spec: Spec, context: Context) -> str | None:
    """The service account in whose name the application signs, where there is no doubt about it."""
    presigning = (grant for grant in spec.grants if _signs(grant.access))
    found = {email for grant in presigning for email in gcp.signers(spec.member(grant, context), spec.signer_email)}
    return spec.signer_email or (found.pop() if len(found) == 1 else None)


def _signs(access: Collection[str]) -> bool:
    return "presign" in access or "admin" in access


def bucket_name(spec: Spec, context: Context) -> str:
    """The bucket's name, known before it exists."""
    return (
        spec.existing
        or spec.take_over
        or naming.gcs_bucket(context.stack.project, context.stack.name, spec.name, spec.project)
    )


def key_name(spec: Spec, context: Context) -> str:
    """The resource name of the key that the program makes: the ring has the bucket's name."""
    ring = f"projects/{spec.project}/locations/{gcp.key_location(spec.location)}/keyRings/{bucket_name(spec, context)}"
    return f"{ring}/cryptoKeys/{_KEY}"


def _seconds(duration: timedelta | None) -> str | None:
    return f"{int(duration.total_seconds())}s" if duration else None
