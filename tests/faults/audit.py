"""The audit after a fault: every accepted job has its one right end, and nothing is left anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx
import redis

from tests.support.loads.load import Accepted
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues.naming import queue_names

Expected = Callable[[str], Any]


def check(
    stack: Stack, endpoint_name: str, accepted: Iterable[Accepted], expected: Expected, timeout_s: float
) -> list[dict[str, Any]]:
    """Wait until all these jobs have ended; fail unless each has its model's own prediction and nothing is left.

    Returns the jobs' documents.

    Raises:
        AssertionError: says which jobs were lost, failed or answered wrongly, or what was left.
    """
    jobs = list(accepted)
    found = check_ends(stack, endpoint_name, jobs, timeout_s)
    for job in jobs:
        document = found[job.job_id]
        assert document["outcome"]["prediction"] == expected(job.row), document
    return list(found.values())


def check_ends(
    stack: Stack, endpoint_name: str, jobs: Sequence[Accepted], timeout_s: float
) -> dict[str, dict[str, Any]]:
    """Wait until all these jobs have succeeded and nothing is left of them; return their documents by job id.

    Raises:
        AssertionError: says which jobs were lost or failed, or what was left.
    """
    assert jobs, "nothing was accepted, so nothing is shown"
    assert len({job.job_id for job in jobs}) == len(jobs), "two accepted jobs have the same id"
    found: dict[str, dict[str, Any]] = {}
    with httpx.Client(base_url=stack.url, timeout=30) as api:
        eventually(
            lambda: _all_ended(api, jobs, found), timeout_s, interval_s=0.1, message="every accepted job has ended"
        )
    for job in jobs:
        document = found[job.job_id]
        assert document["status"] == "succeeded", document
    ids = [job.job_id for job in jobs]
    eventually(lambda: leftovers(stack, endpoint_name, ids) == {}, 5, message="nothing is left of ended jobs")
    return found


def leftovers(stack: Stack, endpoint_name: str, job_ids: Sequence[str] = ()) -> dict[str, Any]:
    """What queues, leases and the bookkeeping of unfinished jobs still hold; empty after a quiet end."""
    with redis.Redis.from_url(stack.redis.url) as client:
        leased: dict[bytes, bytes] = client.hgetall(keys.LEASED)
        prefixes = tuple(f"{queue}\n".encode() for queue in queue_names(endpoint_name))
        found = {
            "queued": sum(client.llen(queue) for queue in queue_names(endpoint_name)),
            "leased": sum(each.startswith(prefixes) for each in leased.values()),
            "unfinished": client.zcard(keys.unfinished(endpoint_name)),
            "weighed": client.hlen(keys.weights(endpoint_name)),
            "delayed": client.zcard(keys.delayed(endpoint_name)),
            "message copies": client.exists(*map(keys.message, job_ids)) if job_ids else 0,
        }
    return {name: value for name, value in found.items() if value}


def _all_ended(api: httpx.Client, jobs: Sequence[Accepted], found: dict[str, dict[str, Any]]) -> bool:
    """Add to `found` the documents of all jobs that have ended; fail at one that has not."""
    for job in jobs:
        if job.job_id in found:
            continue
        answer = api.get(f"/jobs/{job.job_id}")
        assert answer.status_code == 200, f"job {job.job_id} is lost: {answer.text}"
        document = answer.json()
        assert document["status"] not in ("queued", "running"), f"job {job.job_id} is {document['status']}"
        found[job.job_id] = document
    return True
