"""Fixtures of the tests of `workers`: this process's clients of an empty Redis."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import redis
from celery import Celery
from redis.asyncio import Redis

from registry import deployments, migrate, versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from workers import keys
from workers.endpoints import names
from workers.jobs import accept
from workers.jobs.accept import Accepted
from workers.jobs.job import JobOptions
from workers.platform.redis import async_client as async_redis
from workers.platform.redis.client import records_client
from workers.queues import envelopes
from workers.successors.publisher import Publisher

T = TypeVar("T")


@pytest.fixture
def fill(store: redis.Redis) -> Iterator[Callable[[], None]]:
    """Lets Redis reach its `maxmemory`, until the test has ended."""

    def filled() -> None:
        store.config_set("maxmemory", "1")

    yield filled
    store.config_set("maxmemory", "0")


@pytest.fixture(scope="session")
def filled_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry in which version 1 of `m` is deployed as `e`, and there are versions 2 and 3; tests copy it."""
    folder = tmp_path_factory.mktemp("filled")
    url = f"sqlite:///{folder}/registry.db"
    migrate.upgrade(url)
    found = Database(url)
    with found.session() as session:
        store = ArtifactStore(str(folder / "artifacts"))
        for content in (b"1", b"2", b"3"):
            versions.add_version(session, store, "m", content, runtime="python", input_example=[1.0])
        deployments.deploy(session, "m", version="1", endpoint_name="e")
        session.commit()
    found.close()
    return folder / "registry.db"


@pytest.fixture
def database(filled_registry: Path, tmp_path: Path) -> Iterator[Database]:
    """A registry of the test's own."""
    shutil.copy(filled_registry, tmp_path / "registry.db")
    found = Database(f"sqlite:///{tmp_path}/registry.db")
    yield found
    found.close()


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
    close(app)


def close(app: Celery) -> None:
    """Close an app with the connections of its result backend, which Celery leaves to be collected: with a warning."""
    consumer = app.backend.result_consumer
    consumer.stop()
    # A result that is collected later would open it again.
    consumer._pubsub = None
    app.backend.client.connection_pool.disconnect()
    app.close()


def publish_successors() -> None:
    """Publish what follows jobs that have ended, as any worker does."""
    publisher = Publisher()
    publisher._publish_due(threading.Event())
    close(publisher._app)


@pytest.fixture(autouse=True)
def _forget_seen_names() -> None:
    """Each test begins as a new process does."""
    names.forget_seen()


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
