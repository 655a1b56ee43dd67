"""The reconciler: each pass brings the worker's endpoints closer to the desired deployments."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment, Intent
from registry.errors import RegistryUnavailable
from tests.support.waiting import until
from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import RecordingIntake, context, deployment
from workers import keys
from workers.engine import reconciler as reconciler_module
from workers.engine.context import Context
from workers.engine.intake.leases import Leases
from workers.engine.reconciler import Reconciler
from workers.engine.supervision import cancelled
from workers.engine.upkeep.releasing import Release
from workers.settings import WorkerSettings


class RecordingEndpoint:
    """Records calls."""

    def __init__(self, context: Context, desired: DesiredDeployment) -> None:
        self.desired = desired
        self.applied: list[int] = []
        self.retired = False
        self.busy = False
        self.has_hosts = False
        self.began_asleep = False

    def apply(self, desired: DesiredDeployment) -> None:
        self.desired = desired
        self.applied.append(desired.revision)

    def begin_asleep(self, _load_ms: float | None) -> None:
        self.began_asleep = True

    def retire(self) -> None:
        self.retired = True


class Running:
    """A reconciler that runs on nudges, with its inputs and endpoints."""

    def __init__(self, client: Redis) -> None:
        self.intake = RecordingIntake()
        self.context = context(client, intake=self.intake)
        self.context.settings = WorkerSettings(reconcile_interval_s=60)
        self.endpoints: dict[str, Any] = {}
        self.desired: list[DesiredDeployment] = []
        self.fails: Exception | None = None
        self.passes = 0
        release = Release(client, Leases(client, 20.0), beside_records=True)
        self.reconciler = Reconciler(self.context, release, self.endpoints, self._read)

    def _read(self) -> list[DesiredDeployment]:
        self.passes += 1
        if self.fails is not None:
            raise self.fails
        return list(self.desired)

    async def want(self, *desired: DesiredDeployment) -> None:
        """Change the desired deployments, and wait for a pass."""
        self.desired = list(desired)
        await self.look()

    async def look(self) -> None:
        """Nudge, and wait for a pass that began after it and has ended."""
        passes = self.passes
        self.reconciler.nudge()
        await until(lambda: self.passes > passes and not self.reconciler._nudged.is_set())
        passes = self.passes
        self.reconciler.nudge()
        await until(lambda: self.passes > passes)


@pytest.fixture(autouse=True)
def _recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler_module, "Endpoint", RecordingEndpoint)
    monkeypatch.setattr(reconciler_module, "_WINDING_DOWN_S", 0.01)
    monkeypatch.setattr(reconciler_module, "_DRAINED_GRACE_S", 0.0)


def reconcile(with_redis: WithRedis, what: Callable[[Running], Any]) -> None:
    async def run(client: Redis) -> None:
        running = Running(client)
        task = asyncio.create_task(running.reconciler.run())
        try:
            await what(running)
        finally:
            assert not task.done()
            await cancelled([task])

    with_redis(run)


def test_what_is_desired_is_begun_and_what_changes_is_applied(store: redis.Redis, with_redis: WithRedis) -> None:
    async def change(now: Running) -> None:
        await now.want(deployment("one"), deployment("two"))
        assert {name: each.applied for name, each in now.endpoints.items()} == {"one": [1], "two": [1]}
        await now.look()
        await now.want(deployment("one"), deployment("two", revision=2))
        assert {name: each.applied for name, each in now.endpoints.items()} == {"one": [1], "two": [1, 2]}

    reconcile(with_redis, change)


def test_the_deployments_that_serve_have_a_snapshot_in_redis_and_what_is_secret_is_not_in_it(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    hook = "https://hooks.example.com/?token=hidden"

    async def change(now: Running) -> None:
        await now.want(deployment("one", callback_url=hook), deployment("two"))
        assert set(store.hgetall(keys.DEPLOYMENTS)) == {b"one", b"two"}
        assert b"hidden" not in store.hget(keys.DEPLOYMENTS, "one")  # type: ignore[operator]
        await now.want(deployment("one", revision=2), deployment("two", intent=Intent.PARK, revision=2))
        assert set(store.hgetall(keys.DEPLOYMENTS)) == {b"one"}
        assert json.loads(store.hget(keys.DEPLOYMENTS, "one"))["revision"] == 2  # type: ignore[arg-type]

    reconcile(with_redis, change)


def test_a_snapshot_that_redis_refuses_hinders_nothing(store: redis.Redis, with_redis: WithRedis) -> None:
    store.set(keys.DEPLOYMENTS, "no hash")

    async def change(now: Running) -> None:
        await now.want(deployment("one"))
        await now.want(deployment("one", intent=Intent.DRAIN))
        await until(lambda: "one" not in now.endpoints)

    reconcile(with_redis, change)


def test_queues_are_let_go_of_once_and_only_those_of_endpoints_that_are_over(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    just_now = replace(deployment("late", intent=Intent.DRAIN), updated_at=datetime.now(UTC))
    over = deployment("over", intent=Intent.DRAIN)

    async def change(now: Running) -> None:
        await now.want(deployment("one"), deployment("parked", intent=Intent.PARK), just_now, over)
        await now.look()
        assert now.intake.dropped == ["over"]
        now.intake.queued["over"] = 1  # a client still sends jobs there
        await now.look()
        assert "over" in now.endpoints
        now.intake.queued.clear()
        await until(lambda: "over" not in now.endpoints)
        await now.look()
        assert now.intake.dropped == ["over", "over"]

    reconcile(with_redis, change)


def test_submitters_are_told_how_long_queues_may_be(store: redis.Redis, with_redis: WithRedis) -> None:
    async def change(now: Running) -> None:
        await now.want(deployment("one", max_queue_length=7), deployment("two"))
        assert store.hmget(keys.LIMITS, "one", "two") == [b"7", b"100000"]
        await now.want(deployment("one", max_queue_length=9))
        assert store.hget(keys.LIMITS, "one") == b"9"

    reconcile(with_redis, change)


@pytest.mark.parametrize("intent", [Intent.DRAIN, Intent.REJECT, Intent.PARK])
def test_an_endpoint_that_is_taken_down_is_let_go_of_once_it_has_nothing_to_do(
    store: redis.Redis, with_redis: WithRedis, intent: Intent
) -> None:
    async def take_down(now: Running) -> None:
        await now.want(deployment())
        endpoint = now.endpoints["adding"]
        endpoint.busy = endpoint.has_hosts = True
        await now.want(deployment(intent=intent, revision=2))
        assert endpoint.applied == [1, 2]
        assert not endpoint.retired
        endpoint.busy = False
        await until(lambda: endpoint.retired)
        await now.look()
        assert "adding" in now.endpoints
        now.context.changed.clear()
        endpoint.has_hosts = False
        await until(lambda: "adding" not in now.endpoints)
        assert now.context.changed.is_set()

    reconcile(with_redis, take_down)


@pytest.mark.parametrize(("intent", "waits"), [(Intent.DRAIN, True), (Intent.REJECT, True), (Intent.PARK, False)])
def test_queued_jobs_are_waited_for_unless_they_are_parked(
    store: redis.Redis, with_redis: WithRedis, intent: Intent, waits: bool
) -> None:
    async def take_down(now: Running) -> None:
        await now.want(deployment())
        now.intake.queued = {"adding": 3}
        await now.want(deployment(intent=intent, revision=2))
        await now.look()
        assert ("adding" in now.endpoints) == waits
        now.intake.queued = {}
        await until(lambda: "adding" not in now.endpoints)

    reconcile(with_redis, take_down)


@pytest.mark.parametrize(
    ("intent", "queued", "begun"),
    [
        (Intent.DRAIN, 1, True),
        (Intent.DRAIN, 0, False),
        (Intent.REJECT, 1, True),
        (Intent.REJECT, 0, False),
        (Intent.PARK, 1, False),
    ],
)
def test_a_worker_that_starts_after_the_undeploy_does_what_is_left(
    store: redis.Redis, with_redis: WithRedis, intent: Intent, queued: int, begun: bool
) -> None:
    async def start(now: Running) -> None:
        now.intake.queued = {"adding": queued}
        await now.want(deployment(intent=intent))
        assert ("adding" in now.endpoints) == begun

    reconcile(with_redis, start)


def test_an_endpoint_of_another_group_by_now_is_left_to_that(store: redis.Redis, with_redis: WithRedis) -> None:
    async def move(now: Running) -> None:
        await now.want(deployment())
        endpoint = now.endpoints["adding"]
        endpoint.has_hosts = True
        await now.want()
        assert endpoint.retired
        endpoint.has_hosts = False
        await until(lambda: not now.endpoints)

    reconcile(with_redis, move)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RegistryUnavailable("away"), "keeping the previous deployments: away"),
        (redis.ConnectionError("away"), "keeping the previous deployments: away"),
        (KeyError("odd"), "reconciling deployments failed"),
    ],
)
def test_what_is_served_goes_on_while_nobody_can_say_what_is_desired(
    store: redis.Redis, with_redis: WithRedis, error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(now: Running) -> None:
        await now.want(deployment())
        now.fails = error
        with caplog.at_level(logging.WARNING):
            await now.look()
            await until(lambda: said in caplog.text)
        assert now.endpoints["adding"].applied == [1]
        assert not now.endpoints["adding"].retired
        now.fails = None
        await now.want(deployment(revision=2))
        assert now.endpoints["adding"].applied == [1, 2]

    reconcile(with_redis, fail)


def test_it_looks_regularly_without_a_nudge(store: redis.Redis, with_redis: WithRedis) -> None:
    async def wait(now: Running) -> None:
        now.context.settings = WorkerSettings(reconcile_interval_s=0.01)
        await now.look()
        now.desired = [deployment()]
        await until(lambda: "adding" in now.endpoints)

    reconcile(with_redis, wait)
