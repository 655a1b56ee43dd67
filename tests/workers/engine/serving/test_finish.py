"""Writing endings: any number of jobs get their records, and their messages are acknowledged."""

from __future__ import annotations

import asyncio

import pytest
import redis
from celery.exceptions import TaskRevokedError
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from tests.support.waiting import until_done
from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import RecordingIntake, context, deployment, queued_job
from workers import keys
from workers.app import app
from workers.engine.serving import finish
from workers.errors import EndpointUndeployed
from workers.jobs import query, records
from workers.jobs.query import JobState


@pytest.mark.slow
def test_more_jobs_than_a_script_takes_are_ended_in_parts(store: redis.Redis, with_redis: WithRedis) -> None:
    # A worker holds as many jobs whose time has not come, and rejects them all at once.
    ids = [f"job-{number}" for number in range(10_000)]
    intake = RecordingIntake()

    async def rejected(client: Redis) -> None:
        shared, error = context(client, intake=intake), EndpointUndeployed("no more")
        ends = [finish.failed(shared, queued_job(job_id), error, None, 2_000.0) for job_id in ids]
        await finish.write(shared, deployment(), ends)

    with_redis(rejected)
    assert intake.acked == ids
    assert store.hget(keys.counts("adding"), "failed") == b"10000"
    assert {query.get(job_id).state for job_id in (ids[0], ids[-1])} == {JobState.FAILED}


def test_endings_of_several_hosts_in_one_turn_of_the_loop_are_one_write(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    desired, other = deployment(), deployment("other")
    counted: list[int] = []

    async def ended(client: Redis) -> None:
        shared, error = context(client), EndpointUndeployed("no more")

        def end(*job_ids: str, of: DesiredDeployment = desired) -> None:
            ends = [finish.failed(shared, queued_job(job_id), error, None, 2_000.0) for job_id in job_ids]
            finish.write_soon(shared, of, ends)

        end("first")
        await until_done(shared.settle())
        store.config_resetstat()
        end("a", "b")
        end("c")
        end("d", of=other)
        await until_done(shared.settle())
        counted.append(store.info("commandstats")["cmdstat_evalsha"]["calls"])
        end("later")
        await until_done(shared.settle())

    with_redis(ended)
    assert counted == [2], "one for each endpoint"
    assert {query.get(job_id).state for job_id in ("a", "b", "c", "d", "later")} == {JobState.FAILED}
    assert store.hget(keys.counts("adding"), "failed") == b"5"
    assert store.hget(keys.counts("other"), "failed") == b"1"


def test_an_ending_after_one_whose_task_was_cancelled_before_it_began_is_written(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    desired = deployment()

    async def ended(client: Redis) -> None:
        shared, error = context(client), EndpointUndeployed("no more")

        def end(job_id: str) -> None:
            finish.write_soon(shared, desired, [finish.failed(shared, queued_job(job_id), error, None, 2_000.0)])

        end("lost")
        before = asyncio.current_task()
        [writing] = [each for each in asyncio.all_tasks() if each is not before and "write_all" in repr(each)]
        writing.cancel()
        await until_done(asyncio.wait([writing]))
        assert not shared.pending_endings
        end("next")
        await until_done(shared.settle())

    with_redis(ended)
    assert query.get("next").state is JobState.FAILED


def test_a_job_of_an_undeployed_endpoint_ends_as_cancelled_with_the_reason(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def rejected(client: Redis) -> None:
        shared = context(client)
        await finish.write(shared, deployment(), [finish.rejected(shared, queued_job("late"), 2_000.0)])

    with_redis(rejected)
    job = query.get("late")
    assert (job.state, job.error) == (
        JobState.CANCELLED,
        {
            "code": "endpoint_undeployed",
            "type": "EndpointUndeployed",
            "message": "Endpoint 'adding' was undeployed and its queued jobs were rejected.",
        },
    )
    assert store.hgetall(keys.counts("adding")) == {b"withdrawn": b"1"}
    with pytest.raises(TaskRevokedError, match="was undeployed"):
        app.AsyncResult("late").get(timeout=1)


def test_a_rejected_job_of_an_earlier_release_is_read_as_the_failure_that_it_says(store: redis.Redis) -> None:
    record = records.failed(queued_job("earlier"), EndpointUndeployed("no more"), 2_000.0)
    store.set(keys.record("earlier"), record)
    job = query.get("earlier")
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "endpoint_undeployed"
    with pytest.raises(EndpointUndeployed, match="no more"):
        app.AsyncResult("earlier").get(timeout=1)
