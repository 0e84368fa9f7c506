"""What a person may ask of one named backend, whatever its driver.

The keys of one driver are in ``infra/<driver>.py``, in its ``Spec``; `infra.spec` reads and checks a whole spec, and
``stacks/README.md`` lists every key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StrictBool

from infra.fields import CacheTime, Day, Days, Duration, Header, Origin, PublicUrl, RuleId, Tags, Unique
from infra.identities import Identity
from infra.keys import Times
from runtime.config import (
    CorsRule,
    ExpectConfig,
    GrantConfig,
    LifecycleConfig,
    NamedStorageConfig,
    TransferConfig,
)
from runtime.config import LifecycleRule as ContractRule
from runtime.config import Model as ContractModel
from runtime.fields import BackendName

if TYPE_CHECKING:
    from infra.context import Context
    from infra.stack import Stack
    from runtime.errors import Problem

EncryptionType = Literal["AES256", "aws:kms", "gcs:cmek", "azure:cmk"]
Access = Literal["read", "write", "list", "presign", "delete", "admin"]

SERVICE_KEYS: Final[EncryptionType] = "AES256"

Names = Annotated[tuple[Header, ...], Unique]


class Model(BaseModel):
    """Base of every model of the spec: frozen, no unknown keys, nothing converted quietly."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Cors(Model):
    """What browsers on other origins may do.

    Attributes:
        origins: ``https://app.example.com``; http and ``*`` in profile dev only.
        methods: ``GET PUT POST DELETE HEAD``.
        headers: Request headers that scripts may send.
        expose: Response headers that scripts may read.
        max_age: How long a browser may remember the answer.
    """

    origins: Annotated[tuple[Origin, ...], Unique] = Field(min_length=1)
    methods: Annotated[tuple[Literal["GET", "PUT", "POST", "DELETE", "HEAD"], ...], Unique] = Field(min_length=1)
    headers: Names = ()
    expose: Names = ()
    max_age: CacheTime = timedelta(hours=1)

    def contract(self) -> CorsRule:
        """The rule as the contract has it."""
        seconds = int(self.max_age.total_seconds())
        return CorsRule(
            origins=self.origins, methods=self.methods, headers=self.headers, expose=self.expose, max_age=seconds
        )


class Encryption(Model):
    """Whose key encrypts at rest.

    Attributes:
        type: ``AES256``, keys of the service, or a customer's key of the backend's cloud.
        kms_key_id: A key that exists already; without it the program makes one that rotates.
        rotate_after: Age at which a key that the program makes gets new material.
        delete_after: How long such a key can be rescued after it was deleted.
    """

    type: EncryptionType = Field(description="AES256, aws:kms, gcs:cmek or azure:cmk")
    kms_key_id: str | None = Field(default=None, min_length=1)
    rotate_after: Days | None = None
    delete_after: Days | None = None

    @property
    def customer_key(self) -> bool:
        """Whether a customer's key is used."""
        return self.type != SERVICE_KEYS


class LifecycleRule(Model):
    """Objects that expire by themselves.

    Attributes:
        prefix: Start of their paths; empty for all.
        expire_after: Age at which they are deleted.
    """

    prefix: str = Field(max_length=1024)
    expire_after: Days


class Lifecycle(Model):
    """What the bucket throws away by itself.

    Attributes:
        abort_multipart_after: Age of an upload that nobody completed.
        expire_noncurrent_after: Time since a version was overwritten or deleted.
        rules: Objects that expire.
    """

    abort_multipart_after: Days | None = None
    expire_noncurrent_after: Days | None = None
    rules: tuple[LifecycleRule, ...] = ()

    def contract(self) -> LifecycleConfig:
        """The same as the contract has it: in days, without what is not asked for."""
        found: dict[str, Any] = {
            "abort_multipart_days": self.abort_multipart_after and self.abort_multipart_after.days,
            "expire_noncurrent_days": self.expire_noncurrent_after and self.expire_noncurrent_after.days,
            "rules": tuple(ContractRule(prefix=rule.prefix, expire_days=rule.expire_after.days) for rule in self.rules),
        }
        return LifecycleConfig(**{key: value for key, value in found.items() if value})


class Grant(Model):
    """What one identity may do with the backend.

    A reader is who has ``read``, a writer ``write`` (which deletes nothing), and so on; ``admin`` is everything with
    objects and their versions, and to see the bucket's settings. No grant lets anybody change these.

    Attributes:
        to: The identity, as the backend's cloud names it, or one to make (`infra.identities`).
        access: ``read write list presign delete admin``.
    """

    to: Identity = Field(description="who gets access")
    access: Annotated[tuple[Access, ...], Unique] = Field(min_length=1)

    @property
    def name(self) -> str:
        """The identity's name."""
        return self.to.name


class Exemption(Model):
    """A security rule that one backend does not keep, because somebody decided so.

    Attributes:
        rule: Id of the rule: ``AZ-05``.
        backend: Name of the backend.
        reason: Why, for whoever asks.
        expires: The last day it holds; from the next on the rule fails again.
    """

    rule: RuleId = Field(description="a rule's id such as AZ-05; tandem check --rules lists them")
    backend: str = Field(description="a backend's name")
    reason: str = Field(min_length=10, max_length=500, description="why the rule is not kept")
    expires: Day = Field(description='a day, quoted: "2027-06-30"')


class Retention(Model):
    """How long objects can not be deleted, nor overwritten.

    Attributes:
        keep: Age that an object has to reach first.
        locked: Whether nobody can take that back any more, not even the account's owner. There is no way out of it.
    """

    keep: Days = Field(description="how long: 30d")
    locked: StrictBool = False


class BackendSpec(Model):
    """One named backend.

    What is left out gets the profile's default, except on an ``existing`` bucket: there what the spec does not say
    stays as it is.

    Attributes:
        name: What the application calls it; the key above.
        driver: ``s3 gcs azure r2 local memory``.
        primary: Whether it is also the backend without a name.
        cors: What browsers may do.
        encryption: Whose key encrypts at rest.
        lifecycle: What the bucket throws away by itself.
        grants: Who may do what.
        versioning: Whether overwritten and deleted objects are kept as versions.
        retention: How long objects can not be deleted, by nobody.
        public: Whether anybody may read without a signature.
        public_url: Where the objects are served to browsers.
        existing: A bucket that is there already; it is adopted, never deleted.
        take_over: A bucket that is there already and becomes one of the stack's; see `infra.adoption`.
        read_fallback: Backend of this spec that has what this one does not have yet, while objects are brought over.
        logging: Whether each access is logged; by default as the stack says, and never on an existing bucket.
        force_destroy: Whether destroying the stack deletes a bucket that still holds objects.
        tags: Owner tags beside the spec's own.
        transfer: How the application moves large objects.
        presign_max_age: Longest life of a presigned URL. The application signs none that lives longer; on S3 the bucket
            refuses older ones too, whatever their own expiry says.
    """

    provider: ClassVar[str | None] = None
    """Pulumi's name of the cloud; None when there is none."""

    emulated_account: ClassVar[str] = ""
    """The account that the cloud's emulator works in."""

    encryptions: ClassVar[Mapping[str, EncryptionType]] = {}
    """The default of each profile; together they are what the service can do."""

    key_times: ClassVar[Times | None] = None
    """How long the keys that the program makes live; None when it makes none."""

    cannot: ClassVar[Mapping[str, str]] = {}
    """Keys below that the service can not honour, and why: refused, never dropped."""

    retains: ClassVar[Literal["", "new", "instead of versions", "open"]] = ""
    """How the service keeps ``retention``: in a new bucket only, in place of versions, revocably; empty: not at all."""

    expiry_deletes: ClassVar[bool] = True
    """Whether an expired object is gone; otherwise it is hidden, and what ``retention`` keeps is its version."""

    example: ClassVar[Mapping[str, Any]] = {}
    """The least that a backend has to say beside its driver, for the guide's table of defaults."""

    can_log: ClassVar[bool] = False
    """Whether the service logs accesses; then `log_place` and the module's ``provision_logs`` say where to."""

    presign_ages: ClassVar[Mapping[str, timedelta]] = {"regulated": timedelta(hours=12)}
    """The default of ``presign_max_age`` in a profile; none where there is no entry."""

    most_cors_rules: ClassVar[int] = 100
    """CORS rules that one bucket may have."""

    identities: ClassVar[frozenset[str]] = frozenset()
    """The identities that the program makes for grants here; what else ``to`` may be is in `problems`."""

    name: BackendName = Field(exclude=True)
    driver: str
    primary: StrictBool = False
    cors: tuple[Cors, ...] = ()
    encryption: Encryption | None = None
    lifecycle: Lifecycle | None = None
    grants: tuple[Grant, ...] = ()
    versioning: StrictBool | None = None
    retention: Retention | None = None
    public: StrictBool = False
    public_url: PublicUrl | None = None
    existing: str | None = None
    take_over: str | None = None
    read_fallback: BackendName | None = None
    logging: StrictBool | None = None
    force_destroy: StrictBool | None = None
    tags: Tags = Field(default_factory=dict)
    transfer: TransferConfig = TransferConfig()
    presign_max_age: Duration | None = None

    _said: frozenset[str] = PrivateAttr(default=frozenset())

    def model_post_init(self, _context: Any) -> None:
        """Remember what the spec itself says: `resolved` fills in the rest."""
        self._said = frozenset(self.model_fields_set)

    @property
    def said(self) -> frozenset[str]:
        """The keys that the spec says, and not its profile."""
        return self._said

    @classmethod
    def from_stack(cls, stack: Stack) -> dict[str, Any]:  # noqa: ARG003 - the drivers' hook
        """Values for keys that are left out, from elsewhere in the stack's configuration."""
        return {}

    def problems(self, context: Context) -> Iterator[Problem]:  # noqa: ARG002 - the drivers' hook
        """What is wrong between several keys, with paths below the backend."""
        return iter(())

    def logged(self, context: Context) -> bool:
        """Whether accesses are logged."""
        if not self.can_log:
            return False
        if self.logging is not None:
            return self.logging
        return self.existing is None and context.logging.on(context.profile)

    def log_place(self, context: Context) -> str | None:  # noqa: ARG002 - the drivers' hook
        """Name of the stack's place for its logs; None where the logs go somewhere else."""
        return None

    def default_encryption(self, profile: str) -> EncryptionType | None:
        """Whose key encrypts when the spec does not say."""
        return self.encryptions.get(profile)

    def resolved(self, profile: str) -> Self:
        """The same with the profile's defaults in place of what is left out."""
        defaults: dict[str, Any] = {}
        managed = self.existing is None and self.provider is not None
        if managed and (kind := self.encryption.type if self.encryption else self.default_encryption(profile)):
            found = self.encryption or Encryption(type=kind)
            makes = self.key_times is not None and found.customer_key and found.kms_key_id is None
            defaults["encryption"] = self.key_times.resolved(found, profile) if makes and self.key_times else found
        versioning = self.versioning
        if managed and versioning is None and "versioning" not in self.cannot:
            versioning = defaults["versioning"] = self._versioned(profile)
        if managed and "lifecycle" not in self.cannot:
            defaults["lifecycle"] = _lifecycle(self.lifecycle or Lifecycle(), versioning=bool(versioning))
        if managed and self.force_destroy is None and "force_destroy" not in self.cannot:
            defaults["force_destroy"] = profile == "dev" and self.take_over is None and self.retention is None
        if managed and self.presign_max_age is None:
            defaults["presign_max_age"] = self.presign_ages.get(profile)
        return self.model_copy(update=defaults)

    def _versioned(self, profile: str) -> bool:
        if self.retention is not None:
            return self.retains == "new"  # S3 and Azure retain versions, GCS has one or the other
        return profile != "dev"

    @property
    def customer_key(self) -> bool:
        """Whether a customer's key encrypts."""
        return self.encryption is not None and self.encryption.customer_key

    def named(
        self, settings: ContractModel, *, capabilities: Iterable[str] = (), logged: bool = False
    ) -> NamedStorageConfig:
        """The backend as the contract has it: its driver's *settings*, and what can be relied on.

        Args:
            settings: The driver's model of the contract; keys that are None are left out.
            capabilities: What the driver provisions beyond what every backend's keys say.
            logged: Whether accesses are logged.
        """
        found: dict[str, Any] = {
            "name": self.name,
            "driver": self.driver,
            self.driver: settings,
            "expect": self._expect(capabilities, logged=logged),
        }
        if self.primary:
            found["primary"] = True
        if len(self.grants) == 1:  # of several, only the application knows which it is
            found["identity"] = self.grants[0].name
        if self.read_fallback is not None:
            found["read_fallback"] = self.read_fallback
        if "transfer" in self.model_fields_set:
            found["transfer"] = self.transfer
        return NamedStorageConfig(**found)

    def _expect(self, capabilities: Iterable[str], *, logged: bool) -> ExpectConfig:
        declared = {
            "cors": bool(self.cors),
            "customer_key": self.customer_key,
            "public": self.public,
            "versioning": bool(self.versioning),
        }
        promised: dict[str, Any] = {
            "versioning": bool(self.versioning),
            "public": self.public,
            "cors": tuple(rule.contract() for rule in self.cors),
            "lifecycle": self.lifecycle.contract() if self.lifecycle is not None else None,
            "presign_max_age": int(self.presign_max_age.total_seconds()) if self.presign_max_age else None,
            "logging": True if logged else None,  # where the stack makes no log, an account may still have one
            "capabilities": tuple(sorted({*capabilities, *(name for name, held in declared.items() if held)})),
            "grants": tuple(GrantConfig(to=grant.name, access=grant.access) for grant in self.grants),
        }
        if self.existing is not None:  # what the spec does not say stays as it is, so nothing is known of it
            promised = {key: value for key, value in promised.items() if value or key == "public"}
            if self.versioning is False:
                promised["versioning"] = False
        return ExpectConfig(**{key: value for key, value in promised.items() if value is not None})


def _lifecycle(given: Lifecycle, *, versioning: bool) -> Lifecycle:
    defaults: dict[str, Any] = {}
    if given.abort_multipart_after is None:
        defaults["abort_multipart_after"] = timedelta(days=7)
    if versioning and given.expire_noncurrent_after is None:
        defaults["expire_noncurrent_after"] = timedelta(days=30)
    return given.model_copy(update=defaults)
