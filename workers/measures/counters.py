"""Counters and latencies of an endpoint in Redis.

Latencies are counted in logarithmic buckets, one hash for each five minutes. So quantiles over the last quarter of an
hour take a few hundred bytes, and the counts of any number of workers add up.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workers import keys
from workers.platform.lua import Lua, run_in_parts
from workers.platform.redis.client import records_client

WINDOW_S = 300
#: The current window and two complete ones.
WINDOWS_KEPT = 3
#: Neighbouring bucket bounds differ by this factor; it bounds the relative error of a quantile.
_FACTOR = 1.1
_LOG_FACTOR = math.log(_FACTOR)
_SMALLEST_MS = 0.1
#: Bounds (s) of the histogram of whole-job time, which is counted since the first job; jobs beyond are in the last.
HISTOGRAM_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_BOUNDS_MS = tuple(each * 1000 for each in HISTOGRAM_S)
#: Fields of the counts hash: the jobs up to each bound, beyond the bound before it.
BOUND_FIELDS = (*(f"to {each:g}" for each in HISTOGRAM_S), "beyond")
_BOUND_NAMES = [each.encode() for each in BOUND_FIELDS]

_READ = Lua("workers.platform", "read_hashes")


class Kind(StrEnum):
    """The kinds of ended jobs; the value is the field of the counts hash."""

    #: The job has an outcome.
    SUCCEEDED = "succeeded"
    #: The job has an error.
    FAILED = "failed"
    #: The job was cancelled or has expired.
    WITHDRAWN = "withdrawn"


def window(now: float) -> int:
    """Return the number of the window that contains this time (s since the epoch)."""
    return int(now // WINDOW_S)


def bucket(latency_ms: float) -> int:
    """Return the number of the bucket that counts this latency."""
    return math.ceil(math.log(max(latency_ms, _SMALLEST_MS) / _SMALLEST_MS) / _LOG_FACTOR)


def upper_ms(number: int) -> float:
    """Return the longest time that a bucket counts."""
    return _SMALLEST_MS * _FACTOR**number


def bound(latency_ms: float) -> str:
    """Return the field that counts this latency in the histogram."""
    return BOUND_FIELDS[bisect_left(_BOUNDS_MS, latency_ms)]


def quantile_ms(buckets: Mapping[int, int], q: float) -> float | None:
    """Return the quantile `q` of the counted latencies; None without jobs."""
    wanted = q * sum(buckets.values())
    seen = 0
    for number in sorted(buckets):
        seen += buckets[number]
        if seen >= wanted:
            return round(_SMALLEST_MS * _FACTOR**number, 3)
    return None


def mean_ms(buckets: Mapping[int, int]) -> float | None:
    """Return the mean of the counted latencies, at most a twentieth off; None without jobs."""
    jobs = sum(buckets.values())
    # A bucket stands for its geometric middle.
    total_ms = sum(_SMALLEST_MS * _FACTOR ** (number - 0.5) * count for number, count in buckets.items())
    return round(total_ms / jobs, 3) if jobs else None


def read(endpoint_names: Sequence[str], now: float) -> list[Counted]:
    """Return the counters of each endpoint; those whose key has another type are empty. Raises redis.RedisError."""
    last = window(now)
    of_windows = [
        [keys.counts(name), *(keys.latencies(name, last - number) for number in range(WINDOWS_KEPT))]
        for name in endpoint_names
    ]
    hashes = run_in_parts(records_client(), _READ, [key for each in of_windows for key in each])
    step = WINDOWS_KEPT + 1
    return [Counted(hashes[at], hashes[at + 1 : at + step]) for at in range(0, len(hashes), step)]


@dataclass(frozen=True, slots=True)
class Counted:
    """The counters of one endpoint as Redis has them: names and values by turns."""

    counts: Sequence[bytes]
    #: Of each window: latency buckets and jobs.
    latencies: Sequence[Sequence[bytes]]


def figures(counted: Counted) -> dict[str, Any]:
    """Return the figures of a deployment's view."""
    counts = _pairs(counted.counts)
    finished = {kind: int(counts.get(kind.value.encode(), 0)) for kind in Kind}
    buckets: Counter[int] = Counter()
    for one in counted.latencies:
        buckets.update({int(number): int(jobs) for number, jobs in _pairs(one).items()})
    return {
        "request_count": sum(finished.values()),
        "succeeded_count": finished[Kind.SUCCEEDED],
        "failed_count": finished[Kind.FAILED],
        "avg_latency_ms": mean_ms(buckets),
        "p50_ms": quantile_ms(buckets, 0.50),
        "p95_ms": quantile_ms(buckets, 0.95),
        "p99_ms": quantile_ms(buckets, 0.99),
    }


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long the jobs of an endpoint took, since its first job."""

    #: Jobs up to each of `HISTOGRAM_S`, beyond the bound before it; last those beyond all.
    jobs: Sequence[int]
    sum_s: float


def sum_ms(counted: Counted) -> float:
    """Return the whole time of all jobs that have ended since the endpoint's first job (ms)."""
    return float(_pairs(counted.counts).get(b"latency_ms", 0))


def histogram(counted: Counted) -> Histogram:
    """Return the histogram of whole-job time of an endpoint."""
    counts = _pairs(counted.counts)
    jobs = [int(counts.get(each, 0)) for each in _BOUND_NAMES]
    from_ms = float(counts.get(b"histogram_from_ms", 0))
    return Histogram(jobs, (sum_ms(counted) - from_ms) / 1000 if any(jobs) else 0.0)


def _pairs(by_turns: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(by_turns[::2], by_turns[1::2], strict=True))
