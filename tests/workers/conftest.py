"""Fixtures of the tests of `workers`: this process's clients of an empty Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeVar

import pytest
import redis
from celery import Celery
from redis.asyncio import Redis

from workers import keys
from workers.jobs import accept
from workers.jobs.accept import Accepted
from workers.jobs.job import JobOptions
from workers.platform.redis import async_client as async_redis
from workers.platform.redis.client import records_client
from workers.queues import envelopes

T = TypeVar("T")


@pytest.fixture
def fill(store: redis.Redis) -> Iterator[Callable[[], None]]:
    """Lets Redis reach its `maxmemory`, until the test has ended."""

    def filled() -> None:
        store.config_set("maxmemory", "1")

    yield filled
    store.config_set("maxmemory", "0")


class WithRedis(Protocol):
    def __call__(self, what: Callable[[Redis], Awaitable[T]]) -> T: ...


@pytest.fixture
def store(redis_url: str) -> redis.Redis:
    """The client of records and queues; its Redis is empty."""
    return records_client()


@pytest.fixture
def bare_app(redis_url: str) -> Iterator[Celery]:
    """A Celery app without any code of Queuecast."""
    app = Celery("somebody", broker=redis_url, backend=redis_url, set_as_current=False)
    yield app
    app.close()


@pytest.fixture(autouse=True)
def _patient_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """To connect takes a busy machine longer than a service may wait for it."""
    monkeypatch.setattr(async_redis, "CONNECT_TIMEOUT_S", 10.0)


@pytest.fixture
def with_redis(redis_url: str) -> WithRedis:
    """Runs coroutines that need the engine's kind of client on an event loop of their own."""

    def run(what: Callable[[Redis], Awaitable[T]]) -> T:
        async def done() -> T:
            async with async_redis.connect(redis_url) as client:
                return await what(client)

        return asyncio.run(done())

    return run


def submit(endpoint_name: str = "adding", row: Any = 1, **more: Any) -> Accepted:
    """Submit a job with one row."""
    return accept.submit((endpoint_name, row), {}, options=JobOptions.taken_from(more), **more)


def submit_ids(count: int, endpoint_name: str = "adding") -> list[str]:
    """Submit jobs one after the other; return their ids, oldest first."""
    return [submit(endpoint_name, number).job_id for number in range(count)]


def message_of(store: redis.Redis, job_id: str) -> envelopes.Envelope:
    """The copy of a job's message."""
    copy = store.get(keys.message(job_id))
    assert isinstance(copy, bytes)
    return envelopes.decode(copy)
