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
from workers import jobs, keys
from workers.embedded_redis import EmbeddedRedis
from workers.errors import JobNotFound, QueueUnavailable
from workers.jobs import Job, JobState
from workers.waiting import Waiter, default_waiter

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


def waiting(waiter: Waiter, count: int) -> None:
    eventually(lambda: len(waiter._watches) == count, message=f"{count} callers wait")


def looked(waiter: Waiter) -> None:
    """Wait until a look has passed that began after this call."""
    [watch] = waiter._watches
    due = watch.due
    eventually(lambda: watch.due > due, message="it was looked for")


def test_an_outcome_that_is_there_already_is_returned_at_once(store: redis.Redis, waiter: Waiter) -> None:
    job_id = submit().job_id
    jobs.cancel(job_id)
    assert waiter.wait(job_id, LONG_S).state is JobState.CANCELLED
    assert waiter._thread is None


def test_an_end_during_the_wait_ends_it(store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor) -> None:
    job_id = submit().job_id
    waits = pool.submit(waiter.wait, job_id, LONG_S)
    waiting(waiter, 1)
    looked(waiter)
    cancelled = jobs.cancel(job_id)
    assert waits.result(10) == cancelled
    assert not waiter._watches


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


def test_hundreds_wait_with_one_thread_and_each_gets_its_own_job(
    store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor
) -> None:
    ids = submit_ids(250)
    before = threading.active_count()
    waits = {job_id: pool.submit(waiter.wait, job_id, LONG_S) for job_id in ids}
    waiting(waiter, 250)
    assert threading.active_count() - before <= 250 + 1
    for job_id in reversed(ids):
        jobs.cancel(job_id)
    assert [waits[job_id].result(20).job_id for job_id in ids] == ids
    assert all(each.result().state is JobState.CANCELLED for each in waits.values())


def test_many_wait_for_one_job(store: redis.Redis, waiter: Waiter, pool: ThreadPoolExecutor) -> None:
    job_id = submit().job_id
    waits = [pool.submit(waiter.wait, job_id, LONG_S) for _ in range(20)]
    waiting(waiter, 20)
    cancelled = jobs.cancel(job_id)
    assert [each.result(10) for each in waits] == [cancelled] * 20


def test_while_nobody_waits_nobody_looks(store: redis.Redis, waiter: Waiter, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses_s = []
    look = waiter._look

    def counted() -> float:
        pauses_s.append(look())
        return pauses_s[-1]

    monkeypatch.setattr(waiter, "_look", counted)
    for looks in (1, 2):
        waiter.wait(submit().job_id, 0.05)
        eventually(lambda: pauses_s[-1] == 0, message="the thread rests until somebody waits")
        assert pauses_s.count(0) == looks


def test_a_wait_goes_on_through_a_restart_of_redis(
    store: redis.Redis,
    redis_server: EmbeddedRedis,
    waiter: Waiter,
    pool: ThreadPoolExecutor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id = submit().job_id
    with caplog.at_level(logging.WARNING, "workers.waiting"):
        waits: Future[Job] = pool.submit(waiter.wait, job_id, LONG_S)
        waiting(waiter, 1)
        redis_server.stop()
        try:
            eventually(lambda: "awaited jobs" in caplog.text, message="the loss was noticed")
            assert not waits.done()
        finally:
            redis_server.start()
    cancelled = jobs.cancel(job_id)
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
    with pytest.raises(ValueError, match="delimiter"):
        waits[0].result(10)
    jobs.cancel(good)
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
