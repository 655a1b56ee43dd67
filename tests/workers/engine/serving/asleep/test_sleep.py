"""An endpoint with a range of hosts from 0: its idle hosts end, and the next job loads its version again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine import running
from tests.workers.engine.fakes import FakeLauncher, does_not_load, with_fake_hosts
from tests.workers.engine.running import RunningEndpoint
from tests.workers.engine.serving.trials.test_candidates import with_candidate
from tests.workers.stand_ins import RecordingIntake, context, deployment, queued_job
from workers import keys
from workers.engine.memory.budget import MEBIBYTE, MemoryBudget
from workers.engine.memory.meter import MemoryMeter
from workers.engine.scaling.scaler import Scaler
from workers.engine.serving.endpoint import Endpoint
from workers.engine.serving.hosts import host_slot
from workers.errors import HostStartFailed
from workers.hosts.processes import MemoryUsage
from workers.jobs import query, records
from workers.jobs.query import JobState
from workers.measures.reports import HostsState

ON_DEMAND: dict[str, Any] = {"hosts": {"min": 0, "max": 1}, "idle_s": 60.0, "max_batch_delay_ms": 0}


def wanted(**changes: Any) -> DesiredDeployment:
    return deployment(**{**ON_DEMAND, **changes})


class Running(RunningEndpoint):
    """An endpoint with a range of hosts, and what it works with."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, wanted())
        self.scaler = Scaler(self.context, {"adding": self.endpoint})

    @property
    def states(self) -> list[HostsState]:
        return [each["state"] for each in self.endpoint.report()["versions"]]

    async def fall_asleep(self) -> None:
        assert self.endpoint.sleep()
        await until(lambda: not self.endpoint.has_hosts)


def serve(with_redis: WithRedis, what: Callable[[Running], Any]) -> None:
    running.serve(with_redis, Running, what)


def state_of(job_id: str) -> JobState:
    return query.get(job_id).state


def test_an_idle_endpoint_has_no_hosts_and_goes_on_taking_jobs(store: redis.Redis, with_redis: WithRedis) -> None:
    async def idle(now: Running) -> None:
        await now.scaler.look(now.endpoint.used_at + 59)
        assert now.endpoint.serves
        await now.scaler.look(now.endpoint.used_at + 60)
        await until(lambda: not now.endpoint.has_hosts)
        assert now.launcher.hosts[0].exited.done()
        assert now.states == [HostsState.ASLEEP]
        assert (now.endpoint.capacity, now.endpoint.is_proved, now.endpoint.serves_at_once) == (64, True, False)

    serve(with_redis, idle)


def test_the_first_job_loads_the_version_again_and_gets_its_answer(store: redis.Redis, with_redis: WithRedis) -> None:
    async def wake(now: Running) -> None:
        await now.fall_asleep()
        now.endpoint.receive([queued_job("a")])
        assert now.states == [HostsState.LOADING]
        [report] = now.endpoint.report()["versions"]
        assert report["woken_at"] == pytest.approx(time.time(), abs=20)
        assert report["load_ms"] is not None
        await until(lambda: now.endpoint.serves and not now.endpoint.busy)
        await now.settled()
        assert state_of("a") is JobState.SUCCEEDED
        assert "woken_at" not in now.endpoint.report()["versions"][0]
        assert len(now.launcher.hosts) == 2

    serve(with_redis, wake)


def test_it_never_sleeps_while_a_job_runs_or_waits(store: redis.Redis, with_redis: WithRedis) -> None:
    async def busy(now: Running) -> None:
        now.launcher.hosts[0].may_answer.clear()
        now.endpoint.receive([queued_job("a")])
        assert not now.endpoint.sleep()
        await until(lambda: now.endpoint.running_jobs)
        assert not now.endpoint.sleep()
        await now.scaler.look(now.endpoint.used_at + 1_000)
        assert now.endpoint.serves
        now.launcher.hosts[0].may_answer.set()
        await until(lambda: not now.endpoint.busy)
        await now.scaler.look(now.endpoint.used_at + 59)  # idle since the last look only
        assert now.endpoint.serves

    serve(with_redis, busy)


def test_a_job_that_comes_while_the_hosts_end_is_not_lost(store: redis.Redis, with_redis: WithRedis) -> None:
    async def late(now: Running) -> None:
        assert now.endpoint.sleep()
        now.endpoint.receive([queued_job("late")])
        await until(lambda: now.endpoint.serves and not now.endpoint.busy)
        await now.settled()
        assert state_of("late") is JobState.SUCCEEDED
        assert now.launcher.hosts[0].exited.done()

    serve(with_redis, late)


def test_a_claimed_job_that_comes_while_the_hosts_end_is_queued_again_until_the_load_is_over(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def late(now: Running) -> None:
        now.launcher.prepare = lambda host: host.may_load.clear()
        await until(lambda: now.endpoint.serves_at_once)
        assert now.endpoint.sleep()
        store.set(keys.record("late"), records.started(queued_job("late"), 2.0, attempts=1, worker="w@1"))
        now.endpoint.receive([queued_job("late", claimed_at=2.0)])
        await until(lambda: len(now.launcher.hosts) == 2)
        assert state_of("late") is JobState.QUEUED
        now.launcher.hosts[1].may_load.set()
        await until(lambda: now.endpoint.serves and not now.endpoint.busy)
        await now.settled()
        job = query.get("late")
        assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)

    serve(with_redis, late)


def test_a_fixed_number_of_hosts_and_a_swap_and_a_replay_never_sleep(store: redis.Redis, with_redis: WithRedis) -> None:
    async def kept(now: Running) -> None:
        now.endpoint.apply(replace(wanted(revision=2), is_replay=True))
        assert not now.endpoint.sleep()
        now.endpoint.apply(deployment(hosts=1, max_batch_delay_ms=0, revision=3))
        assert not now.endpoint.sleep()
        now.launcher.prepare = does_not_load
        now.endpoint.apply(wanted(version="2", revision=4))
        await until(lambda: HostsState.FAILED in now.states)
        assert not now.endpoint.sleep()
        assert now.endpoint.serves

    serve(with_redis, kept)


def test_a_version_that_fails_to_load_again_leaves_the_job_to_other_workers_and_is_tried_again(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_slot, "_FIRST_PAUSE_S", 0.05)

    async def fail(now: Running) -> None:
        await now.fall_asleep()
        now.launcher.prepare = does_not_load
        now.endpoint.receive([queued_job("a")])
        await until(lambda: now.intake.given_back == ["a"])
        assert (now.endpoint.capacity, now.endpoint.busy, now.endpoint.is_proved) == (0, False, False)
        now.endpoint.receive([queued_job("fetched before")])
        await until(lambda: now.intake.given_back == ["a", "fetched before"])
        now.launcher.prepare = lambda _host: None
        await until(lambda: now.endpoint.serves)
        assert now.endpoint.capacity > 0

    serve(with_redis, fail)


def test_changed_settings_wake_nothing_and_a_deploy_or_a_lower_limit_loads_it_once(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def change(now: Running) -> None:
        await now.fall_asleep()
        now.endpoint.apply(wanted(revision=2, max_queue_length=7))
        assert now.states == [HostsState.ASLEEP]
        assert now.endpoint.report()["versions"][0]["revision"] == 2
        now.endpoint.apply(wanted(revision=3, timeout_s=30.0))
        await until(lambda: now.endpoint.serves)
        await now.fall_asleep()
        now.endpoint.apply(replace(wanted(revision=4, timeout_s=30.0), deployed_at=datetime.now(UTC)))
        assert not now.endpoint.is_proved
        await until(lambda: now.endpoint.serves)
        await now.fall_asleep()
        now.endpoint.apply(replace(now.endpoint.desired, settings=deployment(hosts=1).settings, revision=5))
        await until(lambda: now.endpoint.serves)
        assert len(now.launcher.hosts) == 4

    serve(with_redis, change)


def test_a_worker_that_starts_leaves_a_version_asleep_that_has_been_served(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def start(client: Redis) -> None:
        now = Running(client)
        now.endpoint.begin_asleep(1_500.0)
        now.endpoint.apply(wanted())
        [report] = now.endpoint.report()["versions"]
        assert (report["state"], report["load_ms"], now.launcher.hosts) == (HostsState.ASLEEP, 1_500.0, [])
        now.endpoint.receive([queued_job("a")])
        await until(lambda: now.endpoint.serves and not now.endpoint.busy)
        await until_done(now.endpoint.stop())
        await now.settled()
        assert state_of("a") is JobState.SUCCEEDED

    with_redis(start)


class TwoEndpoints:
    """Two endpoints on a worker with memory for one host."""

    def __init__(self, client: Redis, *, host_mb: int = 60, limit_mb: int = 100) -> None:
        self.intake = RecordingIntake()
        self.launcher = FakeLauncher()
        self.context = with_fake_hosts(context(client, intake=self.intake), self.launcher)
        self.context.measure_memory = lambda _pid: MemoryUsage(host_mb * MEBIBYTE, host_mb * MEBIBYTE)
        self.first = Endpoint(self.context, wanted())
        self.second = Endpoint(self.context, replace(wanted(), endpoint_name="other", artifact_sha256="1" * 64))
        self.context.memory = MemoryBudget(limit_mb * MEBIBYTE, sleepers=lambda: [self.first, self.second])

    async def stop(self) -> None:
        await until_done(self.first.stop())
        await until_done(self.second.stop())
        await until_done(self.context.settle())


def with_two(with_redis: WithRedis, what: Callable[[TwoEndpoints], Any], **more: int) -> None:
    async def done(client: Redis) -> None:
        now = TwoEndpoints(client, **more)
        try:
            await what(now)
        finally:
            for host in now.launcher.hosts:
                host.may_answer.set()
            await now.stop()

    with_redis(done)


def test_an_idle_endpoint_sleeps_when_another_needs_its_memory(store: redis.Redis, with_redis: WithRedis) -> None:
    async def evict(now: TwoEndpoints) -> None:
        now.first.apply(now.first.desired)
        await until(lambda: now.first.serves)
        now.second.apply(now.second.desired)
        await until(lambda: now.second.serves)
        assert now.first.is_asleep
        await until(now.launcher.hosts[0].exited.done)
        now.first.receive([queued_job("a")])
        await until(lambda: now.first.serves and not now.first.busy)
        assert now.second.is_asleep
        assert now.context.memory.evictions == 2
        await now.stop()
        assert state_of("a") is JobState.SUCCEEDED

    with_two(with_redis, evict)


def test_a_host_that_waits_for_memory_says_so_and_leaves_its_jobs_in_the_queue(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def wait(now: TwoEndpoints) -> None:
        now.first.apply(now.first.desired)
        await until(lambda: now.first.serves)
        now.launcher.hosts[0].may_answer.clear()
        now.first.receive([queued_job("a")])
        await until(lambda: now.first.running_jobs)
        await now.context.versions.measured_loaded("1" * 64, 60 * MEBIBYTE)
        now.second.begin_asleep()
        now.second.apply(now.second.desired)
        now.second.receive([queued_job("b")])
        await until(lambda: now.intake.given_back == ["b"])
        [report] = now.second.report()["versions"]
        assert report["waits_for"] == "waits for memory: needs 60 MiB, 60 of 100 MiB in use"
        assert (report["state"], now.second.capacity) == (HostsState.LOADING, 0)
        now.launcher.hosts[0].may_answer.set()
        await until(lambda: not now.first.busy)
        now.context.memory.serve_waiters()
        await until(lambda: now.second.serves)
        assert now.first.is_asleep

    with_two(with_redis, wait)


def test_a_first_host_that_takes_more_than_was_guessed_makes_way_until_there_is_room(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def guess(now: TwoEndpoints) -> None:
        now.first.apply(replace(now.first.desired, settings=deployment(hosts=1, max_batch_delay_ms=0).settings))
        await until(lambda: now.first.serves)
        now.second.apply(now.second.desired)
        await until(lambda: "waits_for" in now.second.report()["versions"][0])
        assert now.launcher.hosts[1].exited.done()
        assert now.first.serves
        assert not now.second.report()["versions"][0]["error"]
        now.first.retire()
        await until(lambda: now.second.serves)

    with_two(with_redis, guess)


def test_a_swap_whose_guess_is_too_large_is_tried_with_what_is_free(store: redis.Redis, with_redis: WithRedis) -> None:
    async def swap(now: TwoEndpoints) -> None:
        now.first.apply(replace(now.first.desired, artifact_size_bytes=40 * MEBIBYTE))
        await until(lambda: now.first.serves)
        second = replace(wanted(version="2", revision=2), artifact_sha256="2" * 64)
        now.first.apply(replace(second, artifact_size_bytes=40 * MEBIBYTE))
        await until(lambda: [each["version"] for each in now.first.report()["versions"]] == ["2"])
        assert now.first.serves

    with_two(with_redis, swap, host_mb=42)


def test_a_version_that_can_not_ever_fit_fails_with_the_figures(store: redis.Redis, with_redis: WithRedis) -> None:
    async def refuse(now: TwoEndpoints) -> None:
        now.first.apply(now.first.desired)
        await until(lambda: now.first.report()["versions"][0]["state"] is HostsState.FAILED)
        error = now.first.report()["versions"][0]["error"]
        assert "needs 200 MiB of memory, and this worker has 100 MiB for hosts" in str(error)

    with_two(with_redis, refuse, host_mb=200)


@pytest.mark.parametrize(
    ("seen_mb", "state", "text"),
    [
        (70, HostsState.LOADING, "waits for memory: needs 70 MiB, 45 of 100 MiB in use"),
        (130, HostsState.FAILED, "needs 130 MiB of memory, and this worker has 100 MiB for hosts"),
    ],
)
def test_a_load_that_was_ended_is_tried_again_when_as_much_is_free_as_it_had(
    store: redis.Redis, with_redis: WithRedis, seen_mb: int, state: HostsState, text: str
) -> None:
    async def load(now: TwoEndpoints) -> None:
        now.first.apply(replace(now.first.desired, settings=deployment(max_batch_delay_ms=0).settings))
        await until(lambda: now.first.serves)
        now.launcher.prepare = lambda host: host.may_load.clear()
        now.second.apply(now.second.desired)
        await until(lambda: len(now.launcher.hosts) == 2)
        host = now.launcher.hosts[1]
        host.load_error = HostStartFailed("It was killed.")
        host.exited.add_done_callback(lambda _: host.may_load.set())
        seen = MemoryUsage(seen_mb * MEBIBYTE, seen_mb * MEBIBYTE)
        await until(lambda: any(each.pid == host.pid for each in now.context.memory.claims))
        now.context.memory.measured({host.pid: seen})
        now.context.memory.relieve()
        await until(lambda: text in str(now.second.report()["versions"]))
        assert now.second.report()["versions"][0]["state"] is state
        assert len(now.launcher.hosts) == 2
        assert not (await now.context.versions.need(now.second.desired)).is_measured
        now.second.retire()

    with_two(with_redis, load, host_mb=45)


def test_a_version_whose_batch_took_more_than_there_is_wakes_again(store: redis.Redis, with_redis: WithRedis) -> None:
    async def wake(now: TwoEndpoints) -> None:
        now.first.apply(now.first.desired)
        await until(lambda: now.first.serves)
        peak = MemoryUsage(110 * MEBIBYTE, 110 * MEBIBYTE)
        await MemoryMeter(now.context.memory, now.context.versions, lambda _: peak, lambda _: peak, list).look()
        await until(lambda: not now.first.has_hosts)  # idle hosts end while more is used than there is
        now.second.apply(replace(now.second.desired, settings=deployment(max_batch_delay_ms=0).settings))
        await until(lambda: now.second.serves)  # beside a host that never sleeps
        now.first.receive([queued_job("a")])
        await until(lambda: now.first.serves and not now.first.busy)
        await now.stop()
        assert state_of("a") is JobState.SUCCEEDED

    with_two(with_redis, wake, host_mb=45)


def test_idle_hosts_end_for_others_while_the_batch_of_a_host_that_stops_runs(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def evict(now: TwoEndpoints) -> None:
        now.first.apply(now.first.desired)
        now.second.apply(now.second.desired)
        await until(lambda: now.first.serves and now.second.serves)
        for host in now.launcher.hosts:
            host.may_answer.clear()
        now.first.receive([queued_job("long")])
        await until(lambda: now.first.running_jobs)
        now.first.retire()
        third = Endpoint(now.context, replace(wanted(), endpoint_name="third", artifact_sha256="2" * 64))
        third.apply(third.desired)
        await until(lambda: third.serves)
        assert now.second.is_asleep
        assert now.first.running_jobs
        await until_done(third.stop())

    with_two(with_redis, evict, host_mb=45)


def test_a_trial_wakes_the_version_that_serves_and_keeps_it_awake(store: redis.Redis, with_redis: WithRedis) -> None:
    async def judge(now: Running) -> None:
        await now.fall_asleep()
        now.endpoint.apply(replace(with_candidate(), settings=wanted().settings))
        await until(lambda: now.endpoint.serves and len(now.launcher.hosts) == 3)
        assert not now.endpoint.sleep()
        now.endpoint.apply(wanted(revision=9))
        await until(now.endpoint.sleep)

    serve(with_redis, judge)
