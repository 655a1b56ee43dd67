"""A slow deployment with a long backlog on the same worker: its neighbour doesn't wait for it."""

from __future__ import annotations

import json
import time

import redis

from tests.support.models import Echo
from tests.support.stack import Stack
from workers.prepared_messages import Call, prepare
from workers.queues import queue_name

BACKLOG = 100_000


def test_a_backlog_of_100_000_slow_jobs_delays_no_neighbour(faulty: Stack) -> None:
    faulty.register("slow", Echo("slow", seconds=0.2))
    faulty.register("quick", Echo("quick"))
    faulty.start_worker()
    for name in ("slow", "quick"):
        faulty.deploy(name, endpoint_name=name)
    with redis.Redis.from_url(faulty.redis.url) as client:
        fill(client, "slow", BACKLOG)
        for number in range(50):
            assert faulty.predict("quick", str(number))["prediction"] == ["quick", str(number)]
        left = client.llen(queue_name("slow"))
    # All of the neighbour's jobs were done while nearly all of the backlog still waits: were there one
    # queue for both, they would have been the last.
    assert left > BACKLOG * 0.98


def fill(client: redis.Redis, endpoint_name: str, count: int) -> None:
    """Put jobs onto a queue as a bare Celery program would, faster."""
    message = prepare({})
    args = json.dumps([endpoint_name, "x"]).encode()
    for start in range(0, count, 1_000):
        numbers = range(start, start + 1_000)
        calls = (Call(f"{number:036d}", endpoint_name, args, b"{}", time.time()) for number in numbers)
        client.lpush(queue_name(endpoint_name), *(message.envelope(call)[0] for call in calls))
