"""Intervals and tests for shares and means of rows that come in jobs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from workers.judging.comparison.statistics.special_functions import (
    beta_quantile,
    binomial_half_two_sided,
    chi_square_1_tail,
    t_quantile,
)

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
#: Discordant pairs up to which McNemar's test is exact.
_EXACT_UP_TO = 1_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float

    def document(self) -> dict[str, float]:
        """Return the interval as JSON."""
        return asdict(self)

    @property
    def complement(self) -> Interval:
        """The same for the rows that are not counted."""
        return Interval(1 - self.estimate, 1 - self.high, 1 - self.low)


def share_interval(hits: float, trials: float, *, one_sided: bool = False) -> Interval:
    """Return the exact interval of Clopper and Pearson (1934) for a binomial share.

    It covers the share in at least 95 % of cases for every share and size, which Wilson's interval doesn't for shares
    near 0 and 1, where agreement is. `trials` may be an effective size, which is no whole number. `one_sided`: each
    bound alone holds in 95 % of cases.
    """
    if trials <= 0:
        return Interval(0.0, 0.0, 1.0)
    tail = 1 - CONFIDENCE if one_sided else _TAIL
    low = beta_quantile(tail, hits, trials - hits + 1) if hits > 0 else 0.0
    high = beta_quantile(1 - tail, hits + 1, trials - hits) if hits < trials else 1.0
    return Interval(hits / trials, low, high)


def difference_interval(first: Interval, second: Interval) -> Interval:
    """Return the interval of the difference of two shares from their intervals.

    Newcombe's hybrid method (Statistics in Medicine 17, 1998, method 10; as MOVER in Zou and Donner, 2008). It takes
    the shares as independent, so it is wide for shares that rise and fall together.
    """
    estimate = first.estimate - second.estimate
    low = estimate - math.hypot(first.estimate - first.low, second.high - second.estimate)
    high = estimate + math.hypot(first.high - first.estimate, second.estimate - second.low)
    return Interval(estimate, low, high)


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's test (1947) from the numbers of discordant pairs.

    Exact (binomial) up to 1,000 discordant pairs, else chi-square with Edwards' correction for continuity (1948).
    """
    discordant = first_only + second_only
    if discordant <= _EXACT_UP_TO:
        return binomial_half_two_sided(first_only, discordant)
    return chi_square_1_tail((abs(first_only - second_only) - 1) ** 2 / discordant)


@dataclass(slots=True)
class ShareTally:
    """Rows with a property, summed by job.

    Rows of one job are not independent, so the interval is the exact one at the effective sample size (Korn and
    Graubard, Survey Methodology 24, 1998): rows divided by the design effect, which is the linearized variance of the
    ratio between jobs over that of independent rows (Cochran, Sampling Techniques, 1977, section 2.11), at least 1.
    Where all rows or none have the property, rows of one job count as one (Kish's effect with full correlation).
    """

    jobs: int = 0
    rows: int = 0
    hits: int = 0
    rows_squared: int = 0
    hits_squared: int = 0
    hits_by_rows: int = 0

    def add(self, hits: int, rows: int) -> None:
        """Add a job."""
        if rows:
            self.jobs += 1
            self.rows += rows
            self.hits += hits
            self.rows_squared += rows * rows
            self.hits_squared += hits * hits
            self.hits_by_rows += hits * rows

    @property
    def design_effect(self) -> float:
        """The factor by which rows in jobs vary more than independent rows do."""
        if self.rows == self.jobs:
            return 1.0
        most = self.rows_squared / self.rows
        share = self.hits / self.rows
        if self.hits in (0, self.rows) or self.jobs < 2:
            return most
        spread = self.hits_squared - 2 * share * self.hits_by_rows + share * share * self.rows_squared
        between = spread * self.jobs / (self.jobs - 1) / self.rows**2
        return max(1.0, between * self.rows / (share * (1 - share)))

    def interval(self, *, one_sided: bool = False) -> Interval:
        """Return the share of rows with the property, with its interval."""
        if not self.rows:
            return Interval(0.0, 0.0, 1.0)
        effect = self.design_effect
        return share_interval(self.hits / effect, self.rows / effect, one_sided=one_sided)

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return asdict(self)

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        return cls(**state)


@dataclass(slots=True)
class MeanTally:
    """A weighted mean of a value of rows, summed by job.

    The interval is that of a ratio of sums of jobs: linearized variance (Cochran, 1977, section 2.11) and Student's t
    with one degree of freedom less than there are jobs.
    """

    jobs: int = 0
    weight: float = 0.0
    total: float = 0.0
    weight_squared: float = 0.0
    total_squared: float = 0.0
    total_by_weight: float = 0.0

    def add(self, total: float, weight: float) -> None:
        """Add a job: the weighted sum of its values, and the sum of the weights."""
        if weight > 0:
            self.jobs += 1
            self.weight += weight
            self.total += total
            self.weight_squared += weight * weight
            self.total_squared += total * total
            self.total_by_weight += total * weight

    @property
    def mean(self) -> float:
        """The weighted mean; 0 without a job."""
        return self.total / self.weight if self.weight else 0.0

    def interval(self) -> Interval | None:
        """Return the mean with its interval; None with fewer than two jobs."""
        if self.jobs < 2:
            return None
        mean = self.mean
        spread = self.total_squared - 2 * mean * self.total_by_weight + mean * mean * self.weight_squared
        error = math.sqrt(max(0.0, spread) * self.jobs / (self.jobs - 1)) / self.weight
        width = t_quantile(1 - _TAIL, self.jobs - 1) * error
        return Interval(mean, mean - width, mean + width)

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return asdict(self)

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        return cls(**state)
