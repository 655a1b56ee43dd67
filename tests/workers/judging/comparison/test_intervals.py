"""Intervals and tests of shares, beside those of scipy."""

from __future__ import annotations

import functools
import random

import pytest
from scipy import stats

from workers.judging.comparison.intervals import (
    ClusteredShare,
    Interval,
    WeightedMean,
    clopper_pearson,
    difference_of_shares,
    mcnemar,
)


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (1, 10), (10, 10), (3, 100), (50, 100), (999, 1000), (2, 20_000)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(hits: int, rows: int) -> None:
    expected = stats.binomtest(hits, rows).proportion_ci(method="exact")
    found = clopper_pearson(hits, rows)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_the_interval_of_2000_jobs_covers_the_share_in_95_of_100_cases(share: float) -> None:
    chance, covered = random.Random(1), 0
    interval = functools.cache(clopper_pearson)
    for _ in range(2_000):
        found = interval(sum(chance.random() < share for _ in range(2_000)), 2_000)
        covered += found.low <= share <= found.high
    assert covered >= 1_900


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 1), (3, 15), (15, 3), (7, 7), (400, 450), (0, 2_000)])
def test_mcnemars_test_is_the_binomial_one(one: int, other: int) -> None:
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_difference_of_shares_is_newcombes_with_these_intervals() -> None:
    found = difference_of_shares(Interval(0.3, 0.2, 0.4), Interval(0.1, 0.05, 0.15))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.2 - 0.0125**0.5, 0.2 + 0.0125**0.5))


def test_rows_of_a_job_that_go_together_widen_the_interval() -> None:
    alone, together = ClusteredShare(), ClusteredShare()
    for job in range(100):
        together.add(10 if job % 2 else 0, 10)
        for _ in range(10):
            alone.add(job % 2, 1)
    narrow, wide = alone.interval(), together.interval()
    assert narrow is not None
    assert wide is not None
    assert narrow.value == wide.value == 0.5
    # Ten rows that are all alike tell no more than one: the interval of 100 rows.
    assert (wide.low, wide.high) == pytest.approx(
        (clopper_pearson(50, 100).low, clopper_pearson(50, 100).high), abs=3e-3
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_clusters_keep_the_interval_as_wide_as_it_must_be() -> None:
    covered = 0
    for seed in range(200):
        chance, share = random.Random(seed), ClusteredShare()
        for _ in range(150):
            rows = chance.randint(1, 30)
            # Rows of a job go together: 5 % of jobs have half of their rows wrong.
            wrong = chance.random() < 0.05
            share.add(sum(chance.random() < 0.5 for _ in range(rows)) if wrong else 0, rows)
        found = share.interval()
        assert found is not None
        covered += found.low <= 0.025 <= found.high
    assert covered >= 184  # 92 %: the effective number of rows is an estimate


def test_a_weighted_mean_is_the_mean_of_its_values_with_a_t_tests_interval() -> None:
    chance, mean = random.Random(1), WeightedMean()
    values = [chance.gauss(2, 3) for _ in range(500)]
    for value in values:
        mean.add(value)
    found, expected = mean.interval(), stats.norm.interval(0.95, sum(values) / 500, stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


def test_a_weight_of_two_counts_twice() -> None:
    once, twice = WeightedMean(), WeightedMean()
    for value in (1.0, 5.0, 5.0):
        once.add(value)
    twice.add(1.0)
    twice.add(5.0, weight=2)
    assert once.mean == twice.mean
