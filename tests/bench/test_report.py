"""The benchmark's table, and how it gets into the page about performance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.machine import about
from bench.models import FOREST, QUADRATIC
from bench.report import BEGIN, END, Results
from bench.summary import Sample
from tests.support.documentation import text_of


@pytest.fixture
def results() -> Results:
    found = Results(about("python -m bench") | {"rounds": 2})
    for number, (mine, other) in enumerate([(2_500.4, 100), (2_400, 100)]):
        found.samples += [
            Sample("drain", FOREST, "queuecast", number, mine),
            Sample("drain", FOREST, "tutorial", number, other),
            Sample("latency_p50", QUADRATIC, "queuecast", number, 2.345),
            Sample("latency_p50", QUADRATIC, "mlserver", number, 1.0),
        ]
    found.note("Left out, bulk: no such route.")
    return found


def test_a_line_has_the_values_of_each_system_the_ratio_and_whether_the_target_is_met(results: Results) -> None:
    lines = report.markdown(results).splitlines()
    drain = "| drain of a full queue, jobs/s | forest | 2,450 (2,400–2,500) | 100 (100–100) |  |  |  | 24.5 × |"
    assert f"{drain} ≥ 40 × | **no** |  |" in lines
    latency = "| latency, one client that waits, p50, ms | quadratic | 2.35 (2.35–2.35) |  |  |  | 1.00 |  | ≤ 0.3 × |"
    assert f"{latency}  | 2.35 × |" in lines
    assert "- Left out, bulk: no such route." in lines


def test_the_json_has_machine_rounds_rows_and_every_sample(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "new" / "performance.json"
    report.write_json(results, path)
    document = json.loads(path.read_text())
    assert document["machine"]["cores"]
    assert (document["rounds"], len(document["samples"])) == (2, 8)
    assert [row["met"] for row in document["summary"]] == [False, None]
    assert report.read_json(path) == results


def test_the_docs_are_written_between_their_marks_and_nothing_else_changes(results: Results, tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        report.write_docs(results, page, ["### More"])
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n`python -m bench`, commit ")
    assert text.endswith(f"\n\n### More\n\n{END}\nafter\n")
    assert "old" not in text


def test_a_page_without_marks_is_left_alone(results: Results, tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("mine\n")
    with pytest.raises(ValueError, match="results: begin"):
        report.write_docs(results, page)
    assert page.read_text() == "mine\n"


def test_the_page_of_this_repository_has_the_marks() -> None:
    text = text_of("performance.md")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.456, "0.46"), (9.999, "10.00"), (45.67, "45.7"), (1234.5, "1,234")]
)
def test_a_number_has_the_digits_that_say_something(value: float, text: str) -> None:
    assert report.number(value) == text
