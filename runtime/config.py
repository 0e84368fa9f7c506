"""THE CONTRACT: what `infra` emits and `runtime` reads.

One model per driver. Names and shapes are lexigram-storage's, so a file written for it loads here and our
file loads there; unknown keys are refused. `runtime.loading` finds and reads a document, `infra.emit` writes it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, model_validator

from runtime.errors import ConfigError, Problem, UnknownBackendError
from runtime.validation import did_you_mean

VERSION: Final = 1
"""Major version of the contract. A newer minor (``1.2``) is read with a warning, a newer major refused."""

ENTRY_POINT_GROUP: Final = "lexigram.storage.backends"
"""Where distributions register drivers of their own."""

REFERENCE: Final = re.compile(r"\$\{(?:file:[^{}]+|[A-Za-z_][A-Za-z0-9_]*)\}")
"""``${NAME}`` for an environment variable, ``${file:PATH}`` for a file's content without its last newline."""

MIB: Final = 1024 * 1024

BackendName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class Model(BaseModel):
    """Base of every model here: frozen, no unknown keys, no input in error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)

    install_extra: ClassVar[str | None] = None
    """The extra of this distribution that brings the SDK of a driver's model; None when it needs none."""


class EncryptionConfig(Model):
    """How the bucket encrypts at rest.

    Attributes:
        enabled: Whether uploads ask for it explicitly; every service encrypts by its own default anyway.
        type: ``AES256`` (keys of the service) or a customer's key on AWS, Google Cloud or Azure.
        kms_key_id: ARN or resource id of the customer's key.
    """

    enabled: bool = False
    type: Literal["AES256", "aws:kms", "gcs:cmek", "azure:cmk"] = "AES256"
    kms_key_id: str | None = None


class StorageS3Config(Model):
    """AWS S3 or a compatible server.

    Attributes:
        bucket: Bucket name.
        region: AWS region.
        access_key: Access key id; without it the AWS default chain is used.
        secret_key: Secret access key, given together with *access_key*.
        endpoint_url: Endpoint of a compatible server; then the bucket is addressed in the path.
        public_url: Custom domain that serves the bucket; `get_url` answers with it.
        encryption: What uploads ask for.
    """

    install_extra = "aws"

    bucket: str = Field(min_length=3, max_length=63)
    region: str = Field(min_length=1)
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    endpoint_url: str | None = None
    public_url: str | None = None
    encryption: EncryptionConfig = EncryptionConfig()

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.access_key is None) is not (self.secret_key is None):
            raise ValueError("access_key and secret_key go together; leave both out for the AWS default chain")
        return self


class StorageGCSConfig(Model):
    """Google Cloud Storage.

    Attributes:
        bucket: Bucket name.
        project_id: Google Cloud project.
        credentials_path: Service account key file; without it application default credentials are used.
        signer_email: Service account that signs URLs by IAM ``signBlob`` where there is no key file.
        endpoint_url: Endpoint of an emulator.
        public_url: Custom domain that serves the bucket.
        encryption: What uploads ask for.
    """

    install_extra = "gcp"

    bucket: str = Field(min_length=3, max_length=222)
    project_id: str
    credentials_path: str | None = None
    signer_email: str | None = None
    endpoint_url: str | None = None
    public_url: str | None = None
    encryption: EncryptionConfig = EncryptionConfig()


class StorageAzureConfig(Model):
    """Azure Blob Storage.

    Attributes:
        account_name: Storage account.
        account_key: Account key, where shared keys are allowed; without it the default Azure credential is used.
        sas_token: Shared access signature, where that is all there is.
        container: Blob container.
        endpoint_url: Account URL when it is not ``https://<account>.blob.core.windows.net``.
        public_url: Custom domain that serves the container.
        encryption: What uploads ask for; a customer's key is set on the account.
    """

    install_extra = "azure"

    account_name: str = Field(min_length=3, max_length=24)
    account_key: SecretStr | None = None
    sas_token: SecretStr | None = None
    container: str = Field(min_length=3, max_length=63)
    endpoint_url: str | None = None
    public_url: str | None = None
    encryption: EncryptionConfig = EncryptionConfig()


class StorageR2Config(Model):
    """Cloudflare R2: S3 with keys that must be given, an endpoint, and encryption that is always on.

    Attributes:
        bucket: Bucket name.
        access_key: Access key id of an R2 token.
        secret_key: Its secret.
        endpoint_url: ``https://<account>[.<jurisdiction>].r2.cloudflarestorage.com``.
        public_url: Custom domain that serves the bucket.
        region: R2 knows one region.
    """

    install_extra = "aws"

    bucket: str = Field(min_length=3, max_length=63)
    access_key: SecretStr
    secret_key: SecretStr
    endpoint_url: str
    public_url: str | None = None
    region: str = "auto"


class StorageLocalConfig(Model):
    """A directory on this machine.

    Attributes:
        root_dir: The directory; relative to the working directory of the application.
        base_url: Where the application serves it, for `get_url`.
    """

    root_dir: str = "./storage"
    base_url: str = "http://localhost:8000/storage"


class StorageMemoryConfig(Model):
    """Objects in this process; gone when it ends."""


class StorageOperationConfig(Model):
    """Limits that every upload must keep; nothing is limited unless it is said here.

    Attributes:
        max_file_size_mb: Largest upload, in MiB.
        allowed_mime_types: Types that may be uploaded (``image/*`` and ``*/*`` match); an empty list refuses all.
    """

    max_file_size_mb: int | None = Field(default=None, gt=0)
    allowed_mime_types: tuple[str, ...] | None = None


class TransferConfig(Model):
    """How one backend moves large objects. Memory is bounded by ``part_size x concurrency``.

    Attributes:
        part_size: Bytes of one part (``8MiB``); grows by itself where an object would need over 10,000 parts.
        concurrency: Parts of one object in flight.
    """

    part_size: ByteSize = ByteSize(8 * MIB)
    concurrency: int = Field(default=4, ge=1, le=64)


class CorsRule(Model):
    """One CORS rule as the bucket has it.

    Attributes:
        origins: ``https://app.example.com`` or ``*``.
        methods: ``GET PUT POST DELETE HEAD``.
        headers: Request headers that browsers may send.
        expose: Response headers that scripts may read.
        max_age: Seconds that a browser may remember the answer.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int = 3600


class GrantConfig(Model):
    """What one identity may do.

    Attributes:
        to: Role, service account or managed identity.
        access: ``read write delete list presign``.
    """

    to: str
    access: tuple[str, ...]


class ExpectConfig(Model):
    """What the application may rely on, for `tandem doctor` and for refusing early.

    Attributes:
        versioning: Whether overwritten and deleted objects are kept as versions.
        public: Whether anybody may read without a signature.
        cors: CORS rules of the bucket.
        capabilities: What the backend was provisioned for.
        grants: Who may do what.
    """

    versioning: bool = False
    public: bool = False
    cors: tuple[CorsRule, ...] = ()
    capabilities: tuple[str, ...] = ()
    grants: tuple[GrantConfig, ...] = ()


class NamedStorageConfig(Model):
    """One named backend.

    Attributes:
        name: What the application calls it.
        driver: Which driver opens it: one of `DRIVERS`, or one that another distribution registers.
        primary: Whether it is also the backend without a name.
        transfer: How large objects are moved.
        expect: What was provisioned.
        plugin: Settings of a driver from elsewhere; in a document they stand under the driver's name.
    """

    name: BackendName
    driver: str = "local"
    primary: bool = False
    local: StorageLocalConfig | None = None
    s3: StorageS3Config | None = None
    gcs: StorageGCSConfig | None = None
    azure: StorageAzureConfig | None = None
    r2: StorageR2Config | None = None
    memory: StorageMemoryConfig | None = None
    transfer: TransferConfig = TransferConfig()
    expect: ExpectConfig | None = None
    plugin: dict[str, Any] | None = Field(default=None, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _move_plugin_settings(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            driver = data.get("driver")
            if isinstance(driver, str) and driver not in cls.model_fields and driver in data:
                return {k: v for k, v in data.items() if k != driver} | {"plugin": data[driver]}
        return data

    @model_validator(mode="after")
    def _known_driver(self) -> Self:
        if self.driver not in DRIVERS and self.driver not in (known := registered_drivers()):
            raise ValueError(
                f"unknown driver {self.driver!r}{did_you_mean(self.driver, known)}; one of {', '.join(known)}"
            )
        for other in DRIVERS:
            if other != self.driver and getattr(self, other) is not None:
                raise ValueError(f"driver is {self.driver!r} but settings for {other!r} are given")
        return self

    @property
    def settings(self) -> Any:
        """The driver's own model (for a driver from elsewhere: its mapping); never None once a config is loaded."""
        return getattr(self, self.driver) if self.driver in DRIVERS else (self.plugin or {})


DRIVERS: Final[dict[str, type[Model]]] = {
    "local": StorageLocalConfig,
    "s3": StorageS3Config,
    "gcs": StorageGCSConfig,
    "azure": StorageAzureConfig,
    "r2": StorageR2Config,
    "memory": StorageMemoryConfig,
}
"""Our drivers and the model of each."""


def registered_drivers() -> list[str]:
    """Names of all drivers that can be opened here, ours first."""
    return [*DRIVERS, *sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))]


class StorageConfig(Model):
    """All storage of one application.

    Attributes:
        name: Name of this configuration.
        enabled: Whether the application uses storage at all.
        default_driver: Driver of the single backend ``default`` when no backends are listed.
        health_check_timeout: Seconds that one backend has to answer when it is checked at start.
        drivers: Settings by driver, for backends that carry none themselves.
        service: Limits on uploads.
        backends: The named backends.
    """

    name: str = "storage"
    enabled: bool = True
    default_driver: str = "local"
    health_check_timeout: float = Field(default=5.0, gt=0)
    drivers: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False)
    service: StorageOperationConfig = StorageOperationConfig()
    backends: tuple[NamedStorageConfig, ...] = ()

    def named_backends(self) -> tuple[NamedStorageConfig, ...]:
        """Every backend with its settings in place; the single ``default`` one when none is listed."""
        raise NotImplementedError

    def backend(self, name: str) -> NamedStorageConfig:
        """The backend called *name*; `UnknownBackendError` lists the names that exist."""
        raise NotImplementedError


class StorageDocument(Model):
    """The file: a `StorageConfig` and where it comes from.

    Attributes:
        version: Version of the contract, ``1`` or ``1.3``.
        project: Pulumi project.
        stack: Pulumi stack.
        fingerprint: `fingerprint` of the document.
        storage: The configuration, secrets as references.
    """

    version: int | float = VERSION
    project: str | None = None
    stack: str | None = None
    fingerprint: str | None = None
    storage: StorageConfig


def fingerprint(document: Mapping[str, Any]) -> str:
    """``sha256:`` and the hash of the document's canonical JSON without the key ``fingerprint``."""
    content = {key: value for key, value in document.items() if key != "fingerprint"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
