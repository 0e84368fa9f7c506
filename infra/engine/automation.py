"""The Pulumi engine: the same program, run by the ``pulumi`` command through its Automation API.

A stack in a real cloud is run as ``pulumi up`` in the project's directory would run it: the user's backend, login and
stack file. A stack on emulators has everything of its own under ``.tandem/<stack>/pulumi``: state, passphrase, plugins
(`infra.engine.plugins`) and a copy of its configuration, so that neither the user's Pulumi account nor the checkout is
touched. The program runs in this process either way.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from contextlib import ExitStack
from dataclasses import replace
from threading import Thread
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Final

import pulumi
import yaml
from pulumi import automation
from pulumi.automation import errors
from pulumi.runtime import settings

from infra import agreement, policy, private
from infra.endpoints import state_directory
from infra.engine import Action, Result, plugins
from infra.engine.events import Recorder
from infra.engine.program import program_of
from infra.engine.providers.base import UNHELD
from runtime.errors import ConfigError, StorageError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from infra.engine import Step
    from infra.stack import Stack

INSTALL: Final = "install the Pulumi CLI (https://www.pulumi.com/docs/install), or put it on PATH"
LOCKED: Final = "if none is, one was killed and left its lock, which `pulumi cancel` removes"

PATIENCE_SECONDS: Final = 5.0
"""How long the program may take to notice that the engine has ended."""

PAUSE_SECONDS: Final = 0.5

LOSSY: Final[Mapping[str, Mapping[str, bool]]] = {
    "preview": {"refresh": True, "run_program": True},
    "up": {"refresh": True, "run_program": True},
    "destroy": {"run_program": True},
    "drift": {"run_program": True},
}
"""An emulator that is started again has lost what it held and gives out other keys: what is really there is looked at
first, with the providers as the program makes them now and not as the state has them."""


class PulumiEngine:
    """Runs any stack with the ``pulumi`` command on PATH.

    Attributes:
        result: What the latest run did; also that of one that failed, up to where it came.
    """

    def __init__(self, program: Callable[[], Any] | None = None) -> None:
        """An engine for the program that ``Pulumi.yaml`` names, or for the given function."""
        self.result: Result | None = None
        self._program = program

    def prepare(self, stack: Stack) -> None:
        """Create the stack in its backend when it is new, as `pulumi stack init` does.

        Raises:
            StorageUnavailableError: there is no ``pulumi`` command.
            StorageError: the backend refused.
        """
        try:
            _open(stack, lambda: None, create=True)
        except errors.CommandError as error:
            raise StorageError(_last_words(error)) from error

    def preview(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """What `up` would do; nothing is created, changed or written.

        Raises:
            StorageUnavailableError: there is no ``pulumi`` command.
            ConfigError: the spec is wrong, or the backend knows no such stack.
            StorageError: the engine refused; its messages are the error's.
        """
        return self._run(stack, "preview", on_step, create=bool(stack.emulators))

    def up(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """Make the cloud what the spec says; the stack is created in its backend when it is new.

        Raises:
            StorageError: as for `preview`, or a resource failed; what was done before that is in the state.
        """
        return self._run(stack, "up", on_step, create=True)

    def destroy(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """Delete everything that the stack holds, dependents first; nothing that is protected.

        Raises:
            StorageError: as for `up`.
        """
        return self._run(stack, "destroy", on_step, create=bool(stack.emulators))

    def drift(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """What is not any more as the last `up` left it, by a look at everything. Not even the state is changed.

        Raises:
            StorageError: as for `preview`.
        """
        found = self._run(stack, "drift", on_step, create=False)
        # a component, or a provider, has nothing that could be looked at: the engine calls it updated, by nothing
        steps = (replace(step, action=Action.SAME) if _by_nothing(step) else step for step in found.steps)
        return replace(found, steps=tuple(steps))

    def outputs(self, stack: Stack) -> Mapping[str, Any]:
        """The outputs of the stack's last `up`, secrets in clear: print them, never write them down.

        Raises:
            StorageError: as for `preview`.
        """
        try:
            opened = _open(stack, lambda: None, create=False)
            return {name: output.value for name, output in opened.outputs().items()}
        except errors.StackNotFoundError as error:
            raise _no_such_stack(stack) from error
        except errors.CommandError as error:
            raise StorageError(_last_words(error)) from error

    def _run(self, stack: Stack, verb: str, on_step: Callable[[Step], None] | None, *, create: bool) -> Result:
        started = perf_counter()
        recorder = Recorder(on_step, deleting=verb == "destroy")
        program = _Program(stack, self._program or program_of(stack), verb)
        outputs: Mapping[str, Any] = {}
        unheld: Mapping[str, tuple[str, ...]] = {}
        try:
            opened = _open(stack, program, create=create)
            if verb == "destroy" and not _resources(opened):
                return Result(())  # the engine would make the components first, to delete them
            act: Callable[..., Any] = opened.preview_refresh if verb == "drift" else getattr(opened, verb)
            done = act(on_event=recorder, **(LOSSY[verb] if stack.emulators else {}))
            if verb == "preview":
                outputs = recorder.outputs
            elif verb == "up":
                outputs = {name: output.value for name, output in done.outputs.items()}
                unheld = _unheld(opened) if stack.emulators else {}
        except errors.CommandError as error:
            raise _failure(stack, recorder, program, error) from error
        finally:
            program.close()
            self.result = Result(tuple(recorder.steps), outputs, perf_counter() - started, unheld)
        return self.result


class _Program:
    """The program as the SDK's language server calls it; remembers what it raised, which the CLI only prints."""

    def __init__(self, stack: Stack, program: Callable[[], Any], verb: str) -> None:
        self.raised: BaseException | None = None
        self.__name__ = "program"  # for the SDK's repr
        self._stack = stack
        self._program = program
        self._verb = verb
        self._loops: list[asyncio.AbstractEventLoop] = []

    def close(self) -> None:
        """End what the language server leaves behind when a run fails: a loop that waits, or one that is not closed."""
        for loop in self._loops:
            if not _abandoned(loop):
                loop.call_soon_threadsafe(_cancel_all, loop)
                _abandoned(loop)
            if not (loop.is_running() or loop.is_closed()):
                thread = Thread(target=_drain, args=(loop,))  # the caller may have a running loop of its own
                thread.start()
                thread.join()

    def __call__(self) -> Any:
        self._loops.append(asyncio.get_running_loop())
        settings.SETTINGS.root_directory = str(self._stack.root)  # the language server sets none
        if self._verb != "up":  # a destroy runs the program for its providers' sake; nothing may be emitted then
            settings.SETTINGS.dry_run = True
        try:
            with ExitStack() as asking:
                if self._verb not in {"preview", "up"}:  # nothing of it reaches applications
                    asking.enter_context(agreement.settled())
                if self._verb == "destroy":
                    asking.enter_context(policy.lifted())
                return self._program()
        except pulumi.RunError as error:
            self.raised = error.__cause__ if isinstance(error.__cause__, StorageError) else error
            raise
        except Exception as error:
            self.raised = error
            raise pulumi.RunError(str(error)) from error  # the language server prints tracebacks of anything else


def _by_nothing(step: Step) -> bool:
    return step.action is Action.UPDATE and not step.changed


def _abandoned(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether, within a bound, a loop of another thread is closed, or stands still for longer than a pause."""
    deadline = perf_counter() + PATIENCE_SECONDS
    moved = perf_counter()
    while perf_counter() < deadline:
        if loop.is_closed():
            return True
        if loop.is_running():
            moved = perf_counter()
        elif perf_counter() - moved > PAUSE_SECONDS:
            return True
        sleep(0.02)
    return False


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _drain(loop: asyncio.AbstractEventLoop) -> None:
    """Let every task of a loop that nobody runs any more end, and close it."""
    tasks = asyncio.all_tasks(loop)
    _cancel_all(loop)
    if tasks:  # of nothing, gather asks for the thread's own loop, and there is none
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()


def _open(stack: Stack, program: Callable[[], Any], *, create: bool) -> automation.Stack:
    """The stack in its backend."""
    if shutil.which("pulumi") is None:
        raise StorageUnavailableError("there is no pulumi command", hint=INSTALL, retryable=False)
    options = _emulated(stack) if stack.emulators else automation.LocalWorkspaceOptions(work_dir=str(stack.root))
    choose = automation.create_or_select_stack if create else automation.select_stack
    return choose(stack.name, project_name=stack.project, program=program, opts=options)


def _emulated(stack: Stack) -> automation.LocalWorkspaceOptions:
    """A workspace of the stack's own, beside its other state on this machine."""
    home = private.directory(state_directory(stack) / "pulumi")
    work, passphrase = private.directory(home / "work"), home / "passphrase"
    if not passphrase.is_file():
        private.write(passphrase, secrets.token_urlsafe(32))
    secret = {"PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase)}
    if "PULUMI_CONFIG_PASSPHRASE" in os.environ:  # the user's own, for other stacks, would win over the file
        secret["PULUMI_CONFIG_PASSPHRASE"] = passphrase.read_text()
    plugins.install(home / "home")
    private.write(work / "Pulumi.yaml", yaml.safe_dump({"name": stack.project, "runtime": "python"}))
    _copy_config(stack, work / f"Pulumi.{stack.name}.yaml")
    backend = private.directory(home / "state")
    return automation.LocalWorkspaceOptions(
        work_dir=str(work),
        pulumi_home=str(home / "home"),
        env_vars={
            "PULUMI_BACKEND_URL": backend.as_uri(),
            **secret,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",  # a plugin that is missing is not downloaded
        },
    )


def _copy_config(stack: Stack, path: Path) -> None:
    """The stack's configuration, with the salt that Pulumi wrote into the copy of the run before."""
    before = yaml.safe_load(path.read_text()) if path.is_file() else {}
    kept = {key: value for key, value in before.items() if key != "config"}
    private.write(path, yaml.safe_dump({**kept, "config": dict(stack.config)}, sort_keys=False))


def _resources(opened: automation.Stack) -> list[dict[str, Any]]:
    """What is in the stack's state."""
    return (opened.export_stack().deployment or {}).get("resources") or []


def _unheld(opened: automation.Stack) -> dict[str, tuple[str, ...]]:
    """What the stand-ins said that their emulators do not hold, and why, by URN."""
    found = {resource["urn"]: resource.get("outputs", {}).get(UNHELD) for resource in _resources(opened)}
    reasons = {
        urn: (f"{path}: {why}" for path, why in sorted(unheld.items())) for urn, unheld in found.items() if unheld
    }
    return {urn: tuple(told) for urn, told in sorted(reasons.items())}


def _failure(stack: Stack, recorder: Recorder, program: _Program, error: errors.CommandError) -> BaseException:
    """What went wrong, in one message."""
    if program.raised is not None:
        return program.raised
    if isinstance(error, errors.StackNotFoundError):
        return _no_such_stack(stack)
    if isinstance(error, errors.ConcurrentUpdateError):
        return StorageError(f"another run is changing the stack {stack.name!r}", retryable=True, hint=LOCKED)
    return StorageError("\n".join(recorder.errors) or _last_words(error))


def _no_such_stack(stack: Stack) -> ConfigError:
    hint = f"tandem up -s {stack.name} creates it, as `pulumi stack init {stack.name}` would"
    return ConfigError(f"the Pulumi backend has no stack {stack.name!r}", hint=hint)


def _last_words(error: errors.CommandError) -> str:
    """What the command printed last; it has no better place for what it says before a run begins."""
    stdout, _, stderr = str(error).partition("\n stderr: ")
    lines = [line.strip() for line in (stderr or stdout).splitlines() if line.strip()]
    return "pulumi: " + (" ".join(lines[-3:]).removeprefix("error: ") or "failed without a word")
