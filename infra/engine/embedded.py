"""The embedded engine: the same program, in this process, against emulators on this machine.

No Pulumi CLI, no account, no network beyond loopback. `infra.engine.deployment` says how a run works and
`infra.engine.state` what is kept of it.
"""

from __future__ import annotations

from contextlib import ExitStack
from time import perf_counter
from typing import TYPE_CHECKING, Any

from infra.endpoints import state_directory
from infra.engine import Result, program
from infra.engine.deployment import Deployment
from infra.engine.lock import StackLock
from infra.engine.monitor import Monitor
from infra.engine.providers.values import has_unknown, plain_map, secret_names
from infra.engine.state import StateFile
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.engine import Step
    from infra.stack import Stack


class EmbeddedEngine:
    """Runs stacks that live on emulators.

    Attributes:
        result: What the latest run did; also that of one that failed, up to where it came.
    """

    def __init__(self, program: Callable[[], Any] | None = None) -> None:
        """An engine for the program that ``Pulumi.yaml`` names, or for the given function."""
        self.result: Result | None = None
        self._program = program

    def prepare(self, stack: Stack) -> None:
        """Nothing is needed but emulators: the state begins with the first run.

        Raises:
            ConfigError: the stack does not live on emulators.
        """
        _require_emulators(stack)

    def preview(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """What `up` would do; nothing is created, changed or written.

        Raises:
            ConfigError: the program, the spec or the state is wrong, or the stack does not live on emulators.
        """
        _require_emulators(stack)
        state = StateFile(stack)
        return self._run(stack, state, Deployment(state, preview=True, on_step=on_step), preview=True)

    def up(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """Make the emulators what the spec says, and write down how that went, step by step.

        Raises:
            ConfigError: as for `preview`, or another run is changing the stack.
        """
        _require_emulators(stack)
        with StackLock(state_directory(stack), stack.name):
            state = StateFile(stack)
            return self._run(stack, state, Deployment(state, preview=False, on_step=on_step), preview=False)

    def destroy(self, stack: Stack, on_step: Callable[[Step], None] | None = None) -> Result:
        """Delete everything that the stack holds, dependents first; the program does not run.

        Raises:
            ConfigError: something is protected; nothing was deleted.
            StorageError: a bucket is not empty; the rest of what was deleted stays deleted, and is written down.
        """
        _require_emulators(stack)
        with StackLock(state_directory(stack), stack.name):
            state = StateFile(stack)
            return self._run(stack, state, Deployment(state, preview=False, on_step=on_step), destroy=True)

    def _run(
        self, stack: Stack, state: StateFile, deployment: Deployment, *, preview: bool = False, destroy: bool = False
    ) -> Result:
        started = perf_counter()
        monitor = Monitor(deployment, stack.name, stack.project)
        with ExitStack() as after:  # last in, first out
            after.callback(lambda: self._note(deployment, monitor, perf_counter() - started))
            if not preview:
                after.callback(state.close)
            after.callback(deployment.close)
            if not destroy:
                main = self._program or program.program_of(stack)
                program.run(main, stack, monitor, deployment, preview=preview)
            deployment.finish()
            if not preview:
                state.set_outputs(plain_map(monitor.outputs), secret_names(monitor.outputs))
        assert self.result is not None  # noqa: S101 - the first callback has set it
        return self.result

    def _note(self, deployment: Deployment, monitor: Monitor, duration: float) -> None:
        outputs = {key: value for key, value in plain_map(monitor.outputs).items() if not has_unknown(value)}
        self.result = Result(tuple(deployment.steps), outputs, duration, dict(sorted(deployment.unheld.items())))


def _require_emulators(stack: Stack) -> None:
    if not stack.config.get("tandem:emulators"):
        raise ConfigError(
            f"the stack {stack.name!r} declares no tandem:emulators, so it lives in a real cloud; "
            "the embedded engine runs on emulators only",
            hint="use `tandem up` with the pulumi CLI on PATH, or add tandem:emulators to the stack",
        )
