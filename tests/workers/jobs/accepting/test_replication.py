"""With QUEUECAST_REDIS_REPLICAS, a job is accepted once replicas have it, whatever way it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.support.servers.replicated_redis import Server
from tests.support.service.environment import forget_cached_settings
from tests.support.service.ports import free_port
from tests.workers.conftest import submit
from tests.workers.jobs.conftest import LoopDesk
from workers import keys
from workers.embedded_redis.server import EmbeddedRedis
from workers.errors import BulkInterrupted, JobUnconfirmed, QueueFull
from workers.jobs import bulk, query
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.bulk import NewJob
from workers.jobs.job import NO_OPTIONS
from workers.jobs.query import JobView
from workers.pipelines import submitting
from workers.pipelines.submitting import NewPipeline

pytestmark = pytest.mark.servers

TIMEOUT_MS = 200


@pytest.fixture(scope="module")
def replica(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A replica of the Redis of the tests."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("repl-diskless-sync-delay", 0)
    with Server(free_port(), tmp_path_factory.mktemp("replica")) as server:
        server.follow(redis_server)
        yield server


@pytest.fixture(autouse=True)
def _one_replica_wanted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("QUEUECAST_REDIS_REPLICAS", "1")
    monkeypatch.setenv("QUEUECAST_REDIS_REPLICAS_TIMEOUT_MS", str(TIMEOUT_MS))
    forget_cached_settings()
    yield
    monkeypatch.undo()
    forget_cached_settings()


@pytest.fixture
def late(replica: Server) -> Iterator[Callable[[], None]]:
    """Lets the replica confirm again what it has; it doesn't until then."""
    replica.hang()
    yield replica.go_on
    replica.go_on()


def on_loop(desk: LoopDesk, row: Any, idempotency: Idempotency | None = None, limits: Limits | None = None) -> Any:
    return desk.desk.submit("adding", {"input": row}, limits or Limits(), idempotency, None, NO_OPTIONS)


def test_an_accepted_job_is_on_the_replica(store: redis.Redis, replica: Server, loop_desk: LoopDesk) -> None:
    ids = [submit().job_id, loop_desk.run(on_loop(loop_desk, 1)).job_id]
    ids += bulk.submit("adding", [NewJob({"input": row}) for row in range(3)])
    with replica.client() as client:
        assert client.exists(*(f"celery-task-meta-{job_id}" for job_id in ids)) == len(ids)


def test_a_job_that_no_replica_confirms_may_be_stored_and_its_repeats_are_no_safer(
    store: redis.Redis, late: Callable[[], None]
) -> None:
    once, began = Idempotency("key", b"request"), time.monotonic()
    with pytest.raises(JobUnconfirmed) as first:
        submit(idempotency=once)
    assert time.monotonic() - began > TIMEOUT_MS / 1000
    job_id = first.value.job_id
    assert query.get(job_id).job_id == job_id
    with pytest.raises(JobUnconfirmed):
        submit(idempotency=once)
    with pytest.raises(JobUnconfirmed):
        submit(task_id=job_id)
    late()
    for accepted in (submit(idempotency=once), submit(task_id=job_id)):
        assert (accepted.job_id, accepted.repeated) == (job_id, True)


def test_a_repeat_on_another_connection_waits_too(
    store: redis.Redis, late: Callable[[], None], loop_desk: LoopDesk
) -> None:
    once = Idempotency("key", b"request")
    with pytest.raises(JobUnconfirmed) as first:
        loop_desk.run(on_loop(loop_desk, 1, once))
    store.connection_pool.disconnect()
    with pytest.raises(JobUnconfirmed):
        submit(idempotency=once)
    late()
    assert loop_desk.run(on_loop(loop_desk, 1, once)).job_id == first.value.job_id


def test_submits_of_one_turn_wait_once_and_refusals_not_at_all(
    store: redis.Redis, replica: Server, loop_desk: LoopDesk
) -> None:
    loop_desk.run(on_loop(loop_desk, "script is known"))
    before = store.info("commandstats")["cmdstat_wait"]["calls"]
    full = Limits(max_queue_length=1)

    async def together() -> list[Any]:
        jobs = [on_loop(loop_desk, row) for row in range(20)]
        return await asyncio.gather(*jobs, on_loop(loop_desk, 1, limits=full), return_exceptions=True)

    *accepted, refused = loop_desk.run(together())
    assert all(isinstance(each, JobView) for each in accepted)
    assert isinstance(refused, QueueFull)
    assert store.info("commandstats")["cmdstat_wait"]["calls"] == before + 1


def test_without_a_confirmation_each_submit_of_a_turn_says_so_and_a_refusal_stays_one(
    store: redis.Redis, late: Callable[[], None], loop_desk: LoopDesk
) -> None:
    async def together() -> list[Any]:
        full = Limits(max_queue_length=0)
        jobs = [on_loop(loop_desk, row) for row in range(3)]
        return await asyncio.gather(*jobs, on_loop(loop_desk, 1, limits=full), return_exceptions=True)

    *unconfirmed, refused = loop_desk.run(together())
    assert [type(each) for each in unconfirmed] == [JobUnconfirmed] * 3
    assert isinstance(refused, QueueFull)


def test_a_pipeline_that_no_replica_confirms_is_no_safer_when_it_is_submitted_again(
    store: redis.Redis, replica: Server, late: Callable[[], None]
) -> None:
    new = NewPipeline(["one", "two"], {"input": 1}, NO_OPTIONS, idempotency=Idempotency("pipeline", b"request"))
    with pytest.raises(JobUnconfirmed) as first:
        submitting.submit(new, Limits())
    store.connection_pool.disconnect()
    with pytest.raises(JobUnconfirmed):
        submitting.submit(new, Limits())
    late()
    assert submitting.submit(new, Limits()).job_id == first.value.job_id
    with replica.client() as client:
        assert client.exists(keys.record(first.value.job_id), keys.pipeline(first.value.job_id)) == 2


def test_a_bulk_call_names_the_jobs_that_no_replica_has_confirmed(store: redis.Redis, late: Callable[[], None]) -> None:
    jobs, once = [NewJob({"input": row}) for row in range(3)], Idempotency("bulk", b"request")
    with pytest.raises(BulkInterrupted) as interrupted:
        bulk.submit("adding", jobs, idempotency=once)
    assert interrupted.value.stored == 0
    assert len(interrupted.value.unconfirmed_job_ids) == 3
    late()
    assert bulk.submit("adding", jobs, idempotency=once) == interrupted.value.unconfirmed_job_ids
    assert store.llen("predict.adding") == 3
