"""How many rows a batch may have: what is set, or as many as a latency target allows; see docs/batching.md.

Knows nothing of jobs, hosts or clocks.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

from registry.serving_settings import LARGEST_BATCH, ServingSettings
from workers.engine.batch_times import BatchTimes

#: The share of batches whose prediction is to be within the budget.
_SHARE = 0.95
#: The limit grows to at most so many times what was tried, and is cut to at least this share of itself.
_GROWTH, _CUT = 2.0, 0.5
_ROUNDING = 1e-6
_LEAST_AT_HAND = 16
#: Where the target is out of reach, every so many batches one is of one row, to see whether it still is.
_PROBE_EVERY = 32
#: Batches that are in time and far from the limit say little; only every so many is the limit computed then.
_LOOK_EVERY = 8
#: So many batches of the largest size that hosts have survived, and a larger one is tried again; doubled each time.
_FIRST_TRUCE, _LONGEST_TRUCE = 100, 3_200


class Measured(NamedTuple):
    """Batches: their rows, the time from claim to answer, and how much of that the model took."""

    rows: int
    batch_ms: float
    predict_ms: float


class BatchSize:
    """The batch size of one model version on one worker; all its hosts share it."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self._predictions = BatchTimes(_SHARE)
        # The engine's part varies with all else that the worker does; smaller batches don't help against that.
        self._batches = BatchTimes(0.5)
        self._limit = 1.0
        self._count = 0
        #: More rows than this a host has not survived.
        self._ceiling = LARGEST_BATCH
        self._truce = self._truce_left = _FIRST_TRUCE

    @property
    def rows(self) -> int:
        """The most rows that jobs may have together to share a batch."""
        size = self.settings.max_batch_size
        return size if size != "auto" else int(min(self._limit + _ROUNDING, self._ceiling))

    @property
    def rows_at_hand(self) -> int:
        """How many rows are worth having at hand for a batch.

        With `auto` in steps, since RabbitMQ has to be told of each change, and never so few that sizes can't grow.
        """
        if self.settings.max_batch_size != "auto":
            return self.rows
        return max(_LEAST_AT_HAND, 1 << (self.rows - 1).bit_length())

    @property
    def rows_at_once(self) -> int:
        """The most rows that a model gets in one call, also of a single job with more of them."""
        size = self.settings.max_batch_size
        return size if size != "auto" else self._ceiling

    @property
    def target_ms(self) -> float:
        """How long a batch may take in all; well below the time at which it costs a host."""
        return min(self.settings.latency_target_ms, self._safe_ms)

    @property
    def budget_ms(self) -> float:
        """How long the model may take for a batch so that its jobs meet the target.

        A job that comes when all hosts are busy waits for the next one, which is one batch shared by all hosts at
        worst, and then takes a batch itself.
        """
        return self.target_ms * self.settings.hosts / (self.settings.hosts + 1)

    @property
    def _safe_ms(self) -> float:
        return self.settings.timeout_s * 1000 / 2

    def measured(self, rows: int, batch_ms: float, predict_ms: float) -> None:
        """Learn from a batch that has been predicted."""
        if rows > self.rows_at_once and self.settings.max_batch_size == "auto":
            return  # a job that took several calls says nothing of one
        self._batches.add(rows, batch_ms)
        self._predictions.add(rows, predict_ms)
        if self.settings.max_batch_size == "auto":
            self._test_ceiling(rows)
            self._count += 1
            in_time = predict_ms <= self.budget_ms and batch_ms <= self.target_ms
            if not in_time or 2 * rows > self._limit or not self._count % _LOOK_EVERY:
                self._adapt()

    def lost(self, rows: int) -> None:
        """Learn that a host died or had to be killed over so many rows; what one row does says nothing of sizes."""
        if rows > 1:
            self._ceiling = max(1, min(self._ceiling, rows) // 2)
            self._truce_left = self._truce
            self._truce = min(_LONGEST_TRUCE, self._truce * 2)

    def p95(self) -> Measured | None:
        """The median of rows, and the times below which 95 % of the last batches stayed; None before the first."""
        rows = self._predictions.rows
        if not rows:
            return None
        median = statistics.median_low(rows)
        return Measured(median, self._batches.quantile_ms(0.95), self._predictions.quantile_ms(0.95))

    def _adapt(self) -> None:
        best = min(
            self._predictions.largest(self.budget_ms, self._safe_ms, self._limit),
            self._batches.largest(self.target_ms, self._safe_ms, self._limit),
        )
        highest = max(self._limit, _GROWTH * max(self._predictions.rows))
        self._limit = max(1.0, min(max(best, self._limit * _CUT), highest, LARGEST_BATCH))
        if not self._count % _PROBE_EVERY and (self._predictions.out_of_reach or self._batches.out_of_reach):
            self._limit = 1.0

    def _test_ceiling(self, rows: int) -> None:
        if self._ceiling < LARGEST_BATCH and rows >= self._ceiling:
            self._truce_left -= 1
            if not self._truce_left:
                self._ceiling, self._truce_left = min(LARGEST_BATCH, self._ceiling * 2), self._truce
