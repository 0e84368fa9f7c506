"""What an application declares that it requires, and what of it a config does not give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import runtime
from runtime import KVNeed, Need, Requires
from runtime.config import StorageConfig
from runtime.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

S3 = {"bucket": "bucket", "region": "eu-west-1"}
KEYS = {"access_key": "a", "secret_key": "b"}
READER, WRITER = {"to": "role/reader", "access": ["read"]}, {"to": "role/app", "access": ["read", "write"]}


def config(expect: dict[str, Any] | None = None, *, identity: str | None = None, **settings: Any) -> StorageConfig:
    backend: dict[str, Any] = {"name": "avatars", "driver": "s3", "s3": {**S3, **settings}}
    backend |= {"expect": expect} if expect is not None else {}
    backend |= {"identity": identity} if identity else {}
    return StorageConfig.model_validate({"backends": [backend], "kv": [{"name": "sessions", "driver": "memory"}]})


def told(need: Need, given: StorageConfig) -> list[str]:
    return [str(problem) for problem in Requires({"avatars": need}).unmet(given)]


def test_what_is_there_is_enough() -> None:
    need = Need(driver="s3", capabilities=frozenset({"presign"}), grants=frozenset({"read", "write"}))
    requires = Requires({"avatars": need}, {"sessions": KVNeed(driver="memory")})
    assert requires.unmet(config({"capabilities": ["cors", "presign"], "grants": [WRITER]})) == []


def test_everything_that_is_missing_is_told_at_once() -> None:
    requires = Requires(
        {
            "avatar": Need(),
            "avatars": Need(
                driver="gcs", capabilities=frozenset({"versioning", "presign"}), grants=frozenset({"read", "delete"})
            ),
        },
        {"session": KVNeed(), "sessions": KVNeed(driver="redis")},
    )
    found = requires.unmet(config({"capabilities": ["presign"], "grants": [WRITER]}, identity="role/app"))
    assert [str(problem) for problem in found] == [
        "requires.avatar: there is no backend 'avatar' (did you mean 'avatars'?); allowed: avatars",
        "requires.avatars.driver: found 's3'; allowed: gcs",
        "requires.avatars.capabilities: backend 'avatars' is not promised versioning; it is promised presign",
        "requires.avatars.grants: 'role/app' is not granted delete on backend 'avatars'; it is granted read, write",
        "requires-kv.session: there is no key-value store 'session' (did you mean 'sessions'?); allowed: sessions",
        "requires-kv.sessions.driver: found 'memory'; allowed: redis",
    ]


@pytest.mark.parametrize(
    ("grants", "identity", "enough"),
    [
        ([READER, WRITER], "role/app", True),
        ([READER, WRITER], "role/reader", False),
        ([READER, WRITER], None, True),  # one of them is the application
        ([READER, {"to": "role/b", "access": ["write"]}], None, False),  # and it is not both
        ([{"to": "role/ops", "access": ["admin"]}], None, True),
        ([], None, False),  # known by its role, and nobody granted it anything
    ],
)
def test_a_grant_is_one_identitys(grants: list[dict[str, Any]], identity: str | None, enough: bool) -> None:
    need = Need(grants=frozenset({"read", "write"}))
    assert (told(need, config({"grants": grants}, identity=identity)) == []) is enough


def test_who_has_keys_is_not_judged_by_grants_that_are_not_there() -> None:
    assert told(Need(grants=frozenset({"read"})), config({"grants": []}, **KEYS)) == []
    memory = StorageConfig.model_validate({"backends": [{"name": "avatars", "driver": "memory", "expect": {}}]})
    assert told(Need(grants=frozenset({"read"})), memory) == []


def test_what_no_config_promises_is_missing() -> None:
    (problem,) = told(Need(capabilities=frozenset({"versioning"})), config())
    assert problem.endswith("backend 'avatars' is not promised versioning; it is promised nothing")


async def test_it_is_checked_when_the_storage_is_opened() -> None:
    requires = Requires({"avatar": Need(), "avatars": Need(driver="r2")})
    with pytest.raises(ConfigError, match="the application requires what this storage config does not give") as caught:
        async with runtime.open_storage(config(), requires=requires):
            pytest.fail("it was opened")
    assert [problem.path for problem in caught.value.problems] == ["requires.avatar", "requires.avatars.driver"]
    with (
        pytest.raises(ConfigError, match=r"requires\.avatar: "),
        runtime.open_storage_sync(config(), requires=requires),
    ):
        pytest.fail("it was opened")
    async with runtime.open_storage(config(), requires=Requires.names(["avatars"], kv=["sessions"])) as storage:
        assert set(storage) == {"avatars"}


PYPROJECT = """
[project]
name = "shop"

[tool.tandem.requires.avatars]
driver = "s3"
capabilities = ["presign", "versioning"]
grants = ["read", "write"]

[tool.tandem.requires.media]

[tool.tandem.requires-kv.sessions]
driver = "redis"
"""


@pytest.mark.parametrize("place", ["", "pyproject.toml"])
def test_it_is_read_from_the_applications_pyproject(tmp_path: Path, place: str) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    found = Requires.read(tmp_path / place)
    assert found.backends["avatars"] == Need(
        driver="s3", capabilities=frozenset({"presign", "versioning"}), grants=frozenset({"read", "write"})
    )
    assert found.backends["media"] == Need()
    assert found.kv == {"sessions": KVNeed(driver="redis")}
    assert found.source == str(tmp_path / "pyproject.toml")


def test_every_problem_of_a_declaration_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("""
    [tool.tandem.requires.Avatars]
    [tool.tandem.requires.media]
    capabilities = ["presing"]
    grant = ["read"]
    [tool.tandem.requires.files]
    grants = ["own"]
    [tool.tandem.requires-kv.sessions]
    driver = "mongo"
    """)
    with pytest.raises(ConfigError) as caught:
        Requires.read(tmp_path)
    lines = [str(problem) for problem in caught.value.problems]
    assert lines[0].startswith("tool.tandem.requires.Avatars: ")
    assert "tool.tandem.requires.media.grant: unknown key (did you mean 'grants'?); allowed: driver" in lines[2]
    assert lines[1].startswith("tool.tandem.requires.media.capabilities[0]: is not known (did you mean 'presign'?)")
    assert "allowed: read, write, list, presign, delete, admin" in lines[3]
    assert "allowed: memory, local, redis" in lines[4]
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can not be read: No such file or directory"),
        ("[tool.tandem", "this is not valid TOML"),
        ("[tool.ruff]", r"declares nothing .* \(declare \[tool.tandem.requires.<name of a backend>\]\)"),
        ("[tool.tandem]\nrequires = 3", "tool.tandem.requires: found 3; allowed: tables by the names of stores"),
    ],
)
def test_a_declaration_that_is_none_says_so(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Requires.read(tmp_path / "pyproject.toml")
