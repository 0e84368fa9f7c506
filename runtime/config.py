"""THE CONTRACT: what `infra` emits and `runtime` reads.

One model per driver. Names and shapes are lexigram-storage's, so a file written for it loads here and our
file loads there; unknown keys are refused. `runtime.loading` finds and reads a document, `infra.emit` writes
it with `StorageDocument.to_yaml`. To add a driver: one model here, and one field of `NamedStorageConfig`.

Longer than other files on purpose: who reads this page from top to bottom knows every key that there is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from runtime.errors import ConfigError, Problem, UnknownBackendError
from runtime.fields import (
    AzureAccountName,
    AzureContainerName,
    BackendName,
    GCSBucketName,
    HttpUrl,
    R2BucketName,
    RedisUrl,
    Region,
    S3BucketName,
    Secret,
)
from runtime.interpolation import REFERENCE, REFERENCE_FORMS
from runtime.schema import described_schema
from runtime.validation import (
    Wrong,
    ambiguous_names,
    did_you_mean,
    dotted,
    dump_yaml,
    found_keys,
    inside,
    looks_secret,
    rejection,
)

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

VERSION: Final = 1
"""Major version of the contract. A newer minor (``1.2``) is read with a warning, a newer major refused."""

MINOR: Final = 0
"""Newest minor version whose keys are all known here."""

ENTRY_POINT_GROUP: Final = "lexigram.storage.backends"
"""Where distributions register drivers of their own."""

_URL_WITH_PASSWORD: Final = re.compile(r"\w+://[^/@]*:(?!\$\{)[^/@]+@")

MIB: Final = 1024 * 1024
S3_MIN_PART: Final = 5 * MIB
MAX_PART: Final = 5 * 1024 * MIB


class Model(BaseModel):
    """Base of every model here: frozen, no unknown keys, no input in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)

    def document(self) -> dict[str, Any]:
        """The keys that were set, in the models' order, as a document holds them: secrets by their references."""
        values = ((name, getattr(self, name)) for name in type(self).model_fields if name in self.model_fields_set)
        return {name: plain(value) for name, value in values if value is not None}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        return described_schema(cls, core_schema, handler)


class EncryptionConfig(Model):
    """How the bucket encrypts objects at rest.

    Attributes:
        enabled: Whether each upload asks for it. Every service encrypts by its own default anyway.
        type: ``AES256`` for keys of the service; the others for a customer's key on AWS, Google Cloud or Azure.
        kms_key_id: ARN or resource id of the customer's key.
    """

    enabled: bool = False
    type: Literal["AES256", "aws:kms", "gcs:cmek", "azure:cmk"] = "AES256"
    kms_key_id: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _key_where_there_is_one(self) -> Self:
        if self.type != "AES256" and self.kms_key_id is None:
            raise rejection(Wrong(("kms_key_id",), f"is required when the type is {self.type}"))
        if self.type == "AES256" and self.kms_key_id is not None:
            raise rejection(Wrong(("type",), "uses keys of the service, but kms_key_id is given"))
        return self


def _only(*types: str) -> AfterValidator:
    def check(encryption: EncryptionConfig) -> EncryptionConfig:
        if encryption.type not in types:
            raise rejection(Wrong(("type",), f"is another service's; allowed: {', '.join(types)}"))
        return encryption

    return AfterValidator(check)


class DriverConfig(Model):
    """Base of the drivers' own models.

    Attributes:
        install_extra: Extra of this distribution that installs the driver's SDK; None where it needs none.
        min_part_size: Smallest size in bytes that the service accepts for a part, except for the last one.
        checksums: Algorithms that ``transfer.checksum`` may name: those that the service verifies, or keeps, for
            objects of any size.
    """

    install_extra: ClassVar[str | None] = None
    min_part_size: ClassVar[int] = 1
    checksums: ClassVar[tuple[str, ...]] = ("crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256")


class StorageS3Config(DriverConfig):
    """AWS S3 or a compatible server.

    Attributes:
        bucket: Bucket name.
        region: AWS region.
        access_key: Access key id; without it the AWS default credential chain is used.
        secret_key: Secret access key, given together with *access_key*.
        endpoint_url: URL of a compatible server. Its buckets are addressed in the path, not in the host name.
        public_url: Custom domain that serves the bucket; `get_url` returns URLs below it.
        encryption: Encryption that uploads ask for, ``AES256`` or ``aws:kms``.
    """

    install_extra = "aws"
    min_part_size = S3_MIN_PART
    checksums = ("crc32", "crc32c", "crc64nvme")

    bucket: S3BucketName
    region: Region
    access_key: Secret | None = None
    secret_key: Secret | None = None
    endpoint_url: HttpUrl | None = None
    public_url: HttpUrl | None = None
    encryption: Annotated[EncryptionConfig, _only("AES256", "aws:kms")] = EncryptionConfig()

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        for given, missing in (("access_key", "secret_key"), ("secret_key", "access_key")):
            if getattr(self, given) is not None and getattr(self, missing) is None:
                raise rejection(
                    Wrong((missing,), f"is required with {given}; leave both out for the AWS default chain")
                )
        return self


class StorageGCSConfig(DriverConfig):
    """Google Cloud Storage.

    Attributes:
        bucket: Bucket name.
        project_id: Google Cloud project.
        credentials_path: Service account key file; without it application default credentials are used.
        signer_email: Service account that signs URLs by IAM ``signBlob`` where there is no key file.
        endpoint_url: URL of an emulator.
        public_url: Custom domain that serves the bucket; `get_url` returns URLs below it.
        encryption: Encryption that uploads ask for, ``AES256`` (Google's keys) or ``gcs:cmek``.
    """

    install_extra = "gcp"
    checksums = ("crc32c",)

    bucket: GCSBucketName
    project_id: str = Field(min_length=1)
    credentials_path: str | None = Field(default=None, min_length=1)
    signer_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")
    endpoint_url: HttpUrl | None = None
    public_url: HttpUrl | None = None
    encryption: Annotated[EncryptionConfig, _only("AES256", "gcs:cmek")] = EncryptionConfig()


class StorageAzureConfig(DriverConfig):
    """Azure Blob Storage.

    Attributes:
        account_name: Storage account.
        account_key: Account key, where shared keys are allowed; without it the default Azure credential is used.
        sas_token: Shared access signature, where that is all there is.
        container: Blob container.
        endpoint_url: Account URL when it is not ``https://<account>.blob.core.windows.net``.
        public_url: Custom domain that serves the container; `get_url` returns URLs below it.
        encryption: ``AES256`` (Microsoft's keys) or ``azure:cmk``; a customer's key is set on the account.
    """

    install_extra = "azure"
    checksums = ("crc64nvme", "md5")

    account_name: AzureAccountName
    account_key: Secret | None = None
    sas_token: Secret | None = None
    container: AzureContainerName
    endpoint_url: HttpUrl | None = None
    public_url: HttpUrl | None = None
    encryption: Annotated[EncryptionConfig, _only("AES256", "azure:cmk")] = EncryptionConfig()

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if self.account_key is not None and self.sas_token is not None:
            raise rejection(Wrong(("sas_token",), "is given beside account_key; one of them is enough"))
        return self


class StorageR2Config(DriverConfig):
    """Cloudflare R2: S3 with keys that must be given, an endpoint, and encryption that is always on.

    Attributes:
        bucket: Bucket name.
        access_key: Access key id of an R2 token.
        secret_key: Its secret.
        endpoint_url: ``https://<account>[.<jurisdiction>].r2.cloudflarestorage.com``.
        public_url: Custom domain that serves the bucket; `get_url` returns URLs below it.
        region: R2 has one region, ``auto``.
    """

    install_extra = "aws"
    min_part_size = S3_MIN_PART
    checksums = ("crc32", "crc32c", "crc64nvme")

    bucket: R2BucketName
    access_key: Secret
    secret_key: Secret
    endpoint_url: HttpUrl
    public_url: HttpUrl | None = None
    region: Region = "auto"


class StorageLocalConfig(DriverConfig):
    """A directory on this machine.

    Attributes:
        root_dir: The directory; a relative one is below the working directory of the application.
        base_url: URL at which the application serves the directory; `get_url` returns URLs below it.
        shared: Whether the directory is on a volume that every instance of the application mounts.
    """

    root_dir: str = Field(default="./storage", min_length=1)
    base_url: HttpUrl = "http://localhost:8000/storage"
    shared: bool = False


class StorageMemoryConfig(DriverConfig):
    """Objects in this process; gone when it ends."""


class StorageOperationConfig(Model):
    """Limits that every upload must keep. What is left out is not limited.

    Attributes:
        max_file_size_mb: Size of the largest upload in MiB.
        allowed_mime_types: MIME types that may be uploaded, with wildcards as in ``image/*``; an empty list refuses
            all.
    """

    max_file_size_mb: int | None = Field(default=None, gt=0)
    allowed_mime_types: tuple[Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")], ...] | None = None


class TransferConfig(Model):
    """How one backend moves large objects. Each transfer holds about ``part_size x concurrency`` bytes in memory.

    Attributes:
        part_size: Size of one part in bytes (``8MiB``), at least 5 MiB on s3 and r2, at most 5 GiB. It grows by
            itself if an object would need over 10,000 parts.
        concurrency: Parts of one object in flight.
        checksum: Algorithm of the checksum that is computed of every upload as it is sent; the service verifies it
            where it can, and keeps it with the object. ``auto``: the best that the service has (``crc32c``; ``md5``
            on azure), and none on r2 and on s3 with an ``endpoint_url``, as many compatible servers refuse what
            they do not know, or store it wrongly (boto3#4392); name an algorithm there if the server has it.
            ``when_required``: only checksums that the caller gives. Checksums that a service returns are always
            verified.
    """

    part_size: ByteSize = Field(default=ByteSize(8 * MIB), ge=1, le=MAX_PART)
    concurrency: int = Field(default=4, ge=1, le=64)
    checksum: Literal["auto", "when_required", "crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256"] = "auto"


class RetryConfig(Model):
    """How often a request is sent again after a failure that may pass.

    Only what is the same when it arrives twice is sent again: reads, writes and deletes without a condition, parts,
    copies. What the service refused because it is busy is sent again in any case.

    Attributes:
        attempts: Most attempts of one request; 1 for no second one.
        budget: Seconds after which no further attempt begins.
        pause: Longest pause before the second attempt, in seconds; it doubles with each further one. The pause
            itself is random, between 0 and that, so that clients do not return all at once.
        longest_pause: Most seconds of any pause, unless the service itself asks for more (``Retry-After``).
    """

    attempts: int = Field(default=4, ge=1, le=20)
    budget: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    pause: float = Field(default=0.1, gt=0, le=60)
    longest_pause: float = Field(default=10.0, gt=0, le=600)


class LimitsConfig(Model):
    """How much time and how many requests at once one backend may take.

    Attributes:
        requests: Requests in flight, of all operations together; further ones wait. A streamed object counts until
            the service answers, not while the application consumes it.
        attempt_timeout: Seconds after which one attempt fails: without a byte arriving where the driver sees that,
            else in all. None waits for ever.
        operation_timeout: Seconds that one whole operation may take, with all its attempts; None for any time.
            Operations that go at the application's pace (`stream`, `list`, `open_writer`) are not limited.
    """

    requests: int = Field(default=256, ge=1, le=10_000)
    attempt_timeout: float | None = Field(default=60.0, gt=0, allow_inf_nan=False)
    operation_timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class CorsRule(Model):
    """One CORS rule as the bucket has it.

    Attributes:
        origins: ``https://app.example.com`` or ``*``.
        methods: ``GET PUT POST DELETE HEAD``.
        headers: Request headers that a browser may send.
        expose: Response headers that a script may read.
        max_age: Seconds for which a browser may remember this rule.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int = Field(default=3600, ge=0)


class LifecycleRule(Model):
    """Objects that the bucket deletes by itself.

    Attributes:
        prefix: Start of the objects' paths; empty for all objects.
        expire_days: Age in days at which they are deleted.
    """

    prefix: str = ""
    expire_days: int = Field(gt=0)


class LifecycleConfig(Model):
    """What the bucket removes by itself.

    Attributes:
        abort_multipart_days: Age in days at which an upload is aborted that nobody completed.
        expire_noncurrent_days: Days after which a version is removed that was overwritten or deleted.
        rules: Objects that are deleted by their age.
    """

    abort_multipart_days: int | None = Field(default=None, gt=0)
    expire_noncurrent_days: int | None = Field(default=None, gt=0)
    rules: tuple[LifecycleRule, ...] = ()


VERBS: Final = ("read", "write", "list", "presign", "delete", "admin")
"""What a grant can give, in the order in which it is told. ``admin`` is everything."""


class GrantConfig(Model):
    """What one identity may do.

    Attributes:
        to: Name of the identity: ``role/app``, ``serviceAccount:…``, ``irsa/<namespace>/<service account>``,
            ``token/app``.
        access: Any of ``read write list presign delete admin``; ``admin`` is all of them.
    """

    to: str
    access: tuple[str, ...]


class ExpectConfig(Model):
    """What the application may rely on. `tandem doctor` compares it with the bucket.

    A key that is left out is not promised and not compared: an adopted bucket keeps what its spec does not mention.

    Attributes:
        versioning: Whether overwritten and deleted objects are kept as versions.
        public: Whether anybody may read without a signature.
        cors: CORS rules of the bucket.
        lifecycle: What the bucket removes by itself.
        presign_max_age: Seconds that a presigned URL lives at most: the application signs none that lives longer, and
            a bucket of S3 refuses older ones, whatever their own expiry says.
        logging: Whether the service logs each access.
        capabilities: What the backend was provisioned for.
        grants: Who may do what.
    """

    versioning: bool = False
    public: bool = False
    cors: tuple[CorsRule, ...] = ()
    lifecycle: LifecycleConfig | None = None
    presign_max_age: int | None = Field(default=None, gt=0)
    logging: bool = False
    capabilities: tuple[str, ...] = ()
    grants: tuple[GrantConfig, ...] = ()


def transfer_faults(driver: str, transfer: TransferConfig) -> Iterator[tuple[str, str, str]]:
    """What of *transfer* a driver of ours can not do: the key, what is wrong with it, and what is allowed there."""
    if driver not in DRIVERS:
        return
    model = DRIVERS[driver]
    if transfer.part_size < model.min_part_size:
        least = f"{model.min_part_size // MIB}MiB"
        yield "part_size", f"must be at least {least} on {driver}", f"{least} or more"
    allowed = ("auto", "when_required", *model.checksums)
    if transfer.checksum not in allowed:
        yield "checksum", f"{transfer.checksum!r} is not kept by {driver}", ", ".join(allowed)


def _known_driver(name: str) -> str:
    if name not in DRIVERS and name not in (known := registered_drivers()):
        raise ValueError(f"no such driver is known here{did_you_mean(name, known)}; allowed: {', '.join(known)}")
    return name


class NamedStorageConfig(Model):
    """One named backend.

    Attributes:
        name: Name by which the application opens it.
        driver: Name of its driver: one of `DRIVERS`, or one that another distribution registers.
        primary: Whether it is the backend that an application gets without naming one.
        local: Settings of the driver ``local``.
        s3: Settings of the driver ``s3``.
        gcs: Settings of the driver ``gcs``.
        azure: Settings of the driver ``azure``.
        r2: Settings of the driver ``r2``.
        memory: Settings of the driver ``memory``.
        transfer: How large objects are moved.
        retry: How often a failed request is sent again.
        limits: How much time and how many requests at once it may take.
        read_fallback: Name of the backend to read from what this one does not have yet, during a migration; see
            `runtime.fallback`.
        expect: What the application may rely on.
        identity: Who the application is: the name of one of ``expect.grants``. Operations that this grant does not
            allow are refused before any request. Without it none are.
        plugin: Settings of a driver of another distribution; in a document they stand under the driver's name.
    """

    name: BackendName
    driver: Annotated[str, AfterValidator(_known_driver)] = "local"
    primary: bool = False
    local: StorageLocalConfig | None = None
    s3: StorageS3Config | None = None
    gcs: StorageGCSConfig | None = None
    azure: StorageAzureConfig | None = None
    r2: StorageR2Config | None = None
    memory: StorageMemoryConfig | None = None
    plugin: dict[str, Any] | None = Field(default=None, repr=False)
    transfer: TransferConfig = TransferConfig()
    retry: RetryConfig = RetryConfig()
    limits: LimitsConfig = LimitsConfig()
    read_fallback: BackendName | None = None
    expect: ExpectConfig | None = None
    identity: str | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _move_plugin_settings(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            driver = data.get("driver")
            if isinstance(driver, str) and driver not in cls.model_fields and driver in data:
                return {key: value for key, value in data.items() if key != driver} | {"plugin": data[driver]}
        return data

    @model_validator(mode="after")
    def _settings_of_one_driver(self) -> Self:
        wrong = [
            Wrong((other,), f"the driver is {self.driver!r}, so settings for {other!r} are never used")
            for other in (*DRIVERS, "plugin")
            if getattr(self, other) is not None and other != (self.driver if self.driver in DRIVERS else "plugin")
        ]
        for key, message, allowed in transfer_faults(self.driver, self.transfer):
            wrong.append(Wrong(("transfer", key), f"{message}; allowed: {allowed}"))
        known = [grant.to for grant in self.grants]
        if self.identity is not None and known and self.identity not in known:
            hint = did_you_mean(self.identity, known)
            wrong.append(Wrong(("identity",), f"has no grant on this backend{hint}; allowed: {', '.join(known)}"))
        if wrong:
            raise rejection(*wrong)
        return self

    @property
    def grants(self) -> tuple[GrantConfig, ...]:
        """Who may do what, as far as the contract says it."""
        return self.expect.grants if self.expect else ()

    @property
    def settings(self) -> Any:
        """The driver's own model; for a driver from elsewhere, its mapping.

        Raises:
            ConfigError: there is none, and the driver can not do without.
        """
        own = getattr(self, self.driver) if self.driver in DRIVERS else (self.plugin or {})
        if own is not None:
            return own
        if required := _required(self.driver):
            raise ConfigError(f"driver {self.driver!r} needs {', '.join(required)}", backend=self.name)
        return DRIVERS[self.driver]()

    def with_defaults(self, drivers: Mapping[str, Any]) -> Self:
        """The same backend with its settings in place: its own, else the driver's in *drivers*, else the defaults."""
        field = self.driver if self.driver in DRIVERS else "plugin"
        if getattr(self, field) is not None:
            return self
        defaults = drivers.get(self.driver)
        return self.model_copy(update={field: self.settings if defaults is None else defaults})

    def document(self) -> dict[str, Any]:
        """As `Model.document`; settings of a driver from elsewhere stand under its name."""
        return {self.driver if key == "plugin" else key: value for key, value in super().document().items()}


class KVMemoryConfig(Model):
    """Entries in this process; gone when it ends."""


class KVLocalConfig(Model):
    """Entries in a SQLite file of this machine, for any number of its processes.

    Attributes:
        base_path: Directory of the file; a relative one is below the working directory of the application. Not on a
            network file system.
        fsync: Whether every write waits for the disk, to survive a power failure and not only a crash.
    """

    base_path: str = Field(default="./kv", min_length=1)
    fsync: bool = False


class KVRedisConfig(Model):
    """Entries in Redis or Valkey, for many instances of an application.

    Attributes:
        url: ``redis://host:6379/0``, ``rediss://…`` for TLS, ``unix://…``; with user and password it is a secret.
        password: Password, when it is not in the URL.
        prefix: First part of every key, so that applications can share a server.
        timeout: Seconds in which the server has to answer.
    """

    url: RedisUrl
    password: Secret | None = None
    prefix: str = Field(default="tandem", min_length=1, max_length=200)
    timeout: float = Field(default=5.0, gt=0, allow_inf_nan=False)


class NamedKVConfig(Model):
    """One named key-value store.

    Attributes:
        name: Name by which the application opens it.
        driver: What keeps the entries: ``memory``, ``local`` or ``redis``.
        primary: Whether it is the store that an application gets without naming one.
        memory: Settings of the driver ``memory``.
        local: Settings of the driver ``local``.
        redis: Settings of the driver ``redis``.
    """

    name: BackendName
    driver: Literal["memory", "local", "redis"] = "memory"
    primary: bool = False
    memory: KVMemoryConfig | None = None
    local: KVLocalConfig | None = None
    redis: KVRedisConfig | None = None

    @model_validator(mode="after")
    def _settings_of_one_driver(self) -> Self:
        wrong = [
            Wrong((other,), f"the driver is {self.driver!r}, so settings for {other!r} are never used")
            for other in KV_DRIVERS
            if other != self.driver and getattr(self, other) is not None
        ]
        needed = [name for name, field in KV_DRIVERS[self.driver].model_fields.items() if field.is_required()]
        if needed and getattr(self, self.driver) is None:
            wrong.append(Wrong((self.driver,), f"is required, with {', '.join(needed)}"))
        if wrong:
            raise rejection(*wrong)
        return self

    @property
    def settings(self) -> Any:
        """The driver's own model; its defaults when there is none."""
        return getattr(self, self.driver) or KV_DRIVERS[self.driver]()


KV_DRIVERS: Final[dict[str, type[Model]]] = {
    "memory": KVMemoryConfig,
    "local": KVLocalConfig,
    "redis": KVRedisConfig,
}
"""What can keep the entries of a key-value store, and the settings of each."""


DRIVERS: Final[dict[str, type[DriverConfig]]] = {
    name: model
    for name, field in NamedStorageConfig.model_fields.items()
    for model in get_args(field.annotation)
    if isinstance(model, type) and issubclass(model, DriverConfig)
}
"""Our drivers and the model of each."""

SECRET_KEYS: Final = frozenset(
    name for model in DRIVERS.values() for name, field in model.model_fields.items() if "SecretStr" in repr(field)
)
"""Keys of our drivers that hold secrets."""


def registered_drivers() -> list[str]:
    """Names of all drivers that can be opened here, ours first."""
    return [*DRIVERS, *sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)} - set(DRIVERS))]


def is_secret(key: str) -> bool:
    """Whether *key* holds a secret: one of ours, or one that looks like it in the settings of another driver."""
    return key in SECRET_KEYS or looks_secret(key)


def _required(driver: str) -> list[str]:
    return [name for name, field in DRIVERS[driver].model_fields.items() if field.is_required()]


class StorageConfig(Model):
    """All storage of one application.

    Attributes:
        name: Name of this configuration.
        enabled: Whether the application uses storage at all.
        env: Deployment environment, a key of lexigram-storage; it decides about nothing but warnings.
        default_driver: Driver of the one backend ``default``, if no backends are listed.
        health_check_timeout: Seconds in which each backend has to answer a health check.
        drivers: Settings by driver, for backends without settings of their own.
        service: Limits on uploads.
        identity: ``identity`` of every backend that has grants and no ``identity`` of its own.
        backends: The named backends.
        kv: The named key-value stores.
    """

    name: str = "storage"
    enabled: bool = True
    env: str | None = None
    default_driver: Annotated[str, AfterValidator(_known_driver)] = "local"
    health_check_timeout: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    drivers: dict[str, Any] = Field(default_factory=dict, repr=False)
    service: StorageOperationConfig = StorageOperationConfig()
    identity: str | None = Field(default=None, min_length=1)
    backends: tuple[NamedStorageConfig, ...] = ()
    kv: tuple[NamedKVConfig, ...] = ()

    @field_validator("drivers")
    @classmethod
    def _typed_settings(cls, drivers: dict[str, Any]) -> dict[str, Any]:
        typed, wrong = {}, []
        for driver, settings in drivers.items():
            try:
                typed[_known_driver(driver)] = (
                    DRIVERS[driver].model_validate(settings) if driver in DRIVERS else settings
                )
            except ValidationError as exc:
                wrong += inside(exc, driver, model=DRIVERS[driver])
            except ValueError as exc:
                wrong.append(Wrong((driver,), str(exc)))
        if wrong:
            raise rejection(*wrong)
        return typed

    @field_validator("backends", "kv", mode="wrap")
    @classmethod
    def _names_and_primary(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        wrong = list(ambiguous_names(value))
        try:
            entries = validate(value)
        except ValidationError as exc:
            wrong += inside(exc)
        else:
            if not wrong:
                return entries
        raise rejection(*wrong)

    @model_validator(mode="after")
    def _settings_exist(self) -> Self:
        listed: Iterable[tuple[tuple[str | int, ...], NamedStorageConfig]] = (
            ((("backends", index, backend.driver), backend) for index, backend in enumerate(self.backends))
            if self.backends
            else [(("drivers", self.default_driver), self._default_backend())]
        )
        wrong = [
            Wrong(location, f"is required, with {', '.join(_required(backend.driver))}")
            for location, backend in listed
            if backend.driver in DRIVERS and backend.driver not in self.drivers
            if getattr(backend, backend.driver) is None and _required(backend.driver)
        ]
        if wrong:
            raise rejection(*wrong)
        return self

    @model_validator(mode="after")
    def _fallbacks_exist(self) -> Self:
        names = {backend.name: backend for backend in self.backends}
        wrong = [
            Wrong(("backends", index, "read_fallback"), found)
            for index, backend in enumerate(self.backends)
            if (found := fallback_fault(backend.name, backend.read_fallback, names)) is not None
        ]
        if wrong:
            raise rejection(*wrong)
        return self

    def _default_backend(self) -> NamedStorageConfig:
        return NamedStorageConfig(name="default", driver=self.default_driver, primary=True)

    def named_backends(self) -> tuple[NamedStorageConfig, ...]:
        """Every backend with its settings and identity in place; the single ``default`` one when none is listed."""
        listed = self.backends or (self._default_backend(),)
        return tuple(self._with_identity(backend.with_defaults(self.drivers)) for backend in listed)

    def _with_identity(self, backend: NamedStorageConfig) -> NamedStorageConfig:
        if self.identity is None or backend.identity is not None or not backend.grants:
            return backend
        return backend.model_copy(update={"identity": self.identity})

    def only(self, names: Iterable[str]) -> Self:
        """The same with the backends of these names, what they fall back to, and no others.

        Raises:
            UnknownBackendError: as `backend`.
        """
        wanted = [self.backend(name) for name in dict.fromkeys(names)]
        wanted += [self.backend(entry.read_fallback) for entry in wanted if entry.read_fallback is not None]
        by_name = {entry.name: entry for entry in wanted}
        return self.model_copy(update={"backends": tuple(by_name.values()), "kv": ()})

    @property
    def primary(self) -> NamedStorageConfig:
        """The backend without a name: the one that is marked primary, else the first."""
        backends = self.named_backends()
        return next((backend for backend in backends if backend.primary), backends[0])

    def backend(self, name: str) -> NamedStorageConfig:
        """The backend called *name*.

        Raises:
            UnknownBackendError: there is none; lists the names that exist.
        """
        by_name = {backend.name: backend for backend in self.named_backends()}
        if name not in by_name:
            raise UnknownBackendError(
                f"no backend is called {name!r}{did_you_mean(name, by_name)}", hint=f"there are: {', '.join(by_name)}"
            )
        return by_name[name]


def fallback_fault(name: str, fallback: str | None, backends: Mapping[str, Any]) -> str | None:
    """What is wrong with the backend that *name* falls back to; None for nothing.

    Args:
        name: The backend with the key.
        fallback: What the key says.
        backends: Every backend by its name, with its own ``read_fallback``.
    """
    if fallback is None:
        return None
    if fallback == name:
        return "is the backend itself"
    if fallback not in backends:
        return f"no backend is called {fallback!r}{did_you_mean(fallback, backends)}; there are: {', '.join(backends)}"
    if backends[fallback].read_fallback is not None:
        return f"{fallback!r} falls back to another backend itself; finish that migration first"
    return None


def check_version(version: float | str) -> float | str:
    """The version of a document, when this release can read it; a `ValueError` says what to do when it can not."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?", str(version))
    if not match:
        raise ValueError(f"{version!r} is not a version; allowed: {VERSION} or {VERSION}.{MINOR}")
    if int(match[1]) != VERSION:
        do = "upgrade tandem-storage" if int(match[1]) > VERSION else "run `tandem up` again to write it anew"
        raise ValueError(f"is {version}, and this release reads version {VERSION}: {do}")
    return version


class StorageDocument(Model):
    """The file: a `StorageConfig` and where it comes from.

    Attributes:
        version: Version of the contract, ``1`` or ``1.3``.
        project: Pulumi project.
        stack: Pulumi stack.
        fingerprint: SHA-256 of a generated document without this key; it shows whether somebody edited it.
        storage: The configuration, with references in place of secrets.
    """

    version: Annotated[int | float | str, AfterValidator(check_version)] = VERSION
    project: str | None = None
    stack: str | None = None
    fingerprint: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    storage: StorageConfig

    def to_dict(self) -> dict[str, Any]:
        """The generated document: keys that were set, in a fixed order, with its fingerprint.

        Raises:
            ConfigError: it holds a literal secret.
        """
        origin = {"version": self.version, "project": self.project, "stack": self.stack}
        content = {key: value for key, value in origin.items() if value is not None}
        storage = {"storage": self.storage.document()}
        if problems := literal_secrets(storage):
            raise ConfigError("a generated document holds no literal secrets", problems=problems)
        return content | {"fingerprint": fingerprint(content | storage)} | storage

    def to_yaml(self) -> str:
        """`to_dict` as a file. The same configuration always gives the same bytes."""
        header = f"# generated from stack {self.stack} — do not edit\n" if self.stack else "# generated — do not edit\n"
        return header + dump_yaml(self.to_dict())


def json_schema() -> dict[str, Any]:
    """JSON Schema of `StorageDocument`, described by the docstrings above."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **StorageDocument.model_json_schema()}


def fingerprint(document: Mapping[str, Any]) -> str:
    """``sha256:`` and the hash of the document's canonical JSON without the key ``fingerprint``."""
    content = {key: value for key, value in document.items() if key != "fingerprint"}
    # a hand-edited document may hold what JSON has no form for (a YAML date): its text is as good for a hash
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def literal_secrets(document: Mapping[str, Any]) -> list[Problem]:
    """Every secret of *document* that stands there in clear instead of as a reference."""
    found = [
        location
        for location, value in found_keys(document, is_secret)
        if value is not None and not (isinstance(value, str) and REFERENCE.fullmatch(value))
    ]
    found += [
        location
        for location, value in found_keys(document, lambda key: key == "url")
        if isinstance(value, str) and _URL_WITH_PASSWORD.match(value)
    ]
    return [Problem(dotted(location, document), "is a literal secret", REFERENCE_FORMS) for location in found]


def plain(value: Any) -> Any:
    """*value* as a document holds it: mappings, lists, text and numbers; models by `Model.document`."""
    if isinstance(value, Model):
        return value.document()
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, ByteSize) else value
