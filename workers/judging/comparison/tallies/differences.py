"""The jobs whose answers differ most, one row of each."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, Self

from workers.judging.comparison.document import Difference
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.comparison.statistics.sampling import rank, short_json
from workers.judging.comparison.tallies.agreement import Row

_SHOWN = 20
_ERROR_DISTANCE = 2.0
_ERROR_PLACE = "error"


class DifferenceTally:
    """Keeps the 20 jobs that differ most; of equal ones those that the seed chooses."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, dict[str, Any]]] = []

    def add(self, pair: Pair, rows: Sequence[Row], options: ComparisonOptions) -> None:
        """Add a job."""
        found = [(*_furthest(row, options), -place) for place, row in enumerate(rows)]
        distance, path, place = max(found, default=(0.0, "", 0))
        if distance <= 0:
            return
        key = (distance, rank(options.seed, pair.job_id), pair.job_id)
        if len(self._heap) >= _SHOWN and key <= self._heap[0][:3]:
            return
        kept = (*key, _document(pair, -place, distance, path))
        (heapq.heappush if len(self._heap) < _SHOWN else heapq.heapreplace)(self._heap, kept)

    def report(self) -> list[Difference]:
        """Return the part of the report, the largest difference first."""
        return [Difference(**each[3]) for each in sorted(self._heap, key=lambda each: each[:3], reverse=True)]

    def state(self) -> list[list[Any]]:
        """Return the kept jobs as JSON."""
        return [list(each) for each in self._heap]

    @classmethod
    def restored(cls, state: Sequence[Sequence[Any]]) -> Self:
        """Return the tally of a state."""
        tally = cls()
        tally._heap = [(each[0], each[1], each[2], each[3]) for each in state]
        return tally


def _furthest(row: Row, options: ComparisonOptions) -> tuple[float, str]:
    """Return the largest distance of a row's fields, and the field; 0 if all agree."""
    if row.leaves is None:
        return _ERROR_DISTANCE, _ERROR_PLACE
    differing = [each for each in row.leaves if not each.agrees(options, integers_are_numbers=True)]
    return max(((each.distance, each.path) for each in differing), default=(0.0, ""))


def _document(pair: Pair, place: int, distance: float, path: str) -> dict[str, Any]:
    truth = _at(pair.truths, place)
    return {
        "job_id": pair.job_id,
        "row": place,
        "distance": distance,
        "field": path,
        "input": short_json(_at(pair.inputs, place)),
        "stable": _shown(pair.stable, place),
        "candidate": _shown(pair.candidate, place),
        "truth": None if truth is None else short_json(truth),
        "owner": pair.owner,
        "finished_at": pair.finished_at,
    }


def _shown(answer: Answer, place: int) -> str:
    if answer.predictions is None:
        return f"{answer.error_code or 'error'}: {answer.error_message or ''}"[:300]
    return short_json(_at(answer.predictions, place))


def _at(values: Sequence[Any] | None, place: int) -> Any:
    return values[place] if values is not None and place < len(values) else None
