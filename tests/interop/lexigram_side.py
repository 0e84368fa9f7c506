"""What is run in the environment of the published lexigram-storage: one command, one JSON document on stdout.

fields                  every field of its models with its default
load FILE               its `StorageConfig.from_yaml`: what it understood, or why it refused
signatures              its `BlobStoreProtocol` beside our `BlobStore`
values                  fields of the values that go through the protocol, theirs beside ours
use DIRECTORY           an application that knows its protocol and its values only, on our stores
adopt                   its own MemoryDriver as a store of our `Storage`, and ours in its `DriverRegistry`
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import sys
from datetime import timedelta
from typing import Any

from lexigram.contracts import BlobStoreProtocol
from lexigram.contracts.core import HealthCheckResult
from lexigram.contracts.exceptions.config import ConfigurationError
from lexigram.contracts.exceptions.domain import ValidationError
from lexigram.contracts.infra.storage import FileInfo, UploadOptions
from lexigram.storage import config as theirs
from lexigram.storage.backends.memory import MemoryDriver
from lexigram.storage.backends.registry import DriverRegistry as TheirRegistry

import runtime
from runtime import health, models
from runtime.registry import DriverRegistry

MODELS = [name for name in theirs.__all__ if name.endswith("Config")]
METHODS = [name for name in vars(BlobStoreProtocol) if not name.startswith("_")]


def plain(value: Any) -> Any:
    """A value of theirs for JSON; secrets are shown, as these are the test's own."""
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def fields() -> dict[str, Any]:
    required = {
        "StorageS3Config": {"bucket": "b", "region": "r"},
        "StorageGCSConfig": {"bucket": "b", "project_id": "p"},
        "StorageAzureConfig": {"account_name": "a", "account_key": "k", "container": "c"},
        "StorageR2Config": {"bucket": "b", "access_key": "a", "secret_key": "s", "endpoint_url": "u"},
        "NamedStorageConfig": {"name": "n"},
    }
    found = {}
    for name in MODELS:
        given = required.get(name, {})
        values = plain(getattr(theirs, name)(**given))
        found[name] = {"required": sorted(given), "defaults": {k: v for k, v in values.items() if k not in given}}
        for key in given:  # that they are required is measured, not believed
            try:
                getattr(theirs, name)(**{k: v for k, v in given.items() if k != key})
            except ValidationError:
                continue
            raise AssertionError(f"{name}.{key} is not required")
    return found


def load(path: str) -> Any:
    try:
        config = theirs.StorageConfig.from_yaml(path)
    except ConfigurationError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        return {"refused": [[problem.field, problem.message] for problem in error.__cause__.errors]}
    return plain(config)


def described(method: Any) -> dict[str, Any]:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return {
        "parameters": [
            [p.name, p.kind.name, None if p.default is inspect.Parameter.empty else repr(p.default)] for p in parameters
        ],
        "coroutine": inspect.iscoroutinefunction(method),
    }


def signatures() -> dict[str, Any]:
    return {
        name: [described(getattr(BlobStoreProtocol, name)), described(getattr(runtime.BlobStore, name))]
        for name in METHODS
    }


def values() -> dict[str, Any]:
    pairs = [(FileInfo, models.FileInfo), (UploadOptions, models.UploadOptions)]
    pairs.append((HealthCheckResult, health.HealthCheckResult))
    return {pair[0].__name__: [[field.name for field in dataclasses.fields(side)] for side in pair] for pair in pairs}


async def application(store: BlobStoreProtocol) -> list[Any]:
    """Uses one store by the protocol's own words, and compares what comes back with its own words."""
    options = UploadOptions(content_type="text/x-a", metadata={"Who": "me"})
    given = await store.upload("a/b.txt", b"bytes", options)
    await store.upload("a/text", "text", "text/x-b", metadata={"k": "v"})
    info = await store.info("a/b.txt")
    listed = [found.path async for found in store.list("a/")]
    chunks = [chunk async for chunk in store.stream("a/b.txt", 2)]
    bytes_ = await store.download(path="a/b.txt")
    health_ = await store.health_check(timeout=2.0)
    url = await store.get_url("a/b.txt")
    there = await store.exists("a/b.txt")
    await store.delete("a/b.txt")
    gone = not await store.exists("a/b.txt")
    return [
        isinstance(store, BlobStoreProtocol) and issubclass(runtime.BlobStore, BlobStoreProtocol),
        given.path == info.path == "a/b.txt" and info.size == 5,
        info.content_type == "text/x-a" and info.metadata == {"who": "me"},
        listed == ["a/b.txt", "a/text"],
        chunks == [b"by", b"te", b"s"] and bytes_ == b"bytes",
        health_.is_healthy() and health_.status == "healthy",
        bool(url) and there and gone,
    ]


async def use(directory: str) -> dict[str, Any]:
    backends = [
        {"name": "memory", "driver": "memory"},
        {"name": "local", "driver": "local", "local": {"root_dir": directory}},
    ]
    async with runtime.open_storage({"backends": backends}) as storage:
        return {name: await application(store) for name, store in storage.items()}


async def adopt() -> dict[str, Any]:
    registry = DriverRegistry({"memory": lambda _: MemoryDriver()})
    config = {"backends": [{"name": "theirs", "driver": "memory"}]}
    async with runtime.open_storage(config, registry=registry) as storage:
        store: Any = storage["theirs"]
        await store.upload("a", b"x", "text/plain")
        mine = [type(store).__module__, (await store.download("a")).decode(), (await store.info("a")).path]
        injected = storage.inject(lambda store: store, store=storage["theirs"]) is store
        healthy = {name: bool(result.is_healthy()) for name, result in (await storage.health_check()).items()}
    async with runtime.open_storage({"backends": [{"name": "ours", "driver": "memory"}]}) as storage:
        their_registry = TheirRegistry()
        their_registry.register("tandem", lambda _: storage["ours"])
        store = their_registry.get_driver("tandem", theirs.StorageConfig())
        await store.upload("a", b"y")
        yours = [isinstance(store, BlobStoreProtocol), (await store.download("a")).decode()]
        url = await signed(store)
    return {"mine": mine, "injected": injected, "healthy": healthy, "yours": yours, "signed": url}


async def signed(store: BlobStoreProtocol) -> str:
    try:
        return str(await store.get_presigned_url("a", timedelta(minutes=1), "GET"))
    except runtime.NotSupportedError as error:
        return type(error).__name__


def main() -> None:
    command, *arguments = sys.argv[1:]
    result = globals()[command](*arguments)
    json.dump(asyncio.run(result) if inspect.iscoroutine(result) else result, sys.stdout)


if __name__ == "__main__":
    main()
