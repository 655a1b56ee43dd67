"""How many rows a batch may have: what is set, or the most with which batches stay within a latency target.

The time of a batch is taken to be b·(r + rows): r says how many rows the fixed cost of a batch is worth, b what
one row costs. Both are measured all the time. Knows nothing of jobs, hosts or clocks.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import NamedTuple

from registry.serving_settings import LARGEST_BATCH, ServingSettings

#: So many of the last batches count.
_WINDOW = 64
#: The share of batches that are to be within the budget.
_SHARE = 0.95
#: The limit grows to at most so many times what was tried, and is cut to at least this share of itself.
_GROWTH, _CUT = 2.0, 0.5
#: Sizes have to differ this much (standard deviation over mean) to tell fixed cost and cost of a row apart.
_SPREAD = 0.2
#: If the median of the last few differs from that of all by this factor, what was before counts no more.
_LAST, _SHIFT = 5, 1.5
#: Where every size costs the same, r is this.
_FLAT = 1e6
_ROUNDING = 1e-6
#: If even one row takes longer than the budget, a batch may take so many times as long as one row.
_STRETCH = 2.0
#: That it does is believed when batches of fewer rows than this have shown it.
_FEW = 2
#: Then every so many batches one is of one row, to see whether it still does.
_PROBE_EVERY = 32
#: So many batches of the largest size that hosts have survived, and a larger one is tried again; doubled each time.
_FIRST_TRUCE, _LONGEST_TRUCE = 100, 3_200


class Measured(NamedTuple):
    """One batch: its rows, the time that it had a host, and how much of that the model took."""

    rows: int
    batch_ms: float
    predict_ms: float


class BatchSize:
    """The batch size of one model version on one worker; all its hosts share it."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self._window: deque[Measured] = deque(maxlen=_WINDOW)
        self._limit = 1.0
        self._fixed_rows = _FLAT
        #: Whether batches of one row were seen to take longer than the budget.
        self._out_of_reach = False
        self._since_probe = 0
        #: More rows than this a host has not survived.
        self._ceiling = LARGEST_BATCH
        self._truce = self._truce_left = _FIRST_TRUCE

    @property
    def rows(self) -> int:
        """The most rows that jobs may have together to share a batch."""
        size = self.settings.max_batch_size
        return size if size != "auto" else int(min(self._limit + _ROUNDING, self._ceiling))

    @property
    def rows_at_once(self) -> int:
        """The most rows that a model gets in one call, also of a single job with more of them."""
        size = self.settings.max_batch_size
        return size if size != "auto" else self._ceiling

    @property
    def budget_ms(self) -> float:
        """How long a batch may take so that its jobs meet the target.

        A job that comes when all hosts are busy waits for the next one, which is one batch shared by all hosts at
        worst, and then takes a batch itself.
        """
        hosts = self.settings.hosts
        return min(self.settings.latency_target_ms, self._safe_ms) * hosts / (hosts + 1)

    @property
    def _safe_ms(self) -> float:
        """Well below the time at which a batch costs a host."""
        return self.settings.timeout_s * 1000 / 2

    def measured(self, rows: int, batch_ms: float, predict_ms: float) -> None:
        """Learn from a batch that has been predicted."""
        if rows > self.rows_at_once and self.settings.max_batch_size == "auto":
            return  # a job that took several calls says nothing of one
        self._window.append(Measured(rows, max(batch_ms, 1e-3), predict_ms))
        if self.settings.max_batch_size == "auto":
            self._test_ceiling(rows)
            self._adapt()

    def lost(self, rows: int) -> None:
        """Learn that a host died or had to be killed over so many rows; what one row does says nothing of sizes."""
        if rows > 1:
            self._ceiling = max(1, min(self._ceiling, rows) // 2)
            self._truce_left = self._truce
            self._truce = min(_LONGEST_TRUCE, self._truce * 2)

    def p95(self) -> Measured | None:
        """The median of rows, and the times below which 95 % of the last batches stayed; None before the first."""
        if not self._window:
            return None
        rows, batch_ms, predict_ms = (sorted(each) for each in zip(*self._window, strict=True))
        return Measured(int(rows[len(rows) // 2]), _quantile(batch_ms), _quantile(predict_ms))

    def _adapt(self) -> None:
        self._fit()
        self._forget_what_was_before()
        best = self._best(_quantile(sorted(self._costs())))
        most_tried = max(batch.rows for batch in self._window)
        highest = max(self._limit, _GROWTH * most_tried)
        self._limit = max(1.0, min(max(best, self._limit * _CUT), highest, LARGEST_BATCH))
        self._since_probe = (self._since_probe + 1) % _PROBE_EVERY
        if self._out_of_reach and not self._since_probe:
            self._limit = 1.0

    def _forget_what_was_before(self) -> None:
        """If most of the last few batches show that the model has become slower or faster, keep only those."""
        costs = self._costs()
        if len(costs) <= 2 * _LAST:
            return
        usual, now = statistics.median(costs), statistics.median(costs[-_LAST:])
        if 1 / _SHIFT < now / usual < _SHIFT:
            return
        latest = list(zip(self._window, costs, strict=True))[-_LAST:]
        between = math.sqrt(usual * now)
        self._window.clear()
        self._window.extend(batch for batch, cost in latest if (cost > between) == (now > between))

    def _best(self, row_ms: float) -> float:
        """The largest size within the budget, at so much a row."""
        budget_ms, one_ms = self.budget_ms, row_ms * (self._fixed_rows + 1)
        if one_ms <= budget_ms:
            self._out_of_reach = False
        elif self._limit < _FEW:
            # Believed only when it was seen, since the line says little of sizes that nobody has tried lately.
            ones = [batch.batch_ms for batch in self._window if batch.rows < _FEW]
            self._out_of_reach = bool(ones) and _quantile(sorted(ones)) > budget_ms
        if self._out_of_reach:
            # Batches of one would not meet the target either, and the queue would grow without bound.
            budget_ms = min(_STRETCH * one_ms, max(one_ms, self._safe_ms))
        return budget_ms / row_ms - self._fixed_rows

    def _costs(self) -> list[float]:
        """What one row cost in each batch, the fixed cost counted as `_fixed_rows` more rows."""
        return [batch.batch_ms / (self._fixed_rows + batch.rows) for batch in self._window]

    def _fit(self) -> None:
        """Lay a straight line through times over sizes; keep the last one if sizes don't differ enough.

        Each batch counts by its relative error: small ones as much as large, and one odd slow one hardly at all.
        """
        total = rows_sum = squares = inverse = slope_sum = 0.0
        for rows, batch_ms, _ in self._window:
            weight = 1.0 / (batch_ms * batch_ms)
            total += weight
            rows_sum += weight * rows
            squares += weight * rows * rows
            inverse += weight * batch_ms
            slope_sum += weight * rows * batch_ms
        determinant = total * squares - rows_sum * rows_sum
        if determinant < (_SPREAD * rows_sum) ** 2:
            return
        per_row = (total * slope_sum - rows_sum * inverse) / determinant
        fixed = (squares * inverse - rows_sum * slope_sum) / determinant
        self._fixed_rows = min(_FLAT, max(0.0, fixed) / per_row) if per_row > 0 else _FLAT

    def _test_ceiling(self, rows: int) -> None:
        if self._ceiling < LARGEST_BATCH and rows >= self._ceiling:
            self._truce_left -= 1
            if not self._truce_left:
                self._ceiling, self._truce_left = min(LARGEST_BATCH, self._ceiling * 2), self._truce


def _quantile(ordered: list[float]) -> float:
    """The value below which `_SHARE` of them stay; the largest of several never counts, it may be an outlier."""
    count = len(ordered)
    return ordered[max(0, min(math.ceil(_SHARE * (count + 1)), count - 1) - 1)]
