"""What README.md and stacks/README.md print can be used as it is printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from infra.policy import check
from infra.stack import Stack

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "stacks/README.md", "CHANGELOG.md", "runtime/DESIGN.md")


def samples(page: str, language: str) -> list[str]:
    """The code blocks of a page that are in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def test_the_spec_of_the_readme_keeps_every_rule(tmp_path: Path) -> None:
    (spec,) = samples("README.md", "yaml")
    shutil.copyfile(ROOT / "Pulumi.yaml", tmp_path / "Pulumi.yaml")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/Pulumi.prod.yaml").write_text(spec)

    report = check(Stack.read("prod", tmp_path))

    assert not report.failed
    assert report.counts()["passed"] > 20


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_tests_and_modules_that_a_page_names_are_there(page: str) -> None:
    named = set(re.findall(r"`((?:tests|infra|runtime|stacks)/[\w/.]*\w)`", (ROOT / page).read_text()))
    below = (ROOT, ROOT / "runtime/drivers")
    missing = {name for name in named if not any((folder / name).exists() for folder in below)}
    assert missing <= {"stacks/storage.prod.yaml"}  # generated
