"""Distributions that intervals and tests need: normal, binomial, beta, chi-square and t; imports no numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

_TINY = 1e-300
_MAX_TERMS = 500
_PRECISION = 1e-14
_HALVINGS = 60


def normal_quantile(probability: float) -> float:
    """Return the quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function.

    The continued fraction is evaluated by Lentz's method: Press et al., Numerical Recipes, 3rd edition, section 6.4.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the quantile of the beta distribution, by bisection."""
    return _bisect(lambda x: beta_cdf(x, a, b), probability, 0.0, 1.0)


def t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t distribution."""
    if probability == 0.5:
        return 0.0
    tail = 2 * min(probability, 1 - probability)
    x = beta_quantile(tail, degrees / 2, 0.5)
    size = math.sqrt(degrees * (1 - x) / x) if x > 0 else math.inf
    return size if probability > 0.5 else -size


def chi_square_1_tail(statistic: float) -> float:
    """Return the probability of a larger value of chi-square with one degree of freedom."""
    return math.erfc(math.sqrt(max(0.0, statistic) / 2))


def binomial_half_two_sided(successes: int, trials: int) -> float:
    """Return the two-sided p-value of a sign test: the exact binomial test with probability 1/2."""
    if trials == 0:
        return 1.0
    fewer = min(successes, trials - successes)
    tail = sum(math.comb(trials, each) for each in range(fewer + 1))
    return min(1.0, float(2 * tail / 2**trials))


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away_from_0(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MAX_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_0(1 + term * d)
            c = _away_from_0(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _away_from_0(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _bisect(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
