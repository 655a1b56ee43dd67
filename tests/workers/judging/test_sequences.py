"""Confidence sequences hold at every look, and are narrow enough to decide by."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from workers.judging import sequences
from workers.judging.sequences import MeanSequence

ALPHA = 0.05
RUNS = 300
LOOKS = np.unique(np.geomspace(1, 3000, 60).astype(int))


@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.5, 0.97])
def test_a_share_is_in_its_sequence_at_all_looks_of_all_but_alpha_of_runs(share: float) -> None:
    generator = np.random.default_rng(1)
    threshold = math.log(1 / ALPHA)
    missed = 0
    for _ in range(RUNS):
        sums = np.cumsum(generator.random(LOOKS[-1]) < share)
        missed += any(sequences.log_evidence(int(sums[n - 1]), int(n), share) >= threshold for n in LOOKS)
    assert missed <= ALPHA * RUNS


def test_the_interval_of_a_share_narrows_around_it() -> None:
    few, many = sequences.share_interval(10, 100, ALPHA), sequences.share_interval(1000, 10_000, ALPHA)
    assert few.low < many.low < 0.1 < many.high < few.high
    assert many.high - many.low < 0.03
    assert sequences.share_interval(0, 0, ALPHA) == (0.0, 1.0)
    assert sequences.share_interval(0, 200, 0.01).low == 0.0
    assert sequences.share_interval(200, 200, 0.01).high == 1.0
    assert sequences.share_interval(0, 200, 0.01).high == pytest.approx(0.0384, abs=1e-3)


def test_a_share_is_above_what_its_interval_excludes() -> None:
    low = sequences.share_interval(30, 300, 0.01).low
    assert sequences.share_above(30, 300, low - 1e-6, 0.01)
    assert not sequences.share_above(30, 300, low + 1e-6, 0.01)
    assert not sequences.share_above(0, 300, 0.0, 0.01)
    assert not sequences.share_above(0, 0, 0.1, 0.01)


def test_a_difference_of_shares_is_bounded_by_both() -> None:
    found = sequences.difference_interval((10, 10_000), (60, 1_000), ALPHA)
    assert 0.03 < found.low < 0.059 < found.high < 0.1


def test_a_quantile_is_in_its_buckets_at_all_looks_of_all_but_alpha_of_runs() -> None:
    generator = np.random.default_rng(2)
    truth = 94  # of 0 to 99, each as likely
    missed = 0
    for _ in range(RUNS):
        values = generator.integers(0, 100, LOOKS[-1])
        for n in LOOKS:
            numbers, counts = np.unique(values[:n], return_counts=True)
            low, high = sequences.quantile_interval(
                dict(zip(numbers.tolist(), counts.tolist(), strict=True)), 0.95, ALPHA
            )
            if (low is not None and low > truth) or (high is not None and high < truth):
                missed += 1
                break
    assert missed <= ALPHA * RUNS
    many = dict.fromkeys(range(100), 1000)
    low, high = sequences.quantile_interval(many, 0.95, ALPHA)
    assert low is not None
    assert high is not None
    assert 92 <= low <= 94 <= high <= 96


def test_without_values_a_quantile_has_no_bounds() -> None:
    assert sequences.quantile_interval({}, 0.95, ALPHA) == (None, None)
    assert sequences.quantile_interval({7: 1}, 0.95, ALPHA) == (7, None)


def test_a_mean_is_in_its_sequence_at_all_looks_of_all_but_alpha_of_runs() -> None:
    generator = np.random.default_rng(3)
    missed = 0
    for _ in range(RUNS):
        sequence = MeanSequence(ALPHA)
        for value in generator.beta(2, 6, 300).tolist():
            sequence.add(value)
            low, high = sequence.interval()
            if not low <= 0.25 <= high:
                missed += 1
                break
    assert missed <= ALPHA * RUNS
    assert high - low < 0.12


def test_a_sequence_of_a_mean_goes_on_after_a_restart() -> None:
    whole, first = MeanSequence(), MeanSequence()
    values = [0.1, 0.9, 0.4, 0.4, 1.0, 0.0]
    for value in values:
        whole.add(value)
    for value in values[:3]:
        first.add(value)
    rest = MeanSequence.restored(json.loads(json.dumps(first.state())))
    for value in values[3:]:
        rest.add(value)
    assert rest.interval() == whole.interval()
    with pytest.raises(ValueError, match="not from 0 to 1"):
        rest.add(1.5)
