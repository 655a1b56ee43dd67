"""A slow deployment with a long backlog on the same worker: its neighbour doesn't wait for it."""

from __future__ import annotations

import json
import time

import redis

from tests.support.models import Echo
from tests.support.service.stack import Stack
from workers.jobs.job import Job
from workers.jobs.prepared_messages import prepare
from workers.queues.naming import queue_name

BACKLOG = 100_000


def test_a_backlog_of_100_000_slow_jobs_delays_no_neighbour(service: Stack, name: str) -> None:
    slow, quick = f"{name}-slow", f"{name}-quick"
    for endpoint_name, model in ((slow, Echo("slow", seconds=0.2)), (quick, Echo("quick"))):
        service.register(endpoint_name, model)
        service.deploy(endpoint_name, endpoint_name=endpoint_name)
    with redis.Redis.from_url(service.redis.url) as client:
        fill(client, slow, BACKLOG)
        for number in range(50):
            assert service.predict(quick, str(number))["prediction"] == ["quick", str(number)]
        left = client.llen(queue_name(slow))
        client.delete(queue_name(slow))
    # All of the neighbour's jobs were done while nearly all of the backlog still waits: were there one
    # queue for both, they would have been the last.
    assert left > BACKLOG * 0.98


def fill(client: redis.Redis, endpoint_name: str, count: int) -> None:
    """Put jobs onto a queue as a bare Celery program would, faster."""
    message = prepare({})
    args = json.dumps([endpoint_name, "x"]).encode()
    for start in range(0, count, 1_000):
        numbers = range(start, start + 1_000)
        jobs = (Job(f"{number:036d}", endpoint_name, time.time()) for number in numbers)
        client.lpush(queue_name(endpoint_name), *(message.envelope(job, args, b"{}") for job in jobs))
