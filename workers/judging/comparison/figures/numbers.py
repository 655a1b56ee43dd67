"""How the numbers of a field differ."""

from __future__ import annotations

import math

import msgspec

from workers.judging.comparison.figures.samples import Sample, quantile

_SHARES = (0.5, 0.9, 0.95, 0.99, 1.0)
_MOST_PAIRS = 5_000
_BINS = 24


class Quantile(msgspec.Struct, frozen=True):
    """A share of rows (0.95: of a hundred rows, 95), and the value that they don't exceed."""

    share: float
    value: float


class Bin(msgspec.Struct, frozen=True):
    """Rows whose difference (candidate minus stable) is from `low` to `high`."""

    low: float
    high: float
    rows: int


class NumberReport(msgspec.Struct, frozen=True):
    """The numbers of a field: means, correlation, and how far both versions are apart."""

    rows: int
    stable_mean: float
    candidate_mean: float
    #: Pearson's; None if one of the versions always answers the same.
    correlation: float | None
    #: Of |candidate - stable|.
    absolute_difference: list[Quantile]
    #: Of |candidate - stable| / |stable|, for rows where stable isn't 0.
    relative_difference: list[Quantile]
    histogram: list[Bin]


class Numbers(msgspec.Struct):
    """Running moments (Welford's, as in Chan, Golub and LeVeque, 1983), and a sample of pairs for quantiles."""

    rows: int = 0
    stable_mean: float = 0.0
    candidate_mean: float = 0.0
    stable_squares: float = 0.0
    candidate_squares: float = 0.0
    products: float = 0.0
    pairs: Sample[tuple[float, float]] = msgspec.field(default_factory=lambda: Sample(_MOST_PAIRS))
    largest: float = 0.0

    def add(self, stable: float, candidate: float) -> None:
        """Count a row."""
        self.rows += 1
        of_stable, of_candidate = stable - self.stable_mean, candidate - self.candidate_mean
        self.stable_mean += of_stable / self.rows
        self.candidate_mean += of_candidate / self.rows
        self.stable_squares += of_stable * (stable - self.stable_mean)
        self.candidate_squares += of_candidate * (candidate - self.candidate_mean)
        self.products += of_stable * (candidate - self.candidate_mean)
        self.largest = max(self.largest, abs(candidate - stable))
        self.pairs.add((stable, candidate))

    def report(self) -> NumberReport:
        """Return the figures."""
        absolute = sorted(abs(candidate - stable) for stable, candidate in self.pairs.items)
        relative = sorted(abs(candidate - stable) / abs(stable) for stable, candidate in self.pairs.items if stable)
        quantiles = [Quantile(each, quantile(absolute, each)) for each in _SHARES[:-1]]
        return NumberReport(
            self.rows,
            self.stable_mean,
            self.candidate_mean,
            self._correlation(),
            [*quantiles, Quantile(1.0, self.largest)],
            [Quantile(each, quantile(relative, each)) for each in _SHARES] if relative else [],
            self._histogram(),
        )

    def _correlation(self) -> float | None:
        spread = math.sqrt(self.stable_squares * self.candidate_squares)
        # Of values that are all alike, rounding leaves a spread that means nothing.
        least = 1e-24 * self.rows * max(self.stable_mean**2, self.candidate_mean**2, 1e-300)
        if min(self.stable_squares, self.candidate_squares) <= least or spread == 0:
            return None
        return max(-1.0, min(1.0, self.products / spread))

    def _histogram(self) -> list[Bin]:
        differences = sorted(candidate - stable for stable, candidate in self.pairs.items)
        low, high = differences[0], differences[-1]
        if low == high:
            return [Bin(low, high, len(differences))]
        width, counts = (high - low) / _BINS, [0] * _BINS
        for each in differences:
            counts[min(_BINS - 1, int((each - low) / width))] += 1
        return [Bin(low + index * width, low + (index + 1) * width, rows) for index, rows in enumerate(counts)]
