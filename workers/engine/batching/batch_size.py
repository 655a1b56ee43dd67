"""The batch size: the configured one, or the largest that meets a latency target; see docs/explanation/batching.md.

Knows nothing of jobs, hosts or clocks.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

from registry.serving.settings import DEFAULT_BATCH, LARGEST_BATCH, ServingSettings
from workers.engine.batching.latency_model import LatencyModel

#: The share of batches whose prediction must be within the budget.
_SHARE_IN_TIME = 0.95
#: The limit grows to at most this multiple of the tried sizes, and shrinks to at least this share of itself.
_GROWTH, _CUT = 2.0, 0.5
_ROUNDING = 1e-6
_MIN_FETCHED_ROWS = 16
#: If the target is out of reach, one of so many batches has a single row, to check whether it still is.
_PROBE_EVERY = 32
#: Batches that are in time and far below the limit carry little information: only one of so many updates the limit.
_ADAPT_EVERY = 8
#: After so many batches of the largest size that hosts survive, a larger size is tried again; doubled after each loss.
_RETRY_LARGER_AFTER, _LONGEST_RETRY_LARGER_AFTER = 100, 3_200


class Measured(NamedTuple):
    """The rows of batches, the time from claim to answer, and the model's part of it."""

    rows: int
    batch_ms: float
    predict_ms: float


class BatchSize:
    """The batch size of one model version on one worker, shared by all its hosts."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self._predictions = LatencyModel(_SHARE_IN_TIME)
        # The engine's part varies with the worker's load, which smaller batches don't improve.
        self._batches = LatencyModel(0.5)
        self._limit = 1.0
        self._count = 0
        #: A host was lost with more rows than this.
        self._ceiling = LARGEST_BATCH
        self._retry_larger_after = self._batches_until_larger = _RETRY_LARGER_AFTER

    @property
    def rows(self) -> int:
        """The most rows of jobs that share a batch."""
        size = self.settings.batch_rows
        return size if size != "auto" else int(min(self._limit + _ROUNDING, self._ceiling))

    @property
    def rows_at_hand(self) -> int:
        """The number of rows to fetch in advance for a batch.

        With `auto` it changes in steps, since each change is sent to RabbitMQ, and leaves room for sizes to grow.
        """
        if self.settings.max_batch_size != "auto":
            return self.rows
        return max(_MIN_FETCHED_ROWS, 1 << (self.rows - 1).bit_length())

    @property
    def rows_at_once(self) -> int:
        """The most rows of one call of the model, also for a single job with more rows.

        A fixed size may be the most that the model can take. Otherwise only lost hosts bound a job's own rows.
        """
        size = self.settings.max_batch_size
        if size is None:
            return max(DEFAULT_BATCH, self._ceiling)
        return size if size != "auto" else self._ceiling

    @property
    def rows_after_loss(self) -> int:
        """The most rows of one call for a job that has lost its host or worker, perhaps by a call too large."""
        return min(DEFAULT_BATCH, self.rows_at_once)

    @property
    def target_ms(self) -> float:
        """The time limit of a batch as a whole, well below the time limit of predictions."""
        return min(self.settings.latency_target_ms, self._safe_ms)

    @property
    def budget_ms(self) -> float:
        """The model's time limit for a batch, so that its jobs meet the target.

        A job that arrives when all hosts are busy waits for the next idle host, at worst a batch divided by the number
        of hosts, and then takes a batch itself.
        """
        hosts = self.settings.first_hosts
        return self.target_ms * hosts / (hosts + 1)

    @property
    def _safe_ms(self) -> float:
        return self.settings.timeout_s * 1000 / 2

    def expected_ms(self, rows: int) -> float | None:
        """Return how long the model probably takes for so many rows; None if no batch was about as large lately."""
        return self._predictions.median_ms(rows)

    def measured(self, rows: int, batch_ms: float, predict_ms: float, rows_at_once: int = LARGEST_BATCH) -> None:
        """Record a batch, which was predicted with at most `rows_at_once` rows in a call."""
        if rows > min(rows_at_once, self.rows_at_once) and self.settings.max_batch_size == "auto":
            return  # a job that took several calls is no measurement of one call
        self._batches.add(rows, batch_ms)
        self._predictions.add(rows, predict_ms)
        self._test_ceiling(rows)
        if self.settings.max_batch_size == "auto":
            self._count += 1
            in_time = predict_ms <= self.budget_ms and batch_ms <= self.target_ms
            if not in_time or 2 * rows > self._limit or not self._count % _ADAPT_EVERY:
                self._adapt()

    def lost(self, rows: int) -> None:
        """Record that a host was lost with so many rows; a single row carries no information on sizes.

        By default only the size of calls with a job's own rows is in question: they get as few as other batches.
        """
        by_default = self.settings.max_batch_size is None
        if rows > (DEFAULT_BATCH if by_default else 1):
            self._ceiling = DEFAULT_BATCH if by_default else max(1, min(self._ceiling, rows) // 2)
            self._batches_until_larger = self._retry_larger_after
            self._retry_larger_after = min(_LONGEST_RETRY_LARGER_AFTER, self._retry_larger_after * 2)

    def p95(self) -> Measured | None:
        """Return the median rows and the 95th percentiles of recent batches; None before the first."""
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
            self._batches_until_larger -= 1
            if not self._batches_until_larger:
                self._ceiling = min(LARGEST_BATCH, self._ceiling * 2)
                self._batches_until_larger = self._retry_larger_after
