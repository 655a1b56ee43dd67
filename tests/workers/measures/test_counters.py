"""Counters and quantiles of latencies."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.conftest import WithRedis
from workers.jobs import transitions
from workers.jobs.transitions import Finish
from workers.measures import counters
from workers.measures.counters import Kind

#: Bounds of neighbouring buckets differ by a tenth.
ERROR = 1.1
LATENCIES_MS = st.lists(st.floats(0.1, 1e8), min_size=1, max_size=200)


@given(LATENCIES_MS, st.floats(0.01, 1))
def test_a_quantile_is_at_most_a_tenth_above_numpys(latencies_ms: list[float], q: float) -> None:
    exact = float(np.quantile(latencies_ms, q, method="inverted_cdf"))
    found = counters.quantile_ms(Counter(map(counters.bucket, latencies_ms)), q)
    assert found is not None
    assert exact * (1 - 1e-9) - 0.001 <= found <= exact * ERROR * (1 + 1e-9) + 0.001


@pytest.mark.parametrize("shape", ["lognormal", "exponential", "uniform"])
def test_percentiles_of_thousands_of_latencies_are_numpys(shape: str) -> None:
    random = np.random.default_rng(7)
    latencies_ms = {
        "lognormal": random.lognormal(3, 1.5, 20_000),
        "exponential": random.exponential(40, 20_000),
        "uniform": random.uniform(1, 500, 20_000),
    }[shape]
    buckets = Counter(map(counters.bucket, latencies_ms.tolist()))
    for q in (0.5, 0.95, 0.99):
        exact = float(np.quantile(latencies_ms, q))
        assert counters.quantile_ms(buckets, q) == pytest.approx(exact, rel=0.11, abs=0.12)


def test_without_jobs_there_is_no_quantile() -> None:
    assert counters.quantile_ms({}, 0.5) is None


@given(st.floats(-1e9, 1e15))
def test_every_latency_has_a_bucket(latency_ms: float) -> None:
    assert counters.bucket(latency_ms) >= 0
    assert counters.bucket(latency_ms) <= counters.bucket(latency_ms * 1.2 + 1)


def finish(with_redis: WithRedis, kind: Kind, latency_ms: float | None, at: float, name: str = "adding") -> None:
    job_id = f"{kind}-{latency_ms}-{at}"
    done = Finish(job_id, b'{"status": "SUCCESS"}', kind, latency_ms)
    with_redis(lambda client: transitions.finish(client, name, [done], at, None))


def read(now: float, name: str = "adding") -> dict[str, float | None]:
    return counters.figures(*counters.read([name], now))


def test_figures_are_what_was_finished(store: redis.Redis, with_redis: WithRedis) -> None:
    now = time.time()
    for latency_ms in (10.0, 20.0, 30.0):
        finish(with_redis, Kind.SUCCEEDED, latency_ms, now)
    finish(with_redis, Kind.FAILED, 40.0, now)
    finish(with_redis, Kind.FAILED, None, now)
    finish(with_redis, Kind.WITHDRAWN, None, now)
    figures = read(now)
    assert (figures["request_count"], figures["succeeded_count"], figures["failed_count"]) == (6, 3, 2)
    assert figures["avg_latency_ms"] == pytest.approx(25, rel=0.05)  # of the four whose time is known
    assert figures["p50_ms"] == pytest.approx(20, rel=0.1)
    assert figures["p95_ms"] == figures["p99_ms"] == pytest.approx(40, rel=0.1)


def test_an_endpoint_without_jobs_has_no_latencies(store: redis.Redis) -> None:
    figures = read(time.time())
    assert figures["request_count"] == 0
    assert [figures[name] for name in ("avg_latency_ms", "p50_ms", "p95_ms", "p99_ms")] == [None] * 4


def test_mean_and_quantiles_are_those_of_the_last_quarter_of_an_hour_and_counts_of_all_times(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    now = time.time()
    for age_s, latency_ms in ((3_600, 5_000.0), (counters.WINDOW_S, 100.0), (0, 10.0)):
        finish(with_redis, Kind.SUCCEEDED, latency_ms, now - age_s)
    figures = read(now)
    assert figures["request_count"] == 3
    assert figures["avg_latency_ms"] == pytest.approx(55, rel=0.05)
    assert figures["p99_ms"] == pytest.approx(100, rel=0.1)
    assert read(now + 3_600)["p99_ms"] is None
    for name in store.keys(b"queuecast:latencies:*"):
        assert 0 < store.ttl(name) <= counters.WINDOWS_KEPT * counters.WINDOW_S


def test_windows_follow_each_other() -> None:
    assert counters.window(599.9) + 1 == counters.window(600.0)
    assert math.isclose(counters.WINDOW_S * counters.WINDOWS_KEPT, 900)
