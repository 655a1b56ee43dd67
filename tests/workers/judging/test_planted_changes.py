"""A candidate that flips a known share of the labels: the interval covers it, and the verdict is right."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.comparison.statistics.intervals import ShareTally, share_interval
from workers.judging.comparison.tallies.agreement import AgreementTally
from workers.judging.comparison.tallies.failures import FailureTally
from workers.judging.comparison.verdicts import decide

JOURNAL, JOBS, CONTROLS, SEEDS = 10_000, 2_000, 200, 200


def counts(rows: int, hits: int) -> list[dict[str, Any]]:
    """Return the state of a share of jobs with one row each, with integers as labels and as numbers."""
    return [ShareTally(rows, rows, hits, rows, hits, hits).state()] * 2


def judged(share: float, seed: int) -> tuple[bool, str]:
    """Judge a sample of a journal of which the candidate flips exactly `share`: is it covered, and the verdict."""
    sample = random.Random(seed).sample(range(JOURNAL), JOBS)
    flipped = [each < share * JOURNAL for each in sample]
    tally = AgreementTally.restored(
        {
            "all": counts(JOBS, JOBS - sum(flipped)),
            "beside_control": counts(CONTROLS, CONTROLS - sum(flipped[:CONTROLS])),
            "control": counts(CONTROLS, CONTROLS),
        }
    )
    agreement = tally.report(integers_are_numbers=False)
    noise = tally.noise(integers_are_numbers=False)
    verdict, _ = decide(agreement, noise, FailureTally().report(), None, 0.01)
    return agreement.low <= 1 - share <= agreement.high, verdict


@pytest.mark.parametrize(
    ("share", "right", "least"),
    [(0.0, "same", 1.0), (0.005, "same", 0.5), (0.02, "differs", 0.85), (0.1, "differs", 1.0)],
)
def test_the_interval_covers_a_planted_change_and_the_verdict_is_right(share: float, right: str, least: float) -> None:
    found = [judged(share, seed) for seed in range(SEEDS)]
    verdicts = Counter(verdict for _, verdict in found)
    print(share, sum(covered for covered, _ in found) / SEEDS, dict(verdicts))
    assert sum(covered for covered, _ in found) >= 0.95 * SEEDS
    assert set(verdicts) <= {right, "inconclusive"}
    assert verdicts[right] >= least * SEEDS


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_the_interval_covers_a_share_in_95_percent_of_independent_samples(share: float) -> None:
    jobs = 500
    covered = 0.0
    for hits in range(121):
        interval = share_interval(hits, jobs)
        if interval.low <= share <= interval.high:
            covered += math.comb(jobs, hits) * share**hits * (1 - share) ** (jobs - hits)
    assert covered >= 0.95


def test_a_whole_comparison_finds_a_planted_change() -> None:
    comparison = Comparison(ComparisonOptions())
    for number in range(500):
        stable, candidate = "cat", "dog" if number % 10 == 0 else "cat"
        comparison.add(Pair(str(number), [[0.0]], Answer("1", [stable]), Answer("2", [candidate])))
    report = comparison.report()
    assert report["verdict"] == "differs"
    assert report["agreement"]["agreeing_rows"] == 450
    assert report["fields"][0]["labels"]["confusion"] == [
        {"stable": "cat", "candidate": "cat", "rows": 450},
        {"stable": "cat", "candidate": "dog", "rows": 50},
    ]
