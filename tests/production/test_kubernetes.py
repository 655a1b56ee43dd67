"""The number that KEDA scales workers on, read as its scaler reads it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.production.chart import one
from tests.support.calls import expect
from tests.support.metrics import Scrape
from tests.support.models import Gate
from tests.support.service.stack import Stack
from tests.support.waiting import eventually


def unfinished_jobs(service: Stack) -> float:
    return Scrape(service.api.get("/metrics").text).value("queuecast_group_unfinished_jobs", group="default")


def asked_as_keda_does(service: Stack) -> float:
    """The number that the scaler's URL and selector give: one sample, whose labels all match."""
    [trigger] = one("ScaledObject", "queuecast-worker-default")["spec"]["triggers"]
    path = httpx.URL(trigger["metadata"]["url"]).path
    found = re.fullmatch(r'(\w+)\{(\w+)="(\w+)"\}', trigger["metadata"]["valueLocation"])
    assert found
    name, label, value = found.groups()
    answer = service.api.get(path)
    assert answer.status_code == 200
    [number] = [
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name and sample.labels == {label: value}
    ]
    return float(number)


@pytest.mark.slow
@pytest.mark.long
def test_the_number_goes_to_zero_with_the_last_awake_deployment_and_back_with_a_job(
    stack: Stack, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    stack.register("gate", Gate("m"))
    on_demand = {"hosts": {"min": 0, "max": 1}, "idle_s": 1.0}
    stack.deploy("gate", endpoint_name="sleeper", wait_s=0, **on_demand)
    assert asked_as_keda_does(stack) == 1, "a deploy is to show whether it works"
    worker = stack.start_worker()
    stack.wait_for_status("sleeper", "asleep")
    assert asked_as_keda_does(stack) == 0
    worker.stop()
    assert stack.view("sleeper")["status"] == "asleep"
    assert "No worker of group 'default' is running" in stack.view("sleeper")["reason"]
    assert asked_as_keda_does(stack) == 0
    job = stack.submit("sleeper", str(gate))
    assert stack.view("sleeper")["status"] == "deploying", "its job waits for a worker"
    assert asked_as_keda_does(stack) == 1
    leaving = stack.start_worker()
    stack.wait_until_running([job])
    # It is in the worker now, and every queue is empty: the worker must not be taken for idle.
    assert asked_as_keda_does(stack) == 1
    leaving.send(signal.SIGTERM)
    gate.touch()
    assert leaving.wait() == 0
    [outcome] = stack.outcomes([job])
    assert (outcome["worker"], outcome["attempts"]) == (leaving.node_name, 1), "a stopped worker ends what it runs"
    stack.start_worker()
    eventually(lambda: asked_as_keda_does(stack) == 0, 20, message="nothing is left")


@pytest.mark.slow
def test_unfinished_jobs_are_what_waits_in_any_priority_and_what_runs_and_end_at_zero(
    stack: Stack, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    stack.register("gate", Gate("m"))
    for endpoint in ("one", "two"):
        stack.deploy("gate", endpoint_name=endpoint, wait_s=0, max_batch_size=4)
    assert unfinished_jobs(stack) == 0
    levels = ["high", "low", "normal", "low", "normal"]
    jobs = [{"input": str(gate), "priority": level} for level in levels]
    ids = [job for name in ("one", "two") for job in expect(202, bulk(stack, name, jobs))["job_ids"]]
    assert "No worker of group 'default' is running" in stack.view("one")["reason"]
    assert unfinished_jobs(stack) == len(ids) == 10
    stack.start_worker()
    # All are in the worker now, and not one is in a queue: it must not be taken for idle.
    eventually(lambda: running(stack, ids) >= 8, message="the worker runs jobs of both endpoints")
    assert unfinished_jobs(stack) == len(ids)
    gate.touch()
    stack.outcomes(ids)
    # Workers say once a second what they hold.
    eventually(lambda: unfinished_jobs(stack) == 0, message="nothing is left")


def bulk(stack: Stack, endpoint_name: str, jobs: list[dict[str, str]]) -> httpx.Response:
    return stack.api.post(f"/predict/{endpoint_name}/bulk", json=jobs)


def running(stack: Stack, ids: list[str]) -> int:
    return sum(stack.job(job_id, 0)["status"] == "running" for job_id in ids)
