"""The benchmark command runs and fills its tables; what the figures are, no test can say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench.cases import CASES
from tests.bench.targets import TARGETS

if TYPE_CHECKING:
    from runtime.testing.fixtures import ProgramFactory

ROOT = Path(__file__).parents[1]
CLIENTS = {"tandem", "obstore"}
OBSTORE_ALONE = {("s3", "presign-now")}
OURS_ALONE = {("slow", "download-to")}
TABLES = {"s3", "slow", "peak", "local", "memory", "start"}


@pytest.fixture(scope="module")
def report(program: ProgramFactory, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    program("gofakes3")
    file = tmp_path_factory.mktemp("bench") / "report.json"
    options = ["--quick", "--rounds", "1", "--clients", ",".join(sorted(CLIENTS)), "--json", str(file)]
    subprocess.run([sys.executable, "-m", "tests.bench", *options], cwd=ROOT, check=True, timeout=120)
    told: dict[str, Any] = json.loads(file.read_text())
    return told


def test_every_table_has_a_figure_of_every_client(report: dict[str, Any]) -> None:
    tables = {table["key"]: table["rows"] for table in report["tables"]}
    assert tables.keys() >= TABLES
    for table, rows in tables.items():
        assert rows
        for row in rows:
            place = (table.removesuffix("-cpu"), row["key"])
            expected = CLIENTS - ({"tandem"} if place in OBSTORE_ALONE else set())
            expected -= {"obstore"} if place in OURS_ALONE else set()
            filled = {client for client, figures in row["figures"].items() if figures}
            assert filled == expected, place
            assert all(figure > 0 for client in filled for figure in row["figures"][client]), place


def test_every_case_is_in_a_table(report: dict[str, Any]) -> None:
    shown = {row["key"] for table in report["tables"] for row in table["rows"]}
    assert CASES.keys() <= shown


def test_every_target_that_two_clients_can_prove_is_judged(report: dict[str, Any]) -> None:
    judged = {target["sentence"] for target in report["targets"]}
    assert judged == {target.sentence for target in TARGETS if target.against != "aiobotocore"}
