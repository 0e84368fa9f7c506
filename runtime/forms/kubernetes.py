"""Manifests for Kubernetes: a ConfigMap with the document, and a PodTemplate that shows what a pod needs to read it.

A PodTemplate runs nothing: it can be applied as it stands, and its ``env``, ``volumeMounts`` and ``volumes`` go into
the workload. Secrets are only named: ``${NAME}`` comes from a ``secretKeyRef``, ``${file:…}`` from a mounted Secret.
The Secret itself (``storage-<stack>``) is made by whatever makes secrets in the cluster; its keys are in a comment.

Source:
    https://kubernetes.io/docs/concepts/configuration/configmap/#motivation (1 MiB at most)
    https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import ConfigError
from runtime.forms import Encoded, files_of, sealed, variables_of, with_files_at
from runtime.validation import dump_yaml

if TYPE_CHECKING:
    from runtime.config import StorageDocument

MOUNTED: Final = "/etc/tandem"
SECRETS: Final = "/etc/tandem-secrets"
FILE: Final = "storage.yaml"
MOST_BYTES: Final = 1024 * 1024


def write(document: StorageDocument) -> Encoded:
    """Both manifests.

    Raises:
        ConfigError: the document is too large for a ConfigMap.
    """
    raw = document.to_dict()
    keys = _keys(files_of(raw))
    moved = sealed(with_files_at(raw, {path: f"{SECRETS}/{key}" for path, key in keys.items()}))
    text = dump_yaml(moved)
    if len(text.encode()) > MOST_BYTES:
        raise ConfigError(f"{len(text.encode())} bytes do not fit into a ConfigMap, which holds {MOST_BYTES}")
    name = _name(document.stack)
    variables = variables_of(raw)
    head = [f"# keys of the Secret {name}: {', '.join([*variables, *keys.values()])}\n"] if variables or keys else []
    manifests = [_config_map(name, text), _pod_template(name, variables, bool(keys))]
    return Encoded({"": "".join(head) + "---\n".join(dump_yaml(manifest, blocks=True) for manifest in manifests)})


def _name(stack: str | None) -> str:
    """A name as Kubernetes wants it."""
    words = re.sub(r"[^a-z0-9]+", "-", (stack or "").lower()).strip("-")
    return f"storage-{words}"[:63].rstrip("-") if words else "storage"


def _keys(paths: list[str]) -> dict[str, str]:
    """A key of the Secret for each file: its name, numbered where two are called alike."""
    keys: dict[str, str] = {}
    for path in paths:
        word = re.sub(r"[^A-Za-z0-9._-]", "_", path.rpartition("/")[2])
        taken = sum(key == word or key.startswith(f"{word}.") for key in keys.values())
        keys[path] = f"{word}.{taken}" if taken else word
    return keys


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "tandem", "app.kubernetes.io/name": name}


def _config_map(name: str, text: str) -> dict[str, Any]:
    meta = {"name": name, "labels": _labels(name)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {FILE: text}}


def _pod_template(name: str, variables: list[str], mounts_secret: bool) -> dict[str, Any]:
    env: list[dict[str, Any]] = [{"name": "LEX_STORAGE_CONFIG", "value": f"{MOUNTED}/{FILE}"}]
    env += [{"name": each, "valueFrom": {"secretKeyRef": {"name": name, "key": each}}} for each in variables]
    mounts = [{"name": name, "mountPath": MOUNTED, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": name, "configMap": {"name": name}}]
    if mounts_secret:
        mounts.append({"name": f"{name}-secrets", "mountPath": SECRETS, "readOnly": True})
        volumes.append({"name": f"{name}-secrets", "secret": {"secretName": name, "defaultMode": 0o400}})
    container = {"name": "app", "image": "app", "env": env, "volumeMounts": mounts}
    template = {"metadata": {"labels": _labels(name)}, "spec": {"containers": [container], "volumes": volumes}}
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": template}
