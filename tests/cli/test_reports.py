"""Reports of comparisons as text on the command line, and the exit codes of their verdicts."""

from __future__ import annotations

import json

import pytest

from api.cli.output import Output
from api.cli.remote.evaluations.report import EXIT_CODES, exit_code, show_report
from tests.support.service import reports
from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.document import Verdict
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair


def test_a_report_is_plain_text_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(Output(as_json=False), reports.labels_report())
    shown = capsys.readouterr().out
    assert shown.startswith("worse: 9 jobs fail on the candidate only")
    assert "\x1b" not in shown
    assert "ValueError: could not convert row #" in shown
    assert "cat     dog" in shown


@pytest.mark.parametrize("make", [reports.numbers_report, reports.probabilities_report, reports.same_report])
def test_every_kind_of_report_can_be_shown(make: object, capsys: pytest.CaptureFixture[str]) -> None:
    report = make()  # type: ignore[operator]
    show_report(Output(as_json=False), report)
    assert report["reason"] in capsys.readouterr().out


def test_what_agrees_is_said_beside_the_figure(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = Comparison(ComparisonOptions(probability_tolerance=0.02))
    comparison.add(Pair("a", [[1.0]], Answer("1", [[0.25, 0.75]]), Answer("2", [[0.26, 0.74]])))
    show_report(Output(as_json=False), comparison.report())
    text = capsys.readouterr().out
    assert "Rows agree if probabilities differ by at most 0.02 each, and the same class wins." in " ".join(text.split())


def test_a_report_as_json_is_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    report = reports.same_report()
    show_report(Output(as_json=True), report)
    assert json.loads(capsys.readouterr().out) == report


def test_each_verdict_has_an_exit_code_and_only_same_and_better_are_0() -> None:
    assert set(EXIT_CODES) == {each.value for each in Verdict}
    assert {name for name, code in EXIT_CODES.items() if code == 0} == {"same", "better"}
    assert exit_code({"verdict": "of a later release"}) == 7
