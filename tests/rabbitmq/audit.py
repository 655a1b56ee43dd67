"""The audit after a fault, with RabbitMQ's own counts: every accepted job has its right end, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis

from tests.support.loads.load import Accepted
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues.naming import queue_names

Expected = Callable[[str], Any]


def check(
    stack: Stack, rabbit: RabbitNode, endpoint_name: str, accepted: Iterable[Accepted], expected: Expected
) -> list[dict[str, Any]]:
    """Wait until all these jobs have ended; fail unless each has its model's own prediction and nothing is left."""
    jobs = list(accepted)
    ids = [job.job_id for job in jobs]
    assert jobs, "nothing was accepted, so nothing is shown"
    assert len(set(ids)) == len(ids), "two accepted jobs have the same id"
    documents = stack.ended(ids)
    for job, document in zip(jobs, documents, strict=True):
        assert document["status"] == "succeeded", document
        assert document["outcome"]["prediction"] == expected(job.row), document
    eventually(lambda: leftovers(stack, rabbit, endpoint_name, ids) == {}, message="nothing is left of ended jobs")
    return documents


def leftovers(stack: Stack, rabbit: RabbitNode, endpoint_name: str, job_ids: Sequence[str] = ()) -> dict[str, Any]:
    """What the endpoint's queue and the records still hold; empty after a quiet end."""
    known = rabbit.queues()
    queues = [known[each] for each in queue_names(endpoint_name) if each in known]
    with redis.Redis.from_url(stack.redis.url) as client:
        found = {
            "ready": sum(queue["messages_ready"] for queue in queues),
            "unacknowledged": sum(queue["messages_unacknowledged"] for queue in queues),
            "unfinished": client.zcard(keys.unfinished(endpoint_name)),
            "weighed": client.hlen(keys.weights(endpoint_name)),
            "leased": sum(at is not None for at in client.zmscore(keys.LEASES, list(job_ids))) if job_ids else 0,
            "message copies": client.exists(*map(keys.message, job_ids)) if job_ids else 0,
        }
    return {name: value for name, value in found.items() if value}
