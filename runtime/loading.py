"""Finding and reading the storage config of an application.

It is looked for in this order, and the first that is there is read:

1. the argument: a path, a mapping, JSON text, or a `StorageConfig` that was built in code;
2. ``LEX_STORAGE_CONFIG``: a path, the JSON itself, or a place that holds it: ``ssm:…`` and the other carriers of
   `runtime.carriers`, ``servicebinding:`` and ``cosi:`` (`runtime.forms`);
3. ``storage.yaml`` in the working directory;
4. ``stacks/storage.$LEX_STORAGE_STACK.yaml`` in the working directory, as `tandem up` writes it;
5. ``$SERVICE_BINDING_ROOT``, where it has bindings of ours.

On top of it come the ``LEX_STORAGE__…`` variables (`runtime.overrides`), which may also be all that there is, and
the references in its values (`runtime.interpolation`). A `StorageConfig` object is what the application decided
in code: references in it are resolved, variables do not override it.

A document is the generated form (``version``, …, ``storage``), a bare storage config (``backends``, …), or the file
of a whole application, where everything beside the key ``storage`` is somebody else's; where ``version`` stands, the
file is ours alone and every other key has to be known. A document with a fingerprint is generated: a literal secret
in it is refused, and an edit by hand is warned of, as the next `tandem up` will undo it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from runtime.advice import advice
from runtime.carriers import CarrierError, Carriers, is_carried
from runtime.config import (
    MINOR,
    VERSION,
    Model,
    StorageConfig,
    StorageDocument,
    check_version,
    fingerprint,
    literal_secrets,
    plain,
)
from runtime.errors import ConfigError, Problem, StorageWarning
from runtime.forms import cosi, env, servicebinding
from runtime.interpolation import Interpolation, covering
from runtime.overrides import PREFIX, Override, apply_overrides, overrides_in
from runtime.validation import dotted, parse_json, parse_yaml, problems_of, read_text, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.validation import Location

CONFIG_VARIABLE: Final = "LEX_STORAGE_CONFIG"
STACK_VARIABLE: Final = "LEX_STORAGE_STACK"
DEFAULT_FILE: Final = "storage.yaml"
CAN_NOT_READ: Final = "the storage config can not be read by this release"

Source = None | str | Path | Mapping[str, Any] | StorageConfig


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A storage config and where it comes from.

    Attributes:
        config: What `open_storage` opens.
        source: The file, variable or argument that was read.
        stack: Pulumi stack that generated it, when it was generated.
        origins: By path of a key: the variable that set it, or the reference that its value came from.
        notes: What is probably not meant; `load_config` warns of it.
        literals: Paths of secrets that stand in the document in clear.
        from_file: Whether the document was read from a file.
        edited: The fingerprint that a generated document states, and the one that it has, when they differ.
    """

    config: StorageConfig
    source: str
    stack: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()
    from_file: bool = False
    edited: tuple[str, str] | None = None


class _Found(NamedTuple):
    """What was read: the plain document, what to call it, and where its relative paths start."""

    document: Any
    source: str
    directory: Path
    from_file: bool = False


def load_config(
    source: Source = None, *, environ: Mapping[str, str] | None = None, directory: str | Path | None = None
) -> StorageConfig:
    """The storage config of this application, checked and with every reference resolved.

    Args:
        source: A path, a mapping, JSON text or a `StorageConfig`; without it the places above are looked at.
        environ: Environment variables; those of this process when left out.
        directory: Directory that relative paths start at; the working directory when left out.

    Raises:
        ConfigError: nothing was found, or what was found is wrong; lists every problem.

    Warns:
        StorageWarning: the document was edited by hand, is newer than this release, or hides another one; and what
            `runtime.advice` finds unsafe in it.
    """
    loaded = read_config(source, environ=environ, directory=directory)
    # what code gives (a mapping, a model) may hold secrets that it has from elsewhere: only files are told off
    literals = loaded.literals if loaded.from_file else ()
    for note in (*loaded.notes, *advice(loaded.config, loaded.stack, literals)):
        warnings.warn(note, StorageWarning, stacklevel=2)
    return loaded.config


def read_config(
    source: Source = None, *, environ: Mapping[str, str] | None = None, directory: str | Path | None = None
) -> LoadedConfig:
    """As `load_config`, with where everything comes from, and with notes in place of warnings."""
    return _Reading(os.environ if environ is None else environ, Path(directory or "")).read(source)


def declared(
    source: Source = None, *, environ: Mapping[str, str] | None = None, directory: str | Path | None = None
) -> dict[str, Any]:
    """What `load_config` would read, as it was written: variables laid over it, references and all else unchecked.

    For tests, which know the names of an application's stores and have none of its secrets.
    """
    return _Reading(os.environ if environ is None else environ, Path(directory or "")).declared(source)


def stack_file(stack: str, directory: Path) -> Path:
    """Where `tandem up` writes the storage config of *stack*."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", stack):
        raise ConfigError(f"{stack!r} can not name a stack", source=STACK_VARIABLE)
    return directory / "stacks" / f"storage.{stack}.yaml"


class _Reading:
    """One reading of one config: finds the document, lays the variables over it, resolves and validates it."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self._environ = environ
        self._directory = directory
        self._notes: list[str] = []
        self._carriers = Carriers()
        self._edited: tuple[str, str] | None = None

    def read(self, source: Source) -> LoadedConfig:
        overrides = [] if isinstance(source, StorageConfig) else overrides_in(self._environ)
        found = self._find(source, overrides)
        _mapping(found)
        loaded = self._loaded(found, overrides)
        return (
            replace(loaded, config=source) if isinstance(source, StorageConfig) and loaded.config == source else loaded
        )

    def declared(self, source: Source) -> dict[str, Any]:
        overrides = [] if isinstance(source, StorageConfig) else overrides_in(self._environ)
        document, _, root = _form(_mapping(self._find(source, overrides)))
        storage = document.get(root) if root else document
        if not isinstance(storage, dict):
            raise ConfigError("is not a mapping of keys to values", hint="it needs 'backends'")
        _, refused = apply_overrides(storage, overrides, root)
        if refused:
            raise ConfigError("the storage config is wrong", problems=refused)
        return storage

    def _find(self, source: Source, overrides: list[Override]) -> _Found:
        if source is not None:
            return self._open(source, "argument")
        if given := self._environ.get(CONFIG_VARIABLE):
            return self._open(given, CONFIG_VARIABLE)
        stack = self._environ.get(STACK_VARIABLE)
        files = [self._directory / DEFAULT_FILE, *([stack_file(stack, self._directory)] if stack else [])]
        present = [file for file in files if file.exists()]
        if len(present) > 1:
            self._notes.append(f"{present[0]} is read, so {STACK_VARIABLE}={stack} has no effect: remove one of them")
        if present:
            return _Found(read_yaml(present[0]), str(present[0]), present[0].parent, from_file=True)
        root = self._environ.get(servicebinding.ROOT_VARIABLE)
        if root and not stack and servicebinding.holds_bindings(Path(root)):
            return self._bindings(Path(root), servicebinding.ROOT_VARIABLE)
        if overrides and not stack:
            return _Found({}, f"{PREFIX}… variables", self._directory)
        raise _nothing_found(files, stack, self._directory, overrides)

    def _open(self, source: str | Path | Mapping[str, Any] | StorageConfig, origin: str) -> _Found:
        if isinstance(source, Mapping | Model):
            return _Found(plain(source), origin, self._directory)
        if isinstance(source, str) and (found := self._elsewhere(env.unquoted(source.strip()), origin)):
            return found
        path = self._directory / source
        name = str(path) if origin == "argument" else f"{path} ({origin})"
        if path.suffix == ".env" or path.name == ".env":
            return _Found(env.read(read_text(path, name), name), name, path.parent, from_file=True)
        return _Found(read_yaml(path, name), name, path.parent, from_file=True)

    def _elsewhere(self, source: str, origin: str) -> _Found | None:
        """What *source* holds or names, when that is no file."""
        if source.startswith("{"):
            return _Found(parse_json(source, origin), origin, self._directory)
        scheme, colon, name = source.partition(":")
        if is_carried(source):
            try:
                text = self._carriers.get(source)
            except CarrierError as exc:
                raise ConfigError(f"{source} {exc}", source=origin) from exc
            parsed = parse_json if text.lstrip().startswith("{") else parse_yaml
            return _Found(parsed(text, source), f"{source} ({origin})", self._directory)
        if colon and scheme == "cosi" and not name:
            return _Found(cosi.read(self._environ), f"COSI variables ({origin})", self._directory)
        if colon and scheme == "servicebinding":
            root = name or self._environ.get(servicebinding.ROOT_VARIABLE)
            if not root:
                raise ConfigError(f"{servicebinding.ROOT_VARIABLE} is not set", source=origin)
            return self._bindings(self._directory / root, origin)
        return None

    def _bindings(self, root: Path, origin: str) -> _Found:
        return _Found(servicebinding.read(root), f"{root} ({origin})", root)

    def _loaded(self, found: _Found, overrides: list[Override]) -> LoadedConfig:
        document, model, root = _form(found.document)
        literals = literal_secrets(document)
        problems = self._check_origin(document, found.source, literals)
        storage = document.get(root) if root else document
        origins, refused = apply_overrides(storage, overrides, root) if isinstance(storage, dict) else ({}, [])
        interpolation = Interpolation(
            self._environ, found.directory, self._directory, frozenset(origins), carriers=self._carriers
        )
        config, wrong = self._validate(model, interpolation.resolve(document), document, found.source)
        unresolved = {problem.path for problem in interpolation.problems}
        wrong = [problem for problem in wrong if problem.path not in unresolved]
        problems += [*refused, *(_blamed(problem, origins) for problem in [*interpolation.problems, *wrong])]
        if problems or config is None:
            raise ConfigError("the storage config is wrong", source=found.source, problems=problems)
        storage_config, stack = (
            (config.storage, config.stack) if isinstance(config, StorageDocument) else (config, None)
        )
        return LoadedConfig(
            storage_config,
            found.source,
            stack,
            origins=interpolation.references | origins,
            notes=tuple(self._notes),
            literals=tuple(problem.path for problem in literals),
            from_file=found.from_file,
            edited=self._edited,
        )

    def _check_origin(self, document: dict[str, Any], source: str, literals: list[Problem]) -> list[Problem]:
        if "version" in document:
            try:
                check_version(document["version"])
            except ValueError as exc:  # everything else in it may mean something else by now
                raise ConfigError(CAN_NOT_READ, source=source, problems=[Problem("version", str(exc))]) from exc
        if "fingerprint" not in document:
            return []
        if not literals and document["fingerprint"] != (actual := fingerprint(document)):
            self._edited = (str(document["fingerprint"]), actual)
            self._notes.append(
                f"{source} was edited by hand after it was generated, and the next `tandem up` will undo that:"
                f" change the stack instead, or set {PREFIX}… variables"
            )
        return list(literals)

    def _validate(
        self, model: type[StorageDocument | StorageConfig], resolved: Any, document: Any, source: str
    ) -> tuple[StorageDocument | StorageConfig | None, list[Problem]]:
        newer = int((str(document.get("version", "")).partition(".")[2]) or 0) > MINOR
        try:
            config = model.model_validate(resolved)
        except ValidationError as exc:
            unknown = [item["loc"] for item in exc.errors(include_url=False) if item["type"] == "extra_forbidden"]
            if not (newer and unknown):
                return None, problems_of(exc, document, model=model)
            for location in unknown:
                _remove(resolved, location)
            ignored = ", ".join(dotted(location, document) for location in unknown)
            self._notes.append(f"{source}: keys that this release does not know are ignored: {ignored}")
            return self._validate(model, resolved, document, source)
        if newer:
            known = f"{VERSION}.{MINOR}"
            self._notes.append(f"{source} is version {document['version']}, this release knows {known}: upgrade it")
        return config, []


def _mapping(found: _Found) -> dict[str, Any]:
    if not isinstance(found.document, dict):
        what = "is empty" if found.document is None else "is not a mapping of keys to values"
        raise ConfigError(what, source=found.source, hint="it needs the key 'storage', or 'backends'")
    return found.document


def _form(document: dict[str, Any]) -> tuple[dict[str, Any], type[StorageDocument | StorageConfig], str]:
    """What of the document is ours, the model of it, and the key that the storage config stands under."""
    if "version" in document or "fingerprint" in document:
        return document, StorageDocument, "storage"
    if "storage" in document:
        return {"storage": document["storage"]}, StorageDocument, "storage"
    return document, StorageConfig, ""


def _blamed(problem: Problem, origins: Mapping[str, str]) -> Problem:
    """The problem with the variable that brought the value in, when it was one."""
    origin = covering(problem.path, origins)
    if origin is None:
        return problem
    return Problem(problem.path, f"{problem.message} (set by {origins[origin]})", problem.allowed)


def _remove(document: Any, location: Location) -> None:
    for part in location[:-1]:
        document = document[part]
    del document[location[-1]]


def _nothing_found(files: Iterable[Path], stack: str | None, directory: Path, overrides: list[Override]) -> ConfigError:
    looked_at = [
        Problem("argument", "none was given"),
        Problem(CONFIG_VARIABLE, "is not set"),
        *(Problem(str(file), "does not exist") for file in files),
        *(
            []
            if stack
            else [Problem(str(directory / "stacks" / "storage.<stack>.yaml"), f"{STACK_VARIABLE} is not set")]
        ),
        Problem(f"{PREFIX}… variables", f"need the file that {STACK_VARIABLE} names" if overrides else "none is set"),
    ]
    stacks = [path.name.split(".")[1] for path in sorted((directory / "stacks").glob("storage.*.yaml"))]
    hint = f"set {STACK_VARIABLE}={stacks[0]}" if stacks else "write storage.yaml, or run `tandem up` for a stack"
    return ConfigError("no storage config was found", problems=looked_at, hint=hint)
