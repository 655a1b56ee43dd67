"""Hosts of a version with an environment: they start in it once it is built, and what serves serves on until then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import pytest
import redis
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from registry.errors import EnvironmentBuildFailed
from tests.support.waiting import until
from tests.workers.conftest import WithRedis
from tests.workers.engine import running
from tests.workers.engine.running import RunningEndpoint
from tests.workers.stand_ins import deployment
from workers.engine.memory.budget import MEBIBYTE, Claim, MemoryBudget, Need
from workers.engine.serving.hosts import host_slot
from workers.errors import HostStartFailed
from workers.measures.reports import HostsState

SHA256 = "e" * 64


class FakeHeldEnvironment:
    python = "/environments/python"

    def __init__(self) -> None:
        self.is_released = False

    def release(self) -> None:
        self.is_released = True


class FakeEnvironments:
    """Has an environment once a test sets `built`; before that, or where a test sets `error`, it has none."""

    def __init__(self) -> None:
        self.built = asyncio.Event()
        self.error: Exception | None = None
        self.held: list[FakeHeldEnvironment] = []

    async def hold(self, sha256: str, report: Callable[[str], None]) -> FakeHeldEnvironment:
        assert sha256 == SHA256
        report("installing 6 packages")
        await self.built.wait()
        if self.error is not None:
            raise self.error
        self.held.append(FakeHeldEnvironment())
        return self.held[-1]


class Running(RunningEndpoint):
    """An endpoint that serves version 1 in the worker's own packages, and is to serve version 2 in an environment."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client, deployment())
        self.environments = FakeEnvironments()
        self.context.environments = self.environments  # type: ignore[assignment]

    def swap(self) -> DesiredDeployment:
        wanted = replace(deployment(version="2", revision=2), environment_sha256=SHA256)
        self.endpoint.apply(wanted)
        return wanted

    def states(self) -> dict[str, str]:
        return {each["version"]: each["state"] for each in self.endpoint.report()["versions"]}


def serve(with_redis: WithRedis, what: Callable[[Running], Any]) -> None:
    running.serve(with_redis, Running, what)


def test_while_it_is_built_the_version_before_serves_and_then_hosts_start_in_it(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def swap(now: Running) -> None:
        now.swap()
        await until(lambda: now.states() == {"1": HostsState.READY, "2": HostsState.BUILDING})
        [_, report] = now.endpoint.report()["versions"]
        assert report["building"] == "installing 6 packages"
        assert len(now.launcher.hosts) == 1
        now.environments.built.set()
        await until(lambda: now.states() == {"2": HostsState.READY})
        assert now.launcher.pythons == [None, FakeHeldEnvironment.python]
        [held] = now.environments.held
        assert not held.is_released
        now.launcher.hosts[1].kill("a test")
        await until(lambda: held.is_released)

    serve(with_redis, swap)


def test_a_build_that_fails_is_the_reason_and_leaves_the_version_before(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_slot, "_FIRST_PAUSE_S", 0.02)

    async def fail(now: Running) -> None:
        now.environments.error = EnvironmentBuildFailed(SHA256, "No solution found")
        now.environments.built.set()
        now.swap()
        await until(lambda: now.states() == {"1": HostsState.READY, "2": HostsState.FAILED})
        now.environments.built.clear()
        await until(lambda: "building" in now.endpoint.report()["versions"][1])  # it is tried again
        [_, report] = now.endpoint.report()["versions"]
        assert report["state"] is HostsState.FAILED
        assert report["error"] == f"The environment {SHA256[:12]} can't be built here: No solution found"
        assert now.endpoint.serves
        assert not now.launcher.hosts[0].exited.done()

    serve(with_redis, fail)


def test_a_swap_back_while_it_is_built_gives_the_build_up(store: redis.Redis, with_redis: WithRedis) -> None:
    async def return_to_the_first(now: Running) -> None:
        now.swap()
        await until(lambda: HostsState.BUILDING in now.states().values())
        now.endpoint.apply(deployment(revision=3))
        await until(lambda: now.states() == {"1": HostsState.READY})
        assert now.endpoint.report()["versions"][0]["revision"] == 3
        assert len(now.launcher.hosts) == 1

    serve(with_redis, return_to_the_first)


def test_an_environment_is_released_if_the_wait_for_memory_is_given_up(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def give_up(now: Running) -> None:
        budget = now.context.memory = MemoryBudget(100 * MEBIBYTE)
        await budget.claim(Claim("others", "others", Need(99 * MEBIBYTE, is_measured=True)), lambda _: None)
        now.environments.built.set()
        now.swap()
        await until(lambda: budget.has_waiters)
        [held] = now.environments.held
        assert not held.is_released
        now.endpoint.apply(deployment(revision=3))
        await until(lambda: held.is_released)
        assert not budget.has_waiters

    serve(with_redis, give_up)


def test_an_environment_is_released_if_no_host_starts_in_it(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(now: Running) -> None:
        spawn = AsyncMock(side_effect=HostStartFailed("no process"))
        monkeypatch.setattr(now.launcher, "spawn", spawn)
        now.environments.built.set()
        now.swap()
        await until(lambda: now.states().get("2") == HostsState.FAILED)
        assert now.environments.held[0].is_released

    serve(with_redis, fail)
