"""Accuracy, MAE and RMSE of graded jobs, with values computed by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from workers.judging.monitoring.quality import Graded, QualityTally

#: 2026-11-27, 12:00 UTC.
NOON = 1_795_780_800.0
DAY_S = 86_400


def report(*jobs: Graded) -> dict[str, Any]:
    tally = QualityTally()
    for job in jobs:
        tally.add(job)
    return tally.report()


def job(prediction: Any, truth: Any, *, weight: float = 1.0, version: str = "1", at: float = NOON) -> Graded:
    return Graded("m", version, at, [prediction], [truth], weight)


def test_accuracy_respects_weights() -> None:
    [found] = report(job("cat", "cat", weight=3), job("dog", "cat"), job({"label": "dog", "score": 0.9}, "dog"))[
        "versions"
    ]
    assert found["accuracy"] == pytest.approx(4 / 5)
    assert (found["mae"], found["rmse"]) == (None, None)
    assert (found["job_count"], found["row_count"]) == (3, 3)


def test_numbers_have_mae_and_rmse() -> None:
    # Errors 1 (weight 3) and 5 (weight 1): MAE (3 + 5) / 4, RMSE sqrt((3 + 25) / 4).
    [found] = report(job(2.5, 3.5, weight=3), job(0.5, 5.5))["versions"]
    assert found["accuracy"] is None
    assert found["mae"] == pytest.approx(2.0)
    assert found["rmse"] == pytest.approx(math.sqrt(7.0))


def test_versions_and_utc_days_are_apart() -> None:
    found = report(
        job("a", "a"),
        job("b", "a", at=NOON + DAY_S),
        job("a", "a", version="2", at=NOON + DAY_S),
        job("a", "a", at=NOON + DAY_S / 2 - 1),
    )
    assert [(each["version"], each["accuracy"]) for each in found["versions"]] == [("1", 2 / 3), ("2", 1.0)]
    days = [(each["day"], each["version"], each["job_count"], each["accuracy"]) for each in found["days"]]
    assert days == [("2026-11-28", "2", 1, 1.0), ("2026-11-28", "1", 1, 0.0), ("2026-11-27", "1", 2, 1.0)]


def test_integers_are_labels_unless_their_truths_are_too_many() -> None:
    [labels] = report(*(job(number % 10, number % 10) for number in range(100)))["versions"]
    assert (labels["accuracy"], labels["mae"]) == (1.0, None)
    [numbers] = report(*(job(number, number + 2) for number in range(100)))["versions"]
    assert (numbers["accuracy"], numbers["mae"]) == (None, 2.0)
    [mixed] = report(job(2, 3), job(2.5, 3))["versions"]
    assert (mixed["accuracy"], mixed["mae"]) == (None, 0.75)


def test_failed_jobs_and_truths_of_another_form_are_counted_apart() -> None:
    failed = Graded("m", "1", NOON, None, ["a"])
    too_few = Graded("m", "1", NOON, ["a", "b"], None)
    [found] = report(job("a", "a"), failed, too_few, job("a", {"x": 1}))["versions"]
    counts = (found["job_count"], found["row_count"], found["failed_count"], found["not_comparable_count"])
    assert counts == (4, 1, 1, 2)
    assert found["accuracy"] == 1.0


def test_without_feedback_there_is_nothing() -> None:
    assert report() == {"versions": [], "days": []}


def test_sums_of_days_that_are_stored_add_up_to_those_of_all_jobs() -> None:
    jobs = [
        *(job(number, number + 2, at=NOON + number % 3 * DAY_S, weight=1 + number % 2) for number in range(100)),
        job("cat", "dog"),
        job(2.5, 3.0, version="2", at=NOON + DAY_S),
        Graded("m", "1", NOON, None, ["a"]),
    ]
    days: dict[float, QualityTally] = {}
    for each in jobs:
        days.setdefault(each.finished_at, QualityTally()).add(each)
    merged = QualityTally()
    for tally in days.values():
        merged.merge(QualityTally.restored(json.loads(json.dumps(tally.state()))))
    assert merged.report() == {
        name: [pytest.approx(each) for each in rows] for name, rows in report(*jobs).items()
    }  # fmt: skip


def test_more_labels_than_a_day_can_count_are_numbers_together_as_well() -> None:
    first, second = QualityTally(), QualityTally()
    for number in range(60):
        first.add(job(number, number))
        second.add(job(number % 2, number % 2, at=NOON + DAY_S))
    second.merge(QualityTally.restored(json.loads(json.dumps(first.state()))))
    assert second.report()["versions"][0]["mae"] == 0.0
