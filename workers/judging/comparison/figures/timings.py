"""Predict times, compared where both versions had batches of equal size."""

from __future__ import annotations

import msgspec

from workers.judging.comparison.figures.samples import Sample, quantile
from workers.judging.comparison.pairs import Answer

_MOST_TIMES = 500
_MOST_SIZES = 64
#: Batch sizes with fewer jobs of either version aren't compared.
_FEWEST_JOBS = 5


class BatchTimes(msgspec.Struct, frozen=True):
    """Median times of batches of one size, in ms."""

    batch_size: int
    jobs: int
    stable_ms: float
    candidate_ms: float


class TimingReport(msgspec.Struct, frozen=True):
    """Predict times by batch size."""

    by_batch_size: list[BatchTimes]
    #: Candidate over stable: the mean of the ratios, each with the number of its jobs; None if no sizes are equal.
    ratio: float | None


class Timings(msgspec.Struct):
    """Samples of predict times (ms) by batch size."""

    stable: dict[str, Sample[float]] = {}
    candidate: dict[str, Sample[float]] = {}

    def add(self, stable: Answer, candidate: Answer) -> None:
        """Count the answers that have a time."""
        _count(self.stable, stable)
        _count(self.candidate, candidate)

    def report(self) -> TimingReport:
        """Return the medians."""
        sizes = sorted(int(size) for size in self.stable.keys() & self.candidate.keys())
        found = [times for size in sizes if (times := self._times(size)) is not None]
        jobs = sum(each.jobs for each in found)
        ratio = (
            sum(each.jobs * each.candidate_ms / max(each.stable_ms, 1e-9) for each in found) / jobs if jobs else None
        )
        return TimingReport(found, ratio)

    def _times(self, size: int) -> BatchTimes | None:
        stable, candidate = self.stable[str(size)], self.candidate[str(size)]
        jobs = min(stable.seen, candidate.seen)
        if jobs < _FEWEST_JOBS:
            return None
        return BatchTimes(size, jobs, quantile(sorted(stable.items), 0.5), quantile(sorted(candidate.items), 0.5))


def _count(times: dict[str, Sample[float]], answer: Answer) -> None:
    if answer.predict_ms is None or answer.batch_size is None:
        return
    size = str(answer.batch_size)
    if size in times or len(times) < _MOST_SIZES:
        times.setdefault(size, Sample(_MOST_TIMES)).add(answer.predict_ms)
