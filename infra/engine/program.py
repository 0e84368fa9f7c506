"""Running a Pulumi program in this process, and leaving no trace of it.

The SDK keeps its settings in context variables and wants an event loop of its own. A program therefore runs in a new
thread: it has a context and a loop that end with it, so a caller may have a running loop, may run again at once, and
Ctrl-C reaches the waiting caller, who stops the deployment and lets what is under way end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import runpy
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from pulumi import RunError
from pulumi.runtime import config as pulumi_config
from pulumi.runtime import settings
from pulumi.runtime.stack import run_in_stack

from infra.begun import begun
from infra.engine.deployment import WORKERS
from infra.engine.monitor import Log
from infra.stack import PROJECT_FILE
from runtime.errors import ConfigError, Problem, StorageError
from runtime.validation import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra.engine.deployment import Deployment
    from infra.engine.monitor import Monitor
    from infra.stack import Stack

log = logging.getLogger("tandem.engine")

PROGRAM: Final = 'import runpy; runpy.run_module("infra", run_name="__main__")'
"""The program of a project that has this package installed and not in its tree."""


def program_of(stack: Stack) -> Callable[[], Any]:
    """The program that ``Pulumi.yaml`` names, run as the CLI would run it.

    Raises:
        ConfigError: there is no such file; what it has to hold is told.
    """
    named = read_yaml(stack.root / PROJECT_FILE).get("main") or "__main__.py"
    main = stack.root / named
    if not main.is_file():
        allowed = f"the program's file, which holds: {PROGRAM}"
        problem = Problem("main", f"there is no file {named}", allowed)
        raise ConfigError("the project has no program", source=PROJECT_FILE, problems=[problem])
    return lambda: runpy.run_path(str(main), run_name="__main__")


def run(program: Callable[[], Any], stack: Stack, monitor: Monitor, deployment: Deployment, *, preview: bool) -> None:
    """Run a program to its end; returns when everything that it declared was handled.

    Raises:
        BaseException: what the first failing registration, or else the program itself, raised.
    """
    raised: list[BaseException] = []

    def body() -> None:
        try:
            _run_here(program, stack, monitor, preview=preview)
        except BaseException as exc:  # noqa: BLE001 - handed to the caller's thread, which raises it
            deployment.stop()
            raised.append(exc)

    thread = Thread(target=body, name="tandem-program")
    thread.start()
    try:
        thread.join()
    except BaseException:  # Ctrl-C: calls that are under way end and are written down, nothing is begun
        deployment.stop()
        thread.join()
        raise
    if raised or deployment.failure is not None:
        raise _plain(deployment.failure or raised[0])


def _plain(error: BaseException) -> BaseException:
    """The error as it was raised, without what the SDK or the program put around it for the CLI."""
    if isinstance(error, RunError) and isinstance(error.__cause__, StorageError):
        error = error.__cause__
    if error.__cause__ is error:  # the SDK raises an error from itself, with its traceback at another place
        error.__cause__ = None
    return error


def _run_here(program: Callable[[], Any], stack: Stack, monitor: Monitor, *, preview: bool) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(ThreadPoolExecutor(WORKERS, thread_name_prefix="tandem-engine"))
    # an output that nobody waited for because the run failed: the error itself is raised
    loop.set_exception_handler(lambda _loop, context: log.debug("%s", context.get("message")))
    try:
        settings.configure(
            settings.Settings(
                project=stack.project,
                stack=stack.name,
                monitor=monitor,
                engine=Log(),
                dry_run=preview,
                organization="organization",
                root_directory=str(stack.root),
            )
        )
        pulumi_config.set_all_config(_texts(stack.config))
        loop.run_until_complete(run_in_stack(begun(program)))
    finally:
        _end(loop)
        settings.reset_options()
        settings.reset_options()  # the SDK remembers the last value that replaced None, across contexts: now it is None
        asyncio.set_event_loop(None)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Let the calls under way end, then end everything that waits for something that will not come."""
    loop.run_until_complete(loop.shutdown_default_executor())
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Configuration as Pulumi hands it over: everything but strings as JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
