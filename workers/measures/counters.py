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

import redis

from workers import keys
from workers.platform.redis.client import records_client, translated_errors

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


def read_sum_ms(endpoint_name: str) -> float:
    """Return the whole time of all jobs that have ended since the endpoint's first job (ms).

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        return float(records_client().hget(keys.counts(endpoint_name), "latency_ms") or 0)


def queue_reads(pipeline: redis.client.Pipeline, endpoint_name: str, now: float) -> None:
    """Queue the reads of one endpoint on a pipeline: `WINDOWS_KEPT` + 1 commands."""
    pipeline.hgetall(keys.counts(endpoint_name))
    for number in range(WINDOWS_KEPT):
        pipeline.hgetall(keys.latencies(endpoint_name, window(now) - number))


def parse(replies: list[dict[bytes, bytes]]) -> dict[str, Any]:
    """Parse the replies to `queue_reads` into the figures of a deployment's view."""
    counts, *windows = replies
    finished = {kind: int(counts.get(kind.value.encode(), 0)) for kind in Kind}
    buckets: Counter[int] = Counter()
    for one in windows:
        buckets.update({int(number): int(jobs) for number, jobs in one.items()})
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


def read_histograms(endpoint_names: Sequence[str]) -> list[Histogram]:
    """Return the histogram of whole-job time of each endpoint.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors(), records_client().pipeline(transaction=False) as pipeline:
        for name in endpoint_names:
            pipeline.hmget(keys.counts(name), [*BOUND_FIELDS, "latency_ms", "histogram_from_ms"])
        replies = pipeline.execute(raise_on_error=False)
    # The counts may have the type of another key.
    none = [0] * (len(BOUND_FIELDS) + 2)
    values = [none if isinstance(reply, Exception) else [each or 0 for each in reply] for reply in replies]
    return [
        Histogram([int(each) for each in jobs], (float(sum_ms) - float(from_ms)) / 1000 if any(jobs) else 0.0)
        for *jobs, sum_ms, from_ms in values
    ]
