"""The sweeper: what is recorded and stands nowhere is sent again, what is late expires."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import jobs, keys
from workers.engine import outcomes, sweeper
from workers.engine.context import cancelled
from workers.engine.leases import Leases
from workers.engine.outcomes import Claim
from workers.engine.sweeper import Sweeper
from workers.jobs import JobState
from workers.priorities import Priority
from workers.queues import queue_name
from workers.settings import WorkerSettings

QUEUE = queue_name("adding")
LEASE_S = 2.0
#: Older than anything that may still be on its way.
LONG_AGO_S = 1_000.0


def settings() -> WorkerSettings:
    return WorkerSettings(lease_s=LEASE_S, sweep_interval_s=0.1)


def sweep(with_redis: WithRedis) -> None:
    with_redis(lambda client: Sweeper(client, Leases(client, LEASE_S), settings()).sweep())


def age(store: redis.Redis, *job_ids: str, name: str = "adding") -> None:
    """As if the jobs had been submitted long ago."""
    for job_id in job_ids:
        store.zincrby(keys.unfinished(name), -LONG_AGO_S, job_id)


def queued(store: redis.Redis, queue: str = QUEUE) -> list[bytes]:
    """The messages of a queue, the next one first."""
    return [bytes(each) for each in store.lrange(queue, 0, -1)[::-1]]  # type: ignore[arg-type, unused-ignore]


def copies(store: redis.Redis, *job_ids: str) -> list[bytes | None]:
    return [store.get(keys.message(job_id)) for job_id in job_ids]  # type: ignore[misc]


def test_lost_jobs_are_sent_again_in_a_redis_that_is_full(
    store: redis.Redis, with_redis: WithRedis, fill: Callable[[], None]
) -> None:
    ids = submit_ids(3)
    store.delete(QUEUE)
    age(store, *ids)
    fill()
    sweep(with_redis)
    assert queued(store) == copies(store, *ids)


def test_jobs_of_a_queue_that_somebody_emptied_are_sent_again(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    store.delete(QUEUE)
    age(store, *ids)
    sweep(with_redis)
    assert queued(store) == copies(store, *ids)
    sweep(with_redis)
    assert len(queued(store)) == 3


def test_what_waits_in_its_queue_is_not_sent_twice(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    sweep(with_redis)
    assert queued(store) == copies(store, *ids)


def test_a_job_is_lost_that_is_older_than_everything_in_its_queue(store: redis.Redis, with_redis: WithRedis) -> None:
    lost, waiting = submit_ids(2)
    store.rpop(QUEUE)
    age(store, lost)
    sweep(with_redis)
    assert queued(store) == copies(store, waiting, lost)


def test_a_job_is_given_time_to_get_into_its_queue(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    store.delete(QUEUE)
    store.zincrby(keys.unfinished("adding"), -(2 * LEASE_S + 5), job_id)
    sweep(with_redis)
    assert queued(store) == []
    store.zincrby(keys.unfinished("adding"), -10, job_id)
    sweep(with_redis)
    assert queued(store) == copies(store, job_id)


def test_what_a_worker_holds_is_left_to_it(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(3)
    with_redis(lambda client: Leases(client, 60).fetch({"adding": 2}))
    store.delete(QUEUE)
    age(store, *ids)
    sweep(with_redis)
    assert queued(store) == copies(store, ids[2])


def test_what_has_ended_or_has_no_record_is_forgotten(store: redis.Redis, with_redis: WithRedis) -> None:
    cancelled, gone = submit_ids(2)
    jobs.cancel(cancelled)
    store.zadd(keys.unfinished("adding"), {cancelled: 1.0})
    store.delete(keys.record(gone), QUEUE)
    age(store, gone)
    sweep(with_redis)
    assert queued(store) == []
    assert store.zcard(keys.unfinished("adding")) == 0


def test_the_callback_of_a_forgotten_job_stays_if_there_is_an_end_to_tell(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    ended, gone = (submit(callback_url="https://hooks.example.com/").job_id for _ in range(2))
    store.delete(QUEUE, keys.record(gone))
    store.set(keys.record(ended), b'{"status": "SUCCESS"}')
    age(store, ended, gone)
    sweep(with_redis)
    assert not store.exists(keys.unfinished("adding"))
    assert store.hkeys(keys.CALLBACKS) == [ended.encode()]


def test_a_running_job_that_was_lost_with_its_lease_is_sent_again(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    record = b'{"status": "STARTED"}'
    with_redis(lambda client: outcomes.claim(client, "adding", [Claim(job_id, record, 1.0)]))
    store.delete(QUEUE)
    age(store, job_id)
    sweep(with_redis)
    assert queued(store) == copies(store, job_id)


def test_each_endpoint_is_looked_through_however_many_jobs_it_has(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "_LOOKED_AT_ONCE", 3)
    ids = {name: submit_ids(11, name) for name in ("one", "two")}
    for name, of_endpoint in ids.items():
        age(store, *of_endpoint, name=name)
    with_redis(lambda client: Leases(client, 60).fetch({"one": 5}))
    store.delete(queue_name("one"), queue_name("two"))
    sweep(with_redis)
    assert sorted(queued(store, queue_name("one"))) == sorted(copies(store, *ids["one"][5:]))  # type: ignore[type-var]
    assert sorted(queued(store, queue_name("two"))) == sorted(copies(store, *ids["two"]))  # type: ignore[type-var]


def test_jobs_without_a_copy_of_their_message_are_looked_at_once(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They came straight from a Celery program and run; their leases have tags of their own.
    monkeypatch.setattr(sweeper, "_LOOKED_AT_ONCE", 3)
    claims = [Claim(f"theirs-{number}", b'{"status": "STARTED"}', 1.0) for number in range(7)]
    with_redis(lambda client: outcomes.claim(client, "adding", claims))

    async def bounded(client: Redis) -> None:
        async with asyncio.timeout(10):
            await Sweeper(client, Leases(client, LEASE_S), settings()).sweep()

    with_redis(bounded)
    assert queued(store) == []
    assert store.zcard(keys.unfinished("adding")) == 7


def test_a_malformed_message_in_one_queue_is_no_matter_to_the_others(store: redis.Redis, with_redis: WithRedis) -> None:
    submit("one")
    [lost] = submit_ids(1, "two")
    store.rpush(queue_name("one"), f'"{keys.SUBMITTED_AT_HEADER}": 1.2.3')
    store.delete(queue_name("two"))
    age(store, lost, name="two")
    sweep(with_redis)
    assert queued(store, queue_name("two")) == copies(store, lost)


def test_a_late_job_expires_and_a_running_one_does_not(store: redis.Redis, with_redis: WithRedis) -> None:
    late, running, waiting = (submit(expires=60).job_id for _ in range(3))
    with_redis(lambda client: outcomes.claim(client, "adding", [Claim(running, b'{"status": "STARTED"}', 1.0)]))
    store.zadd(keys.EXPIRING, {late: 1.0, running: 1.0})
    sweep(with_redis)
    assert jobs.get(late).state is JobState.EXPIRED
    assert jobs.get(running).state is JobState.RUNNING
    assert jobs.get(waiting).state is JobState.QUEUED
    assert store.zrange(keys.EXPIRING, 0, -1) == [waiting.encode()]
    assert store.hget(keys.counts("adding"), "withdrawn") == b"1"
    assert not store.exists(keys.message(late))


def test_a_record_that_can_not_be_read_keeps_no_other_job_from_its_end(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    spoilt, late, lost = submit_ids(3)
    store.set(keys.record(spoilt), b"[1, 2")
    store.zadd(keys.EXPIRING, {spoilt: time.time() - 2, late: time.time() - 1})
    age(store, lost)
    store.delete(QUEUE)
    sweep(with_redis)
    assert jobs.get(late).state is JobState.EXPIRED
    assert len(queued(store)) == 1
    assert store.zcard(keys.EXPIRING) == 0


def test_a_round_that_another_worker_has_made_is_skipped(store: redis.Redis, with_redis: WithRedis) -> None:
    swept: list[bool] = []

    class Counted(Sweeper):
        async def sweep(self) -> None:
            swept.append(True)

    async def run(client: Redis) -> None:
        store.set(keys.SWEPT, "by another")
        before = tried(store)
        task = asyncio.create_task(Counted(client, Leases(client, LEASE_S), settings()).run())
        async with asyncio.timeout(20):
            while tried(store) < before + 3:
                await asyncio.sleep(0.01)
            assert swept == []
            store.delete(keys.SWEPT)
            while not swept:
                await asyncio.sleep(0.01)
        await cancelled([task])

    with_redis(run)
    assert store.pttl(keys.SWEPT) <= 90


def tried(store: redis.Redis) -> int:
    """How often anybody has tried to be the one who sweeps."""
    calls: int = store.info("commandstats").get("cmdstat_set", {}).get("calls", 0)
    return calls


class Failing(Leases):
    """A source that can't be asked, each time in another way."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, LEASE_S)
        self.asked: list[str] = []

    async def oldest_at(self, endpoint_name: str) -> float | None:
        self.asked.append(endpoint_name)
        raise [OSError("away"), ValueError("odd")][len(self.asked) % 2]

    async def without_lease(self, job_ids: Sequence[str]) -> list[str]:
        raise NotImplementedError


def test_a_round_that_fails_is_followed_by_another(
    store: redis.Redis, with_redis: WithRedis, caplog: pytest.LogCaptureFixture
) -> None:
    submit()

    async def run(client: Redis) -> None:
        source = Failing(client)
        task = asyncio.create_task(Sweeper(client, source, settings()).run())
        async with asyncio.timeout(20):
            while len(source.asked) < 3:
                await asyncio.sleep(0.01)
        assert not task.done()
        await cancelled([task])

    with caplog.at_level(logging.WARNING, "workers.engine.sweeper"):
        with_redis(run)
    assert "can't look for lost jobs" in caplog.text
    assert "could not be looked for" in caplog.text


def test_a_lost_job_goes_back_to_the_queue_of_its_priority(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = {level: submit(priority=level).job_id for level in Priority}
    store.delete(*(queue_name("adding", level) for level in Priority))
    age(store, *ids.values())
    sweep(with_redis)
    for level, job_id in ids.items():
        assert queued(store, queue_name("adding", level)) == copies(store, job_id)


def test_what_waits_behind_more_urgent_jobs_is_not_lost(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with monkeypatch.context() as long_ago:
        long_ago.setattr(time, "time", lambda: now - LONG_AGO_S)
        low = submit(priority="low").job_id
    submit()
    sweep(with_redis)
    assert queued(store, queue_name("adding", Priority.LOW)) == copies(store, low)
