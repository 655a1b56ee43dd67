"""From samples to rows: medians, spreads, and ratios of values that were measured in the same round."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.metrics import METRICS, TARGETS, Metric, Target


class Sample(NamedTuple):
    """One value that was measured."""

    metric: str
    model: str
    system: str
    round: int
    value: float
    #: Where on a curve it is; 0 for what is on none.
    at: float = 0.0


@dataclass(frozen=True)
class Spread:
    """The values of one metric and system over the rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    metric: Metric
    model: str
    systems: Mapping[str, Spread]
    #: Median over the rounds of Queuecast's value through the other one's, and through the peer's.
    ratio: float | None
    peer_ratio: float | None
    target: Target | None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target, or without what it is of."""
        if self.target is None:
            return None
        mine = self.systems.get("queuecast")
        found = (mine.median if mine else None) if self.target.unit else self.ratio
        return None if found is None else self.target.met(found)


PEER = "mlserver"
_Values = dict[tuple[str, str, str], dict[int, float]]


def rows(samples: Iterable[Sample]) -> list[Row]:
    """Return a row for each metric and model that there are samples of, in the table's order."""
    values: _Values = defaultdict(dict)
    for each in samples:
        values[each.metric, each.model, each.system][each.round] = each.value
    return [
        _row(metric, model, values)
        for metric in METRICS
        for model in dict.fromkeys(model for key, model, _ in values if key == metric.key)
    ]


def _row(metric: Metric, model: str, values: _Values) -> Row:
    systems = {
        system: _spread(list(found.values()))
        for (key, of_model, system), found in values.items()
        if (key, of_model) == (metric.key, model)
    }
    ratio = _ratio(metric, model, values, metric.against or metric.key, metric.against_system)
    # What is compared with another metric is not what the peer has done.
    peer_ratio = None if metric.against else _ratio(metric, model, values, metric.key, PEER)
    return Row(metric, model, systems, ratio, peer_ratio, TARGETS.get((metric.key, model)))


def _ratio(metric: Metric, model: str, values: _Values, against: str, system: str) -> float | None:
    mine = values.get((metric.key, model, "queuecast"), {})
    others = values.get((against, model, system), {})
    found = [value / others[number] for number, value in mine.items() if others.get(number)]
    return statistics.median(found) if found else None


def _spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
