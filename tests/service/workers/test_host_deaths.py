"""A model that takes its process along costs the job that did it, and nobody else."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.models import Echo, Mortal
from tests.support.service.stack import Stack

HOW_IT_ENDED = {"exit": "exited with status 7", "kill": "SIGKILL", "segfault": "SIGSEGV"}


@pytest.mark.parametrize("row", HOW_IT_ENDED)
def test_a_job_that_kills_its_host_fails_and_its_batch_mates_succeed(
    service: Stack, name: str, tmp_path: Path, row: str
) -> None:
    worker = service.workers[0]
    service.register(name, Mortal("1"))
    service.deploy(name, endpoint_name=name, max_attempts=2)
    neighbour = f"{name}-neighbour"
    service.register(neighbour, Echo("beside"))
    neighbours_pids = service.deploy(neighbour, endpoint_name=neighbour)["workers"][0]["pids"]
    pids = service.view(name)["workers"][0]["pids"]

    # While the host is busy the others gather, and become one batch.
    gate = tmp_path / "gate"
    blocking = service.submit(name, str(gate))
    service.wait_until_running([blocking])
    mates = service.submit_all(name, "abc")
    deadly = service.submit(name, row)
    mates += service.submit_all(name, "def")
    service.wait_until_reserved(worker, [*mates, deadly])
    gate.touch()

    outcomes = service.outcomes(mates)
    assert [outcome["prediction"] for outcome in outcomes] == [["1", mate] for mate in "abcdef"]
    assert {outcome["attempts"] for outcome in outcomes} == {2}, "they were in the batch that was lost"
    job = service.job(deadly)
    assert (job["status"], job["error"]["code"], job["attempts"]) == ("failed", "poison_job", 2)
    assert all(HOW_IT_ENDED[row] in failure["reason"] for failure in job["failures"])
    assert len(job["failures"]) == 2

    assert worker.running
    service.wait_for_other_hosts(name, pids)
    service.wait_for_status(name, "active")
    assert service.predict(name, "g")["prediction"] == ["1", "g"]
    assert service.view(neighbour)["workers"][0]["pids"] == neighbours_pids
    assert service.predict(neighbour, "a")["prediction"] == ["beside", "a"]


def test_a_stream_of_deadly_jobs_holds_up_but_does_not_hurt_the_others(service: Stack, name: str) -> None:
    service.register(name, Mortal("1"))
    # Even with one attempt only: a batch that was lost is held against none of its jobs.
    service.deploy(name, endpoint_name=name, max_attempts=1)
    good, deadly = [], []
    for number in range(10):
        good.append(service.submit(name, f"row {number}"))
        deadly.append(service.submit(name, "exit"))
    assert len(service.outcomes(good)) == 10
    assert {job["error"]["code"] for job in service.ended(deadly)} == {"poison_job"}
    assert service.workers[0].running
    service.wait_for_status(name, "active")


def test_an_idle_host_that_is_killed_from_outside_is_replaced(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    [pid] = service.deploy(name, endpoint_name=name)["workers"][0]["pids"]
    psutil.Process(pid).kill()
    service.wait_for_other_hosts(name, [pid])
    assert service.predict(name, "a")["prediction"] == ["1", "a"]
