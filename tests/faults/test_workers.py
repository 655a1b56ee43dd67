"""Workers that are killed, stopped or told to end: their jobs come back, and none is lost or ended twice."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest
import redis

from tests.faults import audit
from tests.faults.conftest import LEASE_S
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate, Recorder
from tests.support.service.processes import no_more_files
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

#: What the issue allows after a kill: the lease, and ten seconds.
RECOVERY_S = LEASE_S + 10


def test_killed_workers_lose_no_job(service: Stack, name: str) -> None:
    service.register(name, Echo("m", seconds=0.002))
    names = [f"{name}-one", f"{name}-two"]
    workers = [service.start_worker(each, name, wait=False) for each in names]
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=8)
    eventually(lambda: len(service.serving(name)) == 2, 30, message="both serve")
    with Load(service.url, name) as load:
        for number in range(3):
            load.wait_for(60)
            workers[number % 2].kill()
            workers[number % 2] = service.start_worker(names[number % 2], name)
        load.wait_for(60)
    assert load.refused == []
    audit.check(service, name, load.accepted, lambda row: ["m", row], RECOVERY_S)


def test_jobs_of_a_killed_worker_come_back_within_the_lease(service: Stack, name: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    victim = service.start_worker(f"{name}-victim", name)
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=4)
    jobs = [service.submit(name, str(gate))]
    service.wait_until_running(jobs)
    jobs += service.submit_all(name, [str(gate)] * 9)
    heir = service.start_worker(f"{name}-heir", name)
    eventually(lambda: len(service.view(name)["workers"]) == 2, message="the heir is ready")
    victim.kill()
    killed_at = time.monotonic()
    gate.touch()
    documents = service.ended(jobs)
    assert time.monotonic() - killed_at < RECOVERY_S
    assert {each["status"] for each in documents} == {"succeeded"}
    assert {each["outcome"]["worker"] for each in documents} == {heir.node_name}
    # The one that had begun says so; those that had only been fetched have lost nothing.
    assert [each["attempts"] for each in documents] == [2] + [1] * 9
    assert victim.node_name in documents[0]["failures"][0]["reason"]


def test_a_prediction_that_outlasts_the_lease_is_run_once(service: Stack, name: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    service.register(name, Recorder(runs, seconds=2.5 * LEASE_S))
    service.start_worker(f"{name}-another")
    service.deploy(name, endpoint_name=name)
    [outcome] = service.outcomes([service.submit(name, "a")])
    assert outcome["attempts"] == 1
    assert runs.read_text().split() == ["a"]


@pytest.mark.timeout(90)
def test_a_worker_that_was_stopped_for_longer_than_its_lease_changes_no_recorded_outcome(
    service: Stack, name: str, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    service.register(name, Recorder(runs, gate=gate))
    sleeper = service.start_worker(f"{name}-sleeper", name)
    service.deploy(name, endpoint_name=name, worker_group=name)
    job = service.submit(name, "a")
    service.wait_until_running([job])
    heir = service.start_worker(f"{name}-heir", name)
    eventually(lambda: len(service.view(name)["workers"]) == 2, message="the heir is ready")
    family = [sleeper.pid, *(each.pid for each in sleeper.descendants())]
    with stopped(family):
        gate.touch()
        first = service.job(job)
    assert first["outcome"]["worker"] == heir.node_name
    # The sleeper wakes and finishes its own run of the job; the record stays as it is.
    eventually(lambda: runs.read_text().split() == ["a", "a"], message="it was run twice")
    later = service.submit(name, "b")
    assert service.job(later)["status"] == "succeeded"
    eventually(lambda: audit.leftovers(service, name) == {}, message="nothing is left")
    assert service.job(job) == first
    assert service.view(name)["request_count"] == 2


def test_a_job_that_kills_every_worker_that_takes_it_becomes_a_dead_letter(
    service: Stack, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, max_attempts=2, wait_s=0)
    job = service.submit(name, str(gate))
    killed = []
    for number in (1, 2):
        killed.append(service.start_worker(f"{name}-{number}", name))
        wait_for_attempt(service, job, number)
        killed[-1].kill()
    # Its next worker sees that it has no attempt left.
    service.deploy(name, endpoint_name=name, worker_group="default", max_attempts=2, wait_s=0)
    document = service.job(job)
    assert document["status"] == "failed"
    assert document["error"]["code"] == "poison_job"
    letter = service.api.get(f"/dead-letters/{job}").json()
    assert letter["input"] == str(gate)
    assert [each["worker"] for each in letter["failures"]] == [each.node_name for each in killed]
    gate.touch()
    again = service.api.post(f"/dead-letters/{job}/replay", json={}).json()
    assert service.job(again["job_id"])["outcome"]["prediction"] == ["m", str(gate)]
    assert service.api.get(f"/dead-letters/{job}").status_code == 404


def test_workers_in_a_hurry_give_back_what_runs_at_once(service: Stack, name: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    patient = {"QUEUECAST_SHUTDOWN_GRACE_S": "60", "QUEUECAST_LEASE_S": "600"}
    hasty = service.start_worker(f"{name}-first", name, patient)
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=2)
    jobs = [service.submit(name, str(gate))]
    service.wait_until_running(jobs)
    jobs += service.submit_all(name, [str(gate)] * 4)
    for heir, signals in (("second", [signal.SIGTERM, signal.SIGTERM]), ("third", [signal.SIGQUIT])):
        next_worker = service.start_worker(f"{name}-{heir}", name, patient)
        eventually(lambda: len(service.serving(name)) == 2, message="the heir is ready")
        for number in signals:
            hasty.send(number)
            # The second signal comes when the first was understood.
            hasty.wait_for_log("shutdown (MainProcess)")
        hasty.wait(15)
        assert hasty.descendants() == []
        hasty = next_worker
        eventually(lambda: len(service.serving(name)) == 1, message="the other has left")
        eventually(lambda: "running" in {service.job(job, 0)["status"] for job in jobs}, message="it runs one of them")
    gate.touch()
    documents = service.ended(jobs)
    assert {each["status"] for each in documents} == {"succeeded"}
    # What was given back was lost by no worker.
    assert {each["attempts"] for each in documents} == {1}


def test_a_worker_without_descriptors_for_new_connections_loses_no_job(
    service: Stack, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    worker = service.start_worker(f"{name}-starved", name)
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=1)
    jobs = service.submit_all(name, [str(gate)] * 3)
    service.wait_until_running(jobs[:1])
    with (
        no_more_files(psutil.Process(worker.pid), even_for_closed=True),
        redis.Redis.from_url(service.redis.url) as client,
    ):
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        worker.wait_for_log("Too many open files")
    gate.touch()

    def all_succeed() -> bool:
        # Celery may give up for want of descriptors: then it ends with an error, and is started again.
        if not worker.running and worker is service.workers[-1]:
            assert worker.exit_code != 0
            service.start_worker(f"{name}-heir", name)
        return {service.job(job, 1)["status"] for job in jobs} == {"succeeded"}

    eventually(all_succeed, 40, interval_s=0.5, message="all jobs succeed")


def wait_for_attempt(stack: Stack, job_id: str, number: int) -> None:
    eventually(lambda: stack.job(job_id, 0)["attempts"] == number, RECOVERY_S, message=f"attempt {number} has begun")


class stopped:  # noqa: N801 - reads as what the processes are meanwhile
    """SIGSTOP for these processes, and SIGCONT at the end."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids

    def __enter__(self) -> None:
        self._send(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        import os

        for pid in self._pids:
            os.kill(pid, number)
