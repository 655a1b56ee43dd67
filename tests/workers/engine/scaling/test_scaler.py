"""The scaler applies decisions: hosts come while jobs wait too long, and end without cutting a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine import running
from tests.workers.engine.running import RunningEndpoint
from tests.workers.stand_ins import deployment, queued_job, worker_report
from workers.engine.gpus.devices import Gpu
from workers.engine.memory.budget import MemoryBudget, Need
from workers.engine.scaling.scaler import Scaler
from workers.engine.serving.hosts.host_pool import HostPool
from workers.jobs import query
from workers.jobs.query import JobState
from workers.measures import paces, reports


class Running(RunningEndpoint):
    """An endpoint with hosts from 1 to 3 that predict one row at once, each on a GPU of its own if there are any."""

    def __init__(self, client: Redis, gpus: int = 0) -> None:
        ranged: dict[str, Any] = {"hosts": {"min": 1, "max": 3}, "idle_s": 30, "target_wait_s": 1}
        super().__init__(client, deployment(max_batch_size=1, max_batch_delay_ms=0, gpu=min(gpus, 1), **ranged))
        self.context.gpus.gpus = [Gpu(str(number)) for number in range(gpus)]
        self.scaler = Scaler(self.context, {"adding": self.endpoint})

    @property
    def hosts(self) -> int:
        pool = self.endpoint.scaled_pool
        assert pool is not None
        return pool.ready_hosts


def serve(with_redis: WithRedis, what: Callable[[Running], Any], gpus: int = 0) -> None:
    running.serve(with_redis, lambda client: Running(client, gpus), what)


async def with_a_long_queue(now: Running) -> HostPool:
    """Have the host predict for good, and the scaler see that many jobs wait; return the pool of the endpoint."""
    pool = now.endpoint.scaled_pool
    assert pool is not None
    now.endpoint.receive([queued_job(str(number)) for number in range(4)])
    await until(lambda: not now.endpoint.busy)
    now.launcher.hosts[0].may_answer.clear()
    now.endpoint.receive([queued_job("a"), queued_job("b")])
    now.intake.queued["adding"] = 10_000_000
    await now.scaler.look(100.0)
    pool._pace.batches_ended += 4
    return pool


def test_a_host_is_added_while_jobs_wait_in_the_queue_too_long(store: redis.Redis, with_redis: WithRedis) -> None:
    async def wait(now: Running) -> None:
        pool = now.endpoint.scaled_pool
        assert pool is not None
        now.endpoint.receive([queued_job(str(number)) for number in range(4)])
        await until(lambda: not now.endpoint.busy)
        now.launcher.hosts[0].may_answer.clear()
        now.endpoint.receive([queued_job("a"), queued_job("b")])
        now.intake.queued["adding"] = 10_000_000
        await now.scaler.look(100.0)
        assert pool.wanted_hosts == 1  # the rate is measured first
        pool._pace.batches_ended += 4
        await now.scaler.look(110.0)
        assert pool.wanted_hosts == 2
        await until(lambda: now.hosts == 2)

    paces.default_paces.cache_clear()
    serve(with_redis, wait)


def test_room_for_a_host_is_looked_for_only_while_jobs_wait_too_long(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def has_room(_budget: MemoryBudget, _need: Need) -> bool:
        nonlocal looks
        looks += 1
        return True

    async def look(now: Running) -> None:
        await now.scaler.look(100.0)
        assert not looks
        await with_a_long_queue(now)
        assert looks

    monkeypatch.setattr(MemoryBudget, "has_room", has_room)
    paces.default_paces.cache_clear()
    serve(with_redis, look)


def test_a_version_that_is_swapped_out_during_a_look_gets_no_more_hosts(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def swap(now: Running) -> None:
        pool = await with_a_long_queue(now)
        depths, settings = now.intake.depths, now.endpoint.desired.settings

        async def depths_after_a_swap(endpoint_names: Sequence[str]) -> dict[str, int]:
            now.endpoint.apply(replace(deployment(version="2", revision=2), settings=settings))
            await until(lambda: now.endpoint.scaled_pool is not pool)
            return await depths(endpoint_names)

        now.intake.depths = depths_after_a_swap  # type: ignore[method-assign]
        await now.scaler.look(110.0)
        assert pool.wanted_hosts == 1
        pool.scale(3)  # what stops starts none
        now.launcher.hosts[0].may_answer.set()
        await until(lambda: not now.endpoint.busy)
        await until_done(now.context.settle())
        assert [host.exited.done() for host in now.launcher.hosts] == [True, False]

    paces.default_paces.cache_clear()
    serve(with_redis, swap)


def test_a_pool_that_is_to_stop_starts_no_host_before_its_stop_begins(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def stop(now: Running) -> None:
        pool = now.endpoint.scaled_pool
        assert pool is not None
        now.endpoint.retire()
        pool.scale(3)
        assert pool.wanted_hosts == 1
        await until_done(now.endpoint.stop())
        await until_done(now.context.settle())
        assert [host.exited.done() for host in now.launcher.hosts] == [True]

    serve(with_redis, stop)


def test_the_pace_of_other_workers_counts_for_the_wait(store: redis.Redis, with_redis: WithRedis) -> None:
    async def share(now: Running) -> None:
        pool = now.endpoint.scaled_pool
        assert pool is not None
        now.endpoint.receive([queued_job("first")])
        await until(lambda: not now.endpoint.busy)
        alone_s = await now.scaler._wait_s("adding", pool, 10_000_000)
        for worker in ("w@1", "w@2"):
            report = worker_report(worker, endpoints={"adding": now.endpoint.report()})
            await reports.write(now.context.records, report)
        paces.default_paces.cache_clear()
        shared_s = await now.scaler._wait_s("adding", pool, 10_000_000)
        assert alone_s is not None
        assert shared_s is not None
        assert 0.3 < shared_s / alone_s < 0.7

    paces.default_paces.cache_clear()
    serve(with_redis, share)


def test_the_next_worker_is_asked_for_once_jobs_have_waited_too_long_with_all_hosts(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def ask(now: Running) -> None:
        pool = now.endpoint.scaled_pool
        assert pool is not None
        now.endpoint.receive([queued_job(str(number)) for number in range(4)])
        await until(lambda: not now.endpoint.busy)
        pool.scale(3)
        await until(lambda: now.hosts == 3)
        for host in now.launcher.hosts:
            host.may_answer.clear()
        now.endpoint.receive([queued_job("a")])
        now.intake.queued["adding"] = 10_000_000
        await now.scaler.look(100.0)
        assert now.endpoint.report()["asks_next"] is False
        await now.scaler.look(102.0)
        assert now.endpoint.report()["asks_next"] is True
        now.intake.queued["adding"] = 0
        await now.scaler.look(103.0)
        assert now.endpoint.report()["asks_next"] is False

    paces.default_paces.cache_clear()
    serve(with_redis, ask)


def test_without_another_gpu_no_host_is_added_and_the_next_worker_is_asked_for(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def ask(now: Running) -> None:
        pool = await with_a_long_queue(now)
        await now.scaler.look(110.0)
        assert pool.wanted_hosts == 1
        assert now.endpoint.report()["asks_next"] is True

    paces.default_paces.cache_clear()
    serve(with_redis, ask, gpus=1)


def test_the_next_worker_is_asked_for_while_a_host_waits_for_a_gpu(store: redis.Redis, with_redis: WithRedis) -> None:
    async def ask(now: Running) -> None:
        pool = now.endpoint.scaled_pool
        assert pool is not None
        now.endpoint.receive([queued_job(str(number)) for number in range(4)])
        await until(lambda: not now.endpoint.busy)
        pool.scale(2)
        await until(lambda: "waits for a GPU" in str(now.endpoint.report()["versions"][0].get("waits_for")))
        now.launcher.hosts[0].may_answer.clear()
        now.endpoint.receive([queued_job("a"), queued_job("b")])
        now.intake.queued["adding"] = 10_000_000
        await now.scaler.look(100.0)
        await now.scaler.look(102.0)
        assert now.endpoint.report()["asks_next"] is True

    paces.default_paces.cache_clear()
    serve(with_redis, ask, gpus=1)


def test_a_host_that_is_taken_back_finishes_its_batch(store: redis.Redis, with_redis: WithRedis) -> None:
    async def shrink(now: Running) -> None:
        pool = now.endpoint.scaled_pool
        assert pool is not None
        pool.scale(2)
        await until(lambda: now.hosts == 2)
        for host in now.launcher.hosts:
            host.may_answer.clear()
        now.endpoint.receive([queued_job("a"), queued_job("b")])
        await until(lambda: all(host.batches for host in now.launcher.hosts))
        pool.scale(1)
        assert not any(host.exited.done() for host in now.launcher.hosts)
        for host in now.launcher.hosts:
            host.may_answer.set()
        await until(lambda: sum(host.exited.done() for host in now.launcher.hosts) == 1)
        await until(lambda: not now.endpoint.busy)
        await until_done(now.context.settle())
        assert [query.get(each).state for each in "ab"] == [JobState.SUCCEEDED] * 2
        assert [query.get(each).attempts for each in "ab"] == [1, 1]

    serve(with_redis, shrink)


def test_spare_hosts_end_and_the_deployment_keeps_its_first_host(store: redis.Redis, with_redis: WithRedis) -> None:
    async def idle(now: Running) -> None:
        pool = now.endpoint.scaled_pool
        assert pool is not None
        pool.scale(3)
        await until(lambda: now.hosts == 3)
        await now.scaler.look(100.0)
        await now.scaler.look(129.0)
        assert pool.wanted_hosts == 3
        await now.scaler.look(131.0)
        await until(lambda: sum(host.exited.done() for host in now.launcher.hosts) == 2)
        assert now.endpoint.serves
        assert now.endpoint.report()["versions"][0]["hosts_wanted"] == 1

    serve(with_redis, idle)
