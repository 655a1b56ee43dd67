"""How long batches take by their rows: measured, with what is needed to say how many rows take how long.

The time of a batch is taken to be b·(r + rows): b is what one row costs, r how many rows the fixed cost is worth.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

#: So many of the last batches count.
_WINDOW = 64
#: Sizes have to differ this much (standard deviation over mean) to tell fixed cost and cost of a row apart.
_SPREAD = 0.2
#: If the median of the last few differs from that of all by this factor, what was before counts no more.
_LAST, _SHIFT = 5, 1.5
#: Where every size costs the same, r is this.
_FLAT = 1e6
#: If even one row takes longer than it should, a batch may take so many times as long as one row.
_STRETCH = 2.0
#: That it does is believed when batches of fewer rows than this have shown it.
_FEW = 2
_SHORTEST_MS = 1e-3
#: Batches of up to so many times the rows that were measured are believed to be on the line: on one whose slope was
#: measured, and on one that is taken to be flat.
_BELIEVED, _BELIEVED_IF_FLAT = 8, 4


class BatchTimes:
    """The times of the last batches of one model version on one worker."""

    def __init__(self, share: float) -> None:
        #: The share of batches that is to take no longer than what is asked for.
        self.share = share
        #: Whether batches of one row were seen to take longer.
        self.out_of_reach = False
        self._window: deque[tuple[int, float]] = deque(maxlen=_WINDOW)
        self._fixed_rows = _FLAT
        #: The largest size of those that the slope was measured over.
        self._sloped_to = 0

    @property
    def rows(self) -> list[int]:
        """The sizes of the last batches."""
        return [rows for rows, _ in self._window]

    def add(self, rows: int, took_ms: float) -> None:
        """Take note of one batch."""
        self._window.append((rows, max(took_ms, _SHORTEST_MS)))

    def quantile_ms(self, share: float) -> float:
        """The time below which this share of the last batches stayed."""
        return _quantile([took_ms for _, took_ms in self._window], share)

    def fixed_rows(self) -> tuple[float, float]:
        """Return how many rows the fixed cost is worth, and up to which size that can be relied on."""
        self._fit()
        return self._fixed_rows, max(self.believable(max(self.rows)), _BELIEVED * self._sloped_to)

    @staticmethod
    def believable(rows: int) -> float:
        """Up to which size batches of up to so many rows say something, if they don't tell what a row costs."""
        return _BELIEVED_IF_FLAT * rows

    def largest(self, budget_ms: float, safe_ms: float, tried: float) -> float:
        """Return the most rows with which `share` of batches take at most `budget_ms`.

        If not even one row does, the most that take twice as long as one: batches of one would not be in time
        either, and the queue would grow without bound. They never take more than `safe_ms`. `tried` says which
        size is in use now.
        """
        self._fit()
        self._forget_what_was_before()
        row_ms = _quantile(self._costs(), self.share)
        one_ms = row_ms * (self._fixed_rows + 1)
        if one_ms <= budget_ms:
            self.out_of_reach = False
        elif tried < _FEW:
            # Believed only when it was seen, since the line says little of sizes that nobody has tried lately.
            ones = [took_ms for rows, took_ms in self._window if rows < _FEW]
            self.out_of_reach = bool(ones) and _quantile(ones, self.share) > budget_ms
        if self.out_of_reach:
            budget_ms = min(_STRETCH * one_ms, max(one_ms, safe_ms))
        return budget_ms / row_ms - self._fixed_rows

    def _costs(self) -> list[float]:
        """What one row cost in each batch, the fixed cost counted as `_fixed_rows` more rows."""
        return [took_ms / (self._fixed_rows + rows) for rows, took_ms in self._window]

    def _fit(self) -> None:
        """Lay a straight line through times over sizes; keep the last one if sizes don't differ enough.

        Each batch counts by its relative error: small ones as much as large, and one odd slow one hardly at all.
        """
        total = rows_sum = squares = times = products = 0.0
        for rows, took_ms in self._window:
            weight = 1.0 / (took_ms * took_ms)
            total += weight
            rows_sum += weight * rows
            squares += weight * rows * rows
            times += weight * took_ms
            products += weight * rows * took_ms
        determinant = total * squares - rows_sum * rows_sum
        if determinant < (_SPREAD * rows_sum) ** 2:
            return
        per_row = (total * products - rows_sum * times) / determinant
        fixed = (squares * times - rows_sum * products) / determinant
        self._fixed_rows = min(_FLAT, max(0.0, fixed) / per_row) if per_row > 0 else _FLAT
        self._sloped_to = max(self.rows)

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


def _quantile(values: list[float], share: float) -> float:
    """The value below which this share stays; the largest of several never counts, it may be an outlier."""
    count = len(values)
    return sorted(values)[max(0, min(math.ceil(share * (count + 1)), count - 1) - 1)]
