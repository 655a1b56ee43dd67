"""`max_batch_size: auto` in a running service: batches grow under load as far as the latency target allows."""

from __future__ import annotations

import statistics

import redis

from tests.faults.test_neighbours import fill
from tests.support.calls import Document
from tests.support.models import Paced
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

JOBS = 4_000
TARGET_MS = 100


def test_batches_grow_under_load_and_stay_within_the_target(service: Stack, name: str) -> None:
    for _ in range(2):
        service.register(name, Paced(0.010, 0.0005), runtime_options={"vectorized": True})
    service.deploy(
        name, version="1", endpoint_name=name, max_batch_size="auto", target_latency_ms=TARGET_MS,
        max_batch_delay_ms=10_000,
    )  # fmt: skip
    # Nothing else is there, so nothing is waited for: the answers would come too late otherwise.
    assert [service.predict(name, "x", wait_s=5)["batch_size"] for _ in range(3)] == [1, 1, 1]
    service.deploy(name, version="1", endpoint_name=name, max_batch_delay_ms=2)
    with redis.Redis.from_url(service.redis.url) as client:
        fill(client, name, JOBS)

    def done() -> bool:
        return bool(service.view(name)["succeeded_count"] == JOBS + 3)

    eventually(done, 60, interval_s=0.2, message="all jobs are done")
    late = service.outcomes(f"{number:036d}" for number in range(JOBS // 2, JOBS, 100))
    # 10 + 0.5 · 80 ms would be just within the half of the target that a batch may take.
    assert statistics.median(outcome["batch_size"] for outcome in late) > 10
    assert statistics.median(outcome["timing"]["predict_ms"] for outcome in late) <= TARGET_MS
    seen = eventually(lambda: observed(service, name, at_least=10), message="the worker reports its batches")
    assert seen["predict_p95_ms"] <= seen["batch_p95_ms"]
    assert seen["batch_rows"] > 1
    # Nobody knows yet how fast another version is.
    service.deploy(name, version="2", endpoint_name=name)
    assert observed(service, name)["batch_size"] == 1


def observed(service: Stack, endpoint_name: str, at_least: int = 0) -> Document:
    """What the worker says of the version that it serves, once its batches may have so many rows."""
    [found] = [each for each in service.view(endpoint_name)["workers"] if each["state"] == "ready"]
    assert found["batch_size"] >= at_least, found
    return dict(found)
