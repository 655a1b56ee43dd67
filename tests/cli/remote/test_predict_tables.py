"""`queuecast predict --csv` and `--parquet`, against a stand-in that predicts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from api.cli.remote.tables import parquet, run
from api.client.tables import frames
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

NAMED = {
    "kind": "named",
    "fields": {
        "age": {"dtype": "int", "shape": []},
        "size": {"dtype": "float", "shape": [], "nullable": True},
        "city": {"dtype": "str", "shape": []},
        "paid": {"dtype": "bool", "shape": [], "required": False},
        "plan": {"dtype": "str", "shape": [], "categories": ["free", "gold"], "nullable": True},
    },
}
VECTOR = {"kind": "vector", "dtype": "float", "shape": [2]}


class TableService(FakeService):
    """Answers with what `predict` returns for each input, a job's end with the error that it raises."""

    def __init__(self) -> None:
        super().__init__()
        self.predict: Callable[[Any], Any] = lambda value: value
        self.jobs: dict[str, dict[str, Any]] = {}
        self.by_key: dict[str, list[str]] = {}
        self.predicted: list[Any] = []
        #: Submits after this many are refused, as if the service were gone.
        self.submits_left = 10**9
        self.lookups_are_kept = True

    def takes(self, signature: dict[str, Any]) -> None:
        self.on("GET", "/predict/toy", {"signature": signature})

    def answer_to(self, method: str, path: str) -> Any:
        if path == "/predict/toy/bulk":
            self.submits_left -= 1
            if self.submits_left < 0:
                return 403, json.dumps({"code": "endpoint_forbidden", "detail": "not any more"}).encode(), {}
            return 202, json.dumps({"job_ids": self._submitted()}).encode(), {}
        if path == "/jobs/lookup":
            ids = self.received[-1].json["job_ids"]
            found = {"jobs": [self.jobs[each] for each in ids], "unknown_job_ids": []}
            return 200, json.dumps(found).encode(), {}
        return super().answer_to(method, path)

    def _submitted(self) -> list[str]:
        request = self.received[-1]
        key = request.headers["idempotency-key"]
        if key not in self.by_key:
            self.by_key[key] = [self._job(json.loads(line)) for line in request.body.splitlines()]
        return self.by_key[key]

    def _job(self, document: dict[str, Any]) -> str:
        job_id = f"job{len(self.jobs)}"
        rows = document["inputs"] if "inputs" in document else [document["input"]]
        self.predicted += rows
        try:
            found = [self.predict(each) for each in rows]
        except ValueError as error:
            failed = {"code": "prediction_failed", "message": str(error)}
            self.jobs[job_id] = {"job_id": job_id, "status": "failed", "error": failed}
        else:
            outcome = {"predictions": found} if "inputs" in document else {"prediction": found[0]}
            self.jobs[job_id] = {"job_id": job_id, "status": "succeeded", "outcome": outcome}
        return job_id


@pytest.fixture
def service() -> Iterator[TableService]:
    found = TableService()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(command: Command, content: str | bytes, *words: str) -> Result:
    return command("predict", "toy", "--csv", "-", *words, stdin=content)


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_cells_get_the_types_of_the_signature_and_empty_ones_are_missing(
    service: TableService, command: Command
) -> None:
    service.takes(NAMED)
    service.predict = lambda row: row["age"]
    result = table(
        command,
        'id,city,age,size,paid,plan\n1,"Ulm, ""Mitte""\nSüd",3,2.50,true,gold\n2,,-4.0,NaN,,\n3, Bonn ,5,1e3,NO,free\n',
    )
    assert result.exit_code == 0, result.output
    assert service.predicted == [
        {"age": 3, "size": 2.5, "city": 'Ulm, "Mitte"\nSüd', "paid": True, "plan": "gold"},
        {"age": -4, "size": None, "city": "", "plan": None},
        {"age": 5, "size": 1000.0, "city": " Bonn ", "paid": False, "plan": "free"},
    ]
    assert result.stdout == "prediction,error\n3,\n-4,\n5,\n"
    assert "no place for: id" in result.stderr


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("x,1,a,true,free", "age must be an integer; it is 'x'."),
        ("1.5,1,a,true,free", "age must be an integer; it is '1.5'."),
        (",1,a,true,free", "age must be an integer; it is empty."),
        ("1,1_0,a,true,free", "size must be a number; it is '1_0'."),
        ("1,inf,a,true,free", "size must be a number; it is 'inf'."),
        ("1,1,a,maybe,free", "paid must be true or false; it is 'maybe'."),
        ("1,1,a,true,silver", "plan must be one of free, gold; it is 'silver'."),
        ("1,1,a", "Line 3 has 3 cells; the table has 5 columns."),
    ],
)
def test_a_bad_row_has_its_reason_and_spoils_no_other(
    service: TableService, command: Command, row: str, words: str
) -> None:
    service.takes(NAMED)
    service.predict = lambda row: row["city"]
    good = "1,1,good,true,free"
    result = table(command, f"age,size,city,paid,plan\n{good}\n{row}\n{good}\n")
    assert result.exit_code == 1
    assert rows_of(result.stdout) == [["prediction", "error"], ["good", ""], ["", words], ["good", ""]]
    assert "1 of 3 rows have no prediction" in result.stderr


def test_a_row_that_the_model_fails_at_is_named_and_its_neighbours_are_predicted(
    service: TableService, command: Command
) -> None:
    def predict(values: list[float]) -> dict[str, Any]:
        if values[0] == 3:
            raise ValueError("not three")
        return {"label": "x", "probabilities": {"x": 0.5, "y": 0.5}, "list": [1, True]}

    service.takes(VECTOR)
    service.predict = predict
    result = table(command, "a,b\n3,0\n1,2\n3,4\n5,6\n", "--keep-columns")
    assert result.exit_code == 1
    header, *rows = rows_of(result.stdout)
    assert header == ["a", "b", "label", "probabilities.x", "probabilities.y", "list", "error"]
    assert [row[:3] for row in rows] == [["3", "0", ""], ["1", "2", "x"], ["3", "4", ""], ["5", "6", "x"]]
    assert rows[1][5] == "[1, true]"
    assert [row[-1].partition(": ")[2] for row in rows] == ["not three", "", "not three", ""]


def test_a_byte_order_mark_crlf_other_delimiters_and_empty_lines_are_read(
    service: TableService, command: Command
) -> None:
    service.takes(VECTOR)
    service.predict = sum
    for content in (b"\xef\xbb\xbfa;b\r\n\r\n1;2\r\n3;4", b"\xef\xbb\xbfa;b\n1;2\n\n3;4\n"):
        result = table(command, content, "--delimiter", ";")
        assert result.stdout == "prediction;error\n3;\n7;\n", result.stderr
    assert table(command, "1\t2\n3\t4\n", "--delimiter", "tab", "--no-header").stdout == "prediction\terror\n3\t\n7\t\n"


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("", [], "stdin is empty"),
        ("a,b,c\n1,2,3\n", [], "The input has 2 values without names"),
        ("a,b,c\n1,2,3\n", ["--columns", "a,d"], "The table has no columns 'd'"),
        ("a;b\n1;2\n", [], "is --delimiter ';' meant?"),
        ("a,b\n1,2\n".encode("utf-16"), [], "UTF-16"),
        ("a,b\n", ["--delimiter", "ab"], "is not one character"),
        ("a,b\n", ["--resume"], "name it with --output"),
        ("a,b\n", ["--json"], "--output"),
        ("a,b\n", ["--bulk"], "take one endpoint"),
        ("a,b\n", ["--callback-url", "http://x"], "no webhooks"),
    ],
)
def test_a_table_or_options_that_can_not_be_used_end_it_before_anything_is_sent(
    service: TableService, command: Command, content: str | bytes, words: list[str], message: str
) -> None:
    service.takes(VECTOR)
    result = table(command, content, *words)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert service.predicted == []


def test_missing_columns_are_named(service: TableService, command: Command) -> None:
    service.takes(NAMED)
    result = table(command, "age,town\n1,Ulm\n")
    assert result.exit_code == 2
    assert "The table has no columns 'size', 'city', 'plan'; it has 'age', 'town'." in result.stderr
    twice = table(command, "age,age,size,city,plan\n1,1,1,Ulm,free\n")
    assert "2 columns that are called 'age'" in twice.stderr


def test_a_table_without_rows_gives_one_without_rows(service: TableService, command: Command) -> None:
    service.takes(VECTOR)
    result = table(command, "a,b\n")
    assert (result.exit_code, result.stdout) == (0, "prediction,error\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a,b\n1,2\n\xff,3\n", "is not UTF-8"), (b'a,b\n1,2\n"3,4\n', "line 3: unexpected end of data")],
)
def test_a_table_that_breaks_off_ends_with_its_place(
    service: TableService, command: Command, content: bytes, message: str
) -> None:
    service.takes(VECTOR)
    result = table(command, content)
    assert result.exit_code == 1
    assert message in result.stderr


def without_ids(text: str) -> str:
    return re.sub(r"job\d+", "job", text)


def written(name: str, rows: int) -> None:
    Path(name).write_text("a,b\n" + "".join(f"{number},{number % 7}\n" for number in range(rows)))


@pytest.mark.parametrize("errors", [[], ["--errors", "errors.csv"]])
def test_an_interrupted_run_goes_on_behind_its_last_whole_row_and_submits_nothing_twice(
    service: TableService, command: Command, errors: list[str]
) -> None:
    def predict(values: list[float]) -> float:
        if values[0] in {1_500, 2_500, 3_600}:
            raise ValueError("no")
        return sum(values)

    service.takes(VECTOR)
    service.predict = predict
    written("rows.csv", 5_200)
    words = ["predict", "toy", "--csv", "rows.csv", "--output", "whole.csv", *errors]
    assert command(*words).exit_code == 1
    whole = without_ids(Path("whole.csv").read_text())
    once = len(service.predicted)
    assert once == 5_200 + 3 * 100  # the failed jobs were taken apart

    service.predicted, service.by_key, service.submits_left = [], {}, 5
    words[5] = "out.csv"
    interrupted = command(*words)
    assert "--resume goes on" in interrupted.stderr
    assert Path("out.csv.run").exists()
    output = Path("out.csv").read_bytes()
    assert output.count(b"\n") > 1_000
    torn = output[: len(output) * 2 // 3]
    Path("out.csv").write_bytes(torn)
    service.submits_left = 10**9
    assert "add --resume" in command(*words).stderr
    result = command(*words, "--resume")
    assert result.exit_code == 1
    assert "3 of 5,200 rows have no prediction" in result.stderr
    assert without_ids(Path("out.csv").read_text()) == whole
    assert len(service.predicted) == once
    if errors:
        assert [row[0] for row in rows_of(Path("errors.csv").read_text())] == ["row", "1501", "2501", "3601"]
    assert "nothing to go on with" in command(*words, "--resume").stderr


def test_a_run_is_not_gone_on_with_under_other_options(service: TableService, command: Command) -> None:
    service.takes(VECTOR)
    service.submits_left = 0
    written("rows.csv", 10)
    words = ["predict", "toy", "--csv", "rows.csv", "--output", "out.csv"]
    assert command(*words).exit_code == 1
    result = command(*words, "--resume", "--keep-columns")
    assert (result.exit_code, "another keep columns: False, not True" in result.stderr) == (2, True), result.stderr


@pytest.mark.long
@pytest.mark.slow
def test_of_a_hundred_thousand_rows_a_window_is_in_memory_and_under_way(
    service: TableService, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    class Watched(run._Table):
        def next_row(self) -> run.Row:
            held.append(len(self._rows))
            return super().next_row()

    monkeypatch.setattr(run, "_Table", Watched)
    service.takes(VECTOR)
    service.predict = lambda _values: 1
    written("rows.csv", 100_000)
    result = command("predict", "toy", "--csv", "rows.csv", "--output", "out.csv")
    assert result.exit_code == 0, result.output
    assert Path("out.csv").read_text().count("\n") == 100_001
    assert len(held) == 100_000
    assert max(held) <= frames.ROWS_AT_ONCE


def test_json_shows_how_it_went(service: TableService, command: Command) -> None:
    service.takes(VECTOR)
    service.predict = sum
    result = table(command, "a,b\n1,2\n", "--output", "out.csv", "--json")
    assert json.loads(result.stdout) == {"rows": 1, "failed": 0, "output": "out.csv"}


def test_parquet_files_are_read_and_written(service: TableService, command: Command) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    files = pytest.importorskip("pyarrow.parquet")
    service.takes(NAMED)
    service.predict = lambda row: {"label": row["city"], "score": row["size"]}
    columns = {"age": [1, 2], "size": [0.5, None], "city": ["Ulm", "Bonn"], "paid": [True, None], "plan": ["free"] * 2}
    files.write_table(pyarrow.table(columns), "in.parquet")
    result = command("predict", "toy", "--parquet", "in.parquet", "--output", "out.parquet", "--keep-columns")
    assert result.exit_code == 0, result.output
    found = files.read_table("out.parquet").to_pydict()
    assert found == {**columns, "label": ["Ulm", "Bonn"], "score": [0.5, None], "error": [None, None]}
    assert service.predicted[1] == {"age": 2, "size": None, "city": "Bonn", "plan": "free"}


def test_without_pyarrow_a_sentence_says_what_is_missing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(parquet, "import_module", missing)
    Path("in.parquet").write_bytes(b"?")
    result = command("predict", "toy", "--parquet", "in.parquet", "--output", "out.csv")
    assert result.exit_code == 2
    assert "Parquet files need pyarrow, which is not installed here: pip install pyarrow." in result.stderr
