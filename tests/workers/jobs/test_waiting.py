"""Waiting for jobs: before, during and after their end, by hundreds at once, over a restart of Redis."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import redis

from tests.support.waiting import eventually
from tests.workers.conftest import submit, submit_ids
from workers import keys
from workers.embedded_redis.server import EmbeddedRedis
from workers.errors import JobNotFound, JobUnreadable, QueueUnavailable
from workers.jobs import accept, query, records
from workers.jobs import waiting as waiting_module
from workers.jobs.job import Job
from workers.jobs.query import JobState, JobView
from workers.jobs.waiting import Waiter, default_waiter

LONG_S = 60.0


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    waiter = Waiter()
    yield waiter
    waiter.release()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(300) as pool:
        yield pool


@pytest.fixture
def hearing_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for regularly: what isn't heard of is missed."""
    monkeypatch.setattr(Waiter, "_look_regularly", lambda *_: None)


def waiting(waiter: Waiter, count: int) -> None:
    def all_wait() -> bool:
        return sum(watch.submitted for each in list(waiter._watches.values()) for watch in each) == count

    eventually(all_wait, message=f"{count} callers wait")


def subscribed(waiter: Waiter) -> None:
    eventually(lambda: waiter.listening, message="the waiter listens")


def looks(store: redis.Redis) -> int:
    """Count the looks for records so far."""
    return int(store.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"])


def test_an_outcome_that_is_there_already_is_returned_at_once(store: redis.Redis, waiter: Waiter) -> None:
    job_id = submit().job_id
    query.cancel(job_id)
    assert waiter.wait(job_id, LONG_S).state is JobState.CANCELLED
    assert waiter._thread is None


def test_an_end_during_the_wait_ends_it(store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor) -> None:
    job_id = submit().job_id
    waits = pool.submit(waiter.wait, job_id, LONG_S)
    waiting(waiter, 1)
    subscribed(waiter)
    cancelled = query.cancel(job_id)
    assert waits.result(10) == cancelled
    assert not waiter._watches


def test_an_end_is_heard_of_without_a_look(
    store: redis.Redis, hearing_only: None, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    ids = submit_ids(100)
    waits = [pool.submit(waiter.wait, job_id, LONG_S) for job_id in ids]
    waiting(waiter, 100)
    subscribed(waiter)
    before = looks(store)
    cancelled = query.cancel(ids[7])
    assert waits[7].result(10) == cancelled
    # One by `cancel`, one for the record of the job that has ended; none for the 99 others.
    assert looks(store) - before == 2
    waiter.release()


def test_an_end_before_the_first_subscription_is_found(store: redis.Redis, hearing_only: None, waiter: Waiter) -> None:
    job_id = submit().job_id
    with waiter.watching(job_id) as watch:
        cancelled = query.cancel(job_id)
        assert watch.wait(10) == cancelled


def test_a_watch_may_stand_before_its_job_is_submitted(store: redis.Redis, hearing_only: None, waiter: Waiter) -> None:
    with waiter.watching("first") as watch:
        waiter.listen()
        subscribed(waiter)
        accept.submit(("quad", 1.0), {}, task_id="first")
        cancelled = query.cancel("first")
        assert watch.wait(10) == cancelled


def test_a_look_for_a_job_that_is_not_submitted_yet_ends_no_wait(store: redis.Redis, waiter: Waiter) -> None:
    with waiter.watching("first") as watch:
        waiter._look(["first"])
        assert not watch.done.is_set()


def test_an_end_while_the_subscription_is_lost_is_found(
    store: redis.Redis, hearing_only: None, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(waiter.wait, job_id, LONG_S)
    waiting(waiter, 1)
    subscribed(waiter)
    with store.pipeline(transaction=True) as pipeline:  # in one step: the subscription can't be back before
        pipeline.client_kill_filter(_type="pubsub")
        record = records.revoked(Job(job_id, "quad", None), records.CANCELLED, 1.0)
        pipeline.set(keys.record(job_id), record)
        pipeline.execute()
    assert waits.result(10).state is JobState.CANCELLED


@pytest.mark.slow
def test_an_end_that_nobody_tells_of_is_looked_for(
    store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(waiter.wait, job_id, LONG_S)
    waiting(waiter, 1)
    subscribed(waiter)
    store.set(keys.record(job_id), records.revoked(Job(job_id, "quad", None), records.CANCELLED, 1.0))
    assert waits.result(10).state is JobState.CANCELLED


def test_a_job_that_does_not_end_is_returned_as_it_stands(store: redis.Redis, waiter: Waiter) -> None:
    job_id = submit().job_id
    began = time.monotonic()
    assert waiter.wait(job_id, 0.1).state is JobState.QUEUED
    assert time.monotonic() - began >= 0.1
    assert not waiter._watches


@pytest.mark.parametrize("timeout_s", [0, -1])
def test_no_time_is_a_look(store: redis.Redis, waiter: Waiter, timeout_s: float) -> None:
    assert waiter.wait(submit().job_id, timeout_s).state is JobState.QUEUED
    assert waiter._thread is None


def test_an_unknown_job_is_not_waited_for(store: redis.Redis, waiter: Waiter) -> None:
    with pytest.raises(JobNotFound):
        waiter.wait("nobody", LONG_S)


def test_a_record_that_is_gone_during_the_wait_ends_it(
    store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(waiter.wait, job_id, LONG_S)
    waiting(waiter, 1)
    store.delete(keys.record(job_id))
    with pytest.raises(JobNotFound):
        waits.result(10)


@pytest.mark.slow
def test_hundreds_wait_with_one_thread_and_each_gets_its_own_job(
    store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    ids = submit_ids(250)
    before = threading.active_count()
    waits = {job_id: pool.submit(waiter.wait, job_id, LONG_S) for job_id in ids}
    waiting(waiter, 250)
    assert threading.active_count() - before <= 250 + 1
    for job_id in reversed(ids):
        query.cancel(job_id)
    assert [waits[job_id].result(20).job_id for job_id in ids] == ids
    assert all(each.result().state is JobState.CANCELLED for each in waits.values())


def test_many_wait_for_one_job(store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor) -> None:
    job_id = submit().job_id
    waits = [pool.submit(waiter.wait, job_id, LONG_S) for _ in range(20)]
    waiting(waiter, 20)
    cancelled = query.cancel(job_id)
    assert [each.result(10) for each in waits] == [cancelled] * 20


def test_while_nobody_waits_nobody_looks(store: redis.Redis, waiter: Waiter) -> None:
    waiter.wait(submit().job_id, 0.05)
    subscribed(waiter)
    ids = submit_ids(10)
    before = looks(store)
    for job_id in ids:
        query.cancel(job_id)
    assert looks(store) - before == len(ids)  # those of `cancel`


def test_a_wait_goes_on_through_a_restart_of_redis(
    store: redis.Redis,
    redis_server: EmbeddedRedis,
    waiter: Waiter,
    pool: ThreadPoolExecutor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id = submit().job_id
    with caplog.at_level(logging.WARNING, "workers.jobs.waiting"):
        waits: Future[JobView] = pool.submit(waiter.wait, job_id, LONG_S)
        waiting(waiter, 1)
        redis_server.stop()
        try:
            eventually(lambda: "awaited jobs" in caplog.text, message="the loss was noticed")
            assert not waits.done()
        finally:
            redis_server.start()
    cancelled = query.cancel(job_id)
    assert waits.result(20) == cancelled


def test_a_wait_that_ends_without_redis_says_so(
    store: redis.Redis, redis_server: EmbeddedRedis, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    job_id = submit().job_id
    waits = pool.submit(waiter.wait, job_id, 0.5)
    waiting(waiter, 1)
    redis_server.stop()
    try:
        with pytest.raises(QueueUnavailable):
            waits.result(20)
    finally:
        redis_server.start()


def test_a_record_that_can_not_be_read_fails_its_own_wait_alone(
    store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    bad, good = submit_ids(2)
    waits = [pool.submit(waiter.wait, job_id, LONG_S) for job_id in (bad, good)]
    waiting(waiter, 2)
    store.set(keys.record(bad), b'{"status": "SUCCESS" and then nonsense')
    with pytest.raises(JobUnreadable, match=bad):
        waits[0].result(10)
    query.cancel(good)
    assert waits[1].result(10).state is JobState.CANCELLED


def test_release_ends_every_wait_now_and_later(store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor) -> None:
    ids = submit_ids(5)
    waits = [pool.submit(waiter.wait, job_id, LONG_S) for job_id in ids]
    waiting(waiter, 5)
    waiter.release()
    assert [each.result(10).state for each in waits] == [JobState.QUEUED] * 5
    assert waiter.wait(ids[0], LONG_S).state is JobState.QUEUED


def test_a_process_has_one_waiter() -> None:
    assert default_waiter() is default_waiter()


def test_jobs_that_are_waited_for_together_share_the_time(store: redis.Redis, waiter: Waiter) -> None:
    ids = submit_ids(5)
    began = time.monotonic()
    waiter.wait_for_all(ids, 0.2)
    assert 0.2 <= time.monotonic() - began < 0.6


class SilentSubscription:
    """A subscription that is confirmed, and then says nothing, whatever it is asked."""

    def __init__(self) -> None:
        self.pings = 0
        self._confirmation: list[dict[str, str]] = [{"type": "subscribe"}]

    def subscribe(self, _channel: str) -> None:
        pass

    def get_message(self, timeout: float) -> dict[str, str] | None:
        time.sleep(0.001)
        return self._confirmation.pop() if self._confirmation else None

    def ping(self) -> None:
        self.pings += 1


def test_a_subscription_that_has_gone_silent_is_asked_once_and_then_given_up(
    store: redis.Redis, hearing_only: None, waiter: Waiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "_SILENCE_S", 0.02)
    silent = SilentSubscription()
    with pytest.raises(redis.ConnectionError, match="does not answer"):
        waiter._listen(silent)  # type: ignore[arg-type]
    assert silent.pings == 1
