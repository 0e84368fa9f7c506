"""What a program would register, recorded at once: no event loop turns, no message is packed, nothing waits.

`infra.recording` runs a program through all of Pulumi's machinery, which takes 4 ms a resource. Before anything exists
there is nothing to wait for: an output is what was given, or unknown. So each resource is recorded inside of its own
constructor. What is recorded is still made by Pulumi's own code (`rpc.serialize_property`, `rpc._expand_dependencies`):
names, secrets, unknown values and dependencies come out as an engine would get them.

This file is the only one that reaches into Pulumi for it. It assumes

* that `pulumi.resource` calls `register_resource`, `read_resource`, `register_resource_outputs` and
  `collapse_alias_to_urn` of its own namespace, and generated SDKs `pulumi.runtime.invoke_output`: they are replaced
  for the program that is recorded (a context variable says which), and are Pulumi's own for everybody else;
* that an `Output` is an object with a future `_data` of `_OutputData`;
* that serialising what is settled does not wait.

``tests/infra/test_offline.py`` compares the records with those of `infra.recording`, one by one, on every example stack
and on generated ones: a Pulumi release of which this does not hold is seen there.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar
from functools import cache, cached_property, partial, wraps
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

import pulumi
from pulumi import _types, output, resource
from pulumi.output import Output, _OutputData
from pulumi.runtime import rpc, settings, stack
from pulumi.runtime._depends_on import _resolve_depends_on
from pulumi.runtime.rpc import _expand_dependencies

from infra.garbage import no_collections
from infra.recording import Monitor, Record, Recording, end, plain, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from infra.stack import Stack

log = logging.getLogger("tandem.recording")

STACK_TYPE: Final = "pulumi:pulumi:Stack"

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
"""Types that are wire form already."""

_RECORDER: ContextVar[_Recorder | None] = ContextVar("tandem_offline_recorder", default=None)


def record(program: Callable[[Stack], None], selected: Stack) -> Recording:
    """Run *program* for a stack, as in a preview, and give what it registered.

    The same as `infra.recording.record` with ``preview=True``, and more than twenty times as fast.
    """
    _take_places()
    # a thread and a context of its own: Pulumi keeps its settings, its stack and its event loop in them
    with ThreadPoolExecutor(1) as pool, no_collections():
        return pool.submit(Context().run, _run, program, selected).result()


def _run(program: Callable[[Stack], None], selected: Stack) -> Recording:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # an output that nobody waits for because the program failed: the error itself is raised
    loop.set_exception_handler(lambda _loop, context: log.debug("%s", context.get("message")))
    try:
        monitor = Monitor(preview=True, create=None)
        settings.configure(settings_of(selected, monitor, preview=True))
        settings.SETTINGS.monitor_features = set(monitor.GetDeploymentInfo(None).supportedFeatures)  # type: ignore[no-untyped-call] # Pulumi's own
        recorder = _Recorder(loop, monitor)
        _RECORDER.set(recorder)
        root = stack.Stack()
        program(selected)
        recorder.finish()
        recorder.recording.outputs = dict(root.outputs)
        return recorder.recording
    finally:
        end(loop)


class _Settled(Output[Any]):
    """An output of which everything is known already, be it that its value is not known.

    Most are never asked for anything, so what Pulumi keeps of an output is made when it is.
    """

    def __init__(
        self, value: Any, resources: set[pulumi.Resource], *, known: bool = True, secret: bool = False
    ) -> None:
        self.settled = value, resources, known, secret

    @cached_property
    def _data(self) -> asyncio.Future[_OutputData[Any]]:  # type: ignore[override] # Pulumi's is an attribute
        value, resources, known, secret = self.settled
        future = asyncio.get_event_loop().create_future()
        future.set_result(_OutputData(set(resources), value, is_known=known, is_secret=secret))
        return future

    def apply(self, func: Callable[[Any], Any], run_with_unknowns: bool = False) -> Output[Any]:
        """As Pulumi's, but at once where the function gives something settled."""
        value, resources, known, secret = self.settled
        if not (known or run_with_unknowns):
            return _Settled(None, resources, known=False, secret=secret)
        found = func(value if known else output.UNKNOWN)
        if isinstance(found, _Settled):
            value, more, known, hidden = found.settled
            return _Settled(value, resources | more, known=known, secret=secret or hidden)
        if isinstance(found, Output) or isawaitable(found):
            return super().apply(lambda _: found, run_with_unknowns=True)
        return _Settled(found, resources, known=not output.contains_unknowns(found), secret=secret)


class _Refused(Output[Any]):
    """An output that nobody here has asked for yet: a list or a mapping, which would come back as another class."""

    def __init__(self) -> None:
        """Nothing: there is no value."""

    @property
    def _data(self) -> Any:  # type: ignore[override] # Pulumi's is an attribute
        raise NotImplementedError("infra.offline gives no outputs that are lists or mappings: see its docstring")


class _Recorder:
    """Stands in for Pulumi's functions while one program runs; each method is called as the function of its name is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monitor: Monitor) -> None:
        self.recording = Recording()
        self._loop = loop
        self._monitor = monitor
        self._refused = _Refused()

    def register_resource(  # noqa: PLR0913, PLR0917 - as Pulumi's is called
        self,
        res: pulumi.Resource,
        ty: str,
        name: str,
        custom: bool,
        remote: bool,
        _new_dependency: Any,
        props: Mapping[str, Any],
        opts: pulumi.ResourceOptions,
        typ: type | None = None,
        package_ref: Any = None,
    ) -> None:
        """Record what the program makes."""
        if remote or package_ref is not None:
            raise NotImplementedError(f"infra.offline records no {ty}: it is made of a package that only an engine has")
        if ty == STACK_TYPE:
            res.__dict__["urn"] = _Settled(self._monitor.make_urn("", ty, name), {res})
            return
        provider = f"{self._urn(opts.provider)}::{rpc.UNKNOWN}" if custom and opts.provider else ""
        self._record(res, (ty, name), props, opts, typ, provider=provider, protect=bool(opts.protect), custom=custom)

    def read_resource(
        self,
        res: pulumi.CustomResource,
        ty: str,
        name: str,
        props: Mapping[str, Any],
        opts: pulumi.ResourceOptions,
        typ: type | None = None,
        _package_ref: Any = None,
    ) -> None:
        """Record what is there already."""
        adopted = self._now(rpc.serialize_property(opts.id, [], None))
        provider = f"{self._urn(opts.provider)}::{rpc.UNKNOWN}" if opts.provider else ""
        self._record(res, (ty, name), props, opts, typ, provider=provider, custom=True, adopted=adopted)

    def register_resource_outputs(self, res: pulumi.Resource, outputs: Any) -> None:
        """Nothing: components give their outputs to nobody here."""

    def collapse_alias_to_urn(self, *_: Any) -> None:
        """Nothing: what a resource was called before does not matter to what it is. Azure's have hundreds of names."""

    def invoke_output(self, *_: Any, **__: Any) -> Output[Any]:
        """Unknown: only the cloud could answer."""
        return _Settled(None, set(), known=False)

    def finish(self) -> None:
        """Let what does wait (an `apply` of a secret) end.

        Raises:
            Exception: what it raised.
        """
        while tasks := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.gather(*tasks))

    def _record(
        self,
        res: pulumi.Resource,
        named: tuple[str, str],
        props: Mapping[str, Any],
        opts: pulumi.ResourceOptions,
        typ: type | None,
        **more: Any,
    ) -> None:
        parent = opts.parent or settings.get_root_resource()
        above = self._urn(parent) if parent is not None else ""
        urn = self._monitor.make_urn(above, *named)
        wire, needed = self._serialised(res, props, typ)
        own = {res}
        unknown = _Settled(None, own, known=False)
        kept = {"urn": _Settled(urn, own)} | ({"id": unknown} if more["custom"] else {})
        given = {key: self._output(value, unknown) for key, value in wire.items()}
        res.__dict__.update(dict.fromkeys(props, unknown) | given | kept)
        names = _names(typ) if typ else {}
        inputs = {(names.get(key) or key) if typ else res.translate_input_property(key): wire[key] for key in wire}
        needed |= self._depends_on(opts)
        if all(isinstance(each, pulumi.CustomResource) for each in needed):
            above_it = {self._urn(each) for each in needed}  # made before this one, so there is no circle to look for
        else:
            above_it = self._now(_expand_dependencies(needed, res))
        self.recording.records.append(
            Record(*named, urn, plain(inputs), parent=above, dependencies=frozenset(above_it), **more)
        )

    def _serialised(
        self, res: pulumi.Resource, props: Mapping[str, Any], typ: type | None
    ) -> tuple[dict[str, Any], set[pulumi.Resource]]:
        """What is set of *props* in wire form, by the program's names, and the resources that it came from."""
        wire: dict[str, Any] = {}
        sources: list[pulumi.Resource] = []
        names, types = (_names(typ), _types_of(typ)) if typ else ({}, {})
        translate = None if typ else res.translate_input_property
        for key in props:
            value = props[key]
            if type(value) not in _PLAIN:
                kind = types.get(names.get(key) or key)
                serialise = partial(rpc.serialize_property, deps=sources, property_key=key, resource_obj=res)
                value = self._wire(value, partial(serialise, input_transformer=translate, typ=kind))
            if value is not None:
                wire[key] = value
        return wire, set(sources)

    def _wire(self, value: Any, serialise: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
        """A property in wire form: by Pulumi's coroutine, but for mere text and numbers inside of its types."""
        if type(value) in _PLAIN:
            return value
        if type(value) is list and all(type(each) in _PLAIN or _types.is_input_type(type(each)) for each in value):
            return [self._wire(each, serialise) for each in value]
        if _types.is_input_type(type(value)):
            given = _types.input_type_to_dict(value)
            kind: Any = type(value)
            types = _types_of(kind)
            return {key: self._wire(each, partial(serialise, typ=types.get(key))) for key, each in given.items()}
        return self._now(serialise(value))

    def _depends_on(self, opts: pulumi.ResourceOptions) -> set[pulumi.Resource]:
        """What the program says that it waits for."""
        given = opts.depends_on
        if isinstance(given, pulumi.Resource):
            return {given}
        if isinstance(given, list) and all(isinstance(each, pulumi.Resource) for each in given):
            return set(given)
        return self._now(_resolve_depends_on(opts._depends_on_list())) if given else set()  # noqa: SLF001 - see the module

    def _output(self, wire: Any, unknown: _Settled) -> Output[Any]:
        """What the resource gives back of a property before it exists: what it was given."""
        if wire == rpc.UNKNOWN:
            return unknown
        return self._refused if isinstance(wire, dict | list) else _Settled(wire, unknown.settled[1])

    def _urn(self, res: pulumi.Resource) -> str:
        urn = res.urn
        return str(urn.settled[0] if isinstance(urn, _Settled) else self._now(urn.future()))

    def _now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine that does not wait; where it does, the loop runs until it need not any more."""
        while True:
            try:
                waits_for = coroutine.send(None)
            except StopIteration as done:
                return done.value
            waits_for._asyncio_future_blocking = False  # noqa: SLF001 - as a task does that takes a future over
            self._loop.run_until_complete(asyncio.wait([waits_for]))


@cache
def _names(typ: Any) -> dict[str, str]:
    return _types.input_type_py_to_pulumi_names(typ)


@cache
def _types_of(typ: Any) -> dict[str, type]:
    return _types.input_type_types(typ)


@cache
def _take_places() -> None:
    """Let Pulumi ask for a recorder first; without one, everything is as it was."""
    for name in ("register_resource", "read_resource", "register_resource_outputs", "collapse_alias_to_urn"):
        setattr(resource, name, _first_asking(name, getattr(resource, name)))
    pulumi.runtime.invoke_output = _first_asking("invoke_output", pulumi.runtime.invoke_output)


def _first_asking(name: str, theirs: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(theirs)
    def choose(*arguments: Any, **options: Any) -> Any:
        recorder = _RECORDER.get()
        return getattr(recorder, name)(*arguments, **options) if recorder else theirs(*arguments, **options)

    return choose
