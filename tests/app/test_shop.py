"""The application of fifty lines starts from an emitted config, from variables alone, and on a fake: unchanged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infra.emulators import down, up
from infra.engine.embedded import EmbeddedEngine
from infra.provision import program
from infra.stack import Stack
from tests.app import shop
from tests.test_readme import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.testing.fakes import FakeStorage
    from runtime.testing.fixtures import ServerFactory

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def deployed(server: ServerFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the config that the stack ``dev`` emits, and with its emulators running."""
    server("ministack")  # skipped here when it can not be had
    directory = tmp_path_factory.mktemp("deployed")
    (directory / "stacks").mkdir()
    for file in ("Pulumi.yaml", "stacks/Pulumi.dev.yaml"):
        shutil.copyfile(ROOT / file, directory / file)
    stack = Stack.read("dev", directory)
    up(stack)
    try:
        EmbeddedEngine(lambda: program(stack)).up(stack)
        yield directory
    finally:
        down(stack)


def run(directory: Path, **variables: str) -> str:
    return run_page(directory, shop.__file__, variables)


def run_page(directory: Path, page: str, variables: dict[str, str]) -> str:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LEX_STORAGE")}
    command = [sys.executable, page]
    done = subprocess.run(command, cwd=directory, env=environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_it_has_fifty_lines() -> None:
    lines = Path(shop.__file__).read_text().splitlines()
    assert len(lines) <= 50
    assert "testing" not in "".join(lines)


def test_it_starts_from_the_config_that_the_stack_dev_emits(deployed: Path) -> None:
    assert run(deployed, LEX_STORAGE_STACK="dev") == "stored u1.jpg, visit 1\n"
    assert run(deployed, LEX_STORAGE_STACK="dev") == "stored u1.jpg, visit 2\n"
    assert (deployed / "storage/sessions/kv.sqlite3").is_file()


@pytest.mark.parametrize("sample", samples("README.md", "python"))
def test_the_samples_of_the_readme_run_as_they_are_printed(deployed: Path, sample: str) -> None:
    page = deployed / "sample.py"
    page.write_text(sample)
    run_page(deployed, str(page), {})


def test_it_starts_from_variables_alone(tmp_path: Path) -> None:
    variables = {
        "LEX_STORAGE__BACKENDS__AVATARS__DRIVER": "local",
        "LEX_STORAGE__BACKENDS__AVATARS__LOCAL__ROOT_DIR": "./files",
        "LEX_STORAGE__BACKENDS__UPLOADS__DRIVER": "memory",
        "LEX_STORAGE__KV__SESSIONS__DRIVER": "local",
        "LEX_STORAGE__KV__SESSIONS__LOCAL__BASE_PATH": "./sessions",
    }
    assert run(tmp_path, **variables) == "stored u1.jpg, visit 1\n"
    assert run(tmp_path, **variables) == "stored u1.jpg, visit 2\n"
    assert (tmp_path / "files/u1.jpg").read_bytes() == b"\xff\xd8 a face"


@pytest.fixture
def contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's contract, as an emitted one looks, in the working directory; none of its secrets."""
    (tmp_path / "storage.yaml").write_text(
        """
        storage:
          backends:
            - {name: avatars, driver: s3, s3: {bucket: shop-avatars, region: eu-west-1}}
            - {name: uploads, driver: r2, r2: {bucket: shop-uploads, access_key: "${A}", secret_key: "${B}",
               endpoint_url: "https://0123.r2.cloudflarestorage.com"}}
          kv: [{name: sessions, driver: redis, redis: {url: "${SESSIONS_URL}"}}]
        """
    )
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("contract")
class TestOnAFake:
    async def test_it_starts_and_tells_what_it_did(self, contract: None, fake_storage: FakeStorage) -> None:  # noqa: ARG002 - first the contract
        assert await shop.main("u7", b"face") == ("u7.jpg", 1)
        assert await shop.main("u7", b"other face") == ("u7.jpg", 2)
        fake_storage["avatars"].assert_content("u7.jpg", b"other face")
        fake_storage["uploads"].assert_count(0)
        fake_storage.kv["sessions"].assert_content("visits", 2)
        fake_storage.kv["sessions"].assert_exists("u7", "session")
        fake_storage.clock.advance(hours=1)
        fake_storage.kv["sessions"].assert_missing("u7", "session")
