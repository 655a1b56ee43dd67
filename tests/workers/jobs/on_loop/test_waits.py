"""Waiting for jobs: before, during and after their end, by hundreds at once, over a restart of Redis."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import redis

from tests.support.waiting import eventually
from tests.workers.conftest import WithRedis, submit, submit_ids
from tests.workers.jobs.conftest import LoopDesk
from workers import keys
from workers.embedded_redis.server import EmbeddedRedis
from workers.errors import JobNotFound, JobUnreadable, QueueUnavailable
from workers.jobs import accept, query, records, transitions
from workers.jobs.job import Job
from workers.jobs.on_loop import waits as waits_module
from workers.jobs.on_loop.waits import Waits
from workers.jobs.query import JobState, JobView
from workers.jobs.transitions import PUBLISHED_BYTES, Finish
from workers.measures.counters import Kind

LONG_S = 60.0


@pytest.fixture
def hearing_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for regularly: what isn't heard of is missed."""
    monkeypatch.setattr(Waits, "_look_regularly", lambda *_: None)


def waiting(loop_desk: LoopDesk, count: int) -> None:
    def all_wait() -> bool:
        return sum(watch.submitted for watch in loop_desk.watches()) == count

    eventually(all_wait, message=f"{count} callers wait")


def subscribed(loop_desk: LoopDesk) -> None:
    eventually(lambda: loop_desk.desk.waits.is_listening, message="it listens")


def looks(store: redis.Redis) -> int:
    """Count the records that waits have looked at so far."""
    return int(store.info("commandstats").get("cmdstat_strlen", {"calls": 0})["calls"])


def test_an_outcome_that_is_there_already_is_returned_at_once(store: redis.Redis, loop_desk: LoopDesk) -> None:
    job_id = submit().job_id
    query.cancel(job_id)
    assert loop_desk.wait(job_id, LONG_S).state is JobState.CANCELLED
    assert loop_desk.desk.waits._listening is None


def test_an_end_during_the_wait_ends_it(store: redis.Redis, loop_desk: LoopDesk, pool: ThreadPoolExecutor) -> None:
    job_id = submit().job_id
    waits = pool.submit(loop_desk.wait, job_id, LONG_S)
    waiting(loop_desk, 1)
    subscribed(loop_desk)
    cancelled = query.cancel(job_id)
    assert waits.result(10) == cancelled
    assert not loop_desk.watches()


def test_an_end_is_heard_of_without_a_look(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    ids = submit_ids(100)
    waits = [pool.submit(loop_desk.wait, job_id, LONG_S) for job_id in ids]
    waiting(loop_desk, 100)
    subscribed(loop_desk)
    before = looks(store)
    cancelled = query.cancel(ids[7])
    assert waits[7].result(10) == cancelled
    # The record of the job that has ended; none of the 99 others.
    assert looks(store) - before == 1
    loop_desk.release()


def test_a_short_record_is_published_with_its_id_and_not_read(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk, with_redis: WithRedis, pool: ThreadPoolExecutor
) -> None:
    ids = submit_ids(3)
    waits = [pool.submit(loop_desk.wait, job_id, LONG_S) for job_id in ids]
    waiting(loop_desk, 3)
    subscribed(loop_desk)
    before = looks(store)
    finish(with_redis, [succeeded(job_id) for job_id in ids])
    assert [each.result(10).job_id for each in waits] == ids
    assert looks(store) == before


def test_a_long_record_is_read(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk, with_redis: WithRedis, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(loop_desk.wait, job_id, LONG_S)
    waiting(loop_desk, 1)
    subscribed(loop_desk)
    finish(with_redis, [succeeded(job_id, "x" * PUBLISHED_BYTES)])
    assert waits.result(10).outcome == {"prediction": "x" * PUBLISHED_BYTES}


@pytest.mark.parametrize("other_id", ["", "\nforged", "\n"])
def test_no_id_is_taken_for_the_beginning_of_a_message_with_records(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk, with_redis: WithRedis, other_id: str
) -> None:
    job_id = submit().job_id
    forged = succeeded("forged", "wrong").record.decode()
    with loop_desk.watching(job_id) as watch:
        loop_desk.listen()
        subscribed(loop_desk)
        long = succeeded(job_id, "x" * PUBLISHED_BYTES)
        finish(with_redis, [succeeded(other_id), long, succeeded(forged)])
        assert loop_desk.run(watch.wait(10)).outcome == {"prediction": "x" * PUBLISHED_BYTES}


def succeeded(job_id: str, prediction: object = 1) -> Finish:
    record = records.succeeded(Job(job_id, "quad", None), json.dumps({"prediction": prediction}).encode(), 1.0, 2.0)
    return Finish(job_id, record, Kind.SUCCEEDED, 1.0)


def finish(with_redis: WithRedis, finishes: list[Finish]) -> None:
    assert all(with_redis(lambda client: transitions.finish(client, "quad", finishes, time.time(), None)))


def test_an_end_before_the_first_subscription_is_found(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk
) -> None:
    job_id = submit().job_id
    with loop_desk.watching(job_id) as watch:
        cancelled = query.cancel(job_id)
        assert loop_desk.run(watch.wait(10)) == cancelled


def test_a_watch_may_stand_before_its_job_is_submitted(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk
) -> None:
    with loop_desk.watching("first") as watch:
        loop_desk.listen()
        subscribed(loop_desk)
        accept.submit(("quad", 1.0), {}, task_id="first")
        cancelled = query.cancel("first")
        assert loop_desk.run(watch.wait(10)) == cancelled


def test_a_look_for_a_job_that_is_not_submitted_yet_ends_no_wait(store: redis.Redis, loop_desk: LoopDesk) -> None:
    with loop_desk.watching("first") as watch:
        loop_desk.run(loop_desk.desk.waits._look(["first"]))
        assert not watch.done.is_set()


def test_an_end_while_the_subscription_is_lost_is_found(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(loop_desk.wait, job_id, LONG_S)
    waiting(loop_desk, 1)
    subscribed(loop_desk)
    with store.pipeline(transaction=True) as pipeline:  # in one step: the subscription can't be back before
        pipeline.client_kill_filter(_type="pubsub")
        record = records.revoked(Job(job_id, "quad", None), records.CANCELLED, 1.0)
        pipeline.set(keys.record(job_id), record)
        pipeline.execute()
    assert waits.result(10).state is JobState.CANCELLED


@pytest.mark.slow
def test_an_end_that_nobody_tells_of_is_looked_for(
    store: redis.Redis, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(loop_desk.wait, job_id, LONG_S)
    waiting(loop_desk, 1)
    subscribed(loop_desk)
    store.set(keys.record(job_id), records.revoked(Job(job_id, "quad", None), records.CANCELLED, 1.0))
    assert waits.result(10).state is JobState.CANCELLED


def test_a_job_that_does_not_end_is_returned_as_it_stands(store: redis.Redis, loop_desk: LoopDesk) -> None:
    job_id = submit().job_id
    began = time.monotonic()
    assert loop_desk.wait(job_id, 0.1).state is JobState.QUEUED
    assert time.monotonic() - began >= 0.1
    assert not loop_desk.watches()


@pytest.mark.parametrize("timeout_s", [0, -1])
def test_no_time_is_a_look(store: redis.Redis, loop_desk: LoopDesk, timeout_s: float) -> None:
    assert loop_desk.wait(submit().job_id, timeout_s).state is JobState.QUEUED
    assert loop_desk.desk.waits._listening is None


def test_an_unknown_job_is_not_waited_for(store: redis.Redis, loop_desk: LoopDesk) -> None:
    with pytest.raises(JobNotFound):
        loop_desk.wait("nobody", LONG_S)


def test_a_record_that_is_gone_during_the_wait_ends_it(
    store: redis.Redis, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(loop_desk.wait, job_id, LONG_S)
    waiting(loop_desk, 1)
    store.delete(keys.record(job_id))
    with pytest.raises(JobNotFound):
        waits.result(10)


@pytest.mark.slow
def test_hundreds_wait_without_a_thread_and_each_gets_its_own_job(
    store: redis.Redis, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    ids = submit_ids(250)
    before = threading.active_count()
    waits = {job_id: pool.submit(loop_desk.wait, job_id, LONG_S) for job_id in ids}
    waiting(loop_desk, 250)
    assert threading.active_count() - before <= 250, "those of this test, which run the waits"
    for job_id in reversed(ids):
        query.cancel(job_id)
    assert [waits[job_id].result(20).job_id for job_id in ids] == ids
    assert all(each.result().state is JobState.CANCELLED for each in waits.values())


def test_many_wait_for_one_job(store: redis.Redis, loop_desk: LoopDesk, pool: ThreadPoolExecutor) -> None:
    job_id = submit().job_id
    waits = [pool.submit(loop_desk.wait, job_id, LONG_S) for _ in range(20)]
    waiting(loop_desk, 20)
    cancelled = query.cancel(job_id)
    assert [each.result(10) for each in waits] == [cancelled] * 20


def test_while_nobody_waits_nobody_looks(store: redis.Redis, loop_desk: LoopDesk) -> None:
    loop_desk.wait(submit().job_id, 0.05)
    subscribed(loop_desk)
    ids = submit_ids(10)
    before = looks(store)
    for job_id in ids:
        query.cancel(job_id)
    assert looks(store) == before


def test_a_wait_goes_on_through_a_restart_of_redis(
    store: redis.Redis,
    redis_server: EmbeddedRedis,
    loop_desk: LoopDesk,
    pool: ThreadPoolExecutor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id = submit().job_id
    with caplog.at_level(logging.WARNING, "workers.jobs.on_loop.waits"):
        waits: Future[JobView] = pool.submit(loop_desk.wait, job_id, LONG_S)
        waiting(loop_desk, 1)
        redis_server.stop()
        try:
            eventually(lambda: "awaited jobs" in caplog.text, message="the loss was noticed")
            assert not waits.done()
        finally:
            redis_server.start()
    cancelled = query.cancel(job_id)
    assert waits.result(20) == cancelled


def test_a_wait_that_ends_without_redis_says_so(
    store: redis.Redis, redis_server: EmbeddedRedis, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(loop_desk.wait, job_id, 0.5)
    waiting(loop_desk, 1)
    redis_server.stop()
    try:
        with pytest.raises(QueueUnavailable):
            waits.result(20)
    finally:
        redis_server.start()


def test_a_record_that_can_not_be_read_fails_its_own_wait_alone(
    store: redis.Redis, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    bad, good = submit_ids(2)
    waits = [pool.submit(loop_desk.wait, job_id, LONG_S) for job_id in (bad, good)]
    waiting(loop_desk, 2)
    store.set(keys.record(bad), b'{"status": "SUCCESS" and then nonsense')
    with pytest.raises(JobUnreadable, match=bad):
        waits[0].result(10)
    query.cancel(good)
    assert waits[1].result(10).state is JobState.CANCELLED


def test_release_ends_every_wait_now_and_later(
    store: redis.Redis, loop_desk: LoopDesk, pool: ThreadPoolExecutor
) -> None:
    ids = submit_ids(5)
    waits = [pool.submit(loop_desk.wait, job_id, LONG_S) for job_id in ids]
    waiting(loop_desk, 5)
    loop_desk.release()
    assert [each.result(10).state for each in waits] == [JobState.QUEUED] * 5
    assert loop_desk.wait(ids[0], LONG_S).state is JobState.QUEUED


def test_jobs_that_are_waited_for_together_share_the_time(store: redis.Redis, loop_desk: LoopDesk) -> None:
    ids = submit_ids(20)
    began = time.monotonic()
    loop_desk.wait_for_all(ids, 0.2)
    assert 0.2 <= time.monotonic() - began < 2, "one after the other they would take 4 s"


class SilentSubscription:
    """A subscription that is confirmed, and then says nothing, whatever it is asked."""

    def __init__(self) -> None:
        self.pings = 0
        self.heard_at = time.monotonic()

    async def stay(self, time_s: float) -> None:
        await asyncio.sleep(0.001)

    def ping(self) -> None:
        self.pings += 1


def test_a_subscription_that_has_gone_silent_is_asked_once_and_then_given_up(
    store: redis.Redis, hearing_only: None, loop_desk: LoopDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits_module, "_SILENCE_S", 0.02)
    silent = SilentSubscription()
    with pytest.raises(redis.ConnectionError, match="does not answer"):
        loop_desk.run(loop_desk.desk.waits._keep(silent))  # type: ignore[arg-type]
    assert silent.pings == 1
