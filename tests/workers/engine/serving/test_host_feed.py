"""A host gets its next batch at once: it is claimed ahead, at the last moment, and the claim can be taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis
from redis.asyncio import Redis

from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis, submit_ids
from tests.workers.engine.fakes import FakeHost
from tests.workers.stand_ins import context, deployment, queued_job
from workers.engine.batching.batcher import Batcher
from workers.engine.serving.hosts import host_feed
from workers.engine.serving.hosts.host_feed import HostFeed, HostStopLimit
from workers.engine.serving.hosts.pace import PaceMeter
from workers.hosts.worker_side.host import HostGone
from workers.jobs import query
from workers.jobs.query import JobState


class Feeding:
    """A feed with a host that doesn't answer yet, for batches of two; it knows how long they take."""

    def __init__(self, client: Redis, expected_ms: float) -> None:
        desired = deployment(max_batch_size=2)
        self.context = context(client)
        self.batcher = Batcher(desired.settings)
        self.batcher.size.measured(2, expected_ms, expected_ms)
        self.stopping = asyncio.Event()
        pace = PaceMeter(self.batcher.size)
        self.feed = HostFeed(self.context, self.batcher, lambda: desired, pace, HostStopLimit(), self.stopping)
        self.host = FakeHost(1, None)
        self.host.may_answer.clear()
        self.jobs = {job_id: queued_job(job_id) for job_id in submit_ids(5)}

    async def begin(self, jobs: int) -> asyncio.Task[None]:
        """Run the first two of so many jobs; return when the host has them."""
        self.batcher.put(list(self.jobs.values())[:jobs])
        task = asyncio.create_task(self.feed.run(self.host, self.batcher.take()))  # type: ignore[arg-type]
        await until(lambda: self.host.batches)
        return task

    def states(self) -> list[JobState]:
        return [query.get(job_id).state for job_id in self.jobs]


def feed(with_redis: WithRedis, what: Callable[[Feeding], Awaitable[None]], *, expected_ms: float = 1.0) -> None:
    async def fed(client: Redis) -> None:
        now = Feeding(client, expected_ms)
        await what(now)
        await until_done(now.context.settle())

    with_redis(fed)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no claim taken back because the host is late."""
    monkeypatch.setattr(host_feed, "_LONGEST_WAIT_S", 60.0)


QUEUED, RUNNING, SUCCEEDED = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED


@pytest.mark.usefixtures("patient")
def test_the_next_full_batch_is_claimed_while_the_host_predicts(store: redis.Redis, with_redis: WithRedis) -> None:
    async def claim(now: Feeding) -> None:
        running = await now.begin(5)
        await until(lambda: now.states() == [RUNNING] * 4 + [QUEUED])
        assert len(now.host.batches) == 1
        assert [job.job_id for job in now.feed.running_jobs] == list(now.jobs)[:4]
        now.host.may_answer.set()
        await until_done(running)
        await until_done(now.context.settle())
        assert now.states() == [SUCCEEDED] * 4 + [QUEUED], "the fifth is no full batch"
        assert len(now.host.batches) == 2

    feed(with_redis, claim)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("jobs", "expected_ms"), [(3, 1.0), (4, 60_000.0)])
def test_a_batch_that_is_not_full_or_would_wait_for_long_is_not_claimed_ahead(
    store: redis.Redis, with_redis: WithRedis, jobs: int, expected_ms: float
) -> None:
    async def wait(now: Feeding) -> None:
        running, loop = await now.begin(jobs), asyncio.get_running_loop()
        began = loop.time()
        await until(lambda: loop.time() > began + 0.03)
        assert now.states()[2] is QUEUED
        assert len(now.batcher) == jobs - 2
        now.host.may_answer.set()
        await until_done(running)

    feed(with_redis, wait, expected_ms=expected_ms)


@pytest.mark.usefixtures("patient")
def test_the_outcomes_of_a_batch_do_not_wait_for_the_next_batch(store: redis.Redis, with_redis: WithRedis) -> None:
    async def end(now: Feeding) -> None:
        running = await now.begin(4)
        await until(lambda: now.states()[:4] == [RUNNING] * 4)
        first, now.host.may_answer = now.host.may_answer, asyncio.Event()
        first.set()
        await until(lambda: now.states()[:2] == [SUCCEEDED] * 2)
        assert len(now.host.batches) == 2
        now.host.may_answer.set()
        await until_done(running)

    feed(with_redis, end)


def test_jobs_that_were_claimed_for_a_host_that_is_late_are_queued_again(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def wait(now: Feeding) -> None:
        running = await now.begin(5)
        await until(lambda: len(now.batcher) == 1)
        await until(lambda: len(now.batcher) == 3)
        assert now.states() == [RUNNING] * 2 + [QUEUED] * 3
        assert [job.job_id for job in now.batcher.jobs] == list(now.jobs)[2:]
        now.host.may_answer.set()
        await until_done(running)
        await until_done(now.feed.run(now.host, now.batcher.take()))  # type: ignore[arg-type]
        await until_done(now.context.settle())
        assert now.states() == [SUCCEEDED] * 4 + [QUEUED]
        assert query.get(list(now.jobs)[2]).attempts == 1

    feed(with_redis, wait)


@pytest.mark.usefixtures("patient")
def test_a_lost_host_is_no_attempt_of_the_jobs_that_were_claimed_for_it(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def lose(now: Feeding) -> None:
        running = await now.begin(4)
        await until(lambda: now.states()[:4] == [RUNNING] * 4)
        now.host.kill("the model host was killed by SIGSEGV.")
        await until_done(running)
        assert now.states()[2:4] == [QUEUED] * 2
        waiting = {job.job_id: job for job in now.batcher.jobs}
        assert [waiting[job_id].alone for job_id in list(now.jobs)[:4]] == [True, True, False, False]
        assert [waiting[job_id].attempts for job_id in list(now.jobs)[:4]] == [1, 1, 0, 0]
        assert now.feed.running_jobs == []

    feed(with_redis, lose)


@pytest.mark.usefixtures("patient")
def test_a_job_that_is_cancelled_before_the_host_has_it_stops_no_host(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def cancel(now: Feeding) -> None:
        running = await now.begin(4)
        await until(lambda: now.states()[:4] == [RUNNING] * 4)
        third = list(now.jobs.values())[2]
        query.cancel(third.job_id, force=True)
        now.feed.cancel(third, at_once=True)
        assert not now.host.exited.done()
        now.host.may_answer.set()
        await until_done(running)
        await until_done(now.context.settle())
        assert now.states()[:4] == [SUCCEEDED] * 2 + [JobState.CANCELLED, SUCCEEDED]
        assert [len(rows) for rows in now.host.batches] == [2, 1]

    feed(with_redis, cancel)


@pytest.mark.usefixtures("patient")
def test_a_job_with_an_earlier_attempt_is_not_claimed_ahead_and_runs_alone(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def wait(now: Feeding) -> None:
        third = list(now.jobs.values())[2]
        lost = Feeding(now.context.records, 1.0)
        lost.host.error = HostGone("the model host was killed by SIGKILL.")
        lost.host.may_answer.set()
        await lost.feed.run(lost.host, [queued_job(third.job_id)])  # type: ignore[arg-type]
        assert query.get(third.job_id).attempts == 1
        running = await now.begin(4)
        await until(lambda: now.states()[3] is RUNNING)
        await until(lambda: len(now.batcher) == 1)
        assert third.alone
        assert query.get(third.job_id).attempts == 1, "the attempt has not begun"
        now.host.may_answer.set()
        await until_done(running)

    feed(with_redis, wait)


@pytest.mark.usefixtures("patient")
def test_a_slot_that_stops_runs_what_it_has_claimed(store: redis.Redis, with_redis: WithRedis) -> None:
    async def stop(now: Feeding) -> None:
        running = await now.begin(5)
        await until(lambda: now.states()[:4] == [RUNNING] * 4)
        now.stopping.set()
        now.batcher.put([queued_job("another")])
        now.host.may_answer.set()
        await until_done(running)
        await until_done(now.context.settle())
        assert now.states() == [SUCCEEDED] * 4 + [QUEUED]
        assert len(now.batcher) == 2

    feed(with_redis, stop)


@pytest.mark.usefixtures("patient")
def test_an_error_of_the_engine_ends_the_jobs_of_its_own_batch_alone(store: redis.Redis, with_redis: WithRedis) -> None:
    async def fail(now: Feeding) -> None:
        running = await now.begin(4)
        await until(lambda: now.states()[:4] == [RUNNING] * 4)
        now.host.error = KeyError("odd")
        now.host.may_answer.set()
        await until_done(running)
        await until_done(now.context.settle())
        assert now.states()[:4] == [JobState.FAILED] * 2 + [SUCCEEDED] * 2
        assert now.feed.running_jobs == []

    feed(with_redis, fail)
