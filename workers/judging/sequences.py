"""Confidence sequences: intervals that hold at every look at once, however often and for whatever reason one looks.

A 95 % interval of the textbook is wrong in 5 % of looks; who looks each second until it excludes something is wrong
in the end. With probability 1 - alpha, a confidence sequence contains the truth at *all* looks, so that a decision may
be made at any of them.

- `share_interval`: beta-binomial mixture (H. Robbins, "Statistical methods related to the law of the iterated
  logarithm", 1970; S. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
  confidence sequences", Annals of Statistics 49, 2021). If the share is p, the likelihood ratio of a mixture over all
  shares (with Jeffreys' prior, Beta(1/2, 1/2)) to p is a martingale that starts at 1. By Ville's inequality it ever
  reaches 1/alpha with probability at most alpha; the sequence has the shares for which it has not.
- `quantile_interval`: at most a share q of independent values lies below the quantile q, so that its ranks are bounded
  by the same mixture (S. Howard and A. Ramdas, "Sequential estimation of quantiles with applications to A/B testing
  and best-arm identification", Bernoulli 28, 2022, theorem 1).
- `difference_interval`: a sequence for each share at half of alpha, by the union bound.
- `MeanSequence`: the predictable plug-in empirical Bernstein sequence for values of a known range (I. Waudby-Smith and
  A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86, 2024, theorem 2).

They suppose that values are independent, and that a share doesn't move. Pure Python.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Jeffreys' prior: narrow for shares near 0 and 1, which errors and disagreements are.
_PRIOR = 0.5
_LOG_PRIOR = 2 * math.lgamma(_PRIOR) - math.lgamma(2 * _PRIOR)
#: Halvings of the search for a bound: 2**-40 of an interval.
_HALVINGS = 40
#: The largest bet of the sequence for a mean.
_LARGEST_BET = 0.5


class Interval(NamedTuple):
    """Bounds of an unknown value."""

    low: float
    high: float

    def document(self) -> list[float]:
        """Return it as JSON."""
        return [round(self.low, 6), round(self.high, 6)]


def log_evidence(successes: int, trials: int, share: float) -> float:
    """Return the logarithm of the evidence against a share; above log(1/alpha) it is refuted at level alpha."""
    failures = trials - successes
    if (share <= 0 and successes) or (share >= 1 and failures):
        return math.inf
    mixture = math.lgamma(successes + _PRIOR) + math.lgamma(failures + _PRIOR) - math.lgamma(trials + 2 * _PRIOR)
    likelihood = (successes * math.log(share) if successes else 0.0) + (
        failures * math.log1p(-share) if failures else 0.0
    )
    return mixture - _LOG_PRIOR - likelihood


def share_interval(successes: int, trials: int, alpha: float) -> Interval:
    """Return the shares that are not refuted after so many successes in so many trials."""
    if not trials:
        return Interval(0.0, 1.0)
    observed = successes / trials
    return Interval(_bound(successes, trials, alpha, observed, 0.0), _bound(successes, trials, alpha, observed, 1.0))


def share_above(successes: int, trials: int, limit: float, alpha: float) -> bool:
    """Whether the share is larger than a limit: whether the limit is below `share_interval`."""
    if not trials or successes <= limit * trials:
        return False
    return log_evidence(successes, trials, limit) >= math.log(1 / alpha)


def difference_interval(first: tuple[int, int], second: tuple[int, int], alpha: float) -> Interval:
    """Return bounds of how much larger the share of `second` is than that of `first`: (successes, trials) of each."""
    one, other = share_interval(*first, alpha / 2), share_interval(*second, alpha / 2)
    return Interval(other.low - one.high, other.high - one.low)


def quantile_interval(counts: Mapping[int, int], q: float, alpha: float) -> tuple[int | None, int | None]:
    """Return the lowest and the highest bucket that can hold the quantile `q` of counted values.

    None is no bound: the values are too few.
    """
    total = sum(counts.values())
    low = high = None
    below = 0
    for number in sorted(counts):
        # If the quantile were below this bucket's values, a share q at least would lie below them.
        if low is None and not _refuted(below + counts[number], total, q, alpha, is_too_few=True):
            low = number
        below += counts[number]
        if _refuted(below, total, q, alpha, is_too_few=False):
            high = number
            break
    return (low if total else None), high


@dataclass(slots=True)
class MeanSequence:
    """A confidence sequence for the mean of values from 0 to 1; its state is a few numbers."""

    alpha: float = 0.05
    count: int = 0
    _sum: float = 0.0
    _squares: float = 0.0
    _bets: float = 0.0
    _weighted: float = 0.0
    _penalty: float = 0.0

    def add(self, value: float) -> None:
        """Count a value from 0 to 1. Raises ValueError for another one."""
        if not 0 <= value <= 1:
            raise ValueError(f"{value} is not from 0 to 1")
        mean = (0.5 + self._sum) / (self.count + 1)
        variance = (0.25 + self._squares) / (self.count + 1)
        number = self.count + 1
        bet = min(math.sqrt(2 * math.log(2 / self.alpha) / (variance * number * math.log(number + 1))), _LARGEST_BET)
        self._bets += bet
        self._weighted += bet * value
        self._penalty += (value - mean) ** 2 * (-math.log1p(-bet) - bet)
        self.count, self._sum = number, self._sum + value
        self._squares += (value - (0.5 + self._sum) / (number + 1)) ** 2

    def interval(self) -> Interval:
        """Return bounds of the mean."""
        if not self.count:
            return Interval(0.0, 1.0)
        middle = self._weighted / self._bets
        half = (math.log(2 / self.alpha) + self._penalty) / self._bets
        return Interval(max(0.0, middle - half), min(1.0, middle + half))

    def state(self) -> dict[str, Any]:
        """Return it as JSON, to go on after a restart."""
        return {name.lstrip("_"): getattr(self, name) for name in type(self).__slots__}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> MeanSequence:
        """Return the sequence of a state."""
        return cls(*(state[name.lstrip("_")] for name in cls.__slots__))


def _bound(successes: int, trials: int, alpha: float, observed: float, end: float) -> float:
    """Return the last share from the observed one towards an end that is not refuted."""
    threshold = math.log(1 / alpha)
    if log_evidence(successes, trials, end) < threshold:
        return end
    inside, outside = observed, end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if log_evidence(successes, trials, middle) < threshold:
            inside = middle
        else:
            outside = middle
    return outside


def _refuted(below: int, total: int, q: float, alpha: float, *, is_too_few: bool) -> bool:
    """Whether so few, or so many, of all values can't be those up to the quantile `q`."""
    is_few = below < q * total
    if below == q * total or is_few != is_too_few:
        return False
    return log_evidence(below, total, q) >= math.log(1 / alpha)
