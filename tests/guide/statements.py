"""Every statement and code sample of the guide, in its order; `ELSEWHERE` is what `test_guide` does not quote."""

from __future__ import annotations

from typing import Final

STATEMENTS: Final = (
    "lexigram: core framework.",
    "lexigram-contracts: protocol definitions.",
    "boto3: recommended, S3 / R2.",
    "google-cloud-storage: optional.",
    "azure-storage-blob: optional.",
    "Your application needs to store and retrieve files — user avatars, PDF reports, data exports —",
    "across one or more cloud providers.",
    "You want a single API that works with S3, GCS, Azure Blob, Cloudflare R2, and local filesystem,",
    "and you want to switch between them without rewriting code.",
    "Two storage paradigms: blob / object storage, key-value (KV) storage.",
    "For arbitrary binary objects — files, images, documents, backups.",
    "Operations include upload, download, delete, list, generate presigned URLs, and streaming.",
    "Protocol: BlobStoreProtocol.",
    "For small, string-keyed records — session data, feature flags, ephemeral state — with optional TTL.",
    "KV is JSON-based and does not support binary blobs or presigned URLs.",
    "Classes: InMemoryKVStorage, LocalStorage in lexigram.storage.kv.",
    "The primary interface for file storage. Every backend driver implements it.",
    "Sample: AvatarService with upload_avatar and get_avatar_url.",
    'Drivers: "local", "memory", "s3", "gcs", "azure", "r2".',
    "Extras: none for local and memory, [aws] for s3 and r2, [gcp], [azure].",
    "The DriverRegistry maps driver names to implementations and creates driver instances from config.",
    "Third-party packages can register new drivers via the lexigram.storage.backends entry-point group.",
    "Sample: declare multiple stores with named bindings",
    'resolve with Annotated[BlobStoreProtocol, Named("name")].',
    "Sample: UploadOptions(content_type, public, metadata, cache_control) and **options.__dict__.",
    "Sample: DocumentService with save, get, stream and list.",
    "Sample: get_presigned_url with method GET for 24 hours, and with PUT for 15 minutes.",
    'Sample: MediaService with a primary store and Annotated[..., Named("thumbnails")].',
    "Sample: SessionStore over InMemoryKVStorage with a ttl.",
    'Sample: StorageS3Config(..., encryption=EncryptionConfig(enabled=True, type="AES256")).',
    "Use the memory driver in unit tests — it's fast and stateless.",
    "Use the local driver in development with a .gitkeep in the root dir.",
    "Set storage.default_driver to the production backend and override via LEX_STORAGE__DEFAULT_DRIVER.",
    "Don't store secrets (passwords, API keys) in KV",
    "use lexigram-auth or a vault.",
    "Don't use the local driver in production across multiple app instances — files won't be shared.",
    'Don\'t use presigned URLs with method="PUT" for untrusted uploads without additional validation.',
    "Next steps: How-Tos, Architecture, Configuration.",
)

ELSEWHERE: Final = {
    "lexigram: core framework.": "`lexigram`",
    "lexigram-contracts: protocol definitions.": (
        "tests/interop/test_lexigram_protocol.py::test_every_method_of_the_protocol_has_an_equal_signature"
    ),
    "use lexigram-auth or a vault.": "`lexigram-auth`",
    "Next steps: How-Tos, Architecture, Configuration.": "How-Tos, Architecture, Configuration",
}
"""A test of another page, or the words of runtime/DESIGN.md ("What of the guide is not here") that say why none is."""
