from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import EntryPoint, version
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from runtime.cli import output
from runtime.cli.app import build_app
from runtime.cli.exits import EXIT_CODES, exit_code
from runtime.cli.options import complete_addresses, complete_backends
from runtime.errors import (
    AlreadyExistsError,
    ConfigError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
    UnauthenticatedError,
    UnknownBackendError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typer.testing import Result

CONFIG = """\
storage:
  backends:
  - {name: files, driver: local, primary: true, local: {root_dir: ./data, base_url: https://files.example.com}}
  - {name: other, driver: local, local: {root_dir: ./other}}
  - {name: scratch, driver: memory}
  - name: media
    driver: s3
    s3:
      bucket: media-bucket
      region: eu-west-1
      endpoint_url: http://127.0.0.1:9
      access_key: "${ID}"
      secret_key: "${KEY}"
"""
SECRET = "hunter2-do-not-print"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config and a few files."""
    (tmp_path / "storage.yaml").write_text(CONFIG)
    folder = tmp_path / "folder"
    for made in (folder / "sub", tmp_path / "data", tmp_path / "other"):
        made.mkdir(parents=True)
    (folder / "a.txt").write_text("alpha")
    (folder / "sub" / "b.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ID", "AKIA")
    monkeypatch.setenv("KEY", SECRET)
    return tmp_path


@pytest.fixture
def tandem() -> Callable[..., Result]:
    """Runs one command in this process."""

    def run(*args: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(build_app(plug_ins=[]), args, input=stdin)

    return run


def done(result: Result) -> str:
    """What a command that succeeded printed."""
    assert result.exit_code == 0, result.output
    return result.stdout


def in_a_process(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "runtime.cli", *args], capture_output=True, check=False, **options)


# the whole command


def test_help_names_every_exit_code(tandem: Callable[..., Result]) -> None:
    text = " ".join(done(tandem("--help")).split())

    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in text


@pytest.mark.parametrize(
    "command", ["ls", "stat", "cat", "cp", "sync", "rm", "sweep", "url", "doctor", "config show", "config schema"]
)
def test_every_command_has_help_worth_reading(tandem: Callable[..., Result], command: str) -> None:
    text = done(tandem(*command.split(), "--help"))

    assert f"Usage: tandem {command}" in text or f"Usage: root {command}" in text
    assert len(text.splitlines()) > 8


def test_every_command_has_examples_that_parse() -> None:
    found = dict(leaves(get_command(build_app())))

    assert len(found) > 20
    for words, command in found.items():
        heading, *lines = (command.epilog or "").splitlines()
        assert heading == "Examples:", words
        for line in lines:
            arguments = re.search(rf"tandem {words}(?= |\)|$)([^<>)]*)", line)
            assert arguments, line
            command.make_context(words, shlex.split(arguments[1]))


def test_what_prints_no_document_by_itself_has_json() -> None:
    without = {
        words
        for words, command in leaves(get_command(build_app()))
        if not any("--json" in option.opts for option in command.params)
    }

    assert without == {"cat", "config export", "config from-terraform", "config schema", "config types"}


def leaves(command: Any, *words: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by all of its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command
    for name, each in (below or {}).items():
        yield from leaves(each, *words, name)


def test_no_help_text_loses_words_to_markup() -> None:
    texts = list(help_texts(get_command(build_app())))

    assert len(texts) > 100
    for text in texts:
        if "[dim]" not in text:  # the epilog is meant as markup
            assert Text.from_markup(text).plain == text


def help_texts(command: Any) -> Iterator[str]:
    """Of a command, its options, and the commands below it."""
    yield from filter(None, [command.help, *(getattr(each, "help", None) for each in command.params)])
    for below in getattr(command, "commands", {}).values():
        yield from help_texts(below)


def test_version_is_the_distributions(tandem: Callable[..., Result]) -> None:
    assert done(tandem("--version")) == f"tandem {version('tandem-storage')}\n"


@pytest.mark.parametrize("plug_ins", ["[]", "None"])
def test_help_loads_neither_pydantic_nor_a_cloud_sdk(plug_ins: str) -> None:
    program = (
        f"import sys; from runtime.cli.app import build_app; build_app(plug_ins={plug_ins});"
        "print([name for name in ('pydantic', 'yaml', 'anyio', 'boto3', 'obstore', 'pulumi') if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (UnknownBackendError("x"), 2),
        (InvalidPathError("x"), 2),
        (NotFoundError("x"), 3),
        (FileNotFoundError(), 3),
        (PermissionDeniedError("x"), 4),
        (UnauthenticatedError("x"), 4),
        (PermissionError(), 4),
        (StorageUnavailableError("x"), 5),
        (StorageTimeoutError("x"), 5),
        (RateLimitedError("x"), 5),
        (AlreadyExistsError("x"), 1),
        (QuotaExceededError("x"), 1),
        (NotSupportedError("x"), 1),
        (OSError(), 1),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code(error) == code
    assert code in EXIT_CODES


def test_plug_in_adds_its_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greeting.py").write_text(
        "def register(app):\n    @app.command()\n    def greet():\n        print('hello')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("greeting", "greeting:register", "tandem.commands")

    result = CliRunner().invoke(build_app(plug_ins=[point]), ["greet"])

    assert done(result) == "hello\n"


@pytest.mark.parametrize("value", ["no_such_module:register", "json:no_such_function", "json:dumps"])
def test_broken_plug_in_is_a_loud_error_that_names_it(value: str) -> None:
    point = EntryPoint("broken", value, "tandem.commands")

    with pytest.raises(ConfigError, match=r"the commands 'broken' \(.*\) can not be loaded"):
        build_app(plug_ins=[point])


def test_broken_plug_in_ends_the_process_with_one_message(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tandem.commands]\nx = no_such_module:register\n")

    found = in_a_process("--help", env=os.environ | {"PYTHONPATH": str(tmp_path)})

    assert found.returncode == 2
    assert found.stderr.startswith(b"error: the commands 'x' of broken (no_such_module:register) can not be loaded")
    assert b"Traceback" not in found.stderr


def test_commands_without_their_extra_say_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pulumi'] = None; sys.argv = ['tandem', 'check', '-s', 'dev'];"
        "from runtime.cli import main; main()"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)

    assert found.returncode == 5
    assert found.stderr == (
        "error: this command needs the package 'pulumi', which is not installed (pip install 'tandem-storage[infra]')\n"
    )


def test_another_module_that_is_missing_is_a_bug_with_its_traceback() -> None:
    def broken() -> None:
        raise ModuleNotFoundError("No module named 'colour'", name="colour")

    app = build_app(plug_ins=[])
    app.command()(broken)

    assert isinstance(CliRunner().invoke(app, ["broken"]).exception, ModuleNotFoundError)


def test_backends_are_completed_in_addresses() -> None:
    assert complete_addresses("f") == ["files:"]
    assert complete_addresses("") == ["files:", "other:", "scratch:", "media:"]


def test_backends_are_completed_where_a_command_takes_their_names() -> None:
    assert complete_backends("f") == ["files"]


def test_completion_without_a_config_offers_nothing(project: Path) -> None:
    (project / "storage.yaml").unlink()

    assert complete_backends("") == []


# ls


def test_ls_without_an_address_lists_the_backends(tandem: Callable[..., Result]) -> None:
    assert done(tandem("ls")).splitlines()[:2] == ["files:  local  primary", "other:  local"]
    assert json.loads(done(tandem("ls", "--json")))[0] == {"name": "files", "driver": "local", "primary": True}


@pytest.fixture
def filled(tandem: Callable[..., Result]) -> Callable[..., Result]:
    done(tandem("cp", "-r", "folder", "files:u"))
    done(tandem("cp", "folder/a.txt", "files:us.txt"))
    return tandem


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["files:"], ["u/", "us.txt"]),
        (["files:u"], ["u/", "us.txt"]),
        (["files:u/"], ["u/a.txt", "u/sub/"]),
        (["files:", "-r"], ["u/a.txt", "u/sub/b.json", "us.txt"]),
        (["files:", "-r", "--limit", "2"], ["u/a.txt", "u/sub/b.json"]),
        (["files:", "--limit", "1"], ["u/"]),
        (["files:", "--delimiter", "."], ["u/a.", "u/sub/b.", "us."]),
        (["files:none"], []),
    ],
)
def test_ls_lists_a_true_prefix(filled: Callable[..., Result], args: list[str], lines: list[str]) -> None:
    assert done(filled("ls", *args)).splitlines() == lines


def test_ls_long_shows_size_and_time(filled: Callable[..., Result]) -> None:
    folder, file = done(filled("ls", "-l", "files:")).splitlines()

    size, modified, path = file.split()
    assert (size, path) == ("5", "us.txt")
    assert datetime.fromisoformat(modified).tzinfo is not None
    assert folder.split() == ["-", "-", "u/"]


def test_ls_json_is_one_array(filled: Callable[..., Result]) -> None:
    first, second = json.loads(done(filled("ls", "--json", "files:")))

    assert first == {"prefix": "u/"}
    assert (second["path"], second["size"]) == ("us.txt", 5)
    assert json.loads(done(filled("ls", "--json", "files:none"))) == []


def test_ls_follows_the_pages(filled: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cli.reading.PAGE", 1)

    assert done(filled("ls", "-r", "files:")).splitlines() == ["u/a.txt", "u/sub/b.json", "us.txt"]
    assert done(filled("ls", "-r", "files:", "--limit", "2")).splitlines() == ["u/a.txt", "u/sub/b.json"]
    assert len(json.loads(done(filled("ls", "-r", "files:", "--json")))) == 3


def test_names_that_could_move_the_cursor_are_escaped() -> None:
    assert output.one_line("a\x1b[2Jb") == "a\\x1b[2Jb"
    assert output.one_line("ünï [red]") == "ünï [red]"


def test_unknown_backend_lists_the_names(tandem: Callable[..., Result]) -> None:
    result = tandem("ls", "file:")

    assert result.exit_code == 2
    assert result.stderr == (
        "error: no backend is called 'file' (did you mean 'files'?) (there are: files, other, scratch, media)\n"
    )


@pytest.mark.parametrize("address", ["files", ":x", "Files:x", "/x", ""])
def test_what_is_no_address_is_a_usage_error(tandem: Callable[..., Result], address: str) -> None:
    result = tandem("stat", address)

    assert result.exit_code == 2
    assert "is not backend:path" in " ".join(result.stderr.split())


# stat, cat, url


def test_stat_shows_all_that_is_known(tandem: Callable[..., Result]) -> None:
    done(tandem("cp", "folder/a.txt", "files:a.txt", "-m", "Owner=me", "--cache-control", "no-store"))

    known = json.loads(done(tandem("stat", "--json", "files:a.txt")))

    assert known["backend"] == "files"
    assert (known["size"], known["content_type"], known["cache_control"]) == (5, "text/plain", "no-store")
    assert known["metadata"] == {"owner": "me"}
    assert "metadata.owner       me" in done(tandem("stat", "files:a.txt")).splitlines()


def test_missing_object_is_code_3_and_one_line(tandem: Callable[..., Result]) -> None:
    result = tandem("stat", "files:nope")

    assert (result.exit_code, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
    assert "[files/nope]" in result.stderr


@pytest.mark.parametrize(
    ("byte_range", "expected"),
    [(None, "alpha"), ("0-0", "a"), ("1-2", "lp"), ("3-", "ha"), ("2-99", "pha"), ("9-", "")],
)
def test_cat_writes_the_bytes(filled: Callable[..., Result], byte_range: str | None, expected: str) -> None:
    args = [] if byte_range is None else ["--range", byte_range]

    assert done(filled("cat", "files:u/a.txt", *args)) == expected


@pytest.mark.parametrize("byte_range", ["5", "-5", "3-1", "a-b", ""])
def test_wrong_range_is_a_usage_error(filled: Callable[..., Result], byte_range: str) -> None:
    assert filled("cat", "files:u/a.txt", f"--range={byte_range}").exit_code == 2


def test_url_unsigned_is_the_plain_one(tandem: Callable[..., Result]) -> None:
    assert done(tandem("url", "--unsigned", "files:u/ä.txt")) == "https://files.example.com/u/%C3%A4.txt\n"


def test_url_is_signed_for_as_long_as_asked(tandem: Callable[..., Result]) -> None:
    url = done(tandem("url", "media:u/1.jpg", "--expires", "15m"))

    assert url.startswith("http://127.0.0.1:9/media-bucket/u/1.jpg?")
    assert "X-Amz-Expires=900" in url


def test_url_for_put_tells_the_headers(tandem: Callable[..., Result]) -> None:
    args = ["url", "media:u/1.jpg", "--method", "put", "--content-type", "image/jpeg"]

    signed = json.loads(done(tandem(*args, "--json")))
    plain = tandem(*args)

    assert (signed["method"], signed["headers"]) == ("PUT", {"Content-Type": "image/jpeg"})
    assert datetime.fromisoformat(signed["expires_at"]).tzinfo is not None
    assert done(plain).count("\n") == 1
    assert plain.stderr == "send with it: Content-Type: image/jpeg\n"


@pytest.mark.parametrize("args", [["--expires", "15"], ["--expires", "8d"], ["--method", "POKE"]])
def test_wrong_signature_is_refused(tandem: Callable[..., Result], args: list[str]) -> None:
    result = tandem("url", "media:u/1.jpg", *args)

    assert result.exit_code in {1, 2}
    assert result.stdout == ""


# cp


def test_cp_up_and_down_again(tandem: Callable[..., Result], project: Path) -> None:
    assert done(tandem("cp", "folder/a.txt", "files:x/y.txt")) == "folder/a.txt -> files:x/y.txt (5 B)\n"
    done(tandem("cp", "files:x/y.txt", "back.txt"))

    assert (project / "back.txt").read_text() == "alpha"


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("folder/a.txt", "files:", "files:a.txt"),
        ("folder/a.txt", "files:x/", "files:x/a.txt"),
        ("files:u/a.txt", "other:", "other:a.txt"),
        ("files:u/a.txt", "folder/sub", "folder/sub/a.txt"),
        ("files:u/a.txt", "new/", "new/a.txt"),
        ("files:u/a.txt", "new", "new"),
        ("files:u/a.txt", "./odd:name", "odd:name"),
    ],
)
def test_cp_into_a_folder_keeps_the_name(
    filled: Callable[..., Result], source: str, destination: str, expected: str
) -> None:
    result = json.loads(done(filled("cp", source, destination, "--json")))

    assert result == {"copied": [{"source": source, "destination": expected, "size": 5}], "failed": []}


def test_cp_between_backends_keeps_what_is_known(tandem: Callable[..., Result]) -> None:
    given = ["-m", "a=1", "--cache-control", "max-age=5", "--content-type", "text/x-odd"]
    done(tandem("cp", "folder/a.txt", "files:a", *given))
    done(tandem("cp", "files:a", "other:b"))
    done(tandem("cp", "files:a", "files:c"))
    done(tandem("cp", "files:a", "files:d", "--cache-control", "no-store"))

    for address, cache_control in (("other:b", "max-age=5"), ("files:c", "max-age=5"), ("files:d", "no-store")):
        known = json.loads(done(tandem("stat", "--json", address)))
        assert known["content_type"] == "text/x-odd"
        assert known["metadata"] == {"a": "1"}
        assert known["cache_control"] == cache_control


def test_cp_takes_the_type_from_the_file_when_the_path_tells_none(tandem: Callable[..., Result]) -> None:
    done(tandem("cp", "folder/sub/b.json", "files:no-suffix"))

    assert json.loads(done(tandem("stat", "--json", "files:no-suffix")))["content_type"] == "application/json"


def test_cp_streams_standard_input_and_output(tandem: Callable[..., Result]) -> None:
    content = os.urandom(3_000_000)
    done(tandem("cp", "-", "files:random", stdin=content))

    result = tandem("cp", "files:random", "-")

    assert result.exit_code == 0
    assert result.stdout_bytes == content


def test_cp_recursively_both_ways(tandem: Callable[..., Result], project: Path) -> None:
    done(tandem("cp", "-r", "folder", "files:x/y"))
    done(tandem("cp", "-r", "files:x/y", "other:z/"))
    done(tandem("cp", "-r", "other:z", "back"))

    assert (project / "back" / "a.txt").read_text() == "alpha"
    assert (project / "back" / "sub" / "b.json").read_text() == "{}"
    assert len(list((project / "back").rglob("*"))) == 3, "two files, a folder, nothing half-written"


def test_recursive_folder_is_no_prefix_of_its_neighbour(filled: Callable[..., Result]) -> None:
    copied = json.loads(done(filled("cp", "-r", "files:u", "other:", "--json")))["copied"]

    assert sorted(entry["destination"] for entry in copied) == ["other:a.txt", "other:sub/b.json"]


@pytest.mark.parametrize("source", ["files:none", "empty", "folder/a.txt", "none"])
def test_recursive_copy_of_nothing_is_an_error(tandem: Callable[..., Result], project: Path, source: str) -> None:
    (project / "empty").mkdir()

    result = tandem("cp", "-r", source, "other:x")

    assert result.exit_code in {1, 3}
    assert result.stderr.startswith("error: ")


def test_one_bad_name_does_not_stop_the_others(tandem: Callable[..., Result], project: Path) -> None:
    target = project / "back"
    done(tandem("cp", "-r", "folder", "files:x"))
    target.mkdir()
    (target / "sub").write_text("a file where a folder has to be")

    result = tandem("cp", "-r", "files:x", "back", "--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [entry["source"] for entry in report["copied"]] == ["files:x/a.txt"]
    assert [entry["source"] for entry in report["failed"]] == ["files:x/sub/b.json"]
    assert (target / "a.txt").read_text() == "alpha"


def test_if_not_exists_replaces_nothing(filled: Callable[..., Result], project: Path) -> None:
    (project / "mine").write_text("mine")

    down = filled("cp", "files:u/a.txt", "mine", "--if-not-exists")
    up = filled("cp", "folder/sub/b.json", "files:u/a.txt", "--if-not-exists")

    assert (down.exit_code, up.exit_code) == (1, 1)
    assert (project / "mine").read_text() == "mine"
    assert done(filled("cat", "files:u/a.txt")) == "alpha"
    done(filled("cp", "files:u/a.txt", "new", "--if-not-exists"))
    assert (project / "new").read_text() == "alpha"


@pytest.mark.parametrize(
    "args",
    [
        ["folder/a.txt", "back.txt"],
        ["-", "-"],
        ["-r", "-", "files:x"],
        ["-", "files:x/"],
        ["files:u/a.txt", "back.txt", "--cache-control", "no-store"],
        ["files:u/a.txt", "-", "-m", "a=b"],
        ["folder/a.txt", "files:x", "-m", "novalue"],
        ["folder/a.txt", "files:../x"],
        ["folder/a.txt"],
    ],
)
def test_copies_that_make_no_sense_are_usage_errors(
    filled: Callable[..., Result], project: Path, args: list[str]
) -> None:
    before = sorted(project.rglob("*"))

    assert filled("cp", *args, stdin="x").exit_code == 2
    assert sorted(project.rglob("*")) == before


def test_missing_file_is_code_3(tandem: Callable[..., Result]) -> None:
    result = tandem("cp", "none.txt", "files:x")

    assert result.exit_code == 3
    assert "none.txt" in result.stderr


def test_download_that_fails_leaves_the_old_file_and_nothing_else(tandem: Callable[..., Result], project: Path) -> None:
    (project / "mine").write_text("mine")
    before = sorted(project.iterdir())

    assert tandem("cp", "files:none", "mine").exit_code == 3
    assert tandem("cp", "files:none", "new").exit_code == 3

    assert (project / "mine").read_text() == "mine"
    assert sorted(project.iterdir()) == before


# rm


def test_rm_removes_one_object(filled: Callable[..., Result]) -> None:
    assert done(filled("rm", "files:us.txt")) == "removed us.txt\n"
    assert filled("rm", "files:us.txt").exit_code == 3
    assert done(filled("ls", "files:")).splitlines() == ["u/"]


def test_rm_recursively_needs_a_yes(filled: Callable[..., Result]) -> None:
    refused = filled("rm", "-r", "files:u")

    assert refused.exit_code == 2
    assert "Remove 2 objects (7 B)" in " ".join(refused.stderr.split())
    assert json.loads(done(filled("rm", "-r", "files:u", "--yes", "--json"))) == {
        "removed": ["u/a.txt", "u/sub/b.json"],
        "failed": [],
    }
    assert done(filled("ls", "files:")).splitlines() == ["us.txt"]


@pytest.mark.parametrize(("answer", "left"), [("y\n", []), ("n\n", ["u/a.txt", "u/sub/b.json", "us.txt"])])
def test_rm_asks_a_person(
    filled: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)

    result = filled("rm", "-r", "files:", stdin=answer)

    assert "Remove 3 objects (12 B) below files:?" in result.stderr
    assert result.exit_code == (1 if left else 0)
    assert done(filled("ls", "-r", "files:")).splitlines() == left


def test_dry_run_removes_nothing(filled: Callable[..., Result]) -> None:
    before = done(filled("ls", "-r", "files:"))

    assert done(filled("rm", "-r", "files:u", "--dry-run")) == (
        "would remove u/a.txt (5 B)\nwould remove u/sub/b.json (2 B)\n"
    )
    assert json.loads(done(filled("rm", "files:us.txt", "--dry-run", "--json"))) == {
        "would_remove": [{"path": "us.txt", "size": 5}]
    }
    assert done(filled("ls", "-r", "files:")) == before


def test_rm_of_nothing_is_code_3(tandem: Callable[..., Result]) -> None:
    assert tandem("rm", "-r", "files:none", "--yes").exit_code == 3


# config and doctor


def test_config_show_masks_secrets_and_says_where_values_come_from(
    tandem: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEX_STORAGE__BACKENDS__MEDIA__S3__REGION", "us-east-1")

    text = done(tandem("config", "show"))
    report = json.loads(done(tandem("config", "show", "--json")))

    assert SECRET not in text + json.dumps(report)
    assert text.startswith("# read from storage.yaml\n")
    assert "access_key: '**********'" in text
    assert "#   storage.backends.media.s3.secret_key  ${KEY}" in text.splitlines()
    assert report["source"] == "storage.yaml"
    assert report["origins"]["storage.backends.media.s3.region"] == "LEX_STORAGE__BACKENDS__MEDIA__S3__REGION"
    media = next(backend for backend in report["storage"]["backends"] if backend["name"] == "media")
    assert (media["s3"]["region"], media["transfer"]["concurrency"]) == ("us-east-1", 4)


def test_config_schema_is_a_json_schema(tandem: Callable[..., Result]) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(done(tandem("config", "schema"))))


def test_config_and_stack_choose_the_file(tandem: Callable[..., Result], project: Path) -> None:
    (project / "stacks").mkdir()
    (project / "stacks" / "storage.dev.yaml").write_text("storage: {backends: [{name: dev, driver: memory}]}")

    assert done(tandem("ls", "-s", "dev")) == "dev:  memory  primary\n"
    assert done(tandem("ls", "-c", "stacks/storage.dev.yaml")) == "dev:  memory  primary\n"
    assert tandem("ls", "-s", "nope").exit_code == 2
    assert tandem("ls", "-s", "../evil").exit_code == 2
    assert tandem("ls", "-s", "dev", "-c", "storage.yaml").exit_code == 2


def test_no_config_lists_every_place(tandem: Callable[..., Result], project: Path) -> None:
    (project / "storage.yaml").unlink()

    result = tandem("ls")

    assert result.exit_code == 2
    assert "LEX_STORAGE_CONFIG: is not set" in result.stderr
    assert "storage.yaml: does not exist" in result.stderr


def test_hand_edited_contract_warns_and_works(tandem: Callable[..., Result], project: Path) -> None:
    (project / "storage.yaml").write_text(f"version: 1\nfingerprint: sha256:{'0' * 64}\nstorage: {{}}\n")

    result = tandem("ls")

    assert done(result) == "default:  local  primary\n"
    assert result.stderr.startswith("warning: storage.yaml was edited by hand")


def test_doctor_of_healthy_backends_ends_well(tandem: Callable[..., Result], project: Path) -> None:
    (project / "storage.yaml").write_text(
        "storage: {backends: [{name: files, driver: local, local: {root_dir: data}}, {name: scratch, driver: memory}]}"
    )

    text = done(tandem("doctor", "--write"))
    report = json.loads(done(tandem("doctor", "--write", "--json")))

    assert "files" in text
    assert "healthy" in text
    assert report["warnings"] == []
    assert [(backend["name"], backend["usable"]) for backend in report["backends"]] == [
        ("files", True),
        ("scratch", True),
    ]
    assert all(proof["ok"] for backend in report["backends"] for proof in backend["proofs"])
    assert [proof["step"] for proof in report["backends"][0]["proofs"]][-1] == "delete"
    assert "if_not_exists" in report["backends"][0]["capabilities"]
    assert list((project / "data").rglob("*.txt")) == []


ON_ONE_MACHINE = (
    "files of the driver local are on one machine; other instances lack them: use a bucket in production,"
    " or set `shared: true` when root_dir is a volume that all of them mount"
)


def test_doctor_finds_what_can_not_be_used_and_what_is_unsafe(
    tandem: Callable[..., Result], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "change-me")
    text = (project / "storage.yaml").read_text().replace('"${ID}"', SECRET)
    (project / "storage.yaml").write_text(text.replace("storage:", "storage:\n  env: production", 1))

    result = tandem("doctor", "--json")
    report = json.loads(result.stdout)

    assert result.exit_code == 1
    assert {backend["name"]: backend["usable"] for backend in report["backends"]} == {
        "files": True,
        "other": True,
        "scratch": True,
        "media": False,
    }
    assert report["warnings"] == [
        "storage.backends.media.s3.access_key is a literal secret: write ${NAME} or ${file:PATH} instead",
        f"files: {ON_ONE_MACHINE}",
        f"other: {ON_ONE_MACHINE}",
        "media: secret_key is a placeholder, not a credential: set the real one by ${NAME}",
    ]
    assert SECRET not in result.output


def test_doctor_warns_of_an_endpoint_without_tls(tandem: Callable[..., Result], project: Path) -> None:
    (project / "storage.yaml").write_text(CONFIG.replace("http://127.0.0.1:9", "http://storage.invalid:9000"))

    result = tandem("doctor")

    assert result.exit_code == 1
    assert "warning: media: storage.invalid:9000 is spoken to without TLS: use an https endpoint_url" in result.stderr


def test_unreachable_service_is_code_5(tandem: Callable[..., Result]) -> None:
    result = tandem("stat", "media:x")

    assert result.exit_code == 5
    assert SECRET not in result.output


def test_a_broken_backend_does_not_keep_the_others_from_working(
    tandem: Callable[..., Result], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = project / "toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lexigram.storage.backends]\ntoy = no_such_module:Toy\n")
    monkeypatch.syspath_prepend(project)
    (project / "storage.yaml").write_text(CONFIG + "  - {name: broken, driver: toy}\n")

    broken = tandem("ls", "broken:")
    report = json.loads(tandem("doctor", "--json").stdout)

    assert done(tandem("ls", "files:")) == ""
    assert broken.exit_code == 2
    assert "toy" in broken.stderr
    assert {backend["name"] for backend in report["backends"] if not backend["usable"]} == {"media", "broken"}


# a real process


def test_exit_codes_of_a_real_process(project: Path) -> None:
    assert in_a_process("cp", "folder/a.txt", "files:a").returncode == 0
    assert in_a_process("stat", "files:none").returncode == 3
    assert in_a_process("stat", "none:x").returncode == 2
    assert in_a_process("nonsense").returncode == 2
    assert in_a_process("cat", "files:a").stdout == b"alpha"
    assert (project / "data").is_dir()


def test_reader_that_goes_away_is_no_error(project: Path) -> None:
    (project / "big").write_bytes(b"x" * 5_000_000)
    assert in_a_process("cp", "big", "files:big").returncode == 0

    with subprocess.Popen(
        [sys.executable, "-m", "runtime.cli", "cat", "files:big"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        complaint = process.stderr.read()

    assert (process.returncode, complaint) == (141, b"")


def test_ctrl_c_leaves_no_half_written_file(project: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "runtime.cli", "cp", "-", "files:piped"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b"x" * 20_000_000)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not any(path.is_file() for path in (project / "data").rglob("*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=60) == 130  # though whoever writes to it goes on
        finally:
            process.kill()
        assert b"Traceback" not in process.stderr.read()
    assert in_a_process("ls", "-r", "files:").stdout == b""
