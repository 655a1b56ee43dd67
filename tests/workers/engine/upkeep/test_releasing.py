"""Delayed jobs are moved to their queues when they are due, each once, and not before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis, submit
from workers import keys
from workers.engine.intake.leases import Leases
from workers.engine.intake.rabbitmq_connection import BrokerGone
from workers.engine.supervision import cancelled
from workers.engine.upkeep.releasing import Release, Releaser
from workers.jobs import query
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

NAME = "adding"
LATER_S = 600.0

BESIDE = pytest.mark.parametrize("beside", [True, False], ids=["one Redis", "another broker"])


def release(with_redis: WithRedis, beside: bool, *, all_of_them: bool = False, source: Any = None) -> None:
    async def run(client: Redis) -> None:
        await Release(client, source or Leases(client, 20.0), beside_records=beside).due(NAME, all_of_them=all_of_them)

    with_redis(run)


def make_due(store: redis.Redis, *job_ids: str) -> None:
    """As if the time of these jobs had come, one after the other."""
    for number, job_id in enumerate(job_ids):
        store.zadd(keys.delayed(NAME), {job_id: time.time() - 100 + number / 1000})


def queued(store: redis.Redis, priority: Priority = Priority.NORMAL) -> list[bytes]:
    """The messages of a queue, the next one first."""
    return [bytes(each) for each in store.lrange(queue_name(NAME, priority), 0, -1)[::-1]]  # type: ignore[arg-type, unused-ignore]


def copies(store: redis.Redis, *job_ids: str) -> list[Any]:
    return [store.get(keys.message(job_id)) for job_id in job_ids]


@BESIDE
def test_what_is_due_goes_into_its_queue_in_the_order_of_time_behind_others(
    store: redis.Redis, with_redis: WithRedis, beside: bool
) -> None:
    before, second, first, later = submit(), *(submit(countdown=LATER_S) for _ in range(3))
    make_due(store, first.job_id, second.job_id)
    release(with_redis, beside)
    assert queued(store) == copies(store, before.job_id, first.job_id, second.job_id)
    assert store.zrange(keys.delayed(NAME), 0, -1) == [later.job_id.encode()]
    # It counts as put into its queue now.
    for each in (first, second):
        assert store.zscore(keys.unfinished(NAME), each.job_id) == pytest.approx(time.time(), abs=20)
    release(with_redis, beside)
    assert len(queued(store)) == 3


@BESIDE
def test_each_goes_to_the_queue_of_its_priority(store: redis.Redis, with_redis: WithRedis, beside: bool) -> None:
    ids = {priority: submit(countdown=LATER_S, priority=priority).job_id for priority in Priority}
    make_due(store, *ids.values())
    release(with_redis, beside)
    for priority, job_id in ids.items():
        assert queued(store, priority) == copies(store, job_id)


@BESIDE
def test_what_has_ended_or_runs_or_is_gone_is_dropped(store: redis.Redis, with_redis: WithRedis, beside: bool) -> None:
    ended, runs, gone, copyless = (submit(countdown=LATER_S).job_id for _ in range(4))
    store.set(keys.record(ended), b'{"status": "SUCCESS"}')
    store.set(keys.record(runs), b'{"status": "STARTED"}')
    store.delete(keys.record(gone), keys.message(copyless))
    make_due(store, ended, runs, gone, copyless)
    release(with_redis, beside)
    assert queued(store) == []
    assert not store.exists(keys.delayed(NAME))
    assert {each.decode() for each in store.zrange(keys.unfinished(NAME), 0, -1)} == {runs, copyless}  # type: ignore[union-attr]


@BESIDE
def test_many_are_released_at_once_also_in_a_redis_that_is_full(
    store: redis.Redis, with_redis: WithRedis, fill: Callable[[], None], beside: bool
) -> None:
    ids = [submit(countdown=LATER_S).job_id for _ in range(450)]
    make_due(store, *ids)
    fill()
    release(with_redis, beside)
    assert len(queued(store)) == len(ids)


@BESIDE
def test_all_are_released_for_an_endpoint_that_rejects_them(
    store: redis.Redis, with_redis: WithRedis, beside: bool
) -> None:
    ids = [submit(countdown=LATER_S).job_id for _ in range(3)]
    release(with_redis, beside, all_of_them=True)
    assert len(queued(store)) == len(ids)


def test_a_queue_of_the_wrong_type_keeps_only_its_own_jobs_waiting(store: redis.Redis, with_redis: WithRedis) -> None:
    low, normal = submit(countdown=LATER_S, priority="low").job_id, submit(countdown=LATER_S).job_id
    store.set(queue_name(NAME, Priority.LOW), "no list")
    make_due(store, low, normal)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        release(with_redis, beside=True)
    assert queued(store) == copies(store, normal)
    assert store.zrange(keys.delayed(NAME), 0, -1) == [low.encode()]


class Unreachable:
    """A broker that is away."""

    def __init__(self) -> None:
        self.asked = 0

    async def send(self, *_: object) -> None:
        self.asked += 1
        raise BrokerGone("away")


def test_a_job_whose_message_was_not_sent_still_waits_and_is_taken_again_later(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    job_id = submit(countdown=LATER_S).job_id
    make_due(store, job_id)
    broker = Unreachable()
    with pytest.raises(BrokerGone):
        release(with_redis, beside=False, source=broker)
    release(with_redis, beside=False)
    assert (broker.asked, queued(store)) == (1, []), "for some seconds it is that worker's, which may have sent it"
    make_due(store, job_id)
    release(with_redis, beside=False)
    assert queued(store) == copies(store, job_id)


class Serving:
    takes_early = False


def test_a_worker_releases_its_endpoints_jobs_when_they_are_due_and_not_before(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    others, ours = submit("other", countdown=0.3), submit(countdown=0.3)
    due_at = store.zscore(keys.delayed(NAME), ours.job_id) or 0.0

    async def run(client: Redis) -> float:
        release = Release(client, Leases(client, 20.0), beside_records=True)
        task = asyncio.create_task(Releaser(release, {NAME: Serving()}, lambda *_: None).run())
        async with asyncio.timeout(20):
            while not store.exists(queue_name(NAME)):
                await asyncio.sleep(0.005)
        released_at = time.time()
        await cancelled([task])
        return released_at

    assert with_redis(run) >= due_at
    assert store.exists(keys.delayed("other"))
    assert query.get(others.job_id).not_before is not None
