"""The ranking of workers for an endpoint: the same everywhere, stable, and balanced."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from workers.engine.placement.ranking import ranked, ranked_before

WORKERS = [f"w{number}@machine" for number in range(5)]
ENDPOINTS = [f"endpoint_{number}" for number in range(2_000)]


def test_the_order_of_the_names_changes_nothing_and_neither_does_the_process() -> None:
    mine = ranked("classifier", WORKERS)
    assert ranked("classifier", reversed(WORKERS)) == mine
    code = f"from workers.engine.placement.ranking import ranked; print(*ranked('classifier', {WORKERS!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert other.stdout.split() == mine


def test_a_worker_that_goes_or_comes_changes_the_order_of_no_others() -> None:
    for name in ENDPOINTS[:200]:
        before = ranked(name, WORKERS)
        for gone in WORKERS:
            assert ranked(name, set(WORKERS) - {gone}) == [each for each in before if each != gone]


def test_each_worker_is_first_for_about_as_many_endpoints() -> None:
    firsts = Counter(ranked(name, WORKERS)[0] for name in ENDPOINTS)
    # 400 each, with a standard deviation of 18.
    assert all(300 < firsts[worker] < 500 for worker in WORKERS)


def test_those_before_a_worker_are_the_ones_that_take_over_first() -> None:
    first, second, *_, last = ranked("classifier", WORKERS)
    assert ranked_before("classifier", first, WORKERS) == []
    assert ranked_before("classifier", second, WORKERS) == [first]
    assert len(ranked_before("classifier", last, WORKERS)) == 4
    assert ranked_before("classifier", second, [each for each in WORKERS if each != first]) == []
