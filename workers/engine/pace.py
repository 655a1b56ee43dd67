"""Measuring how fast the hosts of one version on one worker are: the time of a batch, by the jobs in it.

What is measured is the time from one batch to the next while jobs wait, so the engine's own work is in it, and so is
whatever else keeps the machine busy.
"""

from __future__ import annotations

import math
import time

from workers.engine.batch_size import BatchSize
from workers.engine.batch_times import BatchTimes
from workers.reports import PaceReport

#: What was measured counts less the older it is: by a factor of e for each so many seconds of batches since, but for
#: each batch by no more than this. Shorter times follow each hiccup of a busy machine.
_MEMORY_S = 5.0
_MOST_DECAY = 0.8
#: How often it is looked whether the pace has changed so much that others should know before the next report.
_LOOK_S = 0.5
_MUCH = 1.25


class PaceMeter:
    """Measures the batches of all hosts of one version."""

    def __init__(self, size: BatchSize) -> None:
        self._size = size
        self._times = BatchTimes(0.5)
        #: Sums over batches, those of earlier ones decayed.
        self._batches = self._rows = self._jobs = self._took_ms = 0.0
        self._example_ms: float | None = None
        self._reported: PaceReport | None = None
        self._looked_at = 0.0

    def example(self, took_ms: float | None) -> None:
        """A host has predicted the input example while it loaded: this counts until there are batches."""
        self._example_ms = took_ms

    def ended(self, jobs: int, rows: int, took_s: float) -> None:
        """A batch has been run."""
        if not rows:
            return  # jobs that could not be read
        self._times.add(rows, took_s * 1000)
        decay = max(_MOST_DECAY, math.exp(-took_s / _MEMORY_S))
        self._batches = self._batches * decay + 1
        self._rows = self._rows * decay + rows
        self._jobs = self._jobs * decay + jobs
        self._took_ms = self._took_ms * decay + took_s * 1000

    def has_changed(self) -> bool:
        """Tell whether the pace is another than was reported; asked too often, it says no."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_S:
            return False
        self._looked_at = now
        before, pace = self._reported, self._now(1)
        return pace is not None and (before is None or _differ(before, pace))

    def report(self, hosts: int) -> PaceReport | None:
        """Return the pace of so many hosts; None if nothing is known."""
        self._reported = self._now(hosts)
        return self._reported

    def _now(self, hosts: int) -> PaceReport | None:
        rows_of_job = max(1.0, self._rows / self._jobs) if self._jobs else 1.0
        if self._times.rows:
            fixed_rows, known_rows = self._times.fixed_rows()
            row_ms = self._took_ms / (self._batches * fixed_rows + self._rows)
            fixed_ms = row_ms * fixed_rows
        elif self._example_ms is not None:
            fixed_ms, row_ms, known_rows = self._example_ms, 0.0, self._times.believable(1)
        else:
            return None
        return {
            "hosts": hosts,
            "batch_jobs": round(max(1.0, self._size.rows / rows_of_job), 3),
            "fixed_ms": round(fixed_ms, 3),
            "job_ms": round(row_ms * rows_of_job, 6),
            "known_jobs": round(max(1.0, known_rows / rows_of_job), 3),
        }


def _differ(before: PaceReport, pace: PaceReport) -> bool:
    """Tell whether small or full batches take another time, or are known at last."""
    if before["known_jobs"] < min(pace["known_jobs"] / _MUCH, pace["batch_jobs"]):
        return True
    ratios = [_batch_ms(pace, jobs) / max(_batch_ms(before, jobs), 1e-3) for jobs in (1.0, pace["batch_jobs"])]
    return not all(1 / _MUCH < ratio < _MUCH for ratio in ratios)


def _batch_ms(pace: PaceReport, jobs: float) -> float:
    return pace["fixed_ms"] + pace["job_ms"] * jobs
