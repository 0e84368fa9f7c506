"""Object storage for applications: open the backends that the infrastructure was provisioned with.

::

    async with runtime.open_storage() as storage:
        info = await storage["avatars"].upload("u/1.jpg", data, content_type="image/jpeg")
        url = await storage["avatars"].get_presigned_url("u/1.jpg", expires_in=timedelta(hours=1))

Every name is loaded when it is first used, and a cloud's SDK when a backend on that cloud is opened.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not loaded here: whoever interrupts `tandem` now would see a traceback of ours
if TYPE_CHECKING:
    from runtime.blocking import BlockingBlobStore, BlockingStorage, open_storage_sync
    from runtime.blockingkv import BlockingKVStore, BlockingKVStores
    from runtime.config import (
        EncryptionConfig,
        NamedStorageConfig,
        StorageAzureConfig,
        StorageConfig,
        StorageGCSConfig,
        StorageLocalConfig,
        StorageMemoryConfig,
        StorageR2Config,
        StorageS3Config,
    )
    from runtime.drift import Drift, Finding
    from runtime.driver import ByteRange, Capabilities, Driver
    from runtime.errors import (
        AlreadyExistsError,
        ChecksumMismatchError,
        ConfigError,
        InvalidKeyError,
        InvalidOptionError,
        InvalidPathError,
        InvalidValueError,
        NotFoundError,
        NotModifiedError,
        NotSupportedError,
        OperationRefusedError,
        PermissionDeniedError,
        PreconditionFailedError,
        QuotaExceededError,
        RateLimitedError,
        StorageError,
        StorageFileNotFoundError,
        StorageTimeoutError,
        StorageUnavailableError,
        StorageUnsupportedOperationError,
        UnauthenticatedError,
        UnknownBackendError,
    )
    from runtime.health import HealthCheckResult, HealthStatus
    from runtime.hooks import Hook, Operation, Outcome
    from runtime.injection import Named
    from runtime.kv.protocol import KVStoreProtocol
    from runtime.loading import load_config
    from runtime.models import (
        DeleteResult,
        FileInfo,
        ObjectPage,
        PresignedRequest,
        UnfinishedUpload,
        Uploadable,
        UploadOptions,
    )
    from runtime.protocols import BlobStoreProtocol
    from runtime.registry import DriverRegistry, Storage, open_storage
    from runtime.requires import KVNeed, Need, Requires
    from runtime.store import BlobStore
    from runtime.verifying import Verification, verify

# Where each name lives; a test compares it with the imports above.
_HOMES = {
    "blocking": ("BlockingBlobStore", "BlockingStorage", "open_storage_sync"),
    "blockingkv": ("BlockingKVStore", "BlockingKVStores"),
    "config": (
        "EncryptionConfig",
        "NamedStorageConfig",
        "StorageAzureConfig",
        "StorageConfig",
        "StorageGCSConfig",
        "StorageLocalConfig",
        "StorageMemoryConfig",
        "StorageR2Config",
        "StorageS3Config",
    ),
    "drift": ("Drift", "Finding"),
    "driver": ("ByteRange", "Capabilities", "Driver"),
    "errors": (
        "AlreadyExistsError",
        "ChecksumMismatchError",
        "ConfigError",
        "InvalidKeyError",
        "InvalidOptionError",
        "InvalidPathError",
        "InvalidValueError",
        "NotFoundError",
        "NotModifiedError",
        "NotSupportedError",
        "OperationRefusedError",
        "PermissionDeniedError",
        "PreconditionFailedError",
        "QuotaExceededError",
        "RateLimitedError",
        "StorageError",
        "StorageFileNotFoundError",
        "StorageTimeoutError",
        "StorageUnavailableError",
        "StorageUnsupportedOperationError",
        "UnauthenticatedError",
        "UnknownBackendError",
    ),
    "health": ("HealthCheckResult", "HealthStatus"),
    "hooks": ("Hook", "Operation", "Outcome"),
    "injection": ("Named",),
    "kv.protocol": ("KVStoreProtocol",),
    "loading": ("load_config",),
    "models": (
        "DeleteResult",
        "FileInfo",
        "ObjectPage",
        "PresignedRequest",
        "UnfinishedUpload",
        "UploadOptions",
        "Uploadable",
    ),
    "protocols": ("BlobStoreProtocol",),
    "registry": ("DriverRegistry", "Storage", "open_storage"),
    "requires": ("KVNeed", "Need", "Requires"),
    "store": ("BlobStore",),
    "verifying": ("Verification", "verify"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AlreadyExistsError",
    "BlobStore",
    "BlobStoreProtocol",
    "BlockingBlobStore",
    "BlockingKVStore",
    "BlockingKVStores",
    "BlockingStorage",
    "ByteRange",
    "Capabilities",
    "ChecksumMismatchError",
    "ConfigError",
    "DeleteResult",
    "Drift",
    "Driver",
    "DriverRegistry",
    "EncryptionConfig",
    "FileInfo",
    "Finding",
    "HealthCheckResult",
    "HealthStatus",
    "Hook",
    "InvalidKeyError",
    "InvalidOptionError",
    "InvalidPathError",
    "InvalidValueError",
    "KVNeed",
    "KVStoreProtocol",
    "Named",
    "NamedStorageConfig",
    "Need",
    "NotFoundError",
    "NotModifiedError",
    "NotSupportedError",
    "ObjectPage",
    "Operation",
    "OperationRefusedError",
    "Outcome",
    "PermissionDeniedError",
    "PreconditionFailedError",
    "PresignedRequest",
    "QuotaExceededError",
    "RateLimitedError",
    "Requires",
    "Storage",
    "StorageAzureConfig",
    "StorageConfig",
    "StorageError",
    "StorageFileNotFoundError",
    "StorageGCSConfig",
    "StorageLocalConfig",
    "StorageMemoryConfig",
    "StorageR2Config",
    "StorageS3Config",
    "StorageTimeoutError",
    "StorageUnavailableError",
    "StorageUnsupportedOperationError",
    "UnauthenticatedError",
    "UnfinishedUpload",
    "UnknownBackendError",
    "UploadOptions",
    "Uploadable",
    "Verification",
    "load_config",
    "open_storage",
    "open_storage_sync",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as above

    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
