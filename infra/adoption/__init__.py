"""``take_over: <bucket>``: a bucket that is there already becomes one of the stack's, with all that it holds.

Pulumi imports it and every setting of it that the service has, under ids that are computed here, and then changes what
the spec wants otherwise; nothing is created anew or emptied. Whose it is is looked at first: what carries the owner
tags of another stack is refused, because two stacks that manage one bucket undo each other's settings, and in us-east-1
AWS does not even refuse a second creation. From then on it is protected as a bucket that the stack made, and when the
stack goes it stays, with its settings.

``infra/adoption/<provider>.py`` looks; nothing is asked of anybody unless a backend says ``take_over``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pulumi

from runtime.errors import ConfigError, NotFoundError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.backend import BackendSpec
    from infra.context import Context
    from infra.spec import StorageSpec

OWNERS = ("tandem:project", "tandem:stack")


@dataclass(frozen=True, slots=True)
class Found:
    """What is there of one backend.

    Attributes:
        ids: Import id of each resource of it that is there, by the resource's name in the program.
        tags: Its owner tags, in the spelling of `infra.context.Context.owner_tags`; empty where the service has none.
        remarks: What a person should know: what can not be imported, or not be checked.
    """

    ids: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def look(spec: StorageSpec, context: Context) -> dict[str, Found]:
    """What is there of every backend that is taken over, by the backend's name.

    Raises:
        ConfigError: a bucket is not there, or belongs to another stack; all that is wrong.
    """
    found, problems = {}, []
    for backend in spec.backends:
        if backend.take_over is None:
            continue
        path = f"storage.backends.{backend.name}.take_over"
        try:
            seen = import_module(f"infra.adoption.{backend.provider}").look(backend, context)
        except NotFoundError as exc:
            if pulumi.runtime.is_dry_run():  # a destroy runs the program too, and may come after the bucket is gone
                pulumi.log.warn(f"{path}: {exc.message}; `up` will refuse")
                seen = Found({})
            else:
                problems.append(Problem(path, exc.message))
                continue
        if whose := other_owner(seen.tags, context):
            problems.append(Problem(path, f"found {backend.take_over!r}, which stack {whose} manages"))
            continue
        for remark in seen.remarks:
            pulumi.log.info(f"{backend.name}: {remark}")
        found[backend.name] = seen
    if problems:
        raise ConfigError(
            "what a backend takes over is not there, or somebody else's",
            source=context.stack.source,
            problems=problems,
            hint="let the other stack go of it first, or use it by reference: `existing: <bucket>`",
        )
    return found


def other_owner(tags: Mapping[str, str], context: Context) -> str | None:
    """``project/stack`` of the tags, when that is not this stack."""
    owner = tuple(tags.get(name, "") for name in OWNERS)
    return "/".join(owner) if any(owner) and owner != (context.stack.project, context.stack.name) else None


def options(backend: BackendSpec, context: Context) -> pulumi.ResourceOptions:
    """Options of a backend's component: its provider, and that what is taken over is imported and stays.

    Pulumi's older ``transformations`` run in the program itself, so no engine has to know of them.
    """
    base = context.options(backend.provider)
    if backend.take_over is None:
        return base
    found = context.adopted.get(backend.name)
    ids = found.ids if found else {}

    def imported(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not isinstance(args.resource, pulumi.CustomResource):
            return None
        more: dict[str, Any] = {"retain_on_delete": True}
        if args.name in ids:
            more["import_"] = ids[args.name]
        opts = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(**more))
        return pulumi.ResourceTransformationResult(args.props, opts)

    return pulumi.ResourceOptions.merge(base, pulumi.ResourceOptions(transformations=[imported]))
