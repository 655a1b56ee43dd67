"""A job that fails, as docs/guides/failed-jobs.md says: one finds out why, runs it again, and empties a queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import TaskRevokedError

from tests.everyday.conftest import Follow
from tests.support.models import Fussy
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

PAGE = "guides/failed-jobs.md"
ENDPOINT = "classifier_prod"
GOOD = [0.5, 0.8, 0.2]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def fussy(service: Stack, gate: Path) -> Iterator[Stack]:
    """The endpoint of the guide, with a model that fails at some inputs; one host, and no batches."""
    version = service.register("fussy", Fussy(gate), GOOD)["version"]
    # An endpoint keeps its version over an undeploy, and another test's model has another gate.
    service.deploy("fussy", version=version, endpoint_name=ENDPOINT, max_batch_size=1, reset=True)
    yield service
    gate.touch()
    service.undeploy(ENDPOINT, "reject")


def test_one_finds_out_why_a_job_has_failed_and_runs_it_again(fussy: Stack, follow: Follow) -> None:
    job_id = fussy.submit(ENDPOINT, [2.0, 0.5, 0.5])
    assert fussy.job(job_id)["status"] == "failed"
    said = follow(PAGE, "why")
    assert job_id in said
    assert ", in __call__" in said
    assert "ValueError: 2 is more than 1" in said
    assert "exit code 1: the job has failed" in said
    same, edited = (line for line in follow(PAGE, "run again").splitlines() if "-" in line and " " not in line)
    assert fussy.job(same)["error"]["message"] == "ValueError: 2 is more than 1"
    assert fussy.job(edited)["outcome"]["prediction"] == pytest.approx(1.5)
    assert fussy.api.get(f"/jobs/{same}/input").json() == {"input": [2.0, 0.5, 0.5]}
    assert fussy.api.get("/dead-letters").json() == {"dead_letters": []}


def test_an_endpoint_keeps_no_inputs_if_it_is_told_so(fussy: Stack) -> None:
    fussy.deploy("fussy", endpoint_name=ENDPOINT, keep_failed_inputs=False)
    job_id = fussy.submit(ENDPOINT, [2.0, 0.5, 0.5])
    assert fussy.job(job_id)["status"] == "failed"
    result = fussy.queuecast("jobs", "retry", job_id, check=False)
    assert result.returncode == 1
    assert "code=input_not_kept" in result.stderr
    fussy.deploy("fussy", endpoint_name=ENDPOINT, keep_failed_inputs=True)


def test_a_queue_is_emptied_while_the_endpoint_serves(fussy: Stack, follow: Follow, gate: Path) -> None:
    running = fussy.submit(ENDPOINT, [-1.0, 0.0, 0.0])
    fussy.wait_until_running([running])
    queued = [fussy.submit(ENDPOINT, GOOD) for _ in range(5)]
    first, second = follow(PAGE, "empty the queue").splitlines()
    assert first == f"5 queued jobs of {ENDPOINT} are cancelled."
    assert second == f"0 queued jobs of {ENDPOINT} are cancelled."
    assert {fussy.job(job_id)["status"] for job_id in queued} == {"cancelled"}
    with pytest.raises(TaskRevokedError):
        fussy.celery.AsyncResult(queued[0]).get(timeout=10)
    gate.touch()
    assert fussy.job(running)["outcome"]["prediction"] == -1.0
    assert fussy.predict(ENDPOINT, GOOD)["prediction"] == pytest.approx(1.5)
    eventually(lambda: fussy.view(ENDPOINT)["queue_depth"] == 0, message="the messages are dropped")
