"""How fast the jobs of each endpoint end, computed from the counters at each look at the console.

The counters are in Redis and the same for every process. Each process remembers those of its own looks, for a while.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple

from flask import Flask, current_app

_EXTENSION = "queuecast_console_rates"
#: How far back a rate is drawn, and how much time each of its points stands for.
KEPT_S = 300.0
STEP_S = 10.0
#: The rate of now is that of so long.
_NOW_S = 12.0
#: Looks closer together than this count as one.
_CLOSEST_S = 0.8


class Counted(NamedTuple):
    """The counters of one endpoint at one moment."""

    at_s: float
    succeeded: int
    failed: int

    @property
    def ended(self) -> int:
        """Jobs that ended with an outcome or an error."""
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast the jobs of an endpoint end."""

    #: None after the first look: a rate needs two.
    jobs_per_s: float | None
    #: The share of jobs that ended with an error, of those that ended between looks; None if none did.
    error_share: float | None
    #: Jobs a second in each step of the time that is kept, oldest first; None before the first look.
    points: Sequence[float | None]


class Rates:
    """Remembers counters for as long as they are drawn; safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted: dict[str, deque[Counted]] = {}
        self._lock = Lock()

    def note(self, views: Sequence[Mapping[str, Any]]) -> dict[str, Rate]:
        """Remember the counters that these views of deployments show; return the rate of each, by endpoint."""
        now = self._clock()
        with self._lock:
            for view in views:
                self._add(view["endpoint_name"], Counted(now, view["succeeded_count"], view["failed_count"]))
            self._forget(now - KEPT_S)
            return {view["endpoint_name"]: _rate(list(self._counted[view["endpoint_name"]])) for view in views}

    def _add(self, endpoint_name: str, counted: Counted) -> None:
        kept = self._counted.setdefault(endpoint_name, deque())
        if kept and counted.ended < kept[-1].ended:  # another Redis, or an emptied one
            kept.clear()
        if not kept or counted.at_s - kept[-1].at_s >= _CLOSEST_S:
            kept.append(counted)

    def _forget(self, before_s: float) -> None:
        for endpoint_name, kept in list(self._counted.items()):
            while kept and kept[0].at_s < before_s:
                kept.popleft()
            if not kept:
                del self._counted[endpoint_name]


def install(app: Flask) -> None:
    """Give the app a memory of counters, an empty one."""
    app.extensions[_EXTENSION] = Rates()


def current() -> Rates:
    """Return the memory of the app that answers this request."""
    found = current_app.extensions[_EXTENSION]
    assert isinstance(found, Rates)  # noqa: S101 - narrows the type
    return found


def _rate(kept: Sequence[Counted]) -> Rate:
    last, first = kept[-1], kept[0]
    # The oldest look of the last seconds; without one, the last look before that.
    lately = [each for each in kept if each.at_s >= last.at_s - _NOW_S]
    since = lately[0] if len(lately) > 1 or len(kept) == 1 else kept[-2]
    ended = last.ended - first.ended
    return Rate(
        jobs_per_s=(last.ended - since.ended) / (last.at_s - since.at_s) if last is not since else None,
        error_share=(last.failed - first.failed) / ended if ended else None,
        points=_points(kept),
    )


def _points(kept: Sequence[Counted]) -> list[float | None]:
    """Jobs a second in each step up to the last look; None without a look at its beginning."""
    begins_s = kept[-1].at_s - KEPT_S
    times = [each.at_s for each in kept]
    counts = [_ended_by(kept, times, begins_s + STEP_S * number) for number in range(round(KEPT_S / STEP_S) + 1)]
    return [
        None if before is None or after is None else (after - before) / STEP_S for before, after in pairwise(counts)
    ]


def _ended_by(kept: Sequence[Counted], times: Sequence[float], at_s: float) -> float | None:
    """Jobs that had ended by then, as if they had ended evenly between two looks; None before the first look."""
    position = bisect_right(times, at_s)
    if position == 0:
        return None
    before = kept[position - 1]
    if position == len(kept):
        return before.ended
    after = kept[position]
    return before.ended + (after.ended - before.ended) * (at_s - before.at_s) / (after.at_s - before.at_s)
