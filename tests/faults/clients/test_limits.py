"""Limits of time and number: jobs that expire, queues that are full, results that go, running jobs that are stopped."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import redis

from tests.support.models import Echo, Gate, Recorder
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys


def test_a_full_queue_refuses_and_says_when_to_come_back(service: Stack, name: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m", seconds=0.05))
    service.deploy(name, endpoint_name=name, max_queue_length=5, max_batch_size=1)
    assert service.predict(name, "measured")["prediction"] == ["m", "measured"]
    jobs = service.submit_all(name, [str(gate)] * 5)
    refused = service.api.post(f"/predict/{name}", json={"input": "x"})
    assert refused.status_code == 429
    assert refused.json()["code"] == "queue_full"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    # A cancelled job makes room at once, and so does one that has ended.
    assert service.api.delete(f"/jobs/{jobs[-1]}").status_code == 200
    jobs[-1] = service.submit(name, "y")
    assert service.api.post(f"/predict/{name}", json={"input": "x"}).status_code == 429
    gate.touch()
    service.outcomes(jobs)
    assert service.predict(name, "x")["prediction"] == ["m", "x"]


def test_a_full_queue_refuses_celery_programs_too(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, max_queue_length=2, worker_group="nobody", wait_s=0)
    code = f"""
from workers.errors import QueueFull
from workers.tasks import predict
for _ in range(2):
    predict.delay({name!r}, "x")
try:
    predict.delay({name!r}, "x")
except QueueFull as error:
    print(error.code)
"""
    with redis.Redis.from_url(service.redis.url) as client:
        # Workers of the deployment's group tell the limit; there is none here.
        client.hset(keys.LIMITS, name, 2)
    assert service.run("-c", code).stdout.strip() == "queue_full"


def test_the_limit_of_a_queue_is_told_by_the_workers_that_serve_it(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, max_queue_length=7)
    with redis.Redis.from_url(service.redis.url) as client:
        eventually(lambda: client.hget(keys.LIMITS, name) == b"7", message="the limit is told")


def test_an_expired_job_never_runs(service: Stack, name: str, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    service.register(name, Recorder(runs, gate=gate))
    service.deploy(name, endpoint_name=name, expires_in_s=0.5, max_batch_size=1)
    first = service.submit(name, "first")
    service.wait_until_running([first])
    late = service.submit(name, "late")
    patient = service.api.post(f"/predict/{name}", json={"input": "patient", "expires_in_s": 600}).json()["job_id"]
    assert service.job(late)["status"] == "expired"
    gate.touch()
    # The first one had begun in time.
    assert [service.job(job)["status"] for job in (first, patient)] == ["succeeded", "succeeded"]
    assert runs.read_text().split() == ["first", "patient"]


def test_outcomes_are_kept_as_long_as_the_deployment_says(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, result_ttl_s=1)
    job = service.submit(name, "x")
    assert service.job(job)["status"] == "succeeded"
    eventually(lambda: service.api.get(f"/jobs/{job}").status_code == 404, message="the outcome is gone")


def test_a_running_job_is_cancelled_by_force_and_its_mates_survive(service: Stack, name: str, tmp_path: Path) -> None:
    gate, other = tmp_path / "gate", tmp_path / "other"
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name)
    first = service.submit(name, str(gate))
    service.wait_until_running([first])
    jobs = service.submit_all(name, ["a", str(other), "b"])
    gate.touch()
    service.wait_until_running(jobs[1:2])
    refused = service.api.delete(f"/jobs/{jobs[1]}")
    assert refused.status_code == 409
    assert "force" in refused.json()["detail"]
    began = time.monotonic()
    cancelled = service.api.delete(f"/jobs/{jobs[1]}", params={"force": "true"})
    assert cancelled.status_code == 200
    assert cancelled.json()["status"] == "cancelled"
    assert [service.job(job)["status"] for job in (jobs[0], jobs[2])] == ["succeeded", "succeeded"]
    # The bound that the issue sets for the host to be stopped, and time for another to be loaded.
    assert time.monotonic() - began < 10
    assert service.job(jobs[1])["status"] == "cancelled"
    assert service.job(jobs[0])["failures"] == []
    assert service.api.delete(f"/jobs/{jobs[1]}", params={"force": "true"}).status_code == 409


@pytest.mark.parametrize("terminate", [False, True])
def test_revoke_does_what_cancel_does(service: Stack, name: str, tmp_path: Path, terminate: bool) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    running, waiting = service.submit(name, str(gate)), service.submit(name, "x")
    service.wait_until_running([running])
    for job in (running, waiting):
        service.celery.control.revoke(job, terminate=terminate, signal=signal.SIGKILL.name)
    assert service.job(waiting)["status"] == "cancelled"
    if terminate:
        assert service.job(running)["status"] == "cancelled"
    gate.touch()
    assert service.job(running)["status"] == ("cancelled" if terminate else "succeeded")
    assert service.predict(name, "next")["prediction"] == ["m", "next"]


def test_terminate_from_the_command_line_of_celery_stops_a_running_job(
    service: Stack, name: str, tmp_path: Path
) -> None:
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name)
    job = service.submit(name, str(tmp_path / "gate"))
    service.wait_until_running([job])
    service.run("-m", "celery", "-A", "workers.app", "control", "terminate", "KILL", job)
    assert service.job(job)["status"] == "cancelled"
    assert service.predict(name, "next")["prediction"] == ["m", "next"]
