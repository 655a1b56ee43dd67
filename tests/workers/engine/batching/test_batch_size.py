"""Batch sizes that follow a latency target, with formulas as models: the time of a batch (ms) by its rows."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.serving.settings import LARGEST_BATCH, ServingSettings
from workers.engine.batching.batch_size import BatchSize

Model = Callable[[int], float]
#: Half of the default target: a job waits for one batch and takes one.
BUDGET_MS = 50.0


def forest(rows: int) -> float:
    """Just within the budget with 780 rows."""
    return 11 + 0.05 * rows


def noisy(model: Model, noise: float = 0.05, seed: int = 1) -> Model:
    random_ = random.Random(seed)
    return lambda rows: model(rows) * random_.lognormvariate(0, noise)


def auto(**settings: float) -> BatchSize:
    return BatchSize(ServingSettings.parse({"max_batch_size": "auto", **settings}))


def run(size: BatchSize, model: Model, batches: int, waiting: int = LARGEST_BATCH) -> list[int]:
    """Run batches from a queue that always has so many rows; return the sizes."""
    sizes = []
    for _ in range(batches):
        rows = min(size.rows, waiting)
        sizes.append(rows)
        size.measured(rows, model(rows), model(rows))
    return sizes


def test_the_first_batches_are_small_and_double() -> None:
    assert run(auto(), forest, 8) == [1, 2, 4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize(
    ("fixed_ms", "row_ms", "best"),
    [(11, 0.05, 780), (5, 0.5, 90), (0, 1, 50), (40, 0.01, 1_000), (2, 8, 6), (0.5, 0.001, LARGEST_BATCH)],
)
def test_it_finds_the_largest_size_within_the_budget_in_a_few_batches(
    fixed_ms: float, row_ms: float, best: int
) -> None:
    size = auto()
    sizes = run(size, lambda rows: fixed_ms + row_ms * rows, 16)
    assert best * 0.98 <= size.rows <= best
    assert max(sizes) <= best * 1.35


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_nineteen_of_twenty_batches_are_within_the_budget(noise: float) -> None:
    size, model, times = auto(), noisy(forest, noise), []

    def timed(rows: int) -> float:
        times.append(model(rows))
        return times[-1]

    for _ in range(600):
        rows = size.rows
        size.measured(rows, 1.0, timed(rows))
    late = sum(each > BUDGET_MS for each in times[50:])
    assert 0.02 < late / len(times[50:]) < 0.08


def test_it_follows_a_model_that_becomes_slower_and_comes_back() -> None:
    size, model = auto(), noisy(forest)
    run(size, model, 200)
    before = size.rows
    sizes = run(size, lambda rows: 3 * model(rows), 100)
    # (50 / 3 - 11) / 0.05 is 113, and noise takes some of it.
    assert min(sizes) > 50
    assert max(sizes[10:]) < 130
    run(size, model, 20)
    assert size.rows == pytest.approx(before, rel=0.15)


@pytest.mark.parametrize("outlier_at", [0, 3, 9, 12, 100])
def test_one_batch_that_is_very_slow_changes_next_to_nothing(outlier_at: int) -> None:
    size = auto()
    run(size, forest, outlier_at)
    expected = max(2, size.rows)
    run(size, lambda rows: 40 * forest(rows), 1)
    assert size.rows >= expected * 0.9
    run(size, forest, 16)
    assert size.rows >= 700


def test_it_grows_only_as_far_as_there_are_rows_to_try_it_with() -> None:
    size = auto()
    run(size, forest, 100, waiting=10)
    assert size.rows == 20
    assert run(size, forest, 4) == [20, 40, 80, 160]


def test_quiet_times_are_no_reason_to_begin_anew() -> None:
    size, model = auto(), noisy(forest)
    run(size, model, 100)
    before = size.rows
    run(size, model, 300, waiting=1)
    assert size.rows == pytest.approx(before, rel=0.3)


def test_a_target_that_one_row_misses_is_not_chased_with_batches_of_one() -> None:
    size = auto()
    run(size, noisy(lambda rows: 200 + 2 * rows), 200)
    # Twice as long as one row takes, for half of what the largest batches could do.
    assert 75 <= size.rows <= 125


def test_a_model_that_is_fast_again_is_held_to_its_target_again() -> None:
    size = auto()
    run(size, lambda rows: 200 + 2 * rows, 50)
    run(size, lambda rows: 10 + 2 * rows, 100)
    assert size.rows == 20


def test_a_batch_that_would_be_killed_is_never_aimed_at() -> None:
    size = auto(target_latency_ms=10_000, timeout_s=0.5)
    run(size, lambda rows: 10.0 * rows, 50)
    assert 10 * size.rows <= 250
    size = auto(timeout_s=0.5)
    run(size, lambda rows: 200 + 2.0 * rows, 50)
    assert 200 + 2 * size.rows <= 250


def test_with_more_hosts_a_job_waits_less_and_batches_can_take_longer() -> None:
    budgets = [auto(hosts=hosts).budget_ms for hosts in (1, 2, 4)]
    assert budgets == [50, pytest.approx(66.7, abs=0.1), 80]


def test_a_target_that_changes_is_followed_with_what_is_known() -> None:
    size = auto()
    run(size, forest, 50)
    size.settings = size.settings.changed({"target_latency_ms": 50})
    run(size, forest, 3)
    assert size.rows == pytest.approx((25 - 11) / 0.05, rel=0.02)
    size.settings = ServingSettings(max_batch_size=7)
    assert size.rows == 7


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1e6)), max_size=200), st.integers(0, 5))
def test_whatever_is_measured_the_size_stays_within_its_bounds(
    batches: list[tuple[int, float]], lose_every: int
) -> None:
    size = auto()
    for number, (rows, batch_ms) in enumerate(batches):
        before = size.rows
        size.measured(rows, batch_ms, batch_ms)
        if lose_every and number % lose_every == 0:
            size.lost(rows)
        assert 1 <= size.rows <= LARGEST_BATCH
        assert size.rows <= 2 * max(before, *(each for each, _ in batches[: number + 1]), 1)
        assert 1 <= size.rows_at_once <= LARGEST_BATCH


def test_a_fixed_size_is_what_was_set_whatever_is_measured() -> None:
    size = BatchSize(ServingSettings(max_batch_size=64))
    run(size, lambda _rows: 1_000.0, 100)
    size.lost(64)
    assert (size.rows, size.rows_at_once) == (64, 64)


def test_by_default_only_different_jobs_are_kept_apart() -> None:
    size = BatchSize(ServingSettings())
    assert (size.rows, size.rows_at_hand, size.rows_at_once) == (64, 64, LARGEST_BATCH)
    size.lost(64)  # such a batch would have been as large with any release
    assert size.rows_at_once == LARGEST_BATCH


def test_a_jobs_own_rows_are_split_for_a_while_after_a_host_was_lost_with_them() -> None:
    size = BatchSize(ServingSettings())
    size.lost(1_024)
    assert (size.rows, size.rows_at_once) == (64, 64)
    measure(size, 99, rows=1_024)
    measure(size, 500, rows=1)
    assert size.rows_at_once == 64
    measure(size, 1, rows=1_024)
    assert (size.rows, size.rows_at_once) == (64, 128)
    size.lost(1_024)
    measure(size, 199, rows=1_024)
    assert size.rows_at_once == 64
    measure(size, 6 * 400, rows=LARGEST_BATCH)
    assert size.rows_at_once == LARGEST_BATCH


def test_a_job_that_has_lost_a_host_gets_small_calls() -> None:
    assert BatchSize(ServingSettings()).rows_after_loss == 64
    assert BatchSize(ServingSettings(max_batch_size=256)).rows_after_loss == 64
    assert BatchSize(ServingSettings(max_batch_size=8)).rows_after_loss == 8
    size = auto()
    assert size.rows_after_loss == 64
    size.lost(40)
    assert size.rows_after_loss == 20


def measure(size: BatchSize, batches: int, rows: int) -> None:
    for _ in range(batches):
        size.measured(rows, 1.0, 1.0)


def test_what_kills_hosts_is_not_tried_again_for_a_while() -> None:
    size = auto()
    run(size, forest, 50)
    size.lost(600)
    assert (size.rows, size.rows_at_once) == (300, 300)
    assert max(run(size, forest, 100)) == 300
    assert size.rows == 600
    size.lost(500)
    assert max(run(size, forest, 150)) == 250


def test_a_job_that_kills_hosts_alone_says_nothing_of_sizes() -> None:
    size = auto()
    run(size, forest, 50)
    before = size.rows
    size.lost(1)
    assert size.rows == before


def test_a_job_with_more_rows_than_a_call_may_have_is_not_measured() -> None:
    size = auto()
    run(size, forest, 50)
    before = size.rows
    for _ in range(64):
        size.measured(3 * LARGEST_BATCH, 9_000, 9_000)
    assert size.rows == before


def test_it_says_what_batches_took() -> None:
    size = BatchSize(ServingSettings())
    assert size.p95() is None
    for number in range(1, 101):
        size.measured(10, number + 2, number)
    assert size.p95() == (10, 100, 98)  # of the last 64, the two slowest left out


def test_the_engines_own_time_counts_against_the_whole_target() -> None:
    size = auto()
    for _ in range(50):
        rows = size.rows
        size.measured(rows, 20 + 0.4 * rows, forest(rows))
    assert size.rows == 200


def test_a_busy_engine_does_not_make_batches_small() -> None:
    size = auto()
    for _ in range(200):
        rows = size.rows
        size.measured(rows, 300 + 0.4 * rows, forest(rows))
    assert size.rows > 500


def test_what_is_taken_from_the_queue_ahead_follows_the_size_in_steps() -> None:
    size = auto()
    assert size.rows_at_hand == 16
    run(size, forest, 50)
    assert (size.rows, size.rows_at_hand) == (780, 1_024)
    size.settings = ServingSettings(max_batch_size=7)
    assert size.rows_at_hand == 7
