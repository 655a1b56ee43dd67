"""Measures the pace of the hosts of one version on one worker: the time of a batch by its jobs.

It measures the time from one batch to the next while jobs wait, which includes the engine's own work and any other load
of the machine.
"""

from __future__ import annotations

import math
import time

from workers.engine.batching.batch_size import BatchSize
from workers.engine.batching.latency_model import LatencyModel
from workers.measures.reports import PaceReport

#: Older measurements decay: by a factor of e for each so many seconds of batches, but no faster than this for each
#: batch. A shorter memory would follow every fluctuation of a busy machine.
_MEMORY_S = 5.0
_MOST_DECAY = 0.8
#: Interval of the checks for a significant change, which is reported at once.
_CHECK_S = 0.5
#: A change of a batch's time by this factor is significant.
_SIGNIFICANT_RATIO = 1.25


class PaceMeter:
    """Measures the batches of all hosts of one version."""

    def __init__(self, size: BatchSize) -> None:
        self._size = size
        self._times = LatencyModel(0.5)
        #: Sums over batches, those of earlier ones decayed.
        self._batches = self._rows = self._jobs = self._took_ms = 0.0
        #: All that have ended, which decay not.
        self.rows_ended = self.batches_ended = 0
        self._example_ms: float | None = None
        self._reported: PaceReport | None = None
        self._checked_at = 0.0

    def example(self, took_ms: float | None) -> None:
        """Record the time of the input example, which counts until there are batches."""
        self._example_ms = took_ms

    def ended(self, jobs: int, rows: int, took_s: float) -> None:
        """Record a batch."""
        if not rows:
            return  # unreadable jobs
        self.rows_ended += rows
        self.batches_ended += 1
        self._times.add(rows, took_s * 1000)
        decay = max(_MOST_DECAY, math.exp(-took_s / _MEMORY_S))
        self._batches = self._batches * decay + 1
        self._rows = self._rows * decay + rows
        self._jobs = self._jobs * decay + jobs
        self._took_ms = self._took_ms * decay + took_s * 1000

    def has_changed(self) -> bool:
        """Whether the pace differs significantly from the reported one; checked at most once in an interval."""
        now = time.monotonic()
        if now - self._checked_at < _CHECK_S:
            return False
        self._checked_at = now
        previous, pace = self._reported, self._pace_of(1)
        return pace is not None and (previous is None or _differ(previous, pace))

    def report(self, hosts: int) -> PaceReport | None:
        """Return the pace of so many hosts; None if it is unknown."""
        self._reported = self._pace_of(hosts)
        return self._reported

    def _pace_of(self, hosts: int) -> PaceReport | None:
        rows_of_job = max(1.0, self._rows / self._jobs) if self._jobs else 1.0
        if self._times.rows:
            fixed_rows, known_rows = self._times.fixed_rows()
            row_ms = self._took_ms / (self._batches * fixed_rows + self._rows)
            fixed_ms = row_ms * fixed_rows
        elif self._example_ms is not None:
            fixed_ms, row_ms, known_rows = self._example_ms, 0.0, self._times.extrapolation_limit(1)
        else:
            return None
        return {
            "hosts": hosts,
            "batch_jobs": round(max(1.0, self._size.rows / rows_of_job), 3),
            "fixed_ms": round(fixed_ms, 3),
            "job_ms": round(row_ms * rows_of_job, 6),
            "known_jobs": round(max(1.0, known_rows / rows_of_job), 3),
        }


def _differ(previous: PaceReport, pace: PaceReport) -> bool:
    """Whether the time of small or full batches has changed, or has become known."""
    if previous["known_jobs"] < min(pace["known_jobs"] / _SIGNIFICANT_RATIO, pace["batch_jobs"]):
        return True
    ratios = [_batch_ms(pace, jobs) / max(_batch_ms(previous, jobs), 1e-3) for jobs in (1.0, pace["batch_jobs"])]
    return not all(1 / _SIGNIFICANT_RATIO < ratio < _SIGNIFICANT_RATIO for ratio in ratios)


def _batch_ms(pace: PaceReport, jobs: float) -> float:
    return pace["fixed_ms"] + pace["job_ms"] * jobs
