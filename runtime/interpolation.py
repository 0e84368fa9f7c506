"""References inside a document's values, resolved when it is loaded: ``${NAME}``, ``${file:PATH}``, ``${ssm:NAME}``.

* ``${NAME}`` is the environment variable NAME, ``${NAME:text}`` the same with *text* where it is not set.
* ``${file:PATH}`` is the content of a file without its last newline; a relative path starts at the directory
  of the config file.
* ``${ssm:…}``, ``${aws-sm:…}``, ``${gcp-sm:…}`` and ``${azure-kv:…}`` are what a carrier of `runtime.carriers` holds.
  It is asked when such a reference stands in the document, once a load.
* ``$${`` is a literal ``${``. Keys are never interpolated, and what a reference gives is not looked at again.

A reference may be a whole value or a part of it. Every one that can not be resolved is reported, at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from runtime.carriers import CARRIERS, CarrierError, Carriers
from runtime.errors import Problem
from runtime.validation import dotted, why_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_CARRIED: Final = rf"(?:{'|'.join(CARRIERS)}):[^{{}}]+"

REFERENCE: Final = re.compile(rf"\$\{{(?:file:[^{{}}]+|{_CARRIED}|[A-Za-z_][A-Za-z0-9_]*)\}}")
"""What a generated document may hold for a secret: one reference and nothing else."""

REFERENCE_FORMS: Final = "${NAME} or ${file:PATH}, or of a carrier: ${ssm:…}, ${aws-sm:…}, ${gcp-sm:…}, ${azure-kv:…}"
"""What `REFERENCE` matches, for messages."""

_TOKEN: Final = re.compile(
    rf"\$(?P<escape>\$)\{{|\$\{{(?:file:(?P<file>[^{{}}]+)|(?P<carried>{_CARRIED})"
    rf"|(?!(?:file|{'|'.join(CARRIERS)}):)(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^{{}}]*))?)\}}"
    r"|(?P<malformed>\$\{)"
)


@dataclass(slots=True)
class Interpolation:
    """One pass over one document.

    Attributes:
        environ: Variables that ``${NAME}`` is looked up in.
        directory: Where relative paths of ``${file:PATH}`` start.
        working_directory: The same for values that come from outside the document.
        outside: Paths of those values.
        problems: What could not be resolved.
        references: By path of the value: the references in it, without their defaults.
        carriers: What gives the text of a carrier's reference.
    """

    environ: Mapping[str, str]
    directory: Path
    working_directory: Path
    outside: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    carriers: Carriers = field(default_factory=Carriers)

    def resolve(self, document: Any) -> Any:
        """A copy of *document* with every reference replaced; what can not be resolved is left as it is."""
        return self._resolve(document, (), document)

    def _resolve(self, node: Any, location: tuple[str | int, ...], document: Any) -> Any:
        if isinstance(node, dict):
            return {key: self._resolve(value, (*location, key), document) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [self._resolve(value, (*location, index), document) for index, value in enumerate(node)]
        if isinstance(node, str) and "${" in node:
            return self._text(node, dotted(location, document))
        return node

    def _text(self, text: str, path: str) -> str:
        def replace(match: re.Match[str]) -> str:
            if match["escape"]:
                return "${"
            try:
                value = self._value(match, path)
            except _UnresolvedError as exc:
                self.problems.append(Problem(path, *exc.args))
                return match[0]
            # a default may be a secret: only what was looked up is remembered
            named = f"file:{match['file']}" if match["file"] else match["carried"] or match["name"]
            reference = f"${{{named}}}"
            self.references[path] = f"{self.references[path]} {reference}" if path in self.references else reference
            return value

        return _TOKEN.sub(replace, text)

    def _value(self, match: re.Match[str], path: str) -> str:
        if match["malformed"]:
            raise _UnresolvedError("'${' begins no reference; write $${ for a literal one", REFERENCE_FORMS)
        if match["file"]:
            directory = self.directory if covering(path, self.outside) is None else self.working_directory
            return self._file(directory / match["file"])
        if match["carried"]:
            return self._carried(match["carried"])
        value = self.environ.get(match["name"], match["default"])
        if value is None:
            raise _UnresolvedError(f"environment variable {match['name']} is not set")
        return value

    def _carried(self, reference: str) -> str:
        try:
            return self.carriers.get(reference)
        except CarrierError as exc:
            raise _UnresolvedError(f"{reference} {exc}") from exc

    @staticmethod
    def _file(path: Path) -> str:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise _UnresolvedError(f"file {path} {why_unreadable(exc)}") from exc
        return text.removesuffix("\n").removesuffix("\r")


def covering(path: str, paths: Iterable[str]) -> str | None:
    """The longest of *paths* that is *path* or stands above it."""
    above = [other for other in paths if path == other or path.startswith((f"{other}.", f"{other}["))]
    return max(above, key=len, default=None)


class _UnresolvedError(Exception):
    """A reference gives no value: the message and, when it can be listed, what is allowed."""
