"""Predictions of every shape: the kind of each field, and whether the versions agree."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from registry.signatures.output_columns import description_of
from tests.support.service.environment import REPOSITORY
from workers.judging.comparison import document
from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.leaves import kinds_of, leaves
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.comparison.tallies.grading import Grade, grade

OPTIONS = ComparisonOptions()
BIG = 10**400


def _label_and(kind: str, *, agrees: bool) -> list[tuple[str, str, bool]]:
    return [("label", "label", True), ("sure", kind, agrees)]


@pytest.mark.parametrize(
    ("stable", "candidate", "expected"),
    [
        ("a", "a", [("output", "label", True)]),
        ("a", "b", [("output", "label", False)]),
        (True, False, [("output", "label", False)]),
        (None, None, [("output", "label", True)]),
        (None, 1, [("output", "other", False)]),
        (3, 3, [("output", "integer", True)]),
        (3, 4, [("output", "integer", False)]),
        (1, True, [("output", "other", False)]),
        (2.0, 2.001, [("output", "number", True)]),
        (2.0, 2.01, [("output", "number", False)]),
        (0.0, 1e-7, [("output", "number", True)]),
        (2, 2.0, [("output", "number", True)]),
        ([0.7, 0.3], [0.72, 0.28], [("output", "probabilities", True)]),
        ([0.51, 0.49], [0.49, 0.51], [("output", "probabilities", False)]),
        ([0.7, 0.3], [0.9, 0.1], [("output", "probabilities", False)]),
        ({"cat": 0.7, "dog": 0.3}, {"dog": 0.3, "cat": 0.7}, [("output", "probabilities", True)]),
        ([0, 1], [0, 1], [("output[]", "integer", True), ("output[]", "integer", True)]),
        ([1.5, 2.5], [1.5, 3.5], [("output[]", "number", True), ("output[]", "number", False)]),
        ([1.5], [1.5, 2.5], [("output", "other", False)]),
        ({"label": "a", "sure": 0.8}, {"label": "a", "sure": 0.82}, _label_and("probability", agrees=True)),
        ({"label": "a", "sure": 0.8}, {"label": "a", "sure": 0.4}, _label_and("probability", agrees=False)),
        ({"score": 0.8}, {"score": 0.81}, [("score", "probability", True)]),
        ({"score": 8.5}, {"score": 8.6}, [("score", "number", False)]),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, [("a.b", "label", False)]),
        ({"a": 1.5}, {"b": 1.5}, [("a", "other", False), ("b", "other", False)]),
        ({}, {}, [("output", "other", True)]),
        ([], [1], [("output", "other", False)]),
        (BIG, BIG, [("output", "other", True)]),
        (BIG, 1.0, [("output", "other", False)]),
    ],
)  # fmt: skip
def test_each_field_has_a_kind_and_agrees_or_not(stable: Any, candidate: Any, expected: list[Any]) -> None:
    found = [(each.path, each.kind.value, each.agrees(OPTIONS)) for each in leaves(stable, candidate, OPTIONS)]
    assert found == expected
    assert all(0 <= each.distance <= 1 for each in leaves(stable, candidate, OPTIONS))


def test_options_override_the_kind_and_a_description_of_outputs_knows_floats() -> None:
    labels = ComparisonOptions(kinds={"output": "label"})
    assert [each.kind for each in leaves(1.0, 2.0, labels)] == ["label"]
    described = description_of({"price": 2.5, "name": "a"})
    assert described is not None
    assert kinds_of(described) == {"price": "float"}
    options = ComparisonOptions(kinds=kinds_of(described))
    assert [each.kind for each in leaves({"price": 2}, {"price": 3}, options)] == ["number"]


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        ("a", "a", Grade(right=True)),
        ("a", None, None),
        (3, 4, Grade(right=False, error=1.0, is_integer=True)),
        (2.5, 2, Grade(error=0.5)),
        ([0.2, 0.8], 1, Grade(right=True, probability=0.8, is_true=True)),
        ([0.2, 0.8], 0, Grade(right=False, probability=0.8, is_true=False)),
        ([0.5, 0.2, 0.3], 0, Grade(right=True, probability=0.5, is_true=True)),
        ({"cat": 0.7, "dog": 0.3}, "cat", Grade(right=True, probability=0.3, is_true=False)),
        ({"label": "a", "sure": 0.9}, "b", Grade(right=False, probability=0.9, is_true=False)),
        ({"label": "a", "sure": 0.9}, {"label": "a"}, Grade(right=True, probability=0.9, is_true=True)),
        ({"price": 2.5}, 2.0, Grade(error=0.5)),
        ([1.0, 2.5], [1.0, 2.0], Grade(error=0.25)),
        ([1.0], [1.0, 2.0], None),
    ],
)
def test_a_prediction_is_graded_by_its_truth(prediction: Any, truth: Any, expected: Grade | None) -> None:
    assert grade(prediction, truth, OPTIONS) == expected


def test_many_different_integers_are_numbers_and_agree_within_the_tolerance() -> None:
    comparison = Comparison(ComparisonOptions(relative_tolerance=0.01))
    for number in range(400):
        comparison.add(Pair(str(number), [1], Answer("1", [1_000 + number]), Answer("2", [1_001 + number])))
    report = comparison.report()
    assert report["verdict"] == "same"
    assert report["fields"][0]["kind"] == "number"


def test_truths_with_weights_decide_which_version_is_better() -> None:
    comparison = Comparison(ComparisonOptions())
    for number in range(200):
        stable, candidate, weight = ("a", "b", 10.0) if number % 4 == 0 else ("b", "a", 1.0)
        answers = Answer("1", [stable]), Answer("2", [candidate])
        comparison.add(Pair(str(number), [1], *answers, truths=["b"], weight=weight))
    labels = comparison.report()["truths"]["labels"]
    assert labels["candidate_share"] == pytest.approx(500 / 650)
    assert comparison.report()["verdict"] == "better"


def test_closer_numbers_are_better_and_farther_ones_worse() -> None:
    for candidate_error, verdict in ((1.0, "better"), (3.0, "worse")):
        comparison = Comparison(ComparisonOptions())
        for number in range(100):
            sign = 1 if number % 2 else -1
            answers = Answer("1", [5.5 + 2.0 * sign]), Answer("2", [5.5 + candidate_error * sign + number / 1e3])
            comparison.add(Pair(str(number), [1], *answers, truths=[5.5]))
        assert comparison.report()["verdict"] == verdict


def test_a_difference_that_the_stable_version_also_has_is_noise() -> None:
    comparison = Comparison(ComparisonOptions())
    for number in range(1_000):
        stable, other = Answer("1", ["a"]), Answer("1", ["b" if number % 20 == 0 else "a"])
        comparison.add(Pair(str(number), [1], stable, Answer("2", other.predictions), control=other))
    report = comparison.report()
    assert report["noise"]["above"] is False
    assert report["verdict"] == "inconclusive"
    assert "noise" in report["reason"]


def test_errors_are_grouped_and_more_of_them_are_worse() -> None:
    comparison = Comparison(ComparisonOptions())
    for number in range(500):
        failed = number % 50 == 0
        candidate = Answer("2", None if failed else ["a"], "model_error", f"row {number} is wrong\nTraceback")
        comparison.add(Pair(str(number), [1], Answer("1", ["a"]), candidate))
    report = comparison.report()
    assert report["verdict"] == "worse"
    assert report["errors"]["new"] == [{"code": "model_error", "message": "row # is wrong", "jobs": 10, "job_id": "0"}]


def test_times_at_different_batch_sizes_are_not_compared() -> None:
    comparison = Comparison(ComparisonOptions())
    for number in range(40):
        size = 1 if number < 20 else 4
        stable = Answer("1", ["a"], predict_ms=2.0, batch_size=size)
        comparison.add(Pair(str(number), [1], stable, Answer("2", ["a"], predict_ms=4.0, batch_size=1)))
    times = comparison.report()["predict_times"]
    assert [each["batch_size"] for each in times["by_batch_size"]] == [1]
    assert times["ratio"] == pytest.approx(2.0, rel=0.06)
    assert times["comparable_share"] == 60 / 80


def test_the_state_is_bounded() -> None:
    comparison = Comparison(ComparisonOptions(max_details=50))
    for number in range(2_000):
        stable = {f"field-{number % 200}": float(number), "text": f"text {number}" * 20}
        comparison.add(Pair(str(number), [1], Answer("1", [stable]), Answer("2", [stable])))
    state = comparison.state()
    assert len(state["details"]) == 50
    assert len(state["fields"]) <= 65
    assert len(state["fields"]["text"]["labels"]["pairs"]) <= 51


def test_every_member_of_a_report_is_in_the_reference() -> None:
    text = (REPOSITORY / "docs/reference/evaluation-report.md").read_text()
    words = set(re.findall(r"[a-z0-9_]+", text))
    parts = [each for each in vars(document).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    names = {name for each in parts for name in each.model_fields}
    shared = {"p50", "p90", "p95", "p99", "max", "edges", "counts", "label"}
    assert names - words - shared == set()
    assert set(OPTIONS.document()) <= words
    assert document.Report.model_json_schema()["title"] == "Report"


@pytest.mark.parametrize(
    ("prediction", "options", "expected"),
    [
        ("cat", {}, "Rows agree if labels are equal."),
        (1.5, {}, "Rows agree if numbers differ by at most 0.1 % of the larger one, or by 1e-06."),
        (
            1.5,
            {"absolute_tolerance": 0.5},
            "Rows agree if numbers differ by at most 0.1 % of the larger one, or by 0.5.",
        ),
        ([0.25, 0.75], {}, "Rows agree if probabilities differ by at most 0.05 each, and the same class wins."),
        (
            {"label": "cat", "score": 0.75},
            {"probability_tolerance": 0.01},
            "Rows agree if labels are equal; a probability differs by at most 0.01, and is on the same side of 0.5.",
        ),
    ],
)
def test_a_report_says_what_agreement_means_for_its_kinds(
    prediction: Any, options: dict[str, Any], expected: str
) -> None:
    comparison = Comparison(ComparisonOptions(**options))
    comparison.add(Pair("a", [[1.0]], Answer("1", [prediction]), Answer("2", [prediction])))
    report = comparison.report()
    assert report["agreement"]["agrees_if"] == expected
    assert all(field["agrees_if"] in expected for field in report["fields"])


def test_a_report_without_answers_says_that_nothing_was_compared() -> None:
    assert Comparison(ComparisonOptions()).report()["agreement"]["agrees_if"].startswith("No row")
