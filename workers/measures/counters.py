"""Counters and latencies of an endpoint in Redis.

Latencies are counted in logarithmic buckets, one hash for each five minutes. So quantiles over the last quarter of an
hour take a few hundred bytes, and the counts of any number of workers add up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import redis

from workers import keys

WINDOW_S = 300
#: The current window and two complete ones.
WINDOWS_KEPT = 3
#: Neighbouring bucket bounds differ by this factor; it bounds the relative error of a quantile.
_FACTOR = 1.1
_LOG_FACTOR = math.log(_FACTOR)
_SMALLEST_MS = 0.1


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


def quantile_ms(buckets: Mapping[int, int], q: float) -> float | None:
    """Return the quantile `q` of the counted latencies; None without jobs."""
    wanted = q * sum(buckets.values())
    seen = 0
    for number in sorted(buckets):
        seen += buckets[number]
        if seen >= wanted:
            return round(_SMALLEST_MS * _FACTOR**number, 3)
    return None


def queue_reads(pipeline: redis.client.Pipeline, endpoint_name: str, now: float) -> None:
    """Queue the reads of one endpoint on a pipeline: `WINDOWS_KEPT` + 1 commands."""
    pipeline.hgetall(keys.counts(endpoint_name))
    for number in range(WINDOWS_KEPT):
        pipeline.hgetall(keys.latencies(endpoint_name, window(now) - number))


def parse(replies: list[dict[bytes, bytes]]) -> dict[str, Any]:
    """Parse the replies to `queue_reads` into the figures of a deployment's view."""
    counts, *windows = replies
    finished = {kind: int(counts.get(kind.value.encode(), 0)) for kind in Kind}
    with_latency = finished[Kind.SUCCEEDED] + finished[Kind.FAILED]
    buckets: Counter[int] = Counter()
    for one in windows:
        buckets.update({int(number): int(jobs) for number, jobs in one.items()})
    total_ms = float(counts.get(b"latency_ms", 0))
    return {
        "request_count": sum(finished.values()),
        "succeeded_count": finished[Kind.SUCCEEDED],
        "failed_count": finished[Kind.FAILED],
        "avg_latency_ms": round(total_ms / with_latency, 3) if with_latency else None,
        "p50_ms": quantile_ms(buckets, 0.50),
        "p95_ms": quantile_ms(buckets, 0.95),
        "p99_ms": quantile_ms(buckets, 0.99),
    }
