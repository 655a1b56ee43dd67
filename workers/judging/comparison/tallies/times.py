"""Predict times of both versions at equal batch sizes: buckets that are 5 % wide."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Self

from workers.judging.comparison.document import BatchTimes, PredictTimes, Times
from workers.judging.comparison.pairs import Answer, Pair

_GROWTH = math.log(1.05)
_LEAST_MS = 0.001
#: Jobs of each version that a batch size needs to be compared.
_MIN_JOBS = 5
_MAX_SIZES = 64


class TimeTally:
    """Counts the jobs of each version by batch size and predict time."""

    def __init__(self) -> None:
        self._buckets: dict[str, dict[int, Counter[int]]] = {"stable": {}, "candidate": {}}

    def add(self, pair: Pair) -> None:
        """Add the answers to one job."""
        for name, answer in (("stable", pair.stable), ("candidate", pair.candidate)):
            self._add(self._buckets[name], answer)

    def report(self) -> PredictTimes:
        """Return the part of the report."""
        stable, candidate = self._buckets["stable"], self._buckets["candidate"]
        found = [_compared(size, stable[size], candidate[size]) for size in sorted(set(stable) & set(candidate))]
        shown = [each for each in found if min(each.stable.jobs, each.candidate.jobs) >= _MIN_JOBS]
        measured = sum(sizes.total() for buckets in (stable, candidate) for sizes in buckets.values())
        jobs = sum(each.stable.jobs + each.candidate.jobs for each in shown)
        weights = [min(each.stable.jobs, each.candidate.jobs) for each in shown]
        logs = [weight * math.log(each.ratio) for weight, each in zip(weights, shown, strict=True)]
        return PredictTimes(
            by_batch_size=shown,
            ratio=math.exp(sum(logs) / sum(weights)) if shown else None,
            comparable_share=jobs / measured if measured else 0.0,
            note=_note(jobs, measured),
        )

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {
            name: [[size, list(buckets.items())] for size, buckets in sizes.items()]
            for name, sizes in self._buckets.items()
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        tally = cls()
        tally._buckets = {
            name: {size: Counter(dict(buckets)) for size, buckets in sizes} for name, sizes in state.items()
        }
        return tally

    @staticmethod
    def _add(sizes: dict[int, Counter[int]], answer: Answer) -> None:
        if answer.predict_ms is None or answer.batch_size is None or answer.predictions is None:
            return
        if answer.batch_size in sizes or len(sizes) < _MAX_SIZES:
            bucket = round(math.log(max(_LEAST_MS, answer.predict_ms)) / _GROWTH)
            sizes.setdefault(answer.batch_size, Counter())[bucket] += 1


def _compared(size: int, stable: Counter[int], candidate: Counter[int]) -> BatchTimes:
    first, second = _times(stable), _times(candidate)
    return BatchTimes(batch_size=size, stable=first, candidate=second, ratio=second.median_ms / first.median_ms)


def _times(buckets: Counter[int]) -> Times:
    return Times(jobs=buckets.total(), median_ms=_quantile(buckets, 0.5), p95_ms=_quantile(buckets, 0.95))


def _quantile(buckets: Counter[int], share: float) -> float:
    left = share * buckets.total()
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            break
    return math.exp(bucket * _GROWTH)


def _note(jobs: int, measured: int) -> str:
    if not measured:
        return "No predict time is known."
    if not jobs:
        return "The versions ran at different batch sizes, so their predict times aren't comparable."
    return f"Jobs at equal batch sizes: {jobs} of {measured} measured ones. Figures are at most 2.5 % off."
