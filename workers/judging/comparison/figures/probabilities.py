"""How the probabilities of a field differ, and how well they are calibrated where the truth is known."""

from __future__ import annotations

import msgspec

from workers.judging.comparison.fields import most_probable
from workers.judging.comparison.figures.numbers import Quantile
from workers.judging.comparison.figures.samples import Sample, quantile

_THRESHOLD = 0.5
_MOST_CLASSES = 50
_MOST_ROWS = 5_000
_BINS = 10


class Crossing(msgspec.Struct, frozen=True):
    """Rows whose probability of a class crosses one half."""

    label: str
    up: int
    down: int


class CalibrationBin(msgspec.Struct):
    """Rows whose highest probability is in one tenth: their mean probability, and the share that is right."""

    rows: int = 0
    probability: float = 0.0
    right: float = 0.0


class Calibration(msgspec.Struct, frozen=True):
    """Bins from 0 to 1, and the expected calibration error (Naeini, Cooper and Hauskrecht, 2015)."""

    bins: list[CalibrationBin]
    error: float


class ProbabilityReport(msgspec.Struct, frozen=True):
    """The probabilities of a field."""

    rows: int
    #: Quantiles over rows of the largest change of a class's probability.
    change: list[Quantile]
    crossings: list[Crossing]
    #: Where the truth is known.
    stable_calibration: Calibration | None
    candidate_calibration: Calibration | None


class Probabilities(msgspec.Struct):
    """Sums over the rows of a field."""

    rows: int = 0
    changes: Sample[float] = msgspec.field(default_factory=lambda: Sample(_MOST_ROWS))
    up: dict[str, int] = {}
    down: dict[str, int] = {}
    stable_bins: list[CalibrationBin] = []
    candidate_bins: list[CalibrationBin] = []

    def add(self, stable: dict[str, float], candidate: dict[str, float], truth: str | None = None) -> None:
        """Count a row."""
        self.rows += 1
        names = list(dict.fromkeys([*stable, *candidate]))[:_MOST_CLASSES]
        self.changes.add(max(abs(stable.get(name, 0.0) - candidate.get(name, 0.0)) for name in names))
        for name in names:
            before, after = stable.get(name, 0.0) >= _THRESHOLD, candidate.get(name, 0.0) >= _THRESHOLD
            if before != after:
                crossed = self.up if after else self.down
                crossed[name] = crossed.get(name, 0) + 1
        if truth is not None:
            _count(self.stable_bins, stable, truth)
            _count(self.candidate_bins, candidate, truth)

    def report(self) -> ProbabilityReport:
        """Return the figures."""
        ordered = sorted(self.changes.items)
        crossed = sorted(self.up.keys() | self.down.keys())
        return ProbabilityReport(
            self.rows,
            [Quantile(each, quantile(ordered, each)) for each in (0.5, 0.9, 0.95, 0.99, 1.0)],
            [Crossing(name, self.up.get(name, 0), self.down.get(name, 0)) for name in crossed],
            _calibration(self.stable_bins),
            _calibration(self.candidate_bins),
        )


def _count(bins: list[CalibrationBin], shares: dict[str, float], truth: str) -> None:
    if not bins:
        bins.extend(CalibrationBin() for _ in range(_BINS))
    label = most_probable(shares)
    found = bins[min(_BINS - 1, int(shares[label] * _BINS))]
    found.rows += 1
    found.probability += (shares[label] - found.probability) / found.rows
    found.right += ((label == truth) - found.right) / found.rows


def _calibration(bins: list[CalibrationBin]) -> Calibration | None:
    rows = sum(each.rows for each in bins)
    if not rows:
        return None
    return Calibration(bins, sum(each.rows * abs(each.probability - each.right) for each in bins) / rows)
