"""Fencing: a worker that lost a lease can't renew or end it, nor begin or end its job while another holds it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.support.waiting import eventually, until
from tests.workers.conftest import WithRedis, submit_ids
from tests.workers.engine.intake.test_redis import QUEUE, RecordingTaker, running
from tests.workers.engine.serving.test_claiming import LOST, Worker, held, ids
from tests.workers.stand_ins import worker_report
from workers import keys
from workers.engine.intake.leases import Leased, Leases
from workers.engine.intake.redis import RedisIntake
from workers.jobs import query, transitions
from workers.jobs.query import JobState
from workers.jobs.transitions import Claim, Finish
from workers.measures import reports
from workers.measures.counters import Kind
from workers.queues.lease_holder import LEASE_HOLDER

STARTED, DONE = b'{"status": "STARTED"}', b'{"status": "SUCCESS", "result": {}}'


def lease_of(store: redis.Redis, job_id: str) -> tuple[Any, Any, Any]:
    return store.zscore(keys.LEASES, job_id), store.hget(keys.LEASED, job_id), store.hget(keys.HOLDERS, job_id)


def taken_over(store: redis.Redis, with_redis: WithRedis, job_id: str, by: str = "another") -> None:
    """Let another worker fetch a job with an expired lease."""
    store.zadd(keys.LEASES, {job_id: 1.0})
    with_redis(lambda client: Leases(client, 20.0).expire())
    if by == "an earlier release":
        # It pops, and names no holder.
        message = store.rpop(QUEUE)
        assert isinstance(message, bytes)
        store.zadd(keys.LEASES, {job_id: time.time() + 20})
        store.hset(keys.LEASED, job_id, QUEUE.encode() + b"\n" + message)
    elif by:
        with_redis(lambda client: Leases(client, 20.0, by).fetch({"adding": 1}))


@pytest.fixture
def job_id(store: redis.Redis, with_redis: WithRedis) -> str:
    """A job that this process has fetched."""
    [job_id] = submit_ids(1)
    with_redis(lambda client: Leases(client, 20.0).fetch({"adding": 1}))
    return job_id


@pytest.mark.parametrize("by", ["another", "an earlier release"])
def test_a_lease_that_another_has_is_not_renewed_nor_ended(
    store: redis.Redis, with_redis: WithRedis, job_id: str, by: str
) -> None:
    taken_over(store, with_redis, job_id, by)
    before = lease_of(store, job_id)
    assert with_redis(lambda client: Leases(client, 20.0).renew([job_id, "never held"])) == [job_id, "never held"]
    with_redis(lambda client: Leases(client, 20.0).ack([job_id]))
    with_redis(lambda client: Leases(client, 20.0).give_back([job_id]))
    with_redis(lambda client: Leases(client, 20.0).put_aside(Leased(job_id, "adding", b"message")))
    assert lease_of(store, job_id) == before
    assert store.llen(QUEUE) == 0


def test_a_lease_that_has_run_out_is_renewed_as_long_as_nobody_gave_it_back(
    store: redis.Redis, with_redis: WithRedis, job_id: str
) -> None:
    runs_out_at = store.zscore(keys.LEASES, job_id) or 0.0
    short = with_redis(lambda client: Leases(client, 0.05).renew([job_id]))
    eventually(lambda: (store.zscore(keys.LEASES, job_id) or 0) < time.time())
    assert short == with_redis(lambda client: Leases(client, 30.0).renew([job_id])) == []
    assert (store.zscore(keys.LEASES, job_id) or 0) > runs_out_at


def test_leases_leave_nothing_behind(store: redis.Redis, with_redis: WithRedis, job_id: str) -> None:
    assert lease_of(store, job_id)[2].startswith(LEASE_HOLDER.encode())
    with_redis(lambda client: Leases(client, 20.0).ack([job_id]))
    assert not store.exists(keys.LEASES, keys.LEASED, keys.HOLDERS)


def finish(with_redis: WithRedis, job_id: str) -> bool:
    end = Finish(job_id, DONE, Kind.SUCCEEDED, 1.0)
    [written] = with_redis(lambda client: transitions.finish(client, "adding", [end], time.time(), None, [job_id]))
    return written


@pytest.mark.parametrize("by", ["another", "an earlier release"])
def test_the_end_of_a_job_that_another_has_is_refused(
    store: redis.Redis, with_redis: WithRedis, job_id: str, by: str
) -> None:
    taken_over(store, with_redis, job_id, by)
    before = lease_of(store, job_id)
    assert not finish(with_redis, job_id)
    assert query.get(job_id).state is JobState.QUEUED
    assert lease_of(store, job_id) == before
    assert store.exists(keys.message(job_id))
    assert store.zcard(keys.unfinished("adding")) == 1


def test_the_end_of_a_job_that_nobody_else_has_taken_counts(
    store: redis.Redis, with_redis: WithRedis, job_id: str
) -> None:
    taken_over(store, with_redis, job_id, by="")
    assert finish(with_redis, job_id)
    assert query.get(job_id).state is JobState.SUCCEEDED
    assert store.zcard(keys.unfinished("adding")) == 0


@pytest.mark.parametrize("by", ["another", ""], ids=["with another", "in its queue"])
def test_a_job_whose_lease_was_lost_is_not_begun(
    store: redis.Redis, with_redis: WithRedis, job_id: str, by: str
) -> None:
    taken_over(store, with_redis, job_id, by)
    claims = [Claim(job_id, STARTED, 1.0, job_id), Claim("other", STARTED, 1.0)]
    assert with_redis(lambda client: transitions.claim(client, "adding", claims)) == ["NOT_HELD", ""]
    assert query.get(job_id).state is JobState.QUEUED


def test_a_worker_drops_a_job_that_it_could_not_renew(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)

    async def lose(client: Redis) -> None:
        async with running(client, lease_s=2.0, adding=1) as now:
            adding = now.sinks["adding"]
            await until(lambda: adding.ids == [job_id])
            [job] = adding.jobs
            assert now.intake.keeps(job)
            store.zadd(keys.LEASES, {job_id: time.time() + 60})
            await until(lambda: not now.intake.held)
            assert not now.intake.keeps(job)

    with_redis(lose)


def test_what_is_being_ended_is_not_lost(
    store: redis.Redis, with_redis: WithRedis, caplog: pytest.LogCaptureFixture
) -> None:
    ended, other = submit_ids(2)

    async def end(client: Redis) -> None:
        async with running(client, lease_s=0.8, adding=2) as now:
            await until(lambda: len(now.intake.held) == 2)
            with now.intake.ending([ended]):
                # In Redis it has ended, and the answer that says so is still on its way.
                await now.intake.leases.ack([ended])
                for _ in range(2):
                    before = store.zscore(keys.LEASES, other)
                    await until(lambda before=before: store.zscore(keys.LEASES, other) != before)  # type: ignore[misc]
                assert now.intake.held == [ended, other]
            assert now.intake.held == [other]

    with_redis(end)
    assert "lost" not in caplog.text


def test_a_job_that_is_fetched_anew_is_not_the_one_that_was_lost(store: redis.Redis, with_redis: WithRedis) -> None:
    submit_ids(1)

    async def lose(client: Redis) -> None:
        async with running(client, adding=2) as now:
            adding = now.sinks["adding"]
            await until(lambda: adding.jobs)
            [first] = adding.jobs
            now.intake.let_go([first.tag])
            await now.intake.leases.give_back([first.tag])
            now.intake.ring("adding")
            await until(lambda: len(adding.jobs) == 2)
            assert [now.intake.keeps(job) for job in adding.jobs] == [False, True]

    with_redis(lose)


def test_a_message_that_was_sent_twice_is_no_poison(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    first, second = held(job_id), held(job_id)
    second.tag = "another tag"
    assert ids(Worker(with_redis, max_attempts=1).claim(first).jobs) == [job_id]
    for name in ("w@1", "w@2"):
        worker = Worker(with_redis, name, max_attempts=1)
        worker.intake.leased = {job_id}
        assert worker.claim(second) == ([], [], [])
        assert worker.intake.acked == [job_id]
    assert (query.get(job_id).state, query.get(job_id).attempts) == (JobState.RUNNING, 1)


def test_an_attempt_under_another_tag_is_lost_with_its_lease(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = submit_ids(1)
    first, second = held(job_id), held(job_id)
    first.tag = "another tag"
    Worker(with_redis, "dead@1").claim(first)
    assert ids(Worker(with_redis).claim(second).jobs) == [job_id]
    assert list(query.get(job_id).failures) == [LOST]


@pytest.mark.parametrize(("holder", "blamed"), [("me", False), ("the process before", True)])
def test_a_worker_that_lives_and_lost_its_lease_is_no_lost_attempt(
    store: redis.Redis, with_redis: WithRedis, holder: str, blamed: bool
) -> None:
    [job_id] = submit_ids(1)
    Worker(with_redis, "slow@1").claim(held(job_id))
    with_redis(lambda client: reports.write(client, {**worker_report("slow@1"), "holder": holder}))
    claimed = Worker(with_redis, max_attempts=1).claim(held(job_id))
    assert (ids(claimed.jobs), len(claimed.ends)) == (([], 1) if blamed else ([job_id], 0))
    if not blamed:
        assert (query.get(job_id).attempts, query.get(job_id).failures) == (2, ())


def test_after_an_outage_leases_are_renewed_before_any_is_given_back(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def survive(client: Redis) -> None:
        intake = RedisIntake(client, {"adding": RecordingTaker()}, 0.02)

        async def renew() -> None:
            seen.append("renew")
            if len(seen) == 1:
                raise redis.ConnectionError("away")

        async def expire() -> int:
            seen.append("expire")
            if len(seen) > 4:
                raise LookupError
            return 0

        monkeypatch.setattr(intake, "_renew", renew)
        monkeypatch.setattr(intake.leases, "expire", expire)
        with pytest.raises(LookupError):
            await intake.renew()

    with_redis(survive)
    assert seen == ["renew", "renew", "renew", "expire", "renew", "expire"]
