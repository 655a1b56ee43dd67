"""A sample of bounded size, the same for an equal seed whatever the order; and quantiles of it."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Self

from workers.judging.comparison.document import Histogram, Quantiles

_BARS = 24
_LONGEST_TEXT = 300


class Sample:
    """Keeps the items whose keys have the smallest hashes: each item has the same chance."""

    def __init__(self, size: int, seed: str) -> None:
        self._size = size
        self._seed = seed
        #: Negative ranks, so that the largest is at the top.
        self._heap: list[tuple[int, str, Any]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Any]:
        return (item for _, _, item in sorted(self._heap, key=lambda each: each[:2], reverse=True))

    def add(self, key: str, item: Any) -> None:
        """Add an item, perhaps in place of another one."""
        kept = (-rank(self._seed, key), key, item)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, kept)
        elif self._heap and kept[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, kept)

    def state(self) -> list[list[Any]]:
        """Return the items as JSON."""
        return [list(each) for each in self._heap]

    @classmethod
    def restored(cls, state: Sequence[Sequence[Any]], size: int, seed: str) -> Self:
        """Return the sample of a state."""
        sample = cls(size, seed)
        sample._heap = [(each[0], each[1], each[2]) for each in state]
        return sample


def rank(seed: str, key: str) -> int:
    """Return a number that is random, and the same for an equal seed and key."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{key}".encode("utf-8", "surrogatepass"), digest_size=6).digest())


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of ordered values, between the two nearest ones (linear, as numpy's default)."""
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def quantiles(values: Sequence[float]) -> Quantiles | None:
    """Return the quantiles of values; None without one."""
    if not values:
        return None
    ordered = sorted(values)
    p50, p90, p95, p99 = (quantile(ordered, each) for each in (0.5, 0.9, 0.95, 0.99))
    return Quantiles(p50=p50, p90=p90, p95=p95, p99=p99, max=ordered[-1])


def histogram(values: Sequence[float]) -> Histogram | None:
    """Return bars of equal width from the 1st to the 99th percentile; None if all values are equal."""
    if not values:
        return None
    ordered = sorted(values)
    low, high = quantile(ordered, 0.01), quantile(ordered, 0.99)
    if low == high:
        low, high = ordered[0], ordered[-1]
    width = (high - low) / _BARS
    if width <= 0:
        return None
    counts = [0] * _BARS
    for value in ordered:
        counts[min(_BARS - 1, max(0, int((value - low) / width)))] += 1
    return Histogram(edges=[low + width * each for each in range(_BARS + 1)], counts=counts)


def short_json(value: Any) -> str:
    """Return JSON that is truncated if it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
