"""Pipelines while the processes that advance them are killed: none is lost, and no step has two outcomes."""

from __future__ import annotations

import uuid

import pytest

from tests.support.models import Appending
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.platform.ids import step_id

MARKS = ("a", "b", "c")
PIPELINES = 40


@pytest.mark.long
def test_killed_workers_lose_no_pipeline(service: Stack, name: str) -> None:
    endpoints = [f"{name}-{mark}" for mark in MARKS]
    workers = [service.start_worker(f"{name}-{each}", name, wait=False) for each in ("one", "two")]
    for endpoint, mark in zip(endpoints, MARKS, strict=True):
        service.register(endpoint, Appending(mark, 0.01))
        # The last queue is nearly always full: steps wait for it, and none fails.
        service.deploy(endpoint, worker_group=name, endpoint_name=endpoint, max_batch_size=4, max_queue_length=8)
    service.deploy(endpoints[0], worker_group=name, endpoint_name=endpoints[0], max_queue_length=1_000)
    steps = [{"endpoint_name": each} for each in endpoints]
    ids = []
    for number in range(PIPELINES):
        body = {"steps": [{**steps[0], "input": str(number)}, *steps[1:]]}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        answers = [service.api.post("/pipelines", json=body, headers=key) for _ in range(2)]
        [job_id] = {each.json()["job_id"] for each in answers}
        ids.append(job_id)
        if number % 10 == 5:
            killed = number // 10 % 2
            workers[killed].kill()
            workers[killed] = service.start_worker(f"{name}-{killed}-{number}", name, wait=False)
    outcomes = service.outcomes(ids)
    assert [each["prediction"] for each in outcomes] == [f"{number}abc" for number in range(PIPELINES)]
    for job_id in ids:
        shown = service.job(job_id)
        assert [each["job_id"] for each in shown["steps"]] == [step_id(job_id, n) for n in (1, 2, 3)]
        assert {each["status"] for each in shown["steps"]} == {"succeeded"}
    for endpoint in endpoints:
        # Each step has ended once.
        eventually(lambda endpoint=endpoint: service.view(endpoint)["succeeded_count"] == PIPELINES)  # type: ignore[misc]
        assert service.view(endpoint)["failed_count"] == 0
