"""Workers of a group with reports in one Redis: each endpoint with a range of hosts is served by the first of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine.fakes import FakeLauncher, does_not_load, with_fake_hosts
from tests.workers.stand_ins import RecordingIntake, context, deployment, queued_job, worker_report
from workers import keys
from workers.engine.placement import placement as placement_module
from workers.engine.placement.placement import Placement
from workers.engine.placement.ranking import ranked
from workers.engine.serving.endpoint import Endpoint
from workers.jobs import query
from workers.jobs.query import JobState
from workers.measures import reports
from workers.measures.reports import HostsState

WANTED = deployment(hosts={"min": 0, "max": 1}, idle_s=60.0, max_batch_delay_ms=0)
#: The names of two workers in the order of their ranks.
FIRST, SECOND = ranked("adding", ["one@machine", "two@machine"])


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement_module, "_FRESH_S", -1.0)


class Worker:
    """A worker with fake hosts, and its report."""

    def __init__(self, client: Redis, name: str, desired: DesiredDeployment = WANTED) -> None:
        self.intake = RecordingIntake()
        self.launcher = FakeLauncher()
        self.context = with_fake_hosts(context(client, name, self.intake), self.launcher)
        self.endpoint = Endpoint(self.context, desired)
        self.endpoint.is_placed = False
        self.endpoints = {desired.endpoint_name: self.endpoint}
        self.placement = Placement(self.context, self.endpoints)

    @property
    def states(self) -> list[HostsState]:
        return [each["state"] for each in self.endpoint.report()["versions"]]

    async def write(self, **more: Any) -> None:
        report: Any = worker_report(self.context.worker_name, endpoints={"adding": self.endpoint.report()})
        served = {"adding": 1} if self.endpoint.is_proved else {}
        report |= {"follows_placement": True, **more}
        await reports.write(self.context.records, report, served)

    async def look(self) -> None:
        await self.placement.look([self.endpoint.desired])
        await self.placement.apply()

    async def serve(self) -> None:
        await self.look()
        await until(lambda: self.endpoint.serves)

    async def stop(self) -> None:
        for host in self.launcher.hosts:
            host.may_answer.set()
        await until_done(self.endpoint.stop())
        await until_done(self.context.settle())


def with_two(with_redis: WithRedis, what: Callable[[Worker, Worker], Any], desired: DesiredDeployment = WANTED) -> None:
    async def done(client: Redis) -> None:
        first, second = Worker(client, FIRST, desired), Worker(client, SECOND, desired)
        await first.write()
        await second.write()
        try:
            await what(first, second)
        finally:
            await first.stop()
            await second.stop()

    with_redis(done)


def test_the_first_worker_serves_and_the_other_holds_no_host_and_takes_no_job(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def place(first: Worker, second: Worker) -> None:
        await second.look()
        await first.serve()
        assert second.states == [HostsState.NOT_PLACED]
        assert (second.endpoint.capacity, second.endpoint.is_proved, second.launcher.hosts) == (0, False, [])
        second.endpoint.receive([queued_job("late")])
        await until(lambda: second.intake.given_back == ["late"])

    with_two(with_redis, place)


def test_the_next_worker_takes_over_when_the_report_of_the_first_has_run_out(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def die(first: Worker, second: Worker) -> None:
        await first.serve()
        await first.write()
        await second.look()
        assert not second.endpoint.is_placed
        store.zincrby(keys.WORKERS, -reports.REPORT_LIFE_S, FIRST)
        await second.look()
        # It has been served before, so its first job loads it.
        assert second.states == [HostsState.ASLEEP]
        second.endpoint.receive([queued_job("a")])
        await until(lambda: second.endpoint.serves and not second.endpoint.busy)
        await until_done(second.context.settle())
        assert query.get("a").state is JobState.SUCCEEDED

    with_two(with_redis, die)


def test_a_worker_that_stops_is_succeeded_at_once(store: redis.Redis, with_redis: WithRedis) -> None:
    async def leave(first: Worker, second: Worker) -> None:
        await first.serve()
        await first.write(is_leaving=True)
        await second.look()
        assert second.states == [HostsState.ASLEEP]

    with_two(with_redis, leave)


def test_a_worker_hands_over_when_a_better_one_has_the_model_and_finishes_what_it_has(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def hand_over(first: Worker, second: Worker) -> None:
        await reports.remove(first.context.records, FIRST)
        await second.serve()
        second.launcher.hosts[0].may_answer.clear()
        second.endpoint.receive([queued_job("runs")])
        await until(lambda: second.endpoint.running_jobs)
        second.endpoint.receive([queued_job("waits")])
        await second.write()
        await first.write()
        await second.look()
        assert second.endpoint.is_placed  # none else could take the jobs
        await first.serve()  # it does not sleep, since jobs would wait for its load
        await first.write()
        second.placement._places["adding"] = replace(second.placement._places["adding"], busy_hosts=0.0)
        await second.look()
        assert (second.endpoint.is_placed, second.endpoint.capacity) == (False, 0)
        await until(lambda: second.states == [HostsState.NOT_PLACED, HostsState.STOPPING])
        await until(lambda: second.intake.given_back == ["waits"])
        assert not second.launcher.hosts[0].exited.done()
        second.launcher.hosts[0].may_answer.set()
        await until(lambda: not second.endpoint.has_hosts)
        await until_done(second.context.settle())
        assert query.get("runs").state is JobState.SUCCEEDED
        assert query.get("runs").attempts == 1

    with_two(with_redis, hand_over)


def test_the_next_worker_joins_when_the_first_one_asks(store: redis.Redis, with_redis: WithRedis) -> None:
    async def ask(first: Worker, second: Worker) -> None:
        await first.serve()
        first.endpoint.is_overloaded = True
        await first.write()
        await second.serve()

    with_two(with_redis, ask)


def test_a_version_that_one_worker_can_not_load_is_tried_by_the_next(store: redis.Redis, with_redis: WithRedis) -> None:
    async def fail(first: Worker, second: Worker) -> None:
        first.launcher.prepare = does_not_load
        await first.look()
        await until(lambda: first.states == [HostsState.FAILED])
        await first.write()
        await second.serve()

    with_two(with_redis, fail)


def test_workers_keep_their_places_while_no_list_of_workers_can_be_read(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise redis.ConnectionError("away")

    async def lose_redis(first: Worker, second: Worker) -> None:
        await first.serve()
        await first.write()
        await second.look()
        with monkeypatch.context() as during:
            during.setattr(reports, "queue_reads", away)
            for worker in (first, second):
                with pytest.raises(redis.ConnectionError):
                    await worker.look()
        assert (first.endpoint.is_placed, second.endpoint.is_placed) == (True, False)
        # After it the reports are old, until each worker has written another one.
        store.zincrby(keys.WORKERS, -reports.REPORT_LIFE_S, FIRST)
        await second.look()
        assert not second.endpoint.is_placed

    with_two(with_redis, lose_redis)


def test_a_worker_of_an_earlier_release_goes_on_and_replaces_none(store: redis.Redis, with_redis: WithRedis) -> None:
    async def beside(first: Worker, second: Worker) -> None:
        await first.write(follows_placement=False)
        await second.serve()

    with_two(with_redis, beside)


def test_an_unreadable_report_hinders_nothing(store: redis.Redis, with_redis: WithRedis) -> None:
    async def read(first: Worker, second: Worker) -> None:
        await first.write(endpoints=["of another form"])
        await second.serve()

    with_two(with_redis, read)


def test_a_worker_that_does_not_know_an_endpoint_is_not_waited_for_for_long(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(first: Worker, second: Worker) -> None:
        await first.write(endpoints={})
        await second.look()
        assert not second.endpoint.is_placed
        monkeypatch.setattr(placement_module, "PATIENCE_S", 0.0)
        await second.serve()

    with_two(with_redis, wait)


def test_a_fixed_number_of_hosts_is_served_by_each_worker(store: redis.Redis, with_redis: WithRedis) -> None:
    async def both(first: Worker, second: Worker) -> None:
        await first.serve()
        await second.serve()

    with_two(with_redis, both, deployment(hosts=1))


def test_a_range_in_the_place_of_a_number_ends_the_hosts_of_the_others(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def change(first: Worker, second: Worker) -> None:
        for worker in (first, second):
            await worker.serve()
            worker.endpoint.apply(replace(WANTED, revision=2))
            await worker.write()
            await worker.look()
        assert (first.states, first.endpoint.is_placed) == ([HostsState.READY], True)
        await until(lambda: not second.endpoint.has_hosts)
        for worker in (first, second):
            worker.endpoint.apply(deployment(revision=3))
            await worker.serve()

    with_two(with_redis, change, deployment(hosts=1, max_batch_delay_ms=0))
