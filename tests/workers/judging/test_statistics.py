"""Figures of comparisons beside those of scipy, numpy and scikit-learn, and by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, confusion_matrix

from workers.judging.comparison.statistics.intervals import (
    Interval,
    MeanTally,
    ShareTally,
    difference_interval,
    mcnemar,
    share_interval,
)
from workers.judging.comparison.statistics.sampling import Sample, histogram, quantiles
from workers.judging.comparison.statistics.special_functions import beta_cdf, chi_square_1_tail, t_quantile
from workers.judging.comparison.tallies.labels import LabelTally
from workers.judging.comparison.tallies.numbers import NumberTally
from workers.judging.comparison.tallies.probabilities import CalibrationTally


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (10, 10), (3, 10), (10, 2_000), (1_990, 2_000), (1, 100_000)])
def test_the_interval_of_a_share_is_the_exact_one(hits: int, rows: int) -> None:
    exact = stats.binomtest(hits, rows).proportion_ci(method="exact")
    found = share_interval(hits, rows)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(("a", "b", "x"), [(0.5, 0.5, 0.2), (3, 900, 0.004), (2_000, 3, 0.999), (50, 40, 0.5)])
def test_the_beta_distribution_is_that_of_scipy(a: float, b: float, x: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 7, 100, 10_000])
def test_students_quantile_is_that_of_scipy(degrees: int) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-7)
    assert t_quantile(0.025, degrees) == pytest.approx(-t_quantile(0.975, degrees))


def test_mcnemars_test_by_hand_and_beside_scipy() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 5) == 0.0625  # 2 / 2**5
    assert mcnemar(1, 5) == 0.21875  # 2 * (1 + 6) / 2**6
    assert mcnemar(12, 30) == pytest.approx(stats.binomtest(12, 42).pvalue)
    assert mcnemar(600, 700) == pytest.approx(stats.chi2.sf(99**2 / 1300, 1))
    assert chi_square_1_tail(3.841459) == pytest.approx(0.05, abs=1e-6)


def test_the_interval_of_a_difference_by_hand() -> None:
    # Newcombe (1998), method 10: the square roots of sums of squares of what is left and right of both estimates.
    found = difference_interval(Interval(0.5, 0.4, 0.6), Interval(0.2, 0.17, 0.24))
    assert found.estimate == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - (0.1**2 + 0.04**2) ** 0.5)
    assert found.high == pytest.approx(0.3 + (0.1**2 + 0.03**2) ** 0.5)


def test_rows_of_a_job_that_differ_together_count_as_one() -> None:
    alone, together = ShareTally(), ShareTally()
    for number in range(1_000):
        alone.add(int(number % 10 > 0), 1)
    for number in range(100):
        together.add(10 if number % 10 else 0, 10)
    assert alone.interval().estimate == together.interval().estimate == 0.9
    assert together.design_effect == pytest.approx(10, rel=0.02)
    few = share_interval(90, 100)
    assert (together.interval().low, together.interval().high) == pytest.approx((few.low, few.high), abs=0.002)
    unanimous = ShareTally()
    for _ in range(100):
        unanimous.add(10, 10)
    assert unanimous.interval() == share_interval(100, 100)


def test_the_interval_by_job_covers_where_that_of_rows_does_not() -> None:
    chance, by_job, by_row = random.Random(3), 0, 0
    for _ in range(200):
        tally = ShareTally()
        for _ in range(100):
            tally.add(20 if chance.random() < 0.8 else 10, 20)
        by_job += tally.interval().low <= 0.9 <= tally.interval().high
        naive = share_interval(tally.hits, tally.rows)
        by_row += naive.low <= 0.9 <= naive.high
    assert by_job >= 0.94 * 200
    assert by_row < 0.8 * 200


def test_the_interval_of_a_mean_of_single_rows_is_students() -> None:
    values = np.random.default_rng(1).normal(3, 2, 40)
    tally = MeanTally()
    for value in values:
        tally.add(float(value), 1.0)
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    found = tally.interval()
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((values.mean(), low, high))


def test_weights_count_as_often_as_they_say() -> None:
    tally = MeanTally()
    for value, weight in ((1.0, 3.0), (5.0, 1.0)):
        tally.add(value * weight, weight)
    assert tally.mean == np.average([1.0, 5.0], weights=[3.0, 1.0])


def test_correlation_means_and_quantiles_are_those_of_numpy() -> None:
    chance = np.random.default_rng(2)
    stable = chance.normal(1e6, 1, 500)
    candidate = stable + chance.normal(0.1, 0.5, 500)
    tally = NumberTally()
    for both in zip(stable, candidate, strict=True):
        tally.add(*map(float, both))
    report = tally.report([(float(one), float(other)) for one, other in zip(stable, candidate, strict=True)])
    assert report is not None
    assert report.correlation == pytest.approx(np.corrcoef(stable, candidate)[0, 1])
    assert report.mean_difference == pytest.approx((candidate - stable).mean(), abs=1e-6)
    apart = abs(candidate - stable)
    assert report.absolute is not None
    assert [report.absolute.p50, report.absolute.p95, report.absolute.max] == pytest.approx(
        [np.quantile(apart, 0.5), np.quantile(apart, 0.95), apart.max()]
    )
    assert report.histogram is not None
    assert sum(report.histogram.counts) == 500


def test_a_constant_has_no_correlation_and_no_histogram() -> None:
    tally = NumberTally()
    for _ in range(5):
        tally.add(2.0, 2.0)
    assert tally.correlation is None
    assert histogram([0.0] * 5) is None
    assert quantiles([]) is None


def test_the_confusion_table_is_that_of_sklearn() -> None:
    chance, tally = np.random.default_rng(4), LabelTally()
    stable, candidate = chance.integers(0, 3, 200), chance.integers(0, 3, 200)
    for one, other in zip(stable, candidate, strict=True):
        tally.add(str(one), str(other))
    report = tally.report()
    assert report is not None
    expected = confusion_matrix(stable, candidate)
    assert {(int(each.stable), int(each.candidate)): each.rows for each in report.confusion} == {
        (row, column): expected[row, column] for row in range(3) for column in range(3) if expected[row, column]
    }
    assert [each.stable_share for each in report.classes] == pytest.approx(list(np.bincount(stable) / 200))


def test_labels_beyond_fifty_count_as_one() -> None:
    tally = LabelTally()
    for number in range(80):
        tally.add(f"label-{number}", f"label-{number}")
    report = tally.report()
    assert report is not None
    assert report.complete is False
    assert {each.label: each.stable_share for each in report.classes}["(other)"] == pytest.approx(30 / 80)
    assert len(report.classes) == 51


def test_calibration_by_hand_and_the_brier_score_of_sklearn() -> None:
    tally = CalibrationTally()
    for probability, is_true in ((0.9, True), (0.9, True), (0.9, False), (0.1, False)):
        tally.add(probability, is_true=is_true)
    report = tally.report()
    assert report is not None
    # |0.9 - 2/3| for three rows, |0.1 - 0| for one.
    assert report.expected_error == pytest.approx((3 * (0.9 - 2 / 3) + 0.1) / 4)
    assert report.brier == pytest.approx(brier_score_loss([1, 1, 0, 0], [0.9, 0.9, 0.9, 0.1]))


def test_a_sample_is_the_same_for_an_equal_seed_in_any_order() -> None:
    keys = [str(each) for each in range(1_000)]
    first, second, other = Sample(50, "a"), Sample(50, "a"), Sample(50, "b")
    for key in keys:
        first.add(key, key)
        other.add(key, key)
    for key in reversed(keys):
        second.add(key, key)
    assert list(first) == list(second)
    assert set(first) != set(other)
    assert len(first) == 50
    assert 300 < np.mean([int(each) for each in first]) < 700
