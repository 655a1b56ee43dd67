"""Each change of a deployment in each state without a loaded host: every accepted job has its one right outcome."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import redis
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment, Intent
from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine.fakes import FakeHost
from tests.workers.engine.serving.asleep.test_sleep import Running, wanted
from tests.workers.stand_ins import queued_job
from workers.engine.memory.budget import MEBIBYTE, Claim, MemoryBudget, Need
from workers.errors import JobNotFound
from workers.jobs import query
from workers.jobs.query import JobState

NOW = datetime.now(UTC)
SERVED = "succeeded"
#: What comes of the jobs that were accepted before and after the change.
CHANGES: dict[str, tuple[DesiredDeployment, str]] = {
    "redeploy": (replace(wanted(revision=2), deployed_at=NOW), SERVED),
    "configure": (wanted(revision=2, max_queue_length=7), SERVED),
    "lower a limit": (wanted(revision=2, timeout_s=30.0), SERVED),
    "swap": (replace(wanted(revision=2, version="2"), deployed_at=NOW), SERVED),
    "fix the hosts": (wanted(revision=2, hosts=2, idle_s=None), SERVED),
    "drain": (wanted(revision=2, intent=Intent.DRAIN), SERVED),
    "park": (wanted(revision=2, intent=Intent.PARK), "queued"),
    "reject": (wanted(revision=2, intent=Intent.REJECT), "cancelled"),
}
#: A rollback is a swap to a version that served before, here while the swap to it is undone in the same state.
ROLLBACK = replace(wanted(revision=3), deployed_at=NOW)


class Audit:
    """An endpoint whose queue delivers again what is given back, as the broker does."""

    def __init__(self, now: Running) -> None:
        self.now = now
        self.accepted: list[str] = []
        self._delivered_again = 0
        self._busy: Claim | None = None

    def accept(self, job_id: str) -> None:
        """Have a job come from the queue."""
        self.accepted.append(job_id)
        self.now.endpoint.receive([queued_job(job_id)])

    async def fill_memory(self) -> None:
        """Leave no memory for a host."""
        self.now.context.memory = MemoryBudget(100 * MEBIBYTE)
        self._busy = Claim("busy", "1", Need(95 * MEBIBYTE, is_measured=True))
        await self.now.context.memory.claim(self._busy, lambda _reason: None)

    def release_all(self) -> None:
        """Let hosts load, and others leave their memory."""
        self.now.launcher.prepare = lambda _host: None
        for host in self.now.launcher.hosts:
            host.may_load.set()
        if self._busy is not None:
            self.now.context.memory.release(self._busy)

    def deliver_again(self) -> None:
        """Deliver what was given back, if the endpoint fetches."""
        given_back = self.now.intake.given_back
        if self.now.endpoint.credit > 0 and len(given_back) > self._delivered_again:
            again, self._delivered_again = given_back[self._delivered_again :], len(given_back)
            self.now.endpoint.receive([queued_job(each) for each in again])

    def state_of(self, job_id: str) -> str:
        try:
            found = query.get(job_id).state
        except JobNotFound:  # none has begun it
            found = JobState.QUEUED
        is_queued = found is JobState.QUEUED and job_id in self.now.intake.given_back
        return "queued" if is_queued else str(found.value) if found.terminal else "held"

    async def ended(self, expected: str) -> None:
        """Wait until each accepted job has the outcome that is expected, and count the runs."""

        def done() -> bool:
            self.deliver_again()
            return all(self.state_of(each) == expected for each in self.accepted)

        await until(done)
        await self.now.settled()
        runs = sum(len(batch) for host in self.now.launcher.hosts for batch in host.batches)
        assert runs == (len(self.accepted) if expected == SERVED else 0)
        assert [self.state_of(each) for each in self.accepted] == [expected] * len(self.accepted)
        assert not self.now.endpoint.busy


def holds_its_load(host: FakeHost) -> None:
    host.may_load.clear()


async def asleep(audit: Audit) -> None:
    await audit.now.fall_asleep()


async def loading(audit: Audit) -> None:
    await audit.now.fall_asleep()
    audit.now.launcher.prepare = holds_its_load
    audit.accept("before")
    await until(lambda: len(audit.now.launcher.hosts) == 2)


async def ending(audit: Audit) -> None:
    assert audit.now.endpoint.evict()


async def ending_with_a_job(audit: Audit) -> None:
    assert audit.now.endpoint.evict()
    audit.accept("before")


async def waiting_for_memory(audit: Audit) -> None:
    await audit.now.fall_asleep()
    await audit.fill_memory()
    audit.accept("before")
    await until(lambda: audit.now.intake.given_back == ["before"])


STATES: dict[str, Callable[[Audit], Awaitable[None]]] = {
    each.__name__.replace("_", " "): each for each in (asleep, loading, ending, ending_with_a_job, waiting_for_memory)
}
PAIRS = list(itertools.product(CHANGES, STATES))


def audited(with_redis: WithRedis, state: str, changes: list[DesiredDeployment], expected: str) -> None:
    async def change(client: Redis) -> None:
        now = Running(client)
        now.endpoint.apply(now.endpoint.desired)
        await until(lambda: now.endpoint.serves)
        audit = Audit(now)
        try:
            await STATES[state](audit)
            for number, each in enumerate(changes):
                now.endpoint.apply(each)
                audit.accept(f"after {number}")
            audit.release_all()
            await audit.ended(expected)
        finally:
            audit.release_all()
            await until_done(now.endpoint.stop())
            await now.settled()

    with_redis(change)


@pytest.mark.parametrize(("change", "state"), PAIRS, ids=[f"{change} while {state}" for change, state in PAIRS])
def test_every_accepted_job_has_its_one_right_outcome(
    store: redis.Redis, with_redis: WithRedis, change: str, state: str
) -> None:
    desired, expected = CHANGES[change]
    audited(with_redis, state, [desired], expected)


@pytest.mark.parametrize("state", STATES)
def test_a_swap_and_its_rollback_in_one_go_lose_nothing(store: redis.Redis, with_redis: WithRedis, state: str) -> None:
    audited(with_redis, state, [CHANGES["swap"][0], ROLLBACK], SERVED)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("undeploy", ["park", "drain"])
def test_an_undeploy_and_the_next_deploy_in_one_go_lose_nothing(
    store: redis.Redis, with_redis: WithRedis, state: str, undeploy: str
) -> None:
    audited(with_redis, state, [CHANGES[undeploy][0], ROLLBACK], SERVED)
