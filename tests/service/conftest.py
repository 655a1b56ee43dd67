"""One service for all tests of this folder that only add to it; each has models, endpoints and workers of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.service.stack import Stack, Worker

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start a whole service."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service with one worker of the default group, which nobody stops; it allows environments, of these wheels."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "wheels").mkdir()
    env = {"QUEUECAST_ENVIRONMENTS": "on", "QUEUECAST_WHEELS": str(folder / "wheels")}
    with Stack(folder, env=env) as running:
        running.start_worker("worker")
        yield running


@pytest.fixture(scope="package")
def registered(service: Stack) -> Stack:
    """The service with version 1 of each example model."""
    if service.api.get("/models/quadratic_predictor").status_code == 404:
        service.register_examples()
    return service


@pytest.fixture(scope="package")
def _numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture
def name(service: Stack, _numbers: Iterator[int]) -> Iterator[str]:
    """A name that nothing in the service has: for the test's model, endpoints and worker group.

    Endpoints with this name, or with it as the first part, are undeployed after the test.
    """
    name = f"toy{next(_numbers)}"
    yield name
    for view in service.api.get("/deployments").json()["deployments"]:
        if view["endpoint_name"].partition("-")[0] == name:
            service.undeploy(view["endpoint_name"], "reject", wait_s=0)


StartWorker = Callable[..., Worker]


@pytest.fixture
def group_worker(service: Stack, name: str) -> Iterator[StartWorker]:
    """Start a worker of the test's own group, which ends with the test; one of another group is stopped by the test."""
    started: list[Worker] = []

    def start(letter: str = "a", group: str = name, *, wait: bool = True, **env: str) -> Worker:
        worker = service.start_worker(f"{name}{letter}", group=group, env=env, wait=wait)
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.running:
            worker.kill()  # the quickest end; nobody needs what it has
        worker.stop()
