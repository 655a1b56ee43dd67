"""Reports of comparisons as parts of a page: words, tables and charts, all made by the server."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from api.console.reports import words
from api.console.reports.section import report_section
from tests.support.service import reports
from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair


def shown(app: Flask, report: dict[str, object]) -> str:
    """Return the section as a page has it."""
    with app.test_request_context("/console/"):
        return str(report_section(report))


def test_a_report_of_labels_shows_verdict_confusion_errors_and_links_to_jobs(app: Flask) -> None:
    report = reports.labels_report()
    content = shown(app, report)
    assert words.VERDICTS["worse"] in content
    assert "Confusion table of label" in content
    assert "ValueError: could not convert row #" in content
    assert "Calibration" in content
    links = re.findall(r'href="/console/jobs/([0-9a-f-]+)"', content)
    assert {each["job_id"] for each in report["differences"]} <= set(links)
    assert len(report["differences"]) == 20


def test_a_report_says_below_its_verdict_when_rows_agree(app: Flask) -> None:
    report = reports.probabilities_report()
    content = shown(app, report)
    assert f'id="report-agrees-if">{report["agreement"]["agrees_if"]}<' in content
    assert f"values agree: {report['fields'][0]['agrees_if']}" in content
    assert "0.05" in report["agreement"]["agrees_if"]


@pytest.mark.parametrize("make", [reports.labels_report, reports.numbers_report, reports.probabilities_report])
def test_a_report_has_charts_with_words_and_no_inline_style_or_script(app: Flask, make: object) -> None:
    content = shown(app, make())  # type: ignore[operator]
    drawings = re.findall(r"<svg[^>]*aria-labelledby=\"([\w-]+) ([\w-]+)\"", content)
    assert len(drawings) >= 2
    for title, summary in drawings:
        assert f'id="{title}"' in content
        assert f'id="{summary}"' in content
    assert "style=" not in content
    assert "<script" not in content
    assert "nan" not in re.findall(r' d="([^"]*)"', content)


def test_an_empty_report_says_that_nothing_was_compared(app: Flask) -> None:
    content = shown(app, Comparison(ComparisonOptions()).report())
    assert "No row was compared." in content


def test_answers_of_models_are_escaped(app: Flask) -> None:
    comparison = Comparison(ComparisonOptions())
    comparison.add(Pair("<b>", ["<i>"], Answer("1", ["<script>x</script>"]), Answer("2", [{"<u>": "<s>"}])))
    content = shown(app, comparison.report())
    assert not re.search(r"<(script|u|s|i)>", content)


def test_members_of_a_newer_release_are_left_out(app: Flask) -> None:
    assert "is the same" not in shown(app, {**reports.same_report(), "later": {"a": 1}})
