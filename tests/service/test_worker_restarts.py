"""Workers come and go; nobody deploys again, and jobs wait for no lease to run out."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.service.conftest import StartWorker
from tests.support.calls import predictions
from tests.support.load import Load
from tests.support.models import Echo, Gate
from tests.support.processes import living
from tests.support.stack import Stack
from tests.support.waiting import eventually


def test_workers_serve_what_is_deployed_whenever_they_start(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name, worker_group=name, wait_s=0)
    early = service.submit_all(name, "ab")
    first = group_worker("a")
    assert predictions(service.outcomes(early)) == [["1", "a"], ["1", "b"]]

    family = first.descendants()
    assert family, "a forkserver and a host"
    assert first.terminate() == 0
    assert living(family) == []
    assert service.view(name)["status"] == "deploying"
    meanwhile = service.submit_all(name, "cd")
    assert {service.job(job_id, wait_s=0)["status"] for job_id in meanwhile} == {"queued"}

    again = group_worker("a")
    outcomes = service.outcomes(meanwhile)
    assert predictions(outcomes) == [["1", "c"], ["1", "d"]]
    assert {outcome["worker"] for outcome in outcomes} == {again.node_name}
    assert service.wait_for_status(name, "active")["workers"][0]["worker"] == again.node_name
    # A forgotten deployment would also be one that a worker serves although it was undeployed meanwhile.
    again.terminate()
    service.undeploy(name, "park", wait_s=0)
    parked = service.view(name)
    assert (parked["status"], parked["workers"]) == ("parked", [])


def test_sigterm_gives_queued_jobs_to_the_other_worker_at_once_and_finishes_the_running_one(
    service: Stack, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    leaving = group_worker("a")
    service.register(name, Gate("1"))
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=1)
    running = service.submit(name, str(gate))
    service.wait_until_running([running])
    waiting = service.submit_all(name, "ab")
    service.wait_until_reserved(leaving, waiting)
    staying = group_worker("b")
    eventually(lambda: len(service.serving(name)) == 2, message="both workers serve it")

    leaving.send(signal.SIGTERM)
    outcomes = service.outcomes(waiting)
    assert {outcome["worker"] for outcome in outcomes} == {staying.node_name}
    assert {outcome["attempts"] for outcome in outcomes} == {1}
    assert leaving.running, "it has not ended: its last job still runs"
    gate.touch()
    [outcome] = service.outcomes([running])
    assert (outcome["worker"], outcome["attempts"]) == (leaving.node_name, 1)
    assert leaving.wait() == 0


def test_a_job_that_outlasts_the_grace_of_a_stopping_worker_runs_on_another(
    service: Stack, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    leaving = group_worker("a", QUEUECAST_SHUTDOWN_GRACE_S="0.1")
    service.register(name, Gate("1"))
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=1)
    running = service.submit(name, str(gate))
    service.wait_until_running([running])
    staying = group_worker("b")
    eventually(lambda: len(service.serving(name)) == 2, message="both workers serve it")
    assert leaving.terminate() == 0
    gate.touch()
    [outcome] = service.outcomes([running])
    assert outcome["worker"] == staying.node_name
    assert outcome["prediction"] == ["1", str(gate)]


def test_a_worker_that_is_restarted_under_load_loses_and_refuses_nothing(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    service.register(name, Echo("1", seconds=0.02))
    service.deploy(name, endpoint_name=name, max_batch_size=2)
    with Load(service.url, name, pause_s=0.05) as load:
        for _ in range(2):
            worker = group_worker(group="default")
            eventually(lambda: len(service.serving(name)) == 2, message="both workers serve it")
            load.pause_s = 0.0  # more than one worker can do, so that both have their hands full
            load.wait_for(60)
            load.pause_s = 0.05
            assert worker.terminate() == 0
        load.wait_for(5)
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert predictions(outcomes) == [["1", accepted.row] for accepted in load.accepted]
    assert {outcome["attempts"] for outcome in outcomes} == {1}
    assert {outcome["worker"] for outcome in outcomes} == {worker.node_name, service.workers[0].node_name}
