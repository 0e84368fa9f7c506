"""A ``.env`` file: one variable ``LEX_STORAGE_CONFIG`` with the whole document as JSON.

Not ``LEX_STORAGE__…``: those are for laying single keys over a document. They know no lists, no numbers and no `-` in
names, and a contract of a hundred backends would be thousands of them.

The JSON is ASCII without line breaks and single quotes, and stands in single quotes: so a shell, systemd, Docker
Compose and python-dotenv all take it as it is and expand nothing. ``docker run --env-file`` keeps the quotes; the
loader does not mind.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import ConfigError
from runtime.forms import Encoded, variables_of
from runtime.validation import parse_json

if TYPE_CHECKING:
    from runtime.config import StorageDocument

VARIABLE: Final = "LEX_STORAGE_CONFIG"
_LINE: Final = re.compile(rf"^\s*(?:export\s+)?{VARIABLE}=(?P<value>.*?)\s*$", re.MULTILINE)


def json_of(document: StorageDocument, *, indent: int | None = None) -> str:
    """The document as JSON."""
    return json.dumps(document.to_dict(), indent=indent)


def write(document: StorageDocument) -> Encoded:
    """The file; what else has to be set is named in it, without values."""
    head = [f"# storage of stack {document.stack}" if document.stack else "# storage", *_needs(document)]
    value = json_of(document).replace("'", "\\u0027")
    return Encoded({"": "\n".join([*head, f"{VARIABLE}='{value}'", ""])})


def _needs(document: StorageDocument) -> list[str]:
    names = variables_of(document.to_dict())
    return [f"# it refers to {', '.join(names)}: set them from where secrets are kept"] if names else []


def read(text: str, source: str) -> Any:
    """The document in the file.

    Raises:
        ConfigError: the variable is not in it, or holds no JSON.
    """
    found = _LINE.findall(text)
    if not found:
        raise ConfigError(f"sets no {VARIABLE}", source=source)
    return parse_json(unquoted(found[-1]), source)  # the last one wins, as in a shell


def unquoted(value: str) -> str:
    """A value without the quotes that some readers of such files leave around it."""
    for quote in ("'", '"'):
        if len(value) > 1 and value[0] == value[-1] == quote:
            return value[1:-1]
    return value
