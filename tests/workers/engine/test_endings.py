"""Writing the ends of jobs: however many there are, each has its record and its message is let go of."""

from __future__ import annotations

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import RecordingIntake, context, deployment, queued_job
from workers import jobs, keys
from workers.engine import endings
from workers.errors import EndpointUndeployed
from workers.jobs import JobState


@pytest.mark.slow
def test_more_jobs_than_a_script_takes_are_ended_in_parts(store: redis.Redis, with_redis: WithRedis) -> None:
    # A worker holds as many jobs whose time has not come, and rejects them all at once.
    ids = [f"job-{number}" for number in range(10_000)]
    intake = RecordingIntake()

    async def rejected(client: Redis) -> None:
        shared, error = context(client, intake=intake), EndpointUndeployed("no more")
        ends = [endings.failed(shared, queued_job(job_id), error, None, 2_000.0) for job_id in ids]
        await endings.write(shared, deployment(), ends)

    with_redis(rejected)
    assert intake.acked == ids
    assert store.hget(keys.counts("adding"), "failed") == b"10000"
    assert {jobs.get(job_id).state for job_id in (ids[0], ids[-1])} == {JobState.FAILED}
