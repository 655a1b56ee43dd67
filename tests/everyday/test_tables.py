"""docs/guides/csv.md: a whole table with one command, from Python, and again after an interruption."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.everyday.conftest import Follow, run_block
from tests.support.service.environment import REPOSITORY
from tests.support.service.stack import Stack

PAGE = "csv.md"
TABLES = "make a model and a table"


class Table(NamedTuple):
    """The table of the guide, and what its block has printed."""

    rows: Path
    printed: str


@pytest.fixture(scope="module")
def made(service: Stack, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Train, register and deploy the guide's model once: that is three processes."""
    folder = tmp_path_factory.mktemp("tables")
    printed = run_block(service, folder, PAGE, TABLES)
    return Table(folder / "rows.csv", printed)


@pytest.fixture
def table(made: Table, tmp_path: Path) -> Table:
    """The table, in the folder in which the other blocks run."""
    return Table(Path(shutil.copy(made.rows, tmp_path)), made.printed)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_is_predicted_with_one_command_and_its_wrong_rows_are_named(
    table: Table, follow: Follow, tmp_path: Path
) -> None:
    assert "Its runtime is sklearn: the file is a pickle of sklearn.linear_model" in table.printed
    shown = follow(PAGE, "predict the table")
    assert "Columns that the input has no place for: id." in shown
    assert "label,probabilities.0,probabilities.1,probabilities.2,error\n0,0.98" in shown
    predictions = rows_of(tmp_path / "predictions.csv")
    assert len(predictions) == 150
    assert {each["error"] for each in predictions} == {""}
    assert [predictions[place]["label"] for place in (0, 60, 149)] == ["0", "1", "2"]
    assert follow(PAGE, "read from a pipe").endswith("id,label\nplant 1,0\nplant 2,0\nplant 3,0\n")

    wrong = follow(PAGE, "see which rows are wrong")
    assert "exit code 1" in wrong
    assert "2,5.1,wide,1.4,0.2,sepal_width must be a number; it is 'wide'.\n" in wrong
    assert "3,6.3,3.3,,2.5,petal_length must be a number; it is empty.\n" in wrong
    assert [bool(each["label"]) for each in rows_of(tmp_path / "predictions.csv")] == [True, False, False]


@pytest.mark.usefixtures("table")
def test_data_frames_and_parquet_files_are_predicted_alike(follow: Follow) -> None:
    assert "plant 1" in follow(PAGE, "predict a data frame")
    assert follow(PAGE, "predict a Parquet file").endswith("150\n")


def test_a_killed_run_goes_on_with_the_documented_command_and_predicts_no_row_twice(
    table: Table, follow: Follow, service: Stack, tmp_path: Path
) -> None:
    header, *rows = table.rows.read_text().splitlines()
    table.rows.write_text("\n".join([header, *rows * 200]) + "\n")
    jobs = service.api.get("/deployments/flowers").json()["request_count"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "predict", "flowers", "--csv", "rows.csv", "--output", "predictions.csv"],
        cwd=tmp_path,
        env={**service.env, "PYTHONPATH": str(REPOSITORY)},
    )
    output = tmp_path / "predictions.csv"
    ends_at = time.monotonic() + 60
    while not output.exists() or output.stat().st_size < 100_000:
        assert killed.poll() is None
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(rows_of(output)) < 30_000
    assert follow(PAGE, "go on where it stopped").endswith("2\n")
    found = rows_of(output)
    assert len(found) == 30_000
    assert [each["label"] for each in found] == [each["label"] for each in found[:150]] * 200
    assert service.api.get("/deployments/flowers").json()["request_count"] - jobs == 300
    assert not (tmp_path / "predictions.csv.run").exists()
    assert "nothing to go on with" in follow(PAGE, "go on where it stopped")
