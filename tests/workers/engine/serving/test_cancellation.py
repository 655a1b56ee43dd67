"""Running jobs whose records have ended are stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.support.waiting import until
from tests.workers.conftest import WithRedis, submit_ids
from tests.workers.stand_ins import queued_job
from workers.embedded_redis.server import EmbeddedRedis
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving.cancellation import Cancellation
from workers.engine.supervision import cancelled
from workers.jobs import query, transitions
from workers.jobs.transitions import Claim


class RecordingEndpoint:
    """Runs jobs for ever, and takes note of those that it is told to stop."""

    def __init__(self, *job_ids: str) -> None:
        self.claimed_jobs = [queued_job(job_id) for job_id in job_ids]
        self.cancelled: list[str] = []
        self.at_once: list[bool] = []

    def cancel(self, job: QueuedJob, *, at_once: bool) -> None:
        self.cancelled.append(job.job_id)
        self.at_once.append(at_once)


def start(with_redis: WithRedis, *job_ids: str) -> None:
    claims = [Claim(job_id, b'{"status": "STARTED", "endpoint_name": "adding"}', 1.0) for job_id in job_ids]
    with_redis(lambda client: transitions.claim(client, "adding", claims))


def run(with_redis: WithRedis, endpoints: Any, what: Callable[[Cancellation], Any]) -> None:
    """Do something while cancellations are looked for."""

    async def running(client: Redis) -> None:
        cancellation = Cancellation(client, endpoints)
        task = asyncio.create_task(cancellation.run())
        async with asyncio.timeout(20):
            await what(cancellation)
        assert not task.done()
        await cancelled([task])

    with_redis(running)


def test_what_was_cancelled_by_force_is_stopped_and_nothing_else(store: redis.Redis, with_redis: WithRedis) -> None:
    cancelled, running, also = submit_ids(3)
    start(with_redis, cancelled, running, also)
    one, two = RecordingEndpoint(cancelled, running), RecordingEndpoint(also)

    async def cancel(cancellation: Cancellation) -> None:
        for job_id in (cancelled, also):
            query.cancel(job_id, force=True)
        assert one.cancelled == []
        cancellation.nudge(b"anything that was heard")
        await until(lambda: one.cancelled and two.cancelled)

    run(with_redis, {"one": one, "two": two}, cancel)
    assert (one.cancelled, two.cancelled) == ([cancelled], [also])


def test_a_job_without_a_record_goes_on(store: redis.Redis, with_redis: WithRedis) -> None:
    [cancelled] = submit_ids(1)
    start(with_redis, cancelled)
    query.cancel(cancelled, force=True)
    endpoint = RecordingEndpoint("unknown", cancelled)

    async def look(cancellation: Cancellation) -> None:
        cancellation.nudge()
        await until(lambda: endpoint.cancelled)

    run(with_redis, {"one": endpoint}, look)
    assert endpoint.cancelled == [cancelled]


def test_a_nudge_while_redis_is_away_is_not_lost(
    store: redis.Redis, with_redis: WithRedis, redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    [cancelled] = submit_ids(1)
    start(with_redis, cancelled)
    query.cancel(cancelled, force=True)
    endpoint = RecordingEndpoint(cancelled)

    async def look(cancellation: Cancellation) -> None:
        redis_server.stop()
        cancellation.nudge()
        await until(lambda: "checking for cancelled jobs failed" in caplog.text)
        redis_server.start()
        await until(lambda: endpoint.cancelled)

    with caplog.at_level(logging.WARNING):
        run(with_redis, {"one": endpoint}, look)
