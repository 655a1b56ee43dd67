"""Host slots: retry failed loads after growing pauses, and leave no host behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine.fakes import FakeLauncher, does_not_load, with_fake_hosts
from tests.workers.stand_ins import context, deployment, queued_job
from workers.engine.batching.batch_size import BatchSize
from workers.engine.batching.batcher import Batcher
from workers.engine.serving.hosts import host_slot
from workers.engine.serving.hosts.host_feed import HostStopLimit
from workers.engine.serving.hosts.host_slot import HostSlot
from workers.engine.serving.hosts.pace import PaceMeter
from workers.errors import HostStartFailed
from workers.hosts.processes import MemoryUsage
from workers.jobs import query
from workers.jobs.query import JobState

MIB = 1 << 20


class Running:
    """A slot that serves, and what it works with."""

    def __init__(self, slot: HostSlot, launcher: FakeLauncher, batcher: Batcher, shared: Any) -> None:
        self.slot = slot
        self.launcher = launcher
        self.batcher = batcher
        self.context = shared
        self.desired = deployment()


@asynccontextmanager
async def running(
    client: Redis, launcher: FakeLauncher, desired: DesiredDeployment | None = None
) -> AsyncIterator[Running]:
    shared = with_fake_hosts(context(client), launcher)
    wanted = desired or deployment(max_batch_delay_ms=0)
    batcher, serving = Batcher(wanted.settings), asyncio.Event()
    serving.set()
    now = Running(None, launcher, batcher, shared)  # type: ignore[arg-type]
    now.desired = wanted
    pace = PaceMeter(BatchSize(wanted.settings))
    now.slot = HostSlot(shared, batcher, lambda: now.desired, serving, pace, HostStopLimit(), lambda: None)
    try:
        yield now
    finally:
        await until_done(now.slot.stop())
        await until_done(shared.settle())


def serve(with_redis: WithRedis, what: Callable[[Running], Any], launcher: FakeLauncher, **settings: Any) -> None:
    async def served(client: Redis) -> None:
        async with running(client, launcher, deployment(max_batch_delay_ms=0, **settings)) as now:
            await what(now)

    with_redis(served)


def test_the_pauses_between_loads_that_fail_grow(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_slot, "_FIRST_PAUSE_S", 0.02)

    async def fail(now: Running) -> None:
        await until(lambda: len(now.launcher.hosts) == 4)
        first, second, third, fourth = now.launcher.spawned_at[:4]
        assert second - first >= 0.02
        assert third - second >= 0.04
        assert fourth - third >= 0.08
        assert now.slot.error == "no such model"

    serve(with_redis, fail, FakeLauncher(does_not_load))


def test_a_new_revision_is_tried_at_once_and_the_pauses_begin_anew(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_slot, "_FIRST_PAUSE_S", 600.0)
    launcher = FakeLauncher(does_not_load)

    async def fail(now: Running) -> None:
        await until(lambda: now.slot.error is not None)
        now.slot.start_afresh()
        assert now.slot.error is None
        await until(lambda: len(launcher.hosts) == 2 and now.slot.error is not None)
        launcher.prepare = lambda _host: None
        now.slot.start_afresh()
        await until(lambda: now.slot.host is not None)

    serve(with_redis, fail, launcher)


def test_a_load_that_fails_with_settings_of_before_is_no_failure_of_the_new_revision(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_slot, "_FIRST_PAUSE_S", 600.0)
    launcher, may_fail = FakeLauncher(), asyncio.Event()

    async def fail_late(*_: Any) -> None:
        await may_fail.wait()
        raise HostStartFailed("too much memory")

    launcher.prepare = lambda host: None if launcher.hosts else setattr(host, "load", fail_late)

    async def change(now: Running) -> None:
        await until(lambda: launcher.hosts)
        now.desired = deployment(max_batch_delay_ms=0, revision=2)
        may_fail.set()
        await until(lambda: now.slot.host is not None)
        assert now.slot.error is None

    serve(with_redis, change, launcher)


def test_a_host_whose_load_has_failed_is_ended(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_slot, "_FIRST_PAUSE_S", 0.001)

    async def fail(now: Running) -> None:
        await until(lambda: len(now.launcher.hosts) == 2)
        assert now.launcher.hosts[0].exited.done()

    serve(with_redis, fail, FakeLauncher(does_not_load))


def test_a_host_that_loads_while_its_place_is_given_up_is_ended(store: redis.Redis, with_redis: WithRedis) -> None:
    launcher = FakeLauncher()

    async def load_for_ever(*_: Any) -> None:
        await asyncio.Event().wait()

    launcher.prepare = lambda host: setattr(host, "load", load_for_ever)

    async def give_up(now: Running) -> None:
        await until(lambda: now.launcher.hosts)
        await until_done(now.slot.stop())
        assert now.launcher.hosts[0].exited.done()

    serve(with_redis, give_up, launcher)


def test_a_host_that_is_measured_while_its_place_is_given_up_is_ended(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    measuring, may_measure = threading.Event(), threading.Event()

    def measure(_pid: int) -> MemoryUsage:
        measuring.set()
        may_measure.wait(60)
        return MemoryUsage(MIB, MIB)

    async def give_up(now: Running) -> None:
        now.context.measure_memory = measure
        try:
            await until(measuring.is_set)
            await until_done(now.slot.stop())
            await until(lambda: not now.context.memory.claims)
            assert now.launcher.hosts[0].exited.done()
        finally:
            may_measure.set()

    serve(with_redis, give_up, FakeLauncher())


def test_the_memory_of_a_host_that_stops_is_about_to_be_free_only_after_its_batch(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def stop(now: Running) -> None:
        await until(lambda: now.slot.host is not None)
        [host], [claim] = now.launcher.hosts, now.context.memory.claims
        host.may_answer.clear()
        now.batcher.put([queued_job("a")])
        await until(lambda: host.batches)
        stopping = asyncio.create_task(now.slot.stop())
        await until(now.slot._stopping.is_set)
        assert not claim.is_ending
        host.may_answer.set()
        await until_done(stopping)
        assert claim.is_ending

    serve(with_redis, stop, FakeLauncher())


def test_a_host_without_jobs_that_stops_is_about_to_free_its_memory(store: redis.Redis, with_redis: WithRedis) -> None:
    async def stop(now: Running) -> None:
        await until(lambda: now.slot.host is not None)
        [claim] = now.context.memory.claims
        stopping = asyncio.create_task(now.slot.stop())
        await until(now.slot._stopping.is_set)
        assert claim.is_ending
        await until_done(stopping)

    serve(with_redis, stop, FakeLauncher())


def test_an_artifact_is_held_as_long_as_its_host_lives(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_slot, "_FIRST_PAUSE_S", 0.001)
    launcher = FakeLauncher(lambda host: None if launcher.hosts else does_not_load(host))

    async def live(now: Running) -> None:
        held: list[Path] = now.context.artifacts.held
        await until(lambda: now.slot.host is not None)
        assert held == [Path(now.desired.artifact_sha256)], "that of the host that did not load is released"
        await until_done(now.slot.stop())
        await until(lambda: not held)

    serve(with_redis, live, launcher)


def test_a_memory_limit_that_changes_while_it_serves_counts_from_the_next_batch_on(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def change(now: Running) -> None:
        now.batcher.put([queued_job("a")])
        await until(lambda: now.launcher.hosts and len(now.launcher.hosts[0].batches) == 1)
        for limit_mb in (200, None):
            now.desired = deployment(max_batch_delay_ms=0, max_memory_mb=limit_mb)
            now.batcher.put([queued_job(f"with {limit_mb}")])
            batches = 2 if limit_mb else 3
            await until(lambda batches=batches: len(now.launcher.hosts[0].batches) == batches)  # type: ignore[misc]
        assert now.launcher.hosts[0].limits == [100 * MIB, 200 * MIB, None]

    serve(with_redis, change, FakeLauncher(), max_memory_mb=100)


def test_an_error_of_the_engine_itself_ends_the_batch_and_the_next_one_runs(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    launcher = FakeLauncher()
    launcher.prepare = lambda host: setattr(host, "error", KeyError("odd"))

    async def fail(now: Running) -> None:
        now.batcher.put([queued_job("a")])
        await until(lambda: launcher.hosts and launcher.hosts[0].batches)
        now.batcher.put([queued_job("b")])
        await until(lambda: len(launcher.hosts[0].batches) == 2)
        await until_done(now.context.settle())

    serve(with_redis, fail, launcher)
    assert query.get("a").state is JobState.FAILED
    assert query.get("b").state is JobState.SUCCEEDED


def test_a_host_that_was_lost_is_replaced_and_its_job_runs_on_the_next(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def lose(now: Running) -> None:
        await until(lambda: now.slot.host)
        first = now.launcher.hosts[0]
        first.may_answer.clear()
        now.batcher.put([queued_job("a")])
        await until(lambda: now.slot.running_jobs)
        first.kill("the model host was killed by SIGSEGV.")
        await until(lambda: len(now.launcher.hosts) == 2 and now.launcher.hosts[1].batches)
        await until_done(now.context.settle())

    serve(with_redis, lose, FakeLauncher())
    job = query.get("a")
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 2)
    assert [each["reason"] for each in job.failures] == ["the model host was killed by SIGSEGV."]
