"""Figures of an endpoint over time: each minute of the last hour, and each ten minutes of the last day.

The step that ends jobs counts them in the hash of their minute, with their times in buckets that are twice as wide as
those of `workers.measures.counters`, so that a minute takes half a kilobyte. Once in ten minutes a worker adds up ten
of these hashes into one text (`workers.engine.upkeep.minutes`). Everything expires by itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from workers import keys
from workers.measures import counters
from workers.measures.counters import Kind
from workers.platform.redis.client import records_client, translated_errors

MINUTE_S, SPAN_S, DAY_S = 60, 600, 86_400
#: Up to this, figures are those of minutes, and beyond it those of ten minutes.
FINE_S = 3_600
LONGEST_S = DAY_S
#: Longer than an hour, so that minutes can be added up also after a pause of all workers.
MINUTES_LIVE_S = FINE_S + 2 * SPAN_S
SPANS_LIVE_S = DAY_S + 6 * SPAN_S
#: Ten minutes are added up this long after their end: a job may be counted late.
LATE_S = 120.0
MINUTES_OF_SPAN = SPAN_S // MINUTE_S

#: Fields of a minute's hash: the first letter of a kind, `DEPTH`, or a letter of times with the number of a bucket.
DEPTH = "d"
_TOTAL, _QUEUED, _PREDICT = "t", "q", "p"


@dataclass(slots=True)
class Figures:
    """What ended in some time, how long it took, and how many jobs waited."""

    kinds: Counter[str] = field(default_factory=Counter)
    total: Counter[int] = field(default_factory=Counter)
    queued: Counter[int] = field(default_factory=Counter)
    predict: Counter[int] = field(default_factory=Counter)
    #: The most jobs that waited at a sample; None without a sample.
    depth: int | None = None

    def add(self, fields: Iterable[tuple[str, int]]) -> None:
        """Add the fields of one minute, or of ten."""
        times = {_TOTAL: self.total, _QUEUED: self.queued, _PREDICT: self.predict}
        for name, value in fields:
            if name == DEPTH:
                self.sampled(value)
            elif name[1:]:
                times[name[0]][int(name[1:])] += value
            else:
                self.kinds[name] += value

    def merge(self, other: Figures) -> None:
        """Add all of other figures."""
        self.kinds.update(other.kinds)
        self.total.update(other.total)
        self.queued.update(other.queued)
        self.predict.update(other.predict)
        if other.depth is not None:
            self.sampled(other.depth)

    def sampled(self, depth: int) -> None:
        """Note how many jobs waited."""
        self.depth = max(depth, self.depth or 0)

    def packed(self) -> str:
        """Return all of it as the text of ten minutes; empty if nothing happened."""
        words = [f"{name}={value}" for name, value in self.kinds.items() if value]
        for letter, buckets in ((_TOTAL, self.total), (_QUEUED, self.queued), (_PREDICT, self.predict)):
            if buckets:
                first, last = min(buckets), max(buckets)
                jobs = ",".join(str(buckets[number] or "") for number in range(first, last + 1))
                words.append(f"{letter}{first}={jobs}")
        return " ".join([*words, f"{DEPTH}={self.depth}"] if self.depth else words)

    def count(self, kind: Kind) -> int:
        """Return how many jobs of a kind ended."""
        return self.kinds[kind.value[0]]

    def document(self) -> dict[str, int | float | None]:
        """Return the figures as the HTTP API shows them."""
        found: dict[str, int | float | None] = {
            "jobs": sum(self.count(kind) for kind in Kind),
            "succeeded": self.count(Kind.SUCCEEDED),
            "failed": self.count(Kind.FAILED),
            "withdrawn": self.count(Kind.WITHDRAWN),
        }
        for name, buckets in (("total", self.total), ("queued", self.queued), ("predict", self.predict)):
            found[f"{name}_p50_ms"] = quantile_ms(buckets, 0.50)
            found[f"{name}_p95_ms"] = quantile_ms(buckets, 0.95)
        return {**found, "queue_depth": self.depth}


@dataclass(frozen=True, slots=True)
class Point:
    """The figures of one step of time, which begins at `at_s` (s since the epoch)."""

    at_s: int
    figures: Figures


def minute_of(now: float) -> int:
    """Return the number of the minute that contains this time (s since the epoch)."""
    return int(now // MINUTE_S)


def step_s(since_s: int) -> int:
    """Return how long each point of so much time is."""
    return MINUTE_S if since_s <= FINE_S else SPAN_S


def fields_of(reply: Mapping[bytes, bytes]) -> Iterable[tuple[str, int]]:
    """Return the fields of a minute's hash."""
    return [(name.decode(), int(value)) for name, value in reply.items()]


def unpacked(text: bytes) -> Iterable[tuple[str, int]]:
    """Return the fields in the text of ten minutes."""
    found: list[tuple[str, int]] = []
    for word in text.decode().split(" "):
        name, _, values = word.partition("=")
        if not name[1:]:
            found.append((name, int(values)))
            continue
        jobs = enumerate(values.split(","), int(name[1:]))
        found += [(f"{name[0]}{number}", int(value)) for number, value in jobs if value]
    return found


def bucket(time_ms: float) -> int:
    """Return the number of the bucket of a minute that counts this time."""
    return (counters.bucket(time_ms) + 1) // 2


def bounds_ms(number: int) -> tuple[float, float]:
    """Return between which times the bucket of a minute counts."""
    return counters.upper_ms(2 * number - 2), counters.upper_ms(2 * number)


def quantile_ms(buckets: Mapping[int, int], q: float) -> float | None:
    """Return a quantile, at most a tenth off: the middle of its bucket; None without jobs."""
    return counters.quantile_ms({2 * number - 1: jobs for number, jobs in buckets.items()}, q)


def read(endpoint_name: str, since_s: int, now: float | None = None) -> list[Point]:
    """Return an endpoint's figures of the last `since_s` seconds, oldest first; the last point is not over yet.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    now, step = time.time() if now is None else now, step_s(since_s)
    last = int(now // step)
    numbers = range(last - max(1, since_s // step) + 1, last + 1)
    with translated_errors():
        found = _minutes(endpoint_name, numbers) if step == MINUTE_S else _spans(endpoint_name, numbers)
        _note_samples(found, step)
    return [Point(number * step, found[number]) for number in numbers]


def summary(points: Iterable[Point]) -> Figures:
    """Return the figures of all points together."""
    found = Figures()
    for point in points:
        found.merge(point.figures)
    return found


def _minutes(endpoint_name: str, numbers: Iterable[int]) -> dict[int, Figures]:
    wanted = list(numbers)
    with records_client().pipeline(transaction=False) as pipeline:
        for number in wanted:
            pipeline.hgetall(keys.minute(endpoint_name, number))
        replies = pipeline.execute()
    found = {number: Figures() for number in wanted}
    for number, reply in zip(wanted, replies, strict=True):
        found[number].add(fields_of(reply))
    return found


def _spans(endpoint_name: str, numbers: range) -> dict[int, Figures]:
    """Return the figures of ten minutes each, from their text, or from the minutes that have not been added up yet."""
    texts = cast("dict[bytes, bytes]", records_client().hgetall(keys.spans(endpoint_name)))
    found = {number: Figures() for number in numbers}
    fresh = [number for number in numbers[-MINUTES_LIVE_S // SPAN_S :] if str(number).encode() not in texts]
    for name, text in texts.items():
        if int(name) in found:
            found[int(name)].add(unpacked(text))
    minutes = [number * MINUTES_OF_SPAN + each for number in fresh for each in range(MINUTES_OF_SPAN)]
    for number, figures in _minutes(endpoint_name, minutes).items():
        found[number // MINUTES_OF_SPAN].merge(figures)
    return found


def _note_samples(found: Mapping[int, Figures], step: int) -> None:
    """Set the depth to 0 where it was sampled and nothing waited: only other depths are stored."""
    days = sorted({number * step // DAY_S for number in found})
    replies = cast("list[bytes | None]", records_client().mget([keys.sampled(day) for day in days]))
    bits = dict(zip(days, replies, strict=True))
    for number, figures in found.items():
        first = number * step // MINUTE_S
        if figures.depth is None and any(_is_set(bits, minute) for minute in range(first, first + step // MINUTE_S)):
            figures.depth = 0


def _is_set(bits: Mapping[int, bytes | None], minute: int) -> bool:
    day, bit = divmod(minute, DAY_S // MINUTE_S)
    content = bits.get(day) or b""
    return bit // 8 < len(content) and bool(content[bit // 8] >> (7 - bit % 8) & 1)
