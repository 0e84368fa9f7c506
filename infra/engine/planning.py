"""What a run decides, without doing it: what a registration asks for, what that means, and what is deleted when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pulumi.provider.experimental.property_value import PropertyValue

from infra.engine import Action
from infra.engine.providers.compare import top
from infra.engine.providers.values import plain_map, secret_names
from infra.engine.state import Entry
from runtime.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pulumi.provider.experimental.provider import DiffResponse

STACK_TYPE: Final = "pulumi:pulumi:Stack"
PROVIDER_PREFIX: Final = "pulumi:providers:"

UNSUPPORTED: Final = {
    "transforms": "transforms",
    "hooks": "hooks",
    "state_migrations": "state_migrations",
    "deletedWith": "deleted_with",
    "replace_with": "replace_with",
    "replacement_trigger": "replacement_trigger",
}
"""Fields of a registration that would be silently lost here -> the resource option that a program wrote."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One registration: what the program wants.

    Attributes:
        entry: The resource as it will be in the state, without id and outputs.
        inputs: Its inputs as they came, secrets and unknowns marked.
        aliases: URNs under which it may be known.
        import_id: Id of an existing resource to take over.
        ignore_changes: Paths of inputs whose changes do not count.
        replace_on_changes: Properties whose change replaces it.
        delete_before_replace: What the program says about the order, None when it says nothing.
        secret_outputs: Outputs that the program wants treated as secrets.
    """

    entry: Entry
    inputs: dict[str, PropertyValue]
    aliases: tuple[str, ...] = ()
    import_id: str = ""
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    delete_before_replace: bool | None = None
    secret_outputs: frozenset[str] = frozenset()

    @property
    def urn(self) -> str:
        """Its URN."""
        return self.entry.urn

    @classmethod
    def from_request(cls, request: Any, urn: str, stack: tuple[str, str]) -> Goal:
        """What a ``RegisterResourceRequest`` asks for.

        Args:
            request: The message of the SDK.
            urn: The URN of the resource.
            stack: Names of stack and project, for aliases.

        Raises:
            ConfigError: it uses an option that this engine does not have.
        """
        lost = [option for name, option in UNSUPPORTED.items() if _given(request, name)]
        if request.remote:
            lost.append("a component of another language")
        if lost:
            raise ConfigError(
                f"{urn}: the embedded engine has no {' and no '.join(lost)}", hint="run this stack with the pulumi CLI"
            )
        inputs = PropertyValue.unmarshal_map(request.object)
        secret_outputs = frozenset(request.additionalSecretOutputs)
        entry = Entry(
            urn=urn,
            type=request.type,
            name=request.name,
            custom=request.custom,
            provider=request.provider.rpartition("::")[0],
            parent=request.parent,
            dependencies=tuple(sorted(request.dependencies)),
            inputs=plain_map(inputs),
            secrets=secret_names(inputs) | secret_outputs,
            protect=request.protect,
            retain=request.retainOnDelete,
        )
        return cls(
            entry=entry,
            inputs=inputs,
            aliases=tuple(_aliases(request, urn, stack)),
            import_id=request.importId,
            ignore_changes=tuple(request.ignoreChanges),
            replace_on_changes=tuple(request.replaceOnChanges),
            delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
            secret_outputs=secret_outputs,
        )


def _given(request: Any, name: str) -> bool:
    descriptor = request.DESCRIPTOR.fields_by_name.get(name)
    if descriptor is None:
        return False
    value = getattr(request, name)
    return bool(value.ByteSize()) if hasattr(value, "ByteSize") else bool(value)


def make_urn(stack: tuple[str, str], parent: str, type_: str, name: str) -> str:
    """Pulumi's name of a resource: a child carries the types of its parents, but not the stack's own.

    >>> make_urn(("dev", "tandem"), "urn:pulumi:dev::tandem::my:Site::web", "aws:s3/bucket:Bucket", "b")
    'urn:pulumi:dev::tandem::my:Site$aws:s3/bucket:Bucket::b'
    """
    above = parent.split("::")[2] if parent else ""
    qualified = f"{above}${type_}" if above and above != STACK_TYPE else type_
    return "::".join([f"urn:pulumi:{stack[0]}", stack[1], qualified, name])


def _aliases(request: Any, urn: str, stack: tuple[str, str]) -> Iterator[str]:
    """URNs of a request's aliases; what an alias leaves out is as it is now."""
    yield from request.aliasURNs
    for alias in request.aliases:
        if alias.urn:
            yield alias.urn
            continue
        spec = alias.spec
        parent = "" if spec.noParent else spec.parentUrn or request.parent
        found = make_urn(
            (spec.stack or stack[0], spec.project or stack[1]),
            parent,
            spec.type or request.type,
            spec.name or request.name,
        )
        if found != urn:
            yield found


def decide(goal: Goal, diff: DiffResponse) -> tuple[Action, tuple[str, ...]]:
    """What a difference means for a resource that exists, and the paths that differ."""
    if not diff.changes:
        return Action.SAME, ()
    changed = tuple(diff.detailed_diff) or tuple(diff.diffs)
    forced = {top(path) for path in goal.replace_on_changes if path != "*"}
    replaced = bool(diff.replaces) or "*" in goal.replace_on_changes or bool(forced & {top(path) for path in changed})
    return (Action.REPLACE if replaced else Action.UPDATE), changed


def refuse_protected(entries: Iterable[Entry], verb: str) -> None:
    """Raise when any of these resources is protected.

    Raises:
        ConfigError: all that are, and what to do about it.
    """
    problems = [Problem(f"{entry.type} {entry.name!r}", f"is protected and would be {verb}") for entry in entries]
    if problems:
        raise ConfigError(
            f"{len(problems)} protected resource{'s' if len(problems) > 1 else ''} would be {verb}; nothing was {verb}",
            problems=problems,
            hint="to do it anyway, take the protection away first (protect=False; in a spec profile: dev) by `up`",
        )


def in_deletion_order(entries: Collection[Entry]) -> list[list[Entry]]:
    """Entries in waves: everything in a wave can be deleted at the same time, after the waves before it."""
    remaining = list(entries)
    waves = []
    while remaining:
        needed = {urn for entry in remaining for urn in entry.needs}
        wave = [entry for entry in remaining if entry.urn not in needed]
        if (
            not wave
        ):  # a state that was edited by hand: rather delete in the order of creation backwards than not at all
            wave = [remaining[-1]]
        waves.append(wave)
        gone = {id(entry) for entry in wave}
        remaining = [entry for entry in remaining if id(entry) not in gone]
    return waves
