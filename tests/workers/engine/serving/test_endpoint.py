"""An endpoint on one worker: late jobs, lost jobs, and jobs that are stopped while its hosts end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from registry.deployments import Intent
from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine import running
from tests.workers.engine.fakes import FakeHost, does_not_load
from tests.workers.engine.running import RunningEndpoint
from tests.workers.stand_ins import deployment, queued_job
from workers import keys
from workers.engine.intake.messages import QueuedJob
from workers.hosts.worker_side.host import HostTooSlow
from workers.jobs import query, records
from workers.jobs.query import JobState
from workers.measures.reports import HostsState


class Running(RunningEndpoint):
    """An endpoint with hosts, and what it works with."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, deployment(max_batch_delay_ms=0))

    @property
    def host(self) -> FakeHost:
        """The first host."""
        return self.launcher.hosts[0]

    def undeploy(self, intent: Intent) -> None:
        self.endpoint.apply(deployment(max_batch_delay_ms=0, intent=intent, revision=2))


def serve(with_redis: WithRedis, what: Callable[[Running], Any]) -> None:
    running.serve(with_redis, Running, what)


def rejected(job_id: str) -> bool:
    job = query.get(job_id)
    return job.state is JobState.CANCELLED and job.error is not None and job.error["code"] == "endpoint_undeployed"


def test_what_comes_after_it_was_retired_goes_back(store: redis.Redis, with_redis: WithRedis) -> None:
    async def late(now: Running) -> None:
        now.endpoint.retire()
        now.endpoint.receive([queued_job("late")])
        assert now.endpoint.waiting_jobs == []
        await now.settled()
        assert now.intake.given_back == ["late"]
        assert now.endpoint.capacity == 0

    serve(with_redis, late)


@pytest.mark.parametrize("intent", [Intent.PARK, Intent.REJECT])
def test_what_comes_after_an_undeploy_is_parked_or_rejected_as_that_said(
    store: redis.Redis, with_redis: WithRedis, intent: Intent
) -> None:
    async def late(now: Running) -> None:
        now.undeploy(intent)
        now.endpoint.receive([queued_job("late")])
        assert now.endpoint.waiting_jobs == []
        await now.settled()
        assert now.intake.given_back == (["late"] if intent is Intent.PARK else [])
        assert intent is Intent.PARK or rejected("late")
        assert now.host.batches == []

    serve(with_redis, late)


@pytest.mark.parametrize("intent", [Intent.PARK, Intent.REJECT])
def test_a_batch_that_is_lost_after_an_undeploy_is_parked_or_rejected_too(
    store: redis.Redis, with_redis: WithRedis, intent: Intent
) -> None:
    async def lose(now: Running) -> None:
        now.host.may_answer.clear()
        now.endpoint.receive([queued_job("a"), queued_job("b")])
        await until(lambda: now.endpoint.running_jobs)
        now.undeploy(intent)
        now.host.kill("the model host was killed by SIGSEGV.")
        await until(lambda: not now.endpoint.has_hosts)
        await now.settled()
        assert len(now.endpoint.waiting_jobs) == 0
        assert sorted(now.intake.given_back) == (["a", "b"] if intent is Intent.PARK else [])
        assert intent is Intent.PARK or (rejected("a") and rejected("b"))

    serve(with_redis, lose)


def test_a_job_that_runs_on_a_host_that_is_to_stop_can_be_cancelled(store: redis.Redis, with_redis: WithRedis) -> None:
    async def cancel(now: Running) -> None:
        now.host.may_answer.clear()
        now.endpoint.receive([queued_job("a")])
        await until(lambda: now.host.batches)
        [job] = now.endpoint.running_jobs
        now.endpoint.apply(deployment(max_batch_delay_ms=0, version="2", revision=2))
        await until(lambda: len(now.launcher.hosts) == 2 and now.endpoint.serves and now.endpoint._hosts.stopping)
        now.endpoint.cancel(job, at_once=True)
        await until(now.host.exited.done)
        await until(lambda: not now.endpoint.running_jobs)
        assert now.host.how_it_ended == "a job of its batch was cancelled."

    serve(with_redis, cancel)


def test_the_hosts_of_before_serve_until_the_next_ones_are_ready(store: redis.Redis, with_redis: WithRedis) -> None:
    async def swap(now: Running) -> None:
        now.endpoint.apply(deployment(max_batch_delay_ms=0, version="2", revision=2))
        assert now.endpoint.serves
        assert not now.host.exited.done()
        await until(now.host.exited.done)
        now.endpoint.receive([queued_job("a")])
        await until(lambda: not now.endpoint.busy)
        await now.settled()
        assert len(now.launcher.hosts[1].batches) == 1
        assert query.get("a").state is JobState.SUCCEEDED

    serve(with_redis, swap)


def test_what_clients_cancel_stops_a_host_once_and_only_if_it_runs_nothing_else(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def cancel(now: Running) -> None:
        async def run(number: int, *names: str) -> FakeHost:
            await until(lambda: len(now.launcher.hosts) == number and now.endpoint.serves)
            host = now.launcher.hosts[-1]
            host.may_answer.clear()
            now.endpoint.receive([queued_job(name) for name in names])
            await until(lambda: host.batches)
            return host

        host = await run(1, "a", "b")
        first, second = now.endpoint.running_jobs
        now.endpoint.cancel(first, at_once=False)
        assert not host.exited.done()
        now.endpoint.cancel(second, at_once=False)
        await until(host.exited.done)
        host = await run(2, "c")
        now.endpoint.cancel(now.endpoint.running_jobs[0], at_once=False)
        assert not host.exited.done()
        host.may_answer.set()
        await until(lambda: not now.endpoint.running_jobs)
        assert not host.exited.done()

    serve(with_redis, cancel)


def test_a_host_that_dies_beside_a_cancelled_job_is_blamed_on_no_other(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def die(now: Running) -> None:
        now.host.may_answer.clear()
        now.endpoint.receive([queued_job("cancelled"), queued_job("other")])
        await until(lambda: now.host.batches)
        cancelled, other = now.endpoint.running_jobs
        now.endpoint.cancel(cancelled, at_once=False)
        now.host.kill("the model host was killed by SIGSEGV.")
        await until(lambda: len(now.launcher.hosts) == 2 and now.launcher.hosts[1].batches)
        assert (other.attempts, len(other.failures)) == (2, 1)
        assert now.launcher.hosts[1].batches == [other.rows]

    serve(with_redis, die)


def claimed(job_id: str, store: redis.Redis) -> QueuedJob:
    """A job that was claimed in the step that fetched it."""
    store.set(keys.record(job_id), records.started(queued_job(job_id), 2.0, attempts=1, worker="w@1"))
    return queued_job(job_id, claimed_at=2.0)


def test_a_job_that_was_claimed_when_it_was_fetched_runs_as_its_first_attempt(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def run(now: Running) -> None:
        # As fetches do: only a waiting host's job is claimed.
        await until(lambda: now.endpoint.serves_at_once)
        now.endpoint.receive([claimed("a", store)])
        await until(lambda: now.host.batches and not now.endpoint.busy)
        await now.settled()
        job = query.get("a")
        assert (job.state, job.attempts, job.started_at) == (JobState.SUCCEEDED, 1, 2.0)

    serve(with_redis, run)


def test_a_job_that_was_claimed_for_a_host_that_is_busy_by_now_is_queued_again(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def run(now: Running) -> None:
        now.host.may_answer.clear()
        now.endpoint.receive([queued_job("a")])
        await until(lambda: now.host.batches)
        now.endpoint.receive([claimed("b", store)])
        await until(lambda: now.endpoint.waiting_jobs)
        assert query.get("b").state is JobState.QUEUED
        now.host.may_answer.set()
        await until(lambda: len(now.host.batches) == 2 and not now.endpoint.busy)
        await now.settled()
        assert query.get("b").attempts == 1

    serve(with_redis, run)


@pytest.mark.parametrize("intent", [Intent.PARK, Intent.REJECT])
def test_a_claimed_job_that_comes_after_an_undeploy_is_queued_again_or_rejected(
    store: redis.Redis, with_redis: WithRedis, intent: Intent
) -> None:
    async def late(now: Running) -> None:
        now.undeploy(intent)
        now.endpoint.receive([claimed("late", store)])
        await now.settled()
        if intent is Intent.PARK:
            assert query.get("late").state is JobState.QUEUED
            assert now.intake.given_back == ["late"]
        else:
            assert rejected("late")

    serve(with_redis, late)


def test_a_claimed_job_that_waits_when_the_endpoint_is_retired_is_queued_again(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def retire(now: Running) -> None:
        now.endpoint.receive([claimed("late", store)])
        now.endpoint.retire()
        await now.settled()
        assert query.get("late").state is JobState.QUEUED
        assert now.intake.given_back == ["late"]

    serve(with_redis, retire)


LOOSE: dict[str, Any] = {"max_memory_mb": 200, "timeout_s": 60.0}


@pytest.mark.parametrize("lower", [{"max_memory_mb": 50}, {"timeout_s": 1.0}])
def test_a_lower_limit_is_proven_on_new_hosts_before_the_old_ones_stop(
    store: redis.Redis, with_redis: WithRedis, lower: dict[str, Any]
) -> None:
    async def change(now: Running) -> None:
        now.endpoint.apply(deployment(max_batch_delay_ms=0, revision=2, **LOOSE))
        await until(lambda: len(now.launcher.hosts) == 2 and now.host.exited.done())
        first = now.launcher.hosts[1]
        now.launcher.prepare = does_not_load
        now.endpoint.apply(deployment(max_batch_delay_ms=0, revision=3, **{**LOOSE, **lower}))
        await until(lambda: now.endpoint.report()["versions"][1]["state"] == HostsState.FAILED)
        assert [each["revision"] for each in now.endpoint.report()["versions"]] == [2, 3]
        assert not first.exited.done()
        assert now.endpoint.report().get("load_failure") is None
        now.endpoint.receive([queued_job("a")])
        await until(lambda: not now.endpoint.busy)
        assert (len(first.batches), first.max_memory_bytes) == (1, 200 << 20)

        now.endpoint.apply(deployment(max_batch_delay_ms=0, revision=4, **LOOSE))
        [report] = now.endpoint.report()["versions"][:1]
        assert (report["revision"], report["state"], report["error"]) == (4, HostsState.READY, None)
        assert not first.exited.done()

        now.launcher.prepare = lambda _host: None
        now.endpoint.apply(deployment(max_batch_delay_ms=0, revision=5, **{**LOOSE, **lower}))
        await until(first.exited.done)
        assert now.endpoint.report()["versions"][0]["revision"] == 5

    serve(with_redis, change)


def test_a_higher_limit_and_other_settings_need_no_new_hosts(store: redis.Redis, with_redis: WithRedis) -> None:
    async def change(now: Running) -> None:
        now.endpoint.apply(deployment(max_batch_delay_ms=0, revision=2, timeout_s=90.0, max_queue_length=7))
        assert now.endpoint.report()["versions"][0]["revision"] == 2
        assert len(now.launcher.hosts) == 1

    serve(with_redis, change)


def test_a_time_limit_that_the_example_exceeds_is_refused_with_both_times(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def change(now: Running) -> None:
        def slow(host: FakeHost) -> None:
            host.example_ms = 250.0
            host.error = HostTooSlow("the model host did not answer within 0.1 s.")

        now.launcher.prepare = slow
        now.endpoint.apply(deployment(max_batch_delay_ms=0, revision=2, timeout_s=0.1))
        await until(lambda: now.endpoint.report()["versions"][1]["error"])
        reason = now.endpoint.report()["versions"][1]["error"]
        assert reason == (
            "With timeout_s 0.1, the model host did not answer within 0.1 s. It predicted the model's input example. "
            "Without the limit it took 0.25 s."
        )
        assert not now.host.exited.done()

    serve(with_redis, change)


def test_a_drain_does_not_load_again_what_has_failed(store: redis.Redis, with_redis: WithRedis) -> None:
    async def drain(client: Redis) -> None:
        now = Running(client)
        now.launcher.prepare = does_not_load
        now.endpoint.apply(now.endpoint.desired)
        await until(lambda: now.endpoint.report()["versions"][0]["state"] == HostsState.FAILED)
        now.undeploy(Intent.DRAIN)
        [report] = now.endpoint.report()["versions"]
        assert (report["state"], report["error"], report["revision"]) == (HostsState.FAILED, "no such model", 2)
        assert len(now.launcher.hosts) == 1
        await until_done(now.endpoint.stop())
        await now.settled()

    with_redis(drain)


def test_hosts_that_are_too_many_finish_their_batches_and_are_waited_for(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def have_fewer(now: Running) -> None:
        now.endpoint.apply(deployment(max_batch_delay_ms=0, max_batch_size=1, hosts=2, revision=2))
        await until(lambda: len(now.launcher.hosts) == 2 and now.endpoint.report()["versions"][0]["hosts"] == 2)
        for host in now.launcher.hosts:
            host.may_answer.clear()
        now.endpoint.receive([queued_job("a"), queued_job("b")])
        await until(lambda: len(now.endpoint.running_jobs) == 2)
        now.endpoint.apply(deployment(max_batch_delay_ms=0, max_batch_size=1, hosts=1, revision=3))
        assert {job.job_id for job in now.endpoint.running_jobs} == {"a", "b"}
        now.endpoint.retire()
        stopping = asyncio.create_task(now.endpoint.stop())
        now.launcher.hosts[0].may_answer.set()
        await until(lambda: len(now.endpoint.running_jobs) == 1)
        assert not stopping.done()
        now.launcher.hosts[1].may_answer.set()
        await until_done(stopping)
        await now.settled()
        assert [query.get(each).state for each in "ab"] == [JobState.SUCCEEDED] * 2

    serve(with_redis, have_fewer)
