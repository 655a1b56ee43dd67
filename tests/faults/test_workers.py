"""Workers that are killed, stopped or told to end: their jobs come back, and none is lost or ended twice."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults import audit
from tests.faults.conftest import LEASE_S
from tests.support.load import Load
from tests.support.models import Echo, Gate, Recorder
from tests.support.stack import Stack
from tests.support.waiting import eventually

#: What the issue allows after a kill: the lease, and ten seconds.
RECOVERY_S = LEASE_S + 10


def test_killed_workers_lose_no_job(faulty: Stack) -> None:
    faulty.register("echo", Echo("m", seconds=0.002))
    workers = [faulty.start_worker(name) for name in ("one", "two")]
    faulty.deploy("echo", endpoint_name="echo", max_batch_size=8)
    with Load(faulty.url, "echo") as load:
        for number in range(4):
            load.wait_for(60)
            workers[number % 2].kill()
            workers[number % 2] = faulty.start_worker(("one", "two")[number % 2])
        load.wait_for(60)
    assert load.refused == []
    audit.check(faulty, "echo", load.accepted, lambda row: ["m", row], RECOVERY_S)


def test_jobs_of_a_killed_worker_come_back_within_the_lease(faulty: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    faulty.register("gate", Gate("m"))
    victim = faulty.start_worker("victim")
    faulty.deploy("gate", endpoint_name="gate", max_batch_size=4)
    jobs = [faulty.submit("gate", str(gate))]
    faulty.wait_until_running(jobs)
    jobs += faulty.submit_all("gate", [str(gate)] * 9)
    faulty.start_worker("heir")
    eventually(lambda: len(faulty.view("gate")["workers"]) == 2, message="the heir is ready")
    victim.kill()
    killed_at = time.monotonic()
    gate.touch()
    documents = faulty.ended(jobs)
    assert time.monotonic() - killed_at < RECOVERY_S
    assert {each["status"] for each in documents} == {"succeeded"}
    assert {each["outcome"]["worker"].partition("@")[0] for each in documents} == {"heir"}
    # The one that had begun says so; those that had only been fetched have lost nothing.
    assert [each["attempts"] for each in documents] == [2] + [1] * 9
    assert "victim" in documents[0]["failures"][0]["reason"]


def test_a_prediction_that_outlasts_the_lease_is_run_once(faulty: Stack, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    faulty.register("recorder", Recorder(runs, seconds=2.5 * LEASE_S))
    for name in ("one", "two"):
        faulty.start_worker(name)
    faulty.deploy("recorder", endpoint_name="recorder")
    [outcome] = faulty.outcomes([faulty.submit("recorder", "a")])
    assert outcome["attempts"] == 1
    assert runs.read_text().split() == ["a"]


@pytest.mark.timeout(90)
def test_a_worker_that_was_stopped_for_longer_than_its_lease_changes_no_recorded_outcome(
    faulty: Stack, tmp_path: Path
) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    faulty.register("recorder", Recorder(runs, gate=gate))
    sleeper = faulty.start_worker("sleeper")
    faulty.deploy("recorder", endpoint_name="recorder")
    job = faulty.submit("recorder", "a")
    faulty.wait_until_running([job])
    faulty.start_worker("heir")
    eventually(lambda: len(faulty.view("recorder")["workers"]) == 2, message="the heir is ready")
    family = [sleeper.pid, *(each.pid for each in sleeper.descendants())]
    with stopped(family):
        gate.touch()
        first = faulty.job(job)
    assert first["outcome"]["worker"].startswith("heir@")
    # The sleeper wakes and finishes its own run of the job; the record stays as it is.
    eventually(lambda: runs.read_text().split() == ["a", "a"], message="it was run twice")
    later = faulty.submit("recorder", "b")
    assert faulty.job(later)["status"] == "succeeded"
    eventually(lambda: audit.leftovers(faulty, "recorder") == {}, message="nothing is left")
    assert faulty.job(job) == first
    assert faulty.view("recorder")["request_count"] == 2


def test_a_job_that_kills_every_worker_that_takes_it_becomes_a_dead_letter(faulty: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    faulty.register("gate", Gate("m"))
    worker = faulty.start_worker("w0")
    faulty.deploy("gate", endpoint_name="gate", max_attempts=2)
    job = faulty.submit("gate", str(gate))
    for number in (1, 2):
        wait_for_attempt(faulty, job, number)
        worker.kill()
        worker = faulty.start_worker(f"w{number}")
    document = faulty.job(job)
    assert document["status"] == "failed"
    assert document["error"]["code"] == "poison_job"
    letter = faulty.api.get(f"/dead-letters/{job}").json()
    assert letter["input"] == str(gate)
    assert [each["worker"].partition("@")[0] for each in letter["failures"]] == ["w0", "w1"]
    gate.touch()
    again = faulty.api.post(f"/dead-letters/{job}/replay", json={}).json()
    assert faulty.job(again["job_id"])["outcome"]["prediction"] == ["m", str(gate)]
    assert faulty.api.get(f"/dead-letters/{job}").status_code == 404


@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGQUIT]], ids=["TERM twice", "QUIT"])
def test_a_worker_in_a_hurry_gives_back_what_runs_at_once(
    faulty: Stack, tmp_path: Path, signals: list[signal.Signals]
) -> None:
    gate = tmp_path / "gate"
    faulty.register("gate", Gate("m"))
    hasty = faulty.start_worker("hasty", env={"QUEUECAST_SHUTDOWN_GRACE_S": "60"})
    faulty.deploy("gate", endpoint_name="gate", max_batch_size=2)
    jobs = [faulty.submit("gate", str(gate))]
    faulty.wait_until_running(jobs)
    jobs += faulty.submit_all("gate", [str(gate)] * 4)
    faulty.start_worker("heir", env={"QUEUECAST_LEASE_S": "600"})
    eventually(lambda: len(faulty.view("gate")["workers"]) == 2, message="the heir is ready")
    for number in signals:
        hasty.send(number)
        # The second signal comes when the first was understood.
        hasty.wait_for_log("shutdown (MainProcess)")
    hasty.wait(15)
    gate.touch()
    documents = faulty.ended(jobs)
    assert {each["status"] for each in documents} == {"succeeded"}
    # What was given back was lost by nobody.
    assert {each["attempts"] for each in documents} == {1}
    assert hasty.descendants() == []


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
