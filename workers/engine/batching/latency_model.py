"""A model of the latency of batches by their rows, fitted to measurements.

The time of a batch is modelled as b·(r + rows): b is the cost of a row, r the fixed cost in rows.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

#: The number of recent batches that count.
_WINDOW = 64
#: Sizes must differ this much (standard deviation over mean) to separate the fixed cost from the cost of a row.
_SPREAD = 0.2
#: If the median of the last few batches differs from that of all by this factor, older batches are dropped.
_LAST, _SHIFT = 5, 1.5
#: The value of r if all sizes cost the same.
_FLAT = 1e6
#: If even one row exceeds the budget, a batch may take so many times as long as one row.
_STRETCH = 2.0
#: Only batches of fewer rows than this prove that one row exceeds the budget.
_FEW = 2
_SHORTEST_MS = 1e-3
#: The rows of similar batches differ by at most this factor.
_SIMILAR = 2
#: The model is used for batches of up to so many times the measured rows: if the slope was measured, and if it is
#: assumed to be flat.
_EXTRAPOLATION_LIMIT, _FLAT_EXTRAPOLATION_LIMIT = 8, 4


class LatencyModel:
    """The latency of recent batches of one model version on one worker."""

    def __init__(self, share: float) -> None:
        #: The share of batches that must stay within a budget.
        self.share = share
        #: Whether batches of one row exceed the budget.
        self.out_of_reach = False
        self._window: deque[tuple[int, float]] = deque(maxlen=_WINDOW)
        self._fixed_rows = _FLAT
        #: The largest size at the last measurement of the slope.
        self._sloped_to = 0

    @property
    def rows(self) -> list[int]:
        """The rows of recent batches."""
        return [rows for rows, _ in self._window]

    def add(self, rows: int, took_ms: float) -> None:
        """Record one batch."""
        self._window.append((rows, max(took_ms, _SHORTEST_MS)))

    def quantile_ms(self, share: float) -> float:
        """Return this quantile of the times of recent batches."""
        return _quantile([took_ms for _, took_ms in self._window], share)

    def median_ms(self, rows: int) -> float | None:
        """Return the median time of recent batches of about so many rows; None if there were none."""
        similar = [took_ms for each, took_ms in self._window if rows <= _SIMILAR * each and each <= _SIMILAR * rows]
        return statistics.median_low(similar) if similar else None

    def fixed_rows(self) -> tuple[float, float]:
        """Return the fixed cost in rows, and the largest size for which it is valid."""
        self._fit()
        return self._fixed_rows, max(self.extrapolation_limit(max(self.rows)), _EXTRAPOLATION_LIMIT * self._sloped_to)

    @staticmethod
    def extrapolation_limit(rows: int) -> float:
        """Return the largest size for which batches of up to so many rows are valid, if the slope is unknown."""
        return _FLAT_EXTRAPOLATION_LIMIT * rows

    def largest(self, budget_ms: float, safe_ms: float, tried: float) -> float:
        """Return the most rows with which `share` of batches take at most `budget_ms`.

        If even one row exceeds the budget, return the most rows that take twice as long as one: batches of one row
        would be late, too, and the queue would grow without bound. Batches never take more than `safe_ms`. `tried` is
        the size in use.
        """
        self._fit()
        self._drop_outdated()
        row_ms = _quantile(self._costs(), self.share)
        one_ms = row_ms * (self._fixed_rows + 1)
        if one_ms <= budget_ms:
            self.out_of_reach = False
        elif tried < _FEW:
            # Only measured sizes count, since the model is unreliable for sizes that were not tried lately.
            ones = [took_ms for rows, took_ms in self._window if rows < _FEW]
            self.out_of_reach = bool(ones) and _quantile(ones, self.share) > budget_ms
        if self.out_of_reach:
            budget_ms = min(_STRETCH * one_ms, max(one_ms, safe_ms))
        return budget_ms / row_ms - self._fixed_rows

    def _costs(self) -> list[float]:
        """Return the cost of a row in each batch, with the fixed cost counted as `_fixed_rows` rows."""
        return [took_ms / (self._fixed_rows + rows) for rows, took_ms in self._window]

    def _fit(self) -> None:
        """Fit a straight line to times over sizes; keep the last one if sizes don't differ enough.

        Batches are weighted by relative error: small ones count as much as large ones, a slow outlier hardly at all.
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

    def _drop_outdated(self) -> None:
        """If most of the last few batches show that the model has become slower or faster, keep only these."""
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
    """Return a quantile; the largest of several values never counts, since it may be an outlier."""
    count = len(values)
    return sorted(values)[max(0, min(math.ceil(share * (count + 1)), count - 1) - 1)]
