"""Services whose jobs wait in a RabbitMQ of the tests' own; records stay in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.service.conftest import StartWorker
from tests.support.servers import webhook_receiver
from tests.support.servers.rabbitmq import RabbitNode, installed_script
from tests.support.service.processes import living
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually

HERE = Path(__file__).parent
LEASE_S = 2.0
FAST = {
    "QUEUECAST_LEASE_S": str(LEASE_S),
    "QUEUECAST_SWEEP_INTERVAL_S": "0.5",
    "QUEUECAST_RECONCILE_INTERVAL_S": "0.5",
    "QUEUECAST_SHUTDOWN_GRACE_S": "2",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start a whole service, and RabbitMQ with it."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.rabbitmq)


@pytest.fixture(scope="package")
def program() -> Path:
    """RabbitMQ's script; a missing one skips on a laptop and fails in CI."""
    return installed_script()


@pytest.fixture(scope="package")
def rabbit(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """One node for all tests of this folder; nothing of it, nor of its port mapper, is left behind."""
    with RabbitNode(program, tmp_path_factory.mktemp("rabbitmq") / "node") as node:
        yield node
        started = node.processes
    assert len(started) > 1, "the node and its port mapper"
    eventually(lambda: not living(started), message="all of it has ended")


@pytest.fixture(scope="package")
def service(rabbit: RabbitNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service on that node with one worker, which nobody stops."""
    env = {**FAST, **webhook_receiver.environment(), "QUEUECAST_BROKER_URL": rabbit.url}
    with Stack(tmp_path_factory.mktemp("service"), env=env) as running:
        running.start_worker("worker")
        yield running


@pytest.fixture(scope="package")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def name(_numbers: Iterator[int]) -> str:
    """A name that nothing in the service has: for the test's model, endpoint, worker group and workers."""
    return f"toy{next(_numbers)}"


@pytest.fixture
def group_worker(service: Stack, name: str) -> Iterator[StartWorker]:
    """Start a worker of the test's own group, or of another, which ends with the test."""
    started: list[Worker] = []

    def start(letter: str = "a", group: str = name, **env: str) -> Worker:
        worker = service.start_worker(f"{name}{letter}", group=group, env=env)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop()
