"""Jobs that are fetched before they are due are delayed, and use no credit of their endpoint."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis
from celery import Celery
from redis.asyncio import Redis

from tests.support.waiting import until
from tests.workers.conftest import WithRedis, submit
from tests.workers.engine.intake.test_redis import running
from tests.workers.stand_ins import queued_job
from workers import keys
from workers.engine.intake.delays import Delays
from workers.engine.intake.leases import Leases
from workers.engine.intake.messages import QueuedJob, parse
from workers.engine.intake.rabbitmq_leases import AmqpSource
from workers.jobs import query
from workers.jobs.query import JobState
from workers.queues import arguments
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

NAME = "adding"
QUEUE = queue_name(NAME)
LATER_S = 600.0


def bare(app: Celery, countdown: float = LATER_S, **options: object) -> str:
    return str(app.send_task("predict", [NAME, 1], queue=QUEUE, countdown=countdown, **options).id)


def take_until_empty(store: redis.Redis, with_redis: WithRedis) -> list[str]:
    """Run an intake until nothing is queued or leased but what a sink has; return the ids of that."""

    async def take(client: Redis) -> list[str]:
        async with running(client, adding=2) as now:
            taken = now.sinks[NAME]
            await until(lambda: not store.exists(QUEUE) and store.zcard(keys.LEASES) == len(taken.jobs))
            return taken.ids

    return with_redis(take)


def delayed_ids(store: redis.Redis) -> list[str]:
    return [each.decode() for each in store.zrange(keys.delayed(NAME), 0, -1)]  # type: ignore[union-attr]


def test_messages_of_a_bare_program_are_put_aside_however_many_and_the_next_job_is_taken(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery
) -> None:
    later = [bare(bare_app, LATER_S + number) for number in range(30)]
    now = submit().job_id
    assert take_until_empty(store, with_redis) == [now]
    assert delayed_ids(store) == later
    assert store.hlen(keys.LEASED) == store.hlen(keys.HOLDERS) == 1


def test_what_is_put_aside_is_a_job_that_can_be_seen_cancelled_and_expires(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery
) -> None:
    job_id = bare(bare_app, expires=2 * LATER_S, priority=6)
    store.rename(QUEUE + "\x06\x166", QUEUE)  # where this test looks for it
    take_until_empty(store, with_redis)
    job = query.get(job_id)
    assert (job.state, job.is_delayed, job.priority) == (JobState.QUEUED, True, Priority.LOW)
    assert [each.job_id for each in query.recent(NAME)] == [job_id]
    assert store.zscore(keys.unfinished(NAME), job_id) == store.zscore(keys.delayed(NAME), job_id) == job.not_before
    assert store.zscore(keys.prioritized(NAME), job_id) == job.not_before
    assert store.zscore(keys.EXPIRING, job_id) == job.expires_at
    assert arguments.values(parse("", NAME, store.get(keys.message(job_id))).rows) == [1]  # type: ignore[arg-type]
    assert NAME.encode() in store.smembers(keys.ENDPOINTS)
    query.cancel(job_id)
    assert delayed_ids(store) == []


def test_what_an_earlier_release_has_queued_is_put_aside_under_its_time(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    job_id = submit(countdown=LATER_S).job_id
    due_at = store.zscore(keys.delayed(NAME), job_id)
    # As that release stores it.
    store.delete(keys.delayed(NAME))
    store.zadd(keys.unfinished(NAME), {job_id: time.time()})
    store.lpush(QUEUE, store.get(keys.message(job_id)))  # type: ignore[arg-type]
    take_until_empty(store, with_redis)
    assert delayed_ids(store) == [job_id]
    assert store.zscore(keys.unfinished(NAME), job_id) == due_at


def test_an_endpoint_that_rejects_gets_jobs_whatever_their_time(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery
) -> None:
    job_id = bare(bare_app)

    async def take(client: Redis) -> None:
        async with running(client, adding=0) as now:
            sink = now.sinks[NAME]
            sink.takes_early, sink.capacity = True, 2
            now.intake.ring(NAME)
            await until(lambda: sink.ids == [job_id])

    with_redis(take)
    assert delayed_ids(store) == []


def test_a_key_of_the_wrong_type_is_the_endpoints_trouble_and_the_messages_come_again(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery
) -> None:
    store.set(keys.delayed(NAME), "no set")
    later = bare(bare_app)

    async def take(client: Redis) -> None:
        async with running(client, lease_s=0.2, adding=2) as now:
            sink = now.sinks[NAME]
            await until(lambda: "WRONGTYPE" in (sink.undelayed or ""))
            other = await asyncio.to_thread(submit)
            now.intake.ring(NAME)
            await until(lambda: other.job_id in sink.ids)
            store.delete(keys.delayed(NAME))
            await until(lambda: delayed_ids(store) == [later] and sink.undelayed is None)

    with_redis(take)


def fetched(store: redis.Redis, with_redis: WithRedis) -> QueuedJob:
    [leased] = with_redis(lambda client: Leases(client, 20.0).fetch({NAME: 1}))
    return parse(leased.tag, NAME, leased.message)


@pytest.mark.parametrize("beside", [True, False])
def test_a_message_that_was_put_aside_and_comes_again_changes_nothing(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery, beside: bool
) -> None:
    job_id = bare(bare_app)
    message = store.lindex(QUEUE, 0)
    for _ in range(2):
        job = fetched(store, with_redis)
        delay = lambda client, job=job: Delays(client, leases_are_beside_records=beside).delay(NAME, [job])  # noqa: E731
        assert with_redis(delay) == ([], [job])
        store.lpush(QUEUE, message)  # type: ignore[arg-type]
    assert delayed_ids(store) == [job_id]


@pytest.mark.parametrize("beside", [True, False])
def test_redis_says_whether_a_time_has_come(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery, beside: bool
) -> None:
    bare(bare_app)
    job = fetched(store, with_redis)
    job.not_before = time.time() - 0.01
    delay = lambda client: Delays(client, leases_are_beside_records=beside).delay(NAME, [job])  # noqa: E731
    assert with_redis(delay) == ([job], [])
    assert store.zcard(keys.LEASES) == 1


def test_a_job_that_has_ended_is_settled_and_one_whose_lease_was_lost_is_left_to_others(
    store: redis.Redis, with_redis: WithRedis, bare_app: Celery
) -> None:
    ended, lost = bare(bare_app), bare(bare_app)
    store.set(keys.record(ended), b'{"status": "SUCCESS"}')
    found = [fetched(store, with_redis), fetched(store, with_redis)]
    store.hset(keys.HOLDERS, found[1].tag, "another 1")
    delayed_now = with_redis(lambda client: Delays(client, leases_are_beside_records=True).delay(NAME, found))
    assert delayed_now == ([], found[:1])
    assert delayed_ids(store) == []
    assert not query.recent(NAME)
    assert lost


def test_a_job_that_is_put_aside_says_nothing_of_how_far_a_queue_of_rabbitmq_was_read(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    later, now = submit(countdown=LATER_S).job_id, submit().job_id
    for job_id, told in ((later, False), (now, True)):
        job = queued_job(job_id, submitted_at=time.time() - 1)
        with_redis(lambda client, job=job: AmqpSource(client, 20.0).took(QUEUE, [job]))  # type: ignore[misc]
        assert store.exists(keys.HEADS) == told
