"""A slow deployment with a long backlog on the same worker: its neighbour doesn't wait for it."""

from __future__ import annotations

import json
import time

import pytest
import redis

from tests.support.models import Echo
from tests.support.service.stack import Stack
from workers.jobs.job import Job
from workers.jobs.prepared_messages import prepare
from workers.queues.naming import queue_name

#: How many jobs of the backlog may be taken while the neighbour's are done.
TAKEN = 2_000


@pytest.mark.parametrize("backlog", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_a_backlog_of_slow_jobs_delays_no_neighbour(service: Stack, name: str, backlog: int) -> None:
    slow, quick = f"{name}-slow", f"{name}-quick"
    for endpoint_name, model in ((slow, Echo("slow", seconds=0.2)), (quick, Echo("quick"))):
        service.register(endpoint_name, model)
        service.deploy(endpoint_name, endpoint_name=endpoint_name)
    with redis.Redis.from_url(service.redis.url) as client:
        fill(client, slow, backlog)
        for number in range(50):
            assert service.predict(quick, str(number))["prediction"] == ["quick", str(number)]
        left = client.llen(queue_name(slow))
        client.delete(queue_name(slow))
    # All of the neighbour's jobs were done while nearly all of the backlog still waits: were there one
    # queue for both, they would have been the last.
    assert left > backlog - TAKEN


def fill(client: redis.Redis, endpoint_name: str, count: int) -> None:
    """Put jobs onto a queue as a bare Celery program would, faster."""
    message = prepare({})
    args = json.dumps([endpoint_name, "x"]).encode()
    for start in range(0, count, 1_000):
        numbers = range(start, start + 1_000)
        jobs = (Job(f"{number:036d}", endpoint_name, time.time()) for number in numbers)
        client.lpush(queue_name(endpoint_name), *(message.envelope(job, args, b"{}") for job in jobs))
