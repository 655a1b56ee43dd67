"""How fast jobs end, from counters that somebody looks at now and then."""

from __future__ import annotations

import pytest

from api.console.rates import Rate, Rates
from api.console.text import polyline


class Looks:
    """Somebody who looks at one endpoint at the times that a test says."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._rates = Rates(clock=lambda: self.now)

    def __call__(self, after_s: float, succeeded: int, failed: int = 0) -> Rate:
        self.now += after_s
        view = {"endpoint_name": "adding", "succeeded_count": succeeded, "failed_count": failed}
        return self._rates.note([view])["adding"]


@pytest.fixture
def look() -> Looks:
    return Looks()


def test_a_rate_needs_two_looks(look: Looks) -> None:
    first = look(0, 500)
    assert (first.jobs_per_s, first.error_share) == (None, None)
    second = look(2, 520, 5)
    assert second.jobs_per_s == pytest.approx(12.5)
    assert second.error_share == pytest.approx(0.2)


def test_it_is_that_of_the_last_seconds_while_somebody_looks(look: Looks) -> None:
    look(0, 0)
    look(100, 1_000)
    assert look(2, 1_000).jobs_per_s == 0
    assert look(2, 1_400).jobs_per_s == pytest.approx(100)


def test_after_a_while_it_is_that_since_the_look_before(look: Looks) -> None:
    look(0, 0)
    assert look(60, 600).jobs_per_s == pytest.approx(10)
    assert look(400, 600).jobs_per_s is None


def test_two_looks_at_once_are_one(look: Looks) -> None:
    look(0, 0)
    assert look(0.1, 50).jobs_per_s is None


def test_counters_that_begin_anew_are_no_negative_rate(look: Looks) -> None:
    look(0, 900)
    assert look(2, 3).jobs_per_s is None
    assert look(2, 7).jobs_per_s == pytest.approx(2)


def test_the_line_shows_what_was_looked_at_and_nothing_before(look: Looks) -> None:
    look(0, 0)
    for _ in range(30):
        rate = look(2, round(look.now - 1_000) * 5)
    known = [each for each in rate.points if each is not None]
    assert 5 <= len(known) <= 6
    assert rate.points[0] is None
    assert known == pytest.approx([5.0] * len(known), rel=0.2)
    assert len(polyline(rate.points).split()) == len(known)


def test_a_line_of_nothing_lies_at_the_bottom_and_one_point_is_none() -> None:
    assert polyline([None, 0.0, 0.0]) == "60.0,23.0 120.0,23.0"
    assert polyline([None, 1.0]) == ""
    assert polyline([1.0, 2.0]).endswith("120.0,2.0")
