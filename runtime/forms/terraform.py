"""What ``terraform output -json`` says, as a contract: for teams whose buckets Terraform makes.

One output, ``tandem_storage``, holds the backends by name, each as the contract has it::

    output "tandem_storage" {
      value = {
        stack = terraform.workspace
        backends = {
          avatars = {
            driver  = "s3"
            primary = true
            s3      = { bucket = aws_s3_bucket.avatars.bucket, region = var.region }
          }
          media = {
            driver = "r2"
            r2 = {
              bucket       = cloudflare_r2_bucket.media.name
              endpoint_url = "https://${var.account_id}.r2.cloudflarestorage.com"
              access_key   = "$${MEDIA_ACCESS_KEY}"
              secret_key   = "$${MEDIA_SECRET_KEY}"
            }
          }
        }
      }
    }

Beside ``backends`` it may hold ``project``, ``stack``, ``default_driver``, ``service`` and ``kv``. Attributes that are
null are left out. Secrets are references (``$${NAME}`` is how Terraform writes ``${NAME}``); one in clear is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runtime.config import registered_drivers
from runtime.errors import ConfigError, Problem
from runtime.forms import validated
from runtime.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runtime.config import StorageDocument

OUTPUT: Final = "tandem_storage"
PATH: Final = f"{OUTPUT}.value"

_STORAGE: Final = ("default_driver", "service", "kv")
_KNOWN: Final = ("backends", "project", "stack", *_STORAGE)


def read(outputs: Any, source: str) -> StorageDocument:
    """The contract.

    Args:
        outputs: All outputs: ``terraform output -json``.
        source: Where they come from, for messages.

    Raises:
        ConfigError: with every problem, by its path in the outputs.
    """
    if problems := list(_shape(outputs)):
        raise _wrong(source, problems)
    value = _set(outputs[OUTPUT]["value"])
    backends = [{"name": name, **entry} for name, entry in sorted(value["backends"].items())]
    head = {key: value[key] for key in ("project", "stack") if key in value}
    storage = {key: value[key] for key in _STORAGE if key in value} | {"backends": backends}
    if (driver := _first(backends).get("driver")) in registered_drivers():  # another one is told at its own place
        storage.setdefault("default_driver", driver)
    try:
        return validated({"version": 1, **head, "storage": storage}, source)
    except ConfigError as exc:
        moved = [Problem(_moved(each.path), each.message, each.allowed) for each in exc.problems]
        raise _wrong(source, moved) from exc


def _wrong(source: str, problems: list[Problem]) -> ConfigError:
    hint = f"the output {OUTPUT} is described in stacks/README.md"
    return ConfigError("the Terraform outputs are no storage config", source=source, problems=problems, hint=hint)


def _shape(outputs: Any) -> Iterator[Problem]:
    if not isinstance(outputs, dict):
        yield Problem("", "is not what `terraform output -json` prints", "a mapping of outputs")
        return
    if OUTPUT not in outputs:
        there = ", ".join(sorted(outputs)) or "none"
        yield Problem(OUTPUT, f"there is no such output{did_you_mean(OUTPUT, outputs)}; there are: {there}")
        return
    output = outputs[OUTPUT]
    if not isinstance(output, dict) or "value" not in output:
        yield Problem(PATH, "is required: give all of `terraform output -json`, not one output of it")
        return
    value = output["value"]
    if not isinstance(value, dict):
        yield Problem(PATH, "is not a mapping", ", ".join(_KNOWN))
        return
    yield from (
        Problem(f"{PATH}.{key}", f"unknown key{did_you_mean(key, _KNOWN)}", ", ".join(_KNOWN))
        for key in value
        if key not in _KNOWN
    )
    yield from _backend_shapes(value.get("backends"))


def _backend_shapes(backends: Any) -> Iterator[Problem]:
    path = f"{PATH}.backends"
    if not isinstance(backends, dict) or not backends:
        yield Problem(path, "is required" if backends is None else "is no mapping of names to backends", "at least one")
        return
    for name, entry in backends.items():
        if not isinstance(entry, dict):
            yield Problem(f"{path}.{name}", "is not a mapping", "driver, and the settings below its name")
        elif "name" in entry:
            yield Problem(f"{path}.{name}.name", "unknown key: the name is the key above it")


def _set(node: Any) -> Any:
    """The value without what is null: Terraform writes out every attribute of an object."""
    if isinstance(node, dict):
        return {key: _set(value) for key, value in node.items() if value is not None}
    return [_set(value) for value in node if value is not None] if isinstance(node, list) else node


def _first(backends: list[dict[str, Any]]) -> Mapping[str, Any]:
    return next((backend for backend in backends if backend.get("primary") is True), backends[0])


def _moved(path: str) -> str:
    inside = path.removeprefix("storage.")
    return f"{PATH}.{inside}" if inside else PATH
