"""Probabilities of one field: how they change, how many rows cross the threshold, and how they fit the truths."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from workers.judging.comparison.document import Calibration, CalibrationBin, Probabilities
from workers.judging.comparison.leaves import Leaf, LeafKind, winner

_BINS = 10


@dataclass(slots=True)
class ProbabilityTally:
    """Sums of pairs of probabilities."""

    rows: int = 0
    #: Rows with probabilities of three classes or more.
    many_classes: int = 0
    #: Rows with probabilities of all classes.
    vectors: int = 0
    stable_sum: float = 0.0
    candidate_sum: float = 0.0
    absolute_sum: float = 0.0
    crossed_up: int = 0
    crossed_down: int = 0
    winner_changed: int = 0

    def add(self, leaf: Leaf, threshold: float) -> None:
        """Add a row."""
        stable, candidate = probability_of(leaf.stable), probability_of(leaf.candidate)
        self.rows += 1
        self.stable_sum += stable
        self.candidate_sum += candidate
        self.absolute_sum += abs(candidate - stable)
        self.crossed_up += stable <= threshold < candidate
        self.crossed_down += candidate <= threshold < stable
        if leaf.kind is LeafKind.PROBABILITIES:
            self.vectors += 1
            self.many_classes += len(leaf.stable) > 2
            self.winner_changed += winner(leaf.stable) != winner(leaf.candidate)

    def report(self, threshold: float) -> Probabilities | None:
        """Return the part of the report; None without a row."""
        if not self.rows:
            return None
        return Probabilities(
            rows=self.rows,
            of="winner" if self.many_classes else "positive",
            threshold=threshold,
            stable_mean=self.stable_sum / self.rows,
            candidate_mean=self.candidate_sum / self.rows,
            mean_absolute_difference=self.absolute_sum / self.rows,
            crossed_up=self.crossed_up,
            crossed_down=self.crossed_down,
            winner_changed=self.winner_changed if self.vectors else None,
        )

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return asdict(self)

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        return cls(**state)


@dataclass(slots=True)
class CalibrationTally:
    """Probabilities and truths of one version in ten bins of equal width (Guo et al., ICML 2017)."""

    rows: list[int] = field(default_factory=lambda: [0] * _BINS)
    probability_sums: list[float] = field(default_factory=lambda: [0.0] * _BINS)
    true_rows: list[int] = field(default_factory=lambda: [0] * _BINS)
    squared_sum: float = 0.0

    def add(self, probability: float, *, is_true: bool) -> None:
        """Add a row: the probability of something, and whether it is so."""
        place = min(_BINS - 1, int(probability * _BINS))
        self.rows[place] += 1
        self.probability_sums[place] += probability
        self.true_rows[place] += is_true
        self.squared_sum += (probability - is_true) ** 2

    def report(self) -> Calibration | None:
        """Return the part of the report; None without a row."""
        total = sum(self.rows)
        if not total:
            return None
        bins = [
            CalibrationBin(rows=rows, mean_probability=probability / rows, share_true=true / rows)
            for rows, probability, true in zip(self.rows, self.probability_sums, self.true_rows, strict=True)
            if rows
        ]
        error = sum(each.rows * abs(each.mean_probability - each.share_true) for each in bins) / total
        return Calibration(rows=total, expected_error=error, brier=self.squared_sum / total, bins=bins)

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return asdict(self)

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        return cls(**state)


def probability_of(value: Any) -> float:
    """Return the number itself, that of the second of two classes, or that of the most probable of more."""
    if isinstance(value, (int, float)):
        return float(value)
    values = [value[key] for key in sorted(value)] if isinstance(value, dict) else list(value)
    return float(values[1] if len(values) == 2 else max(values))
