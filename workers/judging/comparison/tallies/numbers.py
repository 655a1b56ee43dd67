"""Numbers of one field: means, correlation, and the distribution of their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from workers.judging.comparison.document import Numbers
from workers.judging.comparison.leaves import relative_difference
from workers.judging.comparison.statistics.sampling import histogram, quantiles


@dataclass(slots=True)
class NumberTally:
    """Sums of pairs of numbers.

    Means and moments are updated with each pair (Welford, Technometrics 4, 1962), which is exact for large numbers
    with small differences.
    """

    values: int = 0
    stable_mean: float = 0.0
    candidate_mean: float = 0.0
    stable_moment: float = 0.0
    candidate_moment: float = 0.0
    common_moment: float = 0.0
    absolute_sum: float = 0.0

    def add(self, stable: float, candidate: float) -> None:
        """Add a pair."""
        self.values += 1
        from_stable, from_candidate = stable - self.stable_mean, candidate - self.candidate_mean
        self.stable_mean += from_stable / self.values
        self.candidate_mean += from_candidate / self.values
        self.stable_moment += from_stable * (stable - self.stable_mean)
        self.candidate_moment += from_candidate * (candidate - self.candidate_mean)
        self.common_moment += from_stable * (candidate - self.candidate_mean)
        self.absolute_sum += abs(candidate - stable)

    @property
    def correlation(self) -> float | None:
        """Pearson's correlation; None if one version always answers the same."""
        spread = math.sqrt(self.stable_moment) * math.sqrt(self.candidate_moment)
        return max(-1.0, min(1.0, self.common_moment / spread)) if spread > 0 else None

    def report(self, sampled: Sequence[tuple[float, float]]) -> Numbers | None:
        """Return the part of the report; `sampled` are pairs of the field. None without a value."""
        if not self.values:
            return None
        return Numbers(
            values=self.values,
            stable_mean=self.stable_mean,
            candidate_mean=self.candidate_mean,
            mean_difference=self.candidate_mean - self.stable_mean,
            mean_absolute_difference=self.absolute_sum / self.values,
            correlation=self.correlation,
            absolute=quantiles([abs(second - first) for first, second in sampled]),
            relative=quantiles([relative_difference(first, second) for first, second in sampled]),
            histogram=histogram([second - first for first, second in sampled]),
        )

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return asdict(self)

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        return cls(**state)
