"""Print the table of the guide: statement, test, result. ``python tests/guide/table.py``."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.guide.statements import ELSEWHERE

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("test_guide.py")


def statements() -> dict[str, str]:
    """What each test quotes, by its name."""
    nodes = ast.parse(PAGE.read_text(encoding="utf-8")).body
    tests = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {test.name: ast.get_docstring(test) or "" for test in tests if test.name.startswith("test_")}


def results() -> dict[str, Counter[str]]:
    """How the cases of each test ended."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        others = [str(ROOT / where) for where in ELSEWHERE.values() if "::" in where]
        command = [sys.executable, "-m", "pytest", "-q", str(PAGE), *others, f"--junitxml={report}"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        cases = ET.parse(report).iter("testcase")  # noqa: S314 - pytest has just written it
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for case in cases:
            ended = next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")
            found[case.attrib["name"].partition("[")[0]][ended] += 1
        return found


def main() -> int:
    """Print it; 1 when a statement is not true."""
    ended = results()
    print("| the guide says | test | result |\n|---|---|---|")  # noqa: T201 - this command's output
    for test, statement in statements().items():
        words = ", ".join(f"{count} {word}" for word, count in sorted(ended[test].items())) or "not run"
        print(f"| {' '.join(statement.split())} | `{test}` | {words} |")  # noqa: T201 - as above
    for statement, where in ELSEWHERE.items():
        test = where.partition("::")[2]
        words = ", ".join(f"{count} {word}" for word, count in ended[test].items()) if test else "not here: DESIGN.md"
        print(f"| {statement} | {f'`{test}`' if test else '-'} | {words} |")  # noqa: T201 - as above
    return int(any(set(words) != {"passed"} for words in ended.values()))


if __name__ == "__main__":
    sys.exit(main())
