"""Deployments that sleep while they are idle, in a worker without memory for all of them: each job has its answer."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.service.conftest import StartWorker
from tests.support.calls import Document, expect
from tests.support.models import Echo, Heavy
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually
from workers.hosts import processes

#: They start workers of their own.
pytestmark = pytest.mark.long

BUDGET_MB = 320
HOST_MB = 100
#: Between two looks at the worker's processes a host may begin to exit, or to load what it was granted.
ERROR_MB = 16
JOBS_OF_EACH = 20


@contextmanager
def measured(worker: Worker) -> Iterator[list[float]]:
    """Sample what the worker's hosts and forkservers use together (MiB)."""
    samples: list[float] = []
    stopping = threading.Event()

    def sample() -> None:
        while not stopping.wait(0.05):
            hosts = [processes.memory_usage(pid).pss_bytes for pid in processes.children(worker.pid)]
            samples.append(sum(hosts) / (1 << 20))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stopping.set()
        thread.join()


def listed(service: Stack) -> Document:
    return expect(200, service.api.get("/deployments"))


def status_of(service: Stack, name: str) -> str:
    return str(service.view(name)["status"])


def test_more_models_than_fit_answer_every_job_within_the_budget(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    worker = group_worker(QUEUECAST_WORKER_MEMORY_MB=str(BUDGET_MB))
    endpoints = [f"{name}-{number}" for number in range(4)]
    on_demand: dict[str, Any] = {"hosts": {"min": 0, "max": 1}, "idle_s": 600.0, "worker_group": name}
    with measured(worker) as samples:
        for endpoint in endpoints:
            service.register(endpoint, Heavy(endpoint, HOST_MB))
            service.deploy(endpoint, endpoint_name=endpoint, **on_demand)
        assert {status_of(service, each) for each in endpoints} == {"active", "asleep"}
        accepted: dict[str, str] = {}
        for number, endpoint in itertools.product(range(JOBS_OF_EACH), endpoints):
            answer = expect(202, service.api.post(f"/predict/{endpoint}", json={"input": str(number)}))
            accepted[answer["job_id"]] = endpoint
        outcomes = service.outcomes(accepted)
    assert len(accepted) == JOBS_OF_EACH * len(endpoints)
    assert [each["prediction"][0] for each in outcomes] == list(accepted.values())
    assert max(samples) <= BUDGET_MB + ERROR_MB
    [memory] = [each for each in listed(service)["workers"] if each["worker_group"] == name]
    assert memory["budget_bytes"] == BUDGET_MB << 20
    assert memory["used_bytes"] <= memory["budget_bytes"]
    assert memory["evictions"] >= memory["cold_starts"] >= 2
    assert 0 < memory["cold_start_p50_ms"] <= memory["cold_start_p95_ms"]


def test_an_idle_deployment_sleeps_answers_its_next_job_and_can_be_undeployed_asleep(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    group_worker()
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, worker_group=name, hosts={"min": 0, "max": 1}, idle_s=0.2)
    service.wait_for_status(name, "asleep")
    # A worker that starts loads nothing that has been served before.
    group_worker("b")
    eventually(lambda: len(service.view(name)["workers"]) == 2, 20, message="both workers report")
    assert {each["state"] for each in service.view(name)["workers"]} == {"asleep"}
    assert service.predict(name, "a")["prediction"] == ["1", "a"]
    service.wait_for_status(name, "asleep")
    service.register(name, Echo("2"), version="2")
    service.deploy(name, endpoint_name=name, version="2")
    assert service.predict(name, "b")["prediction"] == ["2", "b"]
    service.wait_for_status(name, "asleep")
    service.undeploy(name)
    assert service.api.get(f"/deployments/{name}").status_code == 404
