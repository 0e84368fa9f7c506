"""Other forms of the one contract, for platforms that do not hand over a file. One module each.

Each has ``write(document)`` and, where the form is more than a file with the document in it, ``read(…)``:

| form | what | opened again by ``LEX_STORAGE_CONFIG=…`` |
|---|---|---|
| ``yaml``, ``json`` | the document | the file's path; JSON also as it is |
| ``env`` | one variable with all of it | the file's path, or the variable |
| ``kubernetes`` | a ConfigMap, and a PodTemplate that mounts it and names the secrets | ``/etc/tandem/storage.yaml`` |
| ``servicebinding`` | a directory for each backend | ``servicebinding:``, and unasked where there is nothing else |
| ``cosi`` | variables of the Container Object Storage Interface | ``cosi:`` |

What all of them hold is the same document (`cosi` says what it can not hold), secrets as references only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from runtime.carriers import CARRIERS
from runtime.config import StorageDocument, fingerprint
from runtime.errors import ConfigError
from runtime.validation import problems_of, read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FORMS: Final = ("yaml", "json", "env", "kubernetes", "servicebinding", "cosi")

_FILE: Final = re.compile(r"\$\{file:(?P<path>[^{}]+)\}")
_VARIABLE: Final = re.compile(
    rf"(?<!\$)\$\{{(?!(?:file|{'|'.join(CARRIERS)}):)(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::[^{{}}]*)?\}}"
)


class Encoded(NamedTuple):
    """A contract in another form.

    Attributes:
        files: Text by relative path; a single file has the path ``""``.
        untold: What this form can not hold, by path in the document, with the reason.
    """

    files: Mapping[str, str]
    untold: Mapping[str, str] = {}


def encode(document: StorageDocument, form: str) -> Encoded:
    """*document* in another form."""
    from runtime.forms import cosi, env, kubernetes, servicebinding  # noqa: PLC0415 - they need this module

    writers: dict[str, Callable[[StorageDocument], Encoded]] = {
        "yaml": lambda found: Encoded({"": found.to_yaml()}),
        "json": lambda found: Encoded({"": env.json_of(found, indent=2) + "\n"}),
        "env": env.write,
        "kubernetes": kubernetes.write,
        "servicebinding": servicebinding.write,
        "cosi": cosi.write,
    }
    return writers[form](document)


def open_contract(path: Path) -> StorageDocument:
    """The contract in a file, references unresolved; relative ones start at the root, so that it can go anywhere.

    Raises:
        ConfigError: it is no contract, or holds a literal secret.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("storage"), dict):
        raise ConfigError("is no contract", source=str(path), hint="`tandem up` writes one; it has the key 'storage'")
    directory = path.resolve().parent
    document = _mapped(raw, lambda text: _FILE.sub(lambda found: f"${{file:{directory / found['path']}}}", text))
    document.pop("fingerprint", None)
    return validated(document, str(path))


def validated(document: Mapping[str, Any], source: str) -> StorageDocument:
    """The document as its model.

    Raises:
        ConfigError: with every problem.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - only where something is validated

    try:
        found = StorageDocument.model_validate(document)
    except ValidationError as exc:
        problems = problems_of(exc, document, model=StorageDocument)
        raise ConfigError("the storage config is wrong", source=source, problems=problems) from exc
    found.to_dict()  # refuses literal secrets
    return found


def variables_of(node: Any) -> list[str]:
    """The environment variables that the values of a document refer to, sorted."""
    found: set[str] = set()

    def collect(text: str) -> str:
        found.update(match["name"] for match in _VARIABLE.finditer(text))
        return text

    _mapped(node, collect)
    return sorted(found)


def files_of(node: Any) -> list[str]:
    """The files that the values of a document refer to, sorted."""
    found: set[str] = set()

    def collect(text: str) -> str:
        found.update(match["path"] for match in _FILE.finditer(text))
        return text

    _mapped(node, collect)
    return sorted(found)


def with_files_at(node: Any, places: Mapping[str, str]) -> Any:
    """The document with other paths of the files that it refers to."""
    return _mapped(node, lambda text: _FILE.sub(lambda found: f"${{file:{places[found['path']]}}}", text))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the fingerprint of what it holds now."""
    bare = {key: value for key, value in content.items() if key != "fingerprint"}
    head = {key: bare[key] for key in bare if key != "storage"}
    return {**head, "fingerprint": fingerprint(bare), "storage": bare["storage"]}


def _mapped(node: Any, change: Any) -> Any:
    if isinstance(node, dict):
        return {key: _mapped(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_mapped(value, change) for value in node]
    return change(node) if isinstance(node, str) else node
