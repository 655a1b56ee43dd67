"""Rows of the benchmark's table: medians, spreads, and ratios within a round."""

from __future__ import annotations

import pytest

from bench.metrics import METRICS, TARGETS, Target
from bench.models import FOREST, QUADRATIC
from bench.summary import Row, Sample, Spread, rows


def samples(metric: str, system: str, *values: float, model: str = QUADRATIC) -> list[Sample]:
    return [Sample(metric, model, system, number, value) for number, value in enumerate(values)]


def only_row(*found: Sample) -> Row:
    [row] = rows(found)
    return row


def test_a_row_has_the_median_and_the_extremes_of_each_system() -> None:
    row = only_row(*samples("closed", "queuecast", 30, 10, 20), *samples("closed", "tutorial", 5, 6))
    assert row.systems == {"queuecast": Spread(20, 10, 30), "tutorial": Spread(5.5, 5, 6)}


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    # The machine was ten times slower in the second round: the ratio of the medians would be 10.
    row = only_row(*samples("closed", "queuecast", 100, 10, 100), *samples("closed", "tutorial", 50, 5, 10))
    assert row.ratio == 2


def test_a_round_that_one_system_failed_in_has_no_ratio() -> None:
    mine = samples("closed", "queuecast", 10, 20, 30)
    row = only_row(*mine, Sample("closed", QUADRATIC, "tutorial", 2, 10))
    assert row.ratio == 3


def test_bulk_is_compared_with_the_single_submits_of_the_tutorial() -> None:
    found = rows(
        [*samples("bulk", "queuecast", 90), *samples("submit_16", "tutorial", 3), *samples("submit_16", "queuecast", 5)]
    )
    [bulk] = [row for row in found if row.metric.key == "bulk"]
    assert (bulk.ratio, bulk.met) == (30, True)


def test_rows_stand_in_the_order_of_the_metrics_and_other_samples_make_none() -> None:
    found = rows(
        [*samples("closed", "queuecast", 1), *samples("submit_16", "queuecast", 1), *samples("x", "queuecast", 1)]
    )
    assert [row.metric.key for row in found] == ["submit_16", "closed"]


@pytest.mark.parametrize(
    ("target", "ratio", "met"),
    [
        (Target(10), 10, True),
        (Target(10), 9.99, False),
        (Target(0.5, at_least=False), 0.5, True),
        (Target(0.5, at_least=False), 0.51, False),
        (Target(0.2, at_least=False, unit="ms"), 0.2, True),
    ],
)
def test_a_target_is_a_bound_on_its_own_side(target: Target, ratio: float, met: bool) -> None:
    assert target.met(ratio) is met


def test_a_target_with_a_unit_is_of_the_value_itself() -> None:
    row = only_row(*samples("cpu_submit_16", "queuecast", 0.3, 0.1, 0.15), *samples("cpu_submit_16", "tutorial", 0.1))
    assert row.ratio == pytest.approx(3)
    assert (str(row.target), row.met) == ("≤ 0.2 ms", True)
    assert only_row(*samples("cpu_submit_16", "queuecast", 0.3)).met is False
    assert only_row(*samples("cpu_submit_16", "tutorial", 0.1)).met is None


def test_the_ratio_to_the_peer_is_of_the_same_metric_alone() -> None:
    found = rows(
        [
            *samples("submit_16", "queuecast", 8, 4), *samples("submit_16", "mlserver", 2, 2),
            *samples("bulk", "queuecast", 90), *samples("submit_16", "tutorial", 1),
        ]
    )  # fmt: skip
    assert {row.metric.key: (row.ratio, row.peer_ratio) for row in found} == {"submit_16": (8, 3), "bulk": (90, None)}


def test_without_a_ratio_or_a_target_nothing_is_said_to_be_met() -> None:
    assert only_row(*samples("drain", "queuecast", 1)).met is None
    assert only_row(*samples("bulk", "queuecast", 1)).met is None
    assert only_row(*samples("start_api", "queuecast", 1), *samples("start_api", "tutorial", 1)).met is None
    assert (
        only_row(*samples("closed", "queuecast", 1, model=FOREST), *samples("closed", "tutorial", 1, model=FOREST)).met
        is False
    )


def test_every_target_is_of_a_metric_and_no_metric_stands_twice() -> None:
    keys = [each.key for each in METRICS]
    assert len(keys) == len(set(keys))
    assert {key for key, _ in TARGETS} <= set(keys)
    assert {each.against for each in METRICS if each.against} <= set(keys)
