"""Pytest plugin: servers for a test session, by name.

    # conftest.py
    pytest_plugins = ["runtime.testing.fixtures"]

    # a test, or a fixture of any scope
    def test_something(server):
        s3 = server("versitygw")  # runtime.testing.servers.Server, started once per session

A server that can not be had skips the test with the reason, or fails it when ``TANDEM_REQUIRE_SERVERS=1`` (as CI sets).
What installs within seconds (MiniStack, Azurite) is installed when it is missing; what takes minutes to build (the
servers written in Go) only with ``TANDEM_INSTALL_SERVERS=1`` or when servers are required. ``TANDEM_INSTALL_SERVERS=0``
installs nothing. Every worker of pytest-xdist starts its own servers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import pytest

from runtime.testing.servers import Server, ServerFailedError, ServerUnavailableError, Toolbox, find, install, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fakes import FakeStorage

RAM_DISK = Path("/dev/shm")  # noqa: S108 - the mount itself; what is made in it has a random name and mode 0700


class ServerFactory(Protocol):
    """Gives the session's server of a name, started at the first call."""

    def __call__(self, name: str) -> Server:
        """The running server *name*; the test is skipped (or fails, where required) when it can not be had."""


class ProgramFactory(Protocol):
    """Gives the command line of a server or of ``pulumi``, without starting it."""

    def __call__(self, name: str) -> list[str]:
        """The command without arguments; the test is skipped (or fails, where required) when it can not be had."""


def servers_required() -> bool:
    """Whether a server that can not be had is a failure, as in CI."""
    return os.environ.get("TANDEM_REQUIRE_SERVERS") == "1"


def may_install(*, quick: bool) -> bool:
    """Whether a missing server may be installed from inside a test session."""
    wish = os.environ.get("TANDEM_INSTALL_SERVERS")
    return wish != "0" and (quick or wish == "1" or servers_required())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """Factory of running servers, each started once and stopped at the end of the session."""
    running: dict[str, Server] = {}
    absent: dict[str, ServerUnavailableError] = {}
    ram = _ram_directory()
    home = ram or tmp_path_factory.mktemp("servers")

    def get(name: str) -> Server:
        if name in absent:
            give_up(absent[name])
        if name not in running:
            toolbox = Toolbox(install=may_install(quick=find(name).quick))
            try:
                running[name] = start(name, home / name, toolbox=toolbox)
            except ServerUnavailableError as error:
                absent[name] = error  # so that a slow refusal is met once, not by every test
                give_up(error)
        if not running[name].alive():
            raise ServerFailedError(f"{name} ended in the middle of the tests; see {running[name].log}")
        return running[name]

    try:
        yield get
    finally:
        for started in running.values():
            started.stop()
        if ram:
            shutil.rmtree(ram, ignore_errors=True)  # a server that is dying may still write


@pytest.fixture(name="fake_storage")
def _fake_storage() -> Iterator[FakeStorage]:
    """The application's storage in memory, new for every test; see `runtime.testing.fakes`."""
    from runtime.testing.fakes import fake_storage  # noqa: PLC0415 - most tests need no storage of an application

    with fake_storage() as storage:
        yield storage


@pytest.fixture(scope="session")
def program() -> ProgramFactory:
    """Factory of command lines: ``program("pulumi")``."""

    def get(name: str) -> list[str]:
        try:
            return install(name, Toolbox(install=may_install(quick=name != "pulumi" and find(name).quick)))
        except ServerUnavailableError as error:
            give_up(error)

    return get


def give_up(error: ServerUnavailableError) -> NoReturn:
    """End a test whose server, or other program, can not be had: skipped, or failed where servers are required."""
    if servers_required():
        pytest.fail(f"{error} (TANDEM_REQUIRE_SERVERS=1)", pytrace=False)
    pytest.skip(str(error))


def _ram_directory() -> Path | None:
    """A directory in memory that keeps extended attributes, as versitygw needs them; None where there is none."""
    with suppress(OSError, AttributeError):  # AttributeError: no extended attributes outside Linux
        folder = Path(tempfile.mkdtemp(prefix="tandem-", dir=RAM_DISK))
        try:
            os.setxattr(folder, "user.tandem", b"1")
        except BaseException:
            folder.rmdir()
            raise
        return folder
    return None
