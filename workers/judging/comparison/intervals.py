"""Intervals and tests for shares and means, without numpy: a background process has no use for it elsewhere."""

from __future__ import annotations

import math

import msgspec

#: Quantile of the standard normal distribution for a two-sided interval of 95 %.
Z_95 = 1.959963984540054
_ALPHA = 0.05


class Interval(msgspec.Struct, frozen=True):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class ClusteredShare(msgspec.Struct):
    """A share of rows, where the rows of one job belong together; sums of n, a, n², a·n and a² over the jobs."""

    jobs: int = 0
    rows: float = 0.0
    hits: float = 0.0
    rows_squared: float = 0.0
    hits_times_rows: float = 0.0
    hits_squared: float = 0.0

    def add(self, hits: int, rows: int) -> None:
        """Count a job with `rows` rows, of which `hits` are hits."""
        self.jobs += 1
        self.rows += rows
        self.hits += hits
        self.rows_squared += rows * rows
        self.hits_times_rows += hits * rows
        self.hits_squared += hits * hits

    def interval(self) -> Interval | None:
        """Return the share with its interval; None without rows.

        The interval is Clopper and Pearson's (Biometrika 26, 1934), which covers the true share in 95 % of cases or
        more, for the effective number of rows: rows divided by the design effect of the clusters, that is the variance
        of the ratio estimator (Cochran, Sampling Techniques, 1977, 6.3) over that of independent rows. It is never
        below 1, so that no interval is narrower than for independent rows.
        """
        if not self.rows:
            return None
        share = self.hits / self.rows
        rows = self.rows / max(1.0, self._design_effect(share))
        return clopper_pearson(share * rows, rows)

    def _design_effect(self, share: float) -> float:
        if self.jobs < 2 or self.rows == self.jobs:
            return 1.0
        if not 0 < share < 1:
            # Nothing varies. The mean cluster, weighted by rows, is as if its rows were all alike.
            return self.rows_squared / self.rows
        squares = self.hits_squared - 2 * share * self.hits_times_rows + share * share * self.rows_squared
        of_clusters = self.jobs / (self.jobs - 1) * max(0.0, squares) / self.rows**2
        return of_clusters / (share * (1 - share) / self.rows)


def clopper_pearson(hits: float, rows: float) -> Interval:
    """Return the exact interval of a share; `hits` and `rows` may be effective numbers with a fraction."""
    low = 0.0 if hits <= 0 else beta_quantile(_ALPHA / 2, hits, rows - hits + 1)
    high = 1.0 if hits >= rows else beta_quantile(1 - _ALPHA / 2, hits + 1, rows - hits)
    return Interval(hits / rows, low, high)


def difference_of_shares(one: Interval, other: Interval) -> Interval:
    """Return `one - other` for independent shares, by Newcombe's method (Statistics in Medicine 17, 1998, method 10).

    It joins their own intervals, so it holds for shares near 0 as well.
    """
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, max(-1.0, value - below), min(1.0, value + above))


def mcnemar(only_stable: float, only_candidate: float) -> float:
    """Return the two-sided p-value of McNemar's exact test (Psychometrika 12, 1947): a binomial test of one half."""
    fewer, both = min(only_stable, only_candidate), only_stable + only_candidate
    if both == 0 or only_stable == only_candidate:
        return 1.0
    # P(X <= k) of a binomial distribution with one half is I(n - k, k + 1) at one half.
    return min(1.0, 2 * regularized_beta(0.5, both - fewer, fewer + 1))


class WeightedMean(msgspec.Struct):
    """A weighted mean of differences, with its interval by the normal approximation."""

    weight: float = 0.0
    total: float = 0.0
    weight_squared: float = 0.0
    weighted_squares: float = 0.0
    twice_weighted: float = 0.0
    twice_weighted_squares: float = 0.0
    count: int = 0

    def add(self, value: float, weight: float = 1.0) -> None:
        """Count a value."""
        self.count += 1
        self.weight += weight
        self.total += weight * value
        self.weight_squared += weight * weight
        self.weighted_squares += weight * value * value
        self.twice_weighted += weight * weight * value
        self.twice_weighted_squares += weight * weight * value * value

    @property
    def mean(self) -> float | None:
        """The mean; None without values."""
        return self.total / self.weight if self.weight else None

    def interval(self) -> Interval | None:
        """Return the mean with its interval; None for fewer than two values.

        The variance is that of a ratio with weights (Cochran, 1977, 6.3): sum of `w² (x - mean)²` over `(sum of w)²`.
        """
        mean = self.mean
        if mean is None or self.count < 2:
            return None
        squares = self.twice_weighted_squares - 2 * mean * self.twice_weighted + mean * mean * self.weight_squared
        error = Z_95 * math.sqrt(max(0.0, squares) * self.count / (self.count - 1)) / self.weight
        return Interval(mean, mean - error, mean + error)


def beta_quantile(share: float, a: float, b: float) -> float:
    """Return where the beta distribution has this share below, by bisection to the last digits that matter."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if regularized_beta(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def regularized_beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function I_x(a, b).

    By its continued fraction (DLMF 8.17.22), which converges quickly where x is below the mean; above it by symmetry.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - math.exp(log_front) * _beta_fraction(1 - x, b, a) / b
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction by the modified method of Lentz."""
    tiny = 1e-300
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d, tiny)
            c = _nonzero(1.0 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def _nonzero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
