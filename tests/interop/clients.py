"""What others use for the same objects: the clouds' own SDKs, and rclone. Each knows a few words, equal for all."""

from __future__ import annotations

import json
import os
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import boto3
from azure.storage.blob import BlobServiceClient, ContentSettings
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as google_storage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.testing.servers import Server

MIB: Final = 1024 * 1024
PART: Final = 5 * MIB
PROJECT: Final = "tandem-test"
RCLONE_NOTES: Final = {"atime", "btime", "gid", "md5chksum", "mode", "mtime", "tier", "uid"}
"""What rclone notes, as metadata, of the file that an object came from."""


def without_notes(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a person said, without rclone's own."""
    return {name: value for name, value in metadata.items() if name not in RCLONE_NOTES}


@dataclass(frozen=True)
class Attributes:
    """What an object says beside its bytes."""

    content_type: str = "application/octet-stream"
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Client(ABC):
    """One client on one bucket, which it makes.

    Attributes:
        settings: What our driver needs for the same bucket.
    """

    settings: dict[str, Any]

    @abstractmethod
    def write(self, path: str, content: bytes, attributes: Attributes) -> None:
        """In parts when it is larger than one part."""

    @abstractmethod
    def read(self, path: str) -> tuple[bytes, Attributes]: ...

    @abstractmethod
    def names(self) -> list[str]: ...

    @abstractmethod
    def copy(self, source: str, destination: str) -> None: ...

    @abstractmethod
    def delete(self, path: str) -> None: ...

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close what it keeps open."""


class Boto3(Client):
    """S3's own SDK, with the checksums that it adds by default."""

    def __init__(self, server: Server, bucket: str) -> None:
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        self.settings = {"bucket": bucket, "region": server.region, "endpoint_url": server.url, **keys}
        self.bucket = bucket
        self.s3 = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name=server.region,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )
        self.s3.create_bucket(Bucket=bucket)

    def write(self, path: str, content: bytes, attributes: Attributes) -> None:
        given = {
            "ContentType": attributes.content_type,
            "CacheControl": attributes.cache_control,
            "ContentDisposition": attributes.content_disposition,
            "ContentEncoding": attributes.content_encoding,
            "Metadata": dict(attributes.metadata),
        }
        extra = {name: value for name, value in given.items() if value}
        transfer = TransferConfig(multipart_threshold=PART + 1, multipart_chunksize=PART)
        self.s3.upload_fileobj(BytesIO(content), self.bucket, path, ExtraArgs=extra, Config=transfer)

    def read(self, path: str) -> tuple[bytes, Attributes]:
        found = self.s3.get_object(Bucket=self.bucket, Key=path)
        with found["Body"] as body:
            return body.read(), Attributes(
                found["ContentType"],
                found.get("CacheControl"),
                found.get("ContentDisposition"),
                found.get("ContentEncoding"),
                found["Metadata"],
            )

    def names(self) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def copy(self, source: str, destination: str) -> None:
        self.s3.copy_object(Bucket=self.bucket, Key=destination, CopySource={"Bucket": self.bucket, "Key": source})

    def delete(self, path: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=path)

    def close(self) -> None:
        self.s3.close()


class Rclone(Client):
    """rclone's S3 backend, as a program; its configuration is in the environment, so in no file."""

    def __init__(self, server: Server, bucket: str, program: str, directory: Path) -> None:
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        self.settings = {"bucket": bucket, "region": server.region, "endpoint_url": server.url, **keys}
        self.root = f"other:{bucket}"
        self.program = program
        self.file = directory / "file"
        options = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": server.url,
            "REGION": server.region,
            "ACCESS_KEY_ID": server.access_key,
            "SECRET_ACCESS_KEY": server.secret_key,
            "UPLOAD_CUTOFF": f"{PART + 1}B",
            "CHUNK_SIZE": f"{PART}B",
        }
        self.environment = {f"RCLONE_CONFIG_OTHER_{name}": value for name, value in options.items()}
        self.environment |= {"RCLONE_CONFIG": os.devnull, "HOME": str(directory), "PATH": os.environ["PATH"]}
        self._run("mkdir", self.root)

    def _run(self, *arguments: str) -> bytes:
        command = [self.program, "--retries", "1", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, f"{arguments}: {done.stderr.decode()}"
        return done.stdout

    def write(self, path: str, content: bytes, attributes: Attributes) -> None:
        self.file.write_bytes(content)
        given = {
            "content-type": attributes.content_type,
            "cache-control": attributes.cache_control,
            "content-disposition": attributes.content_disposition,
            "content-encoding": attributes.content_encoding,
            **attributes.metadata,
        }
        pairs = [
            argument for name, value in given.items() if value for argument in ("--metadata-set", f"{name}={value}")
        ]
        self._run("copyto", "--metadata", *pairs, str(self.file), f"{self.root}/{path}")

    def read(self, path: str) -> tuple[bytes, Attributes]:
        said = json.loads(self._run("lsjson", "--stat", "--metadata", f"{self.root}/{path}"))
        metadata = said["Metadata"]
        cache, disposition, encoding = (
            metadata.pop(name, None) for name in ("cache-control", "content-disposition", "content-encoding")
        )
        kind = metadata.pop("content-type")
        attributes = Attributes(kind, cache, disposition, encoding, without_notes(metadata))
        return self._run("cat", f"{self.root}/{path}"), attributes

    def names(self) -> list[str]:
        return [entry["Path"] for entry in json.loads(self._run("lsjson", "-R", "--files-only", self.root))]

    def copy(self, source: str, destination: str) -> None:
        self._run("copyto", "--metadata", f"{self.root}/{source}", f"{self.root}/{destination}")

    def delete(self, path: str) -> None:
        self._run("deletefile", f"{self.root}/{path}")


class Google(Client):
    """google-cloud-storage; larger objects go by resumable upload, a piece at a time."""

    def __init__(self, server: Server, bucket: str) -> None:
        self.settings = {"bucket": bucket, "project_id": PROJECT, "endpoint_url": server.url}
        options = {"api_endpoint": server.url}
        self.client = google_storage.Client(PROJECT, AnonymousCredentials(), client_options=options)
        self.bucket = self.client.create_bucket(bucket)

    def write(self, path: str, content: bytes, attributes: Attributes) -> None:
        blob = self.bucket.blob(path, chunk_size=MIB if len(content) > PART else None)
        blob.cache_control = attributes.cache_control
        blob.content_disposition = attributes.content_disposition
        blob.content_encoding = attributes.content_encoding
        blob.metadata = dict(attributes.metadata)
        blob.upload_from_file(BytesIO(content), content_type=attributes.content_type, size=len(content))

    def read(self, path: str) -> tuple[bytes, Attributes]:
        blob = self.bucket.get_blob(path)
        headers = (blob.cache_control, blob.content_disposition, blob.content_encoding)
        return blob.download_as_bytes(raw_download=True), Attributes(blob.content_type, *headers, blob.metadata or {})

    def names(self) -> list[str]:
        return [blob.name for blob in self.client.list_blobs(self.bucket)]

    def copy(self, source: str, destination: str) -> None:
        self.bucket.copy_blob(self.bucket.blob(source), self.bucket, destination)

    def delete(self, path: str) -> None:
        self.bucket.blob(path).delete()

    def close(self) -> None:
        self.client.close()


class Azure(Client):
    """azure-storage-blob; larger objects go as blocks."""

    def __init__(self, server: Server, bucket: str) -> None:
        url = f"{server.url}/{server.access_key}"
        account = {"account_name": server.access_key, "account_key": server.secret_key}
        self.settings = {"container": bucket, "endpoint_url": url, **account}
        self.client = BlobServiceClient(url, credential=account, max_single_put_size=PART, max_block_size=PART)
        self.container = self.client.create_container(bucket)

    def write(self, path: str, content: bytes, attributes: Attributes) -> None:
        settings = ContentSettings(
            content_type=attributes.content_type,
            cache_control=attributes.cache_control,
            content_disposition=attributes.content_disposition,
            content_encoding=attributes.content_encoding,
        )
        metadata = dict(attributes.metadata)
        self.container.upload_blob(path, content, metadata=metadata, content_settings=settings, overwrite=True)

    def read(self, path: str) -> tuple[bytes, Attributes]:
        found = self.container.download_blob(path, decompress=False)
        said = found.properties.content_settings
        headers = (said.cache_control, said.content_disposition, said.content_encoding)
        metadata = found.properties.metadata
        return found.readall(), Attributes(said.content_type or "", *headers, metadata)

    def names(self) -> list[str]:
        return list(self.container.list_blob_names())

    def copy(self, source: str, destination: str) -> None:
        self.container.get_blob_client(destination).start_copy_from_url(self.container.get_blob_client(source).url)

    def delete(self, path: str) -> None:
        self.container.delete_blob(path)

    def close(self) -> None:
        self.container.close()
        self.client.close()
