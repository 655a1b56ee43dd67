"""Both clients, which every test here is run with, against a stand-in for the service."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from api.client import AsyncClient, Client
from api.client.flows import calls, deployment
from api.client.jobs import AsyncJob
from tests.cli.fake_service import FakeService


class Awaited:
    """Something of asyncio, to be used as if it blocked."""

    def __init__(self, runner: asyncio.Runner, target: Any) -> None:
        self._runner = runner
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._called(value) if inspect.ismethod(value) else value

    def _called(self, method: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            result = method(*args, **named)
            if isinstance(result, AsyncIterator):
                return self._runner.run(listed(result))
            found = self._runner.run(result)
            return Awaited(self._runner, found) if isinstance(found, AsyncJob) else found

        return call


async def listed(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again and look again as always, but sooner."""
    monkeypatch.setattr(calls, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(deployment, "_LOOK_INTERVAL_S", 0.02)


@pytest.fixture
def service() -> Iterator[FakeService]:
    found = FakeService()
    yield found
    found.close()


@pytest.fixture(params=["blocking", "asyncio"])
def client(request: pytest.FixtureRequest, service: FakeService) -> Iterator[Any]:
    """A client that gives up after two seconds."""
    if request.param == "blocking":
        with Client(service.url, timeout_s=2) as blocking:
            yield blocking
        return
    with asyncio.Runner() as runner:
        found = Awaited(runner, AsyncClient(service.url, timeout_s=2))
        yield found
        found.close()
