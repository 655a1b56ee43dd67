"""Whether a worker serves an endpoint, from what the workers ranked before it report."""

from __future__ import annotations

import pytest

from workers.engine.placement.decision import Place, Sight, decide

IDLE_S = 60.0
READY, BUSY = Sight(hosts=1), Sight(hosts=1, busy_hosts=1, is_busy=True)
FULL = Sight(hosts=1, busy_hosts=1, is_busy=True, asks_next=True)
FAILED = Sight(asks_next=True)
ASLEEP, SILENT = Sight(is_asleep=True), Sight()
PLACED, NOT_PLACED = Place(is_placed=True), Place()


@pytest.mark.parametrize(
    ("before", "joins"),
    [
        ([], True),
        ([READY], False),
        ([BUSY], False),
        ([ASLEEP], False),
        ([SILENT], False),
        ([FULL], True),
        ([FAILED], True),
        ([FULL, READY], False),
        ([FULL, SILENT], False),
        ([FULL, FULL], True),
    ],
)
def test_a_worker_joins_if_it_is_the_first_or_all_before_it_ask(before: list[Sight], joins: bool) -> None:
    assert decide(NOT_PLACED, before, SILENT, 100.0, IDLE_S).is_placed is joins


@pytest.mark.parametrize(
    ("before", "own", "leaves"),
    [
        ([READY], Sight(), True),
        ([READY], BUSY, False),  # both together have more to do than one of them can
        ([Sight(hosts=4)], BUSY, True),
        ([ASLEEP], Sight(), True),
        ([ASLEEP], BUSY, False),
        ([SILENT], Sight(), False),
        ([FAILED], Sight(), False),
        ([FAILED, READY], Sight(), True),
    ],
)
def test_a_worker_leaves_once_a_better_one_can_take_the_jobs(before: list[Sight], own: Sight, leaves: bool) -> None:
    assert decide(PLACED, before, own, 100.0, IDLE_S).is_placed is not leaves


def test_a_worker_that_joined_leaves_when_it_was_not_needed_for_idle_s() -> None:
    place = decide(NOT_PLACED, [FULL], SILENT, 100.0, IDLE_S)
    for second in range(1, 60):
        place = decide(place, [READY], Sight(hosts=1), 100.0 + second, IDLE_S)
        assert place.is_placed
    # The mean of the busy hosts takes seconds to fall.
    assert not decide(place, [READY], Sight(hosts=1), 170.0, IDLE_S).is_placed


def test_a_worker_that_joined_stays_while_the_others_could_not_do_without_it() -> None:
    place = decide(NOT_PLACED, [FULL], SILENT, 0.0, IDLE_S)
    for second in range(1, 400):
        # Each of the two is busy for three quarters of the time.
        before, own = (BUSY if second % 4 else READY), (BUSY if (second + 2) % 4 else READY)
        place = decide(place, [before], own, float(second), IDLE_S)
    assert place.is_placed
    for second in range(400, 490):
        # A quarter each: one could do it all.
        before, own = (READY if second % 4 else BUSY), (READY if (second + 2) % 4 else BUSY)
        place = decide(place, [before], own, float(second), IDLE_S)
    assert not place.is_placed
