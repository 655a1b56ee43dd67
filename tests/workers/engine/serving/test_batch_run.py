"""One batch on a fake host: each job has its own ending, whatever happens to the others."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from msgspec import Raw
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis, submit_ids
from tests.workers.engine.fakes import FakeHost
from tests.workers.stand_ins import context, deployment, queued_job
from workers import keys
from workers.engine.batching.batch_size import BatchSize
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving.batches.batch_run import BatchRun
from workers.errors import DeadLetterNotFound
from workers.hosts.worker_side.host import HostGone, HostTooSlow, RowError
from workers.jobs import dead_letters, query
from workers.jobs.query import JobState

DEPLOYMENT = deployment()
REFUSED = RowError("ValueError", "not today")


def run(
    with_redis: WithRedis,
    batch: list[QueuedJob],
    size: BatchSize | None = None,
    prepare: Callable[[FakeHost], None] = lambda _host: None,
) -> list[QueuedJob]:
    """Run a batch; return what has to run again."""

    async def ran(client: Redis) -> list[QueuedJob]:
        shared, host = context(client), FakeHost(1, None)
        prepare(host)
        again = await BatchRun(shared, DEPLOYMENT, batch, size or BatchSize(DEPLOYMENT.settings)).run(host)  # type: ignore[arg-type]
        await shared.settle()
        return again

    return with_redis(ran)


def attempted(with_redis: WithRedis, job: QueuedJob) -> None:
    """Have a job begin on this worker, and come back because its batch was lost."""

    def gone(host: FakeHost) -> None:
        host.error = HostGone("the model host was killed by SIGKILL.")

    assert run(with_redis, [job, queued_job("beside")], prepare=gone)[0] is job


def test_the_place_of_a_bad_row_is_counted_within_its_own_job(store: redis.Redis, with_redis: WithRedis) -> None:
    def refuse(host: FakeHost) -> None:
        host.row_errors = {4: REFUSED}

    run(with_redis, [queued_job("first", 3), queued_job("second", 2), queued_job("third", 2)], prepare=refuse)
    error = query.get("second").error
    assert error is not None
    assert error["message"] == "inputs[1]: ValueError: not today"
    assert query.get("first").state is query.get("third").state is JobState.SUCCEEDED


def test_of_a_job_with_one_row_no_place_is_told(store: redis.Redis, with_redis: WithRedis) -> None:
    def refuse(host: FakeHost) -> None:
        host.row_errors = {1: REFUSED}

    run(with_redis, [queued_job("first"), queued_job("second")], prepare=refuse)
    error = query.get("second").error
    assert error is not None
    assert error["message"] == "ValueError: not today"


@pytest.mark.parametrize("begun", [False, True])
def test_a_job_expires_while_it_waits_and_not_once_it_has_begun(
    store: redis.Redis, with_redis: WithRedis, begun: bool
) -> None:
    job = queued_job("late")
    if begun:
        attempted(with_redis, job)
    job.expires_at = 1_001.0
    run(with_redis, [job])
    assert query.get("late").state is (JobState.SUCCEEDED if begun else JobState.EXPIRED)


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_job_had_to_wait_for_its_time_is_no_latency(
    store: redis.Redis, with_redis: WithRedis, fails: bool
) -> None:
    def refuse(host: FakeHost) -> None:
        host.row_errors = {0: REFUSED} if fails else {}

    job = queued_job("delayed", submitted_at=time.time() - 3_600)
    job.not_before = time.time() - 1
    run(with_redis, [job], prepare=refuse)
    [latency_ms] = store.hmget(keys.counts("adding"), "latency_ms")
    assert latency_ms is not None
    assert 1_000 <= float(latency_ms) < 600_000
    if not fails:
        timing = (query.get("delayed").outcome or {})["timing"]
        assert 1_000 <= timing["queued_ms"] <= timing["total_ms"] < 600_000


def test_a_lost_host_makes_the_next_batches_smaller(store: redis.Redis, with_redis: WithRedis) -> None:
    size = BatchSize(deployment(max_batch_size="auto").settings)

    def gone(host: FakeHost) -> None:
        host.error = HostGone("the model host was killed by SIGKILL.")

    before = size.rows_at_once
    again = run(with_redis, [queued_job("a", 4), queued_job("b", 4)], size, prepare=gone)
    assert [job.job_id for job in again] == ["a", "b"]
    assert size.rows_at_once == 4 < before


def test_a_job_whose_lease_was_lost_while_it_waited_is_not_run(store: redis.Redis, with_redis: WithRedis) -> None:
    async def ran(client: Redis) -> None:
        shared, host, job = context(client), FakeHost(1, None), queued_job("lost")
        shared.intake.keeps = lambda _job: False  # type: ignore[method-assign, assignment]
        await BatchRun(shared, DEPLOYMENT, [job], BatchSize(DEPLOYMENT.settings)).run(host)  # type: ignore[arg-type]
        await shared.settle()
        assert host.batches == []

    with_redis(ran)


@pytest.mark.parametrize("again", [False, True])
def test_the_record_of_a_job_that_runs_does_not_stay_for_ever(
    store: redis.Redis, with_redis: WithRedis, again: bool
) -> None:
    [job_id] = submit_ids(1)
    job = queued_job(job_id)
    if again:
        attempted(with_redis, job)
    found: list[int] = []

    async def ran(client: Redis) -> None:
        shared, host = context(client), FakeHost(1, None)
        host.predict = seen(store, job_id, found, host.predict)  # type: ignore[method-assign, assignment]
        await BatchRun(shared, DEPLOYMENT, [job], BatchSize(DEPLOYMENT.settings)).run(host)  # type: ignore[arg-type]
        await shared.settle()

    with_redis(ran)
    assert found[0] > 0


def seen(
    store: redis.Redis, job_id: str, found: list[int], predict: Callable[..., Awaitable[object]]
) -> Callable[..., Awaitable[object]]:
    """Note how long the record is kept at the moment of the prediction."""

    async def predicted(*args: object) -> object:
        assert query.get(job_id).state is JobState.RUNNING
        found.append(store.ttl(f"celery-task-meta-{job_id}"))
        return await predict(*args)

    return predicted


def test_an_error_of_the_engine_fails_the_jobs_that_have_not_ended(store: redis.Redis, with_redis: WithRedis) -> None:
    async def ran(client: Redis) -> None:
        shared: Context = context(client)
        batch = BatchRun(shared, DEPLOYMENT, [queued_job("a"), queued_job("b")], BatchSize(DEPLOYMENT.settings))
        batch.give_up()
        await shared.settle()

    with_redis(ran)
    for job_id in ("a", "b"):
        job = query.get(job_id)
        assert job.state is JobState.FAILED
        assert job.error is not None
        assert "Internal error of the worker" in job.error["message"]


def kept(job_id: str) -> dict[str, Any] | None:
    """Return the input that is kept of a failed job."""
    try:
        return dead_letters.get(job_id).document(with_input=False)
    except DeadLetterNotFound:
        return None


def test_the_input_of_a_job_that_fails_at_a_host_is_kept_with_the_reason(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    def refuse(host: FakeHost) -> None:
        host.row_errors = {0: REFUSED}

    run(with_redis, [queued_job("bad"), queued_job("good")], prepare=refuse)
    letter = kept("bad")
    assert letter is not None
    assert (letter["kind"], letter["reason"]) == ("failed", "ValueError: not today")
    assert kept("good") is None
    assert dead_letters.count() == 0


def test_the_input_of_a_job_that_takes_too_long_is_kept(store: redis.Redis, with_redis: WithRedis) -> None:
    def hang(host: FakeHost) -> None:
        host.error = HostTooSlow("the model host did not answer within 1 s.")

    run(with_redis, [queued_job("slow")], prepare=hang)
    assert query.get("slow").state is JobState.FAILED
    assert kept("slow") is not None


def test_a_refused_input_is_not_kept(store: redis.Redis, with_redis: WithRedis) -> None:
    job = queued_job("odd")
    job.rows = [Raw(b'"no number"')]
    run(with_redis, [job])
    assert query.get("odd").state is JobState.FAILED
    assert kept("odd") is None
