"""An endpoint that runs with fake hosts, for tests of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from tests.support.waiting import until, until_done
from tests.workers.conftest import WithRedis
from tests.workers.engine.fakes import FakeLauncher, with_fake_hosts
from tests.workers.stand_ins import RecordingIntake, context
from workers.engine.serving.endpoint import Endpoint

Running = TypeVar("Running", bound="RunningEndpoint")


class RunningEndpoint:
    """An endpoint, and what it works with; it is that of a deployment once `serving` has applied it."""

    def __init__(self, client: Redis, desired: DesiredDeployment) -> None:
        self.intake = RecordingIntake()
        self.launcher = FakeLauncher()
        self.context = with_fake_hosts(context(client, intake=self.intake), self.launcher)
        self.endpoint = Endpoint(self.context, desired)

    async def settled(self) -> None:
        """Wait for what runs in the background."""
        await until_done(self.context.settle())


@asynccontextmanager
async def serving(now: Running) -> AsyncIterator[Running]:
    """Have an endpoint serve, and stop it at the end, whatever its hosts wait for."""
    now.endpoint.apply(now.endpoint.desired)
    await until(lambda: now.endpoint.serves)
    try:
        yield now
    finally:
        for host in now.launcher.hosts:
            host.may_answer.set()
        await until_done(now.endpoint.stop())
        await now.settled()


def serve(with_redis: WithRedis, make: Callable[[Redis], Running], what: Callable[[Running], Any]) -> None:
    """Run a test with an endpoint that serves."""

    async def served(client: Redis) -> None:
        async with serving(make(client)) as now:
            await what(now)

    with_redis(served)
