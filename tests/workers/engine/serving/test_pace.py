"""The measured pace of hosts: the line of times over batch sizes, and its report."""

from __future__ import annotations

import pytest

from registry.serving.settings import ServingSettings
from workers.engine.batching.batch_size import BatchSize
from workers.engine.serving.hosts.pace import PaceMeter
from workers.measures.reports import PaceReport


def meter(**settings: object) -> PaceMeter:
    return PaceMeter(BatchSize(ServingSettings.parse(settings)))


def batch_ms(pace: PaceReport | None, jobs: float) -> float:
    assert pace is not None
    return pace["fixed_ms"] + pace["job_ms"] * jobs


def test_before_a_host_has_predicted_anything_nothing_is_said() -> None:
    assert meter().report(1) is None
    assert not meter().has_changed()


def test_the_input_example_counts_until_there_are_batches() -> None:
    pace = meter()
    pace.example(20.0)
    assert batch_ms(pace.report(1), 1) == 20.0
    pace.ended(1, 1, 0.005)
    assert batch_ms(pace.report(1), 1) == pytest.approx(5.0, rel=0.01)


def test_batches_of_several_sizes_say_what_a_full_one_takes() -> None:
    pace = meter(max_batch_size=64)
    for rows in (1, 2, 8, 16) * 4:
        pace.ended(rows, rows, 0.050 + 0.004 * rows)
    report = pace.report(3)
    assert report is not None
    assert (report["hosts"], report["batch_jobs"]) == (3, 64)
    assert report["known_jobs"] >= 64
    assert batch_ms(report, 64) == pytest.approx(306, rel=0.1)


def test_batches_of_one_say_nothing_of_large_ones() -> None:
    pace = meter(max_batch_size=64)
    for _ in range(50):
        pace.ended(1, 1, 0.010)
    report = pace.report(1)
    assert report is not None
    assert report["known_jobs"] == 4


def test_of_jobs_with_many_rows_few_share_a_batch() -> None:
    pace = meter(max_batch_size=64)
    for jobs in (1, 2, 4) * 5:
        pace.ended(jobs, 16 * jobs, 0.010 + 0.001 * 16 * jobs)
    report = pace.report(1)
    assert report is not None
    assert report["batch_jobs"] == pytest.approx(4)
    assert batch_ms(report, 4) == pytest.approx(74, rel=0.1)


def test_an_odd_slow_batch_changes_little_and_a_slower_model_all() -> None:
    pace = meter(max_batch_size=1)
    for _ in range(400):
        pace.ended(1, 1, 0.010)
    pace.ended(1, 1, 0.5)
    assert batch_ms(pace.report(1), 1) == pytest.approx(10, rel=0.25)
    for _ in range(30):
        pace.ended(1, 1, 1.0)
    assert batch_ms(pace.report(1), 1) == pytest.approx(1_000, rel=0.2)


def test_a_pace_that_others_should_know_soon_is_a_change() -> None:
    pace = meter(max_batch_size=1)
    pace.example(10.0)
    pace.report(1)
    pace.ended(1, 1, 0.010)
    assert not pace.has_changed()
    pace = meter(max_batch_size=1)
    pace.example(10.0)
    pace.report(1)
    pace.ended(1, 1, 1.0)
    assert pace.has_changed()
