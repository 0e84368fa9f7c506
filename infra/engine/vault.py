"""Secret values of a state, in a file of their own beside the stack's other secrets."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any, Final

from infra import private
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

REFERENCE: Final = "$secret"


class Vault:
    """Swaps secret values for references and back. The salt makes a reference useless to whoever guesses values."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._salt = secrets.token_hex(16)
        self._values: dict[str, Any] = {}
        self._changed = False
        if path.exists():
            self._load()

    def hide(self, values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """*values* with a reference in place of every one that *names* lists."""
        return {key: self._put(value) if key in names else value for key, value in values.items()}

    def show(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """*values* with what its references stand for.

        Raises:
            ConfigError: the vault does not hold it (any more).
        """
        return {key: self._get(value) for key, value in values.items()}

    def save(self) -> None:
        """Write what is new."""
        if self._changed:
            private.write(self._path, json.dumps({"salt": self._salt, "values": self._values}, indent=1) + "\n")
            self._changed = False

    def prune(self, text: str) -> None:
        """Forget values that *text*, the whole state, does not refer to."""
        unused = [reference for reference in self._values if reference not in text]
        for reference in unused:
            del self._values[reference]
        self._changed = self._changed or bool(unused)
        self.save()

    def _put(self, value: Any) -> dict[str, str]:
        text = json.dumps(value, sort_keys=True)
        reference = hashlib.blake2b(text.encode(), key=self._salt.encode(), digest_size=16).hexdigest()
        if reference not in self._values:
            self._values[reference] = value
            self._changed = True
        return {REFERENCE: reference}

    def _get(self, value: Any) -> Any:
        if not (isinstance(value, dict) and value.keys() == {REFERENCE}):
            return value
        reference = value[REFERENCE]
        if reference not in self._values:
            raise ConfigError(
                "a secret that the state refers to is missing",
                source=str(self._path),
                hint="put a copy of this file back beside the state",
            )
        return self._values[reference]

    def _load(self) -> None:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            self._salt, self._values = str(document["salt"]), dict(document["values"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigError(
                "the secrets of the state can not be read", source=str(self._path), hint="put a copy of it back"
            ) from exc
