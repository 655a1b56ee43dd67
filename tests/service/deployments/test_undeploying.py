"""Undeploying with each backlog policy and deploying again: every job that was accepted comes to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.calls import Document, expect, predictions
from tests.support.loads.load import Accepted, Load
from tests.support.models import Echo, Gate
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

WAITING = ["a", "b", "c"]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def running(service: Stack, name: str, gate: Path) -> str:
    """The id of a job of endpoint `name` that runs until the gate's file is there, with one host and no batches."""
    service.register(name, Gate("1"))
    service.register(name, Gate("2"))
    service.deploy(name, version="1", endpoint_name=name, max_batch_size=1)
    job_id = service.submit(name, str(gate))
    service.wait_until_running([job_id])
    return job_id


def check_refused(service: Stack, name: str, why: str) -> None:
    answer = expect(404, service.api.post(f"/predict/{name}", json={"input": "late"}))
    assert answer["code"] == "endpoint_not_deployed"
    assert why in answer["detail"]


def wait_until_stopping(service: Stack, name: str) -> None:
    """The worker has heard of the undeploy: from now on it begins no job of this endpoint."""
    eventually(lambda: [each["state"] for each in service.view(name)["workers"]] == ["stopping"])


def test_undeploy_drains_queued_jobs_before_it_stops(service: Stack, name: str, running: str, gate: Path) -> None:
    waiting = service.submit_all(name, WAITING)
    view = service.undeploy(name, wait_s=0)
    assert view["status"] == "draining"
    check_refused(service, name, "is being undeployed")
    assert service.job(waiting[-1], wait_s=0)["status"] == "queued"
    gate.touch()
    outcomes = service.outcomes([running, *waiting])
    assert predictions(outcomes) == [["1", row] for row in (str(gate), *WAITING)]
    eventually(lambda: service.api.get(f"/deployments/{name}").status_code == 404, message="it is gone")


def test_undeploy_rejects_queued_jobs_and_finishes_the_running_one(
    service: Stack, name: str, running: str, gate: Path
) -> None:
    waiting = service.submit_all(name, WAITING)
    service.undeploy(name, "reject", wait_s=0)
    for job in service.ended(waiting):
        assert (job["status"], job["error"]["code"]) == ("cancelled", "endpoint_undeployed")
        assert name in job["error"]["message"]
    check_refused(service, name, "were rejected")
    assert service.job(running, wait_s=0)["status"] == "running"
    gate.touch()
    assert predictions(service.outcomes([running])) == [["1", str(gate)]]


def test_parked_jobs_run_after_the_next_deploy(service: Stack, name: str, running: str, gate: Path) -> None:
    waiting = service.submit_all(name, WAITING)
    service.undeploy(name, "park", wait_s=0)
    check_refused(service, name, "is parked")
    wait_until_stopping(service, name)
    assert service.view(name)["status"] == "draining"
    gate.touch()
    service.outcomes([running])
    view = service.wait_for_status(name, "parked")
    assert (view["queue_depth"], view["workers"]) == (len(WAITING), [])
    assert {service.job(job_id, wait_s=0)["status"] for job_id in waiting} == {"queued"}
    service.deploy(name, version="2", endpoint_name=name)
    outcomes = service.outcomes(waiting)
    assert [outcome["version"] for outcome in outcomes] == ["2"] * len(WAITING)
    assert predictions(outcomes) == [["2", row] for row in WAITING]


def test_a_policy_can_be_changed_while_the_backlog_waits(service: Stack, name: str, running: str, gate: Path) -> None:
    waiting = service.submit_all(name, WAITING)
    service.undeploy(name, "park", wait_s=0)
    wait_until_stopping(service, name)
    gate.touch()
    service.wait_for_status(name, "parked")
    service.undeploy(name, "reject", wait_s=0)
    assert {job["error"]["code"] for job in service.ended(waiting)} == {"endpoint_undeployed"}


@pytest.mark.parametrize("backlog", ["drain", "reject", "park"])
def test_every_job_ends_when_an_endpoint_is_undeployed_and_deployed_again_under_load(
    service: Stack, name: str, backlog: str
) -> None:
    service.register(name, Echo("1", seconds=0.05))
    service.register(name, Echo("2", seconds=0.001))
    service.deploy(name, version="1", endpoint_name=name, max_batch_size=1)
    with Load(service.url, name) as load:
        load.wait_for(40)
        service.undeploy(name, backlog, wait_s=0)
        load.wait_for_refusals(10)
        service.deploy(name, version="2", endpoint_name=name)
        before = load.count + 1
        load.wait_for(40)
    assert {expect(404, answer)["code"] for answer in load.refused} == {"endpoint_not_deployed"}
    jobs = service.ended(accepted.job_id for accepted in load.accepted)
    rejected = [job for job in jobs if job["status"] != "succeeded"]
    assert {job["error"]["code"] for job in rejected} <= {"endpoint_undeployed"}
    assert bool(rejected) == (backlog == "reject"), "the backlog is what the policy is about"
    check_versions(load.accepted, jobs)
    assert {job["outcome"]["version"] for job in jobs[before:]} == {"2"}


def check_versions(accepted: list[Accepted], jobs: list[Document]) -> None:
    """Every outcome is that of its own row, and names the version whose mark the prediction bears."""
    for each, job in zip(accepted, jobs, strict=True):
        if outcome := job["outcome"]:
            assert outcome["prediction"] == [outcome["version"], each.row]
