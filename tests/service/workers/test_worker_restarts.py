"""Workers come and go; nobody deploys again, and jobs wait for no lease to run out."""

from __future__ import annotations

import signal
from pathlib import Path

import redis

from tests.service.conftest import StartWorker
from tests.support.calls import predictions
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate
from tests.support.service.processes import living
from tests.support.service.stack import CELERYS_COMMAND, Stack
from tests.support.waiting import eventually
from workers import keys
from workers.queues import naming

#: Between the jobs of a load that a worker keeps up with easily.
SLOW_S = 0.03
#: After so long a worker is forgotten that was not heard of.
LONG_AGO_S = 4_000


def test_a_worker_serves_what_is_deployed_whenever_it_starts_and_loses_nothing_when_it_ends(
    service: Stack, name: str, group_worker: StartWorker
) -> None:
    service.register(name, Echo("1", seconds=0.01))
    service.deploy(name, endpoint_name=name, worker_group=name, max_batch_size=4, wait_s=0)
    with Load(service.url, name, pause_s=SLOW_S) as load:
        load.wait_for(10)
        assert job_states(service, load) == {"queued"}
        worker = group_worker()
        service.outcomes([load.accepted[0].job_id])

        load.pause_s = 0.0  # more than it can do, so that it has its hands full when it is told to end
        load.wait_for(40)
        load.pause_s = SLOW_S
        family = worker.descendants()
        assert family, "a forkserver and a host"
        assert worker.terminate() == 0
        assert living(family) == []
        view = service.view(name)
        assert (view["status"], view["workers"]) == ("deploying", [])
        late = load.count
        load.wait_for(10)
        assert job_states(service, load, late) == {"queued"}

        group_worker()
        service.wait_for_status(name, "active")
        load.wait_for(5)
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert predictions(outcomes) == [["1", accepted.row] for accepted in load.accepted]
    assert {outcome["attempts"] for outcome in outcomes} == {1}


def test_celerys_own_command_starts_the_same_worker(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    worker = service.start_worker(name, group=name, command=CELERYS_COMMAND)
    service.deploy(name, endpoint_name=name, worker_group=name)
    assert service.predict(name, "x")["worker"] == worker.node_name
    assert worker.terminate() == 0


def job_states(service: Stack, load: Load, start: int = 0) -> set[str]:
    """The states of the jobs that a load has submitted, from the one with this number on."""
    return {service.job(accepted.job_id, wait_s=0)["status"] for accepted in list(load.accepted)[start + 1 :]}


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
    impatient = {"QUEUECAST_SHUTDOWN_GRACE_S": "0.1"}
    workers = [group_worker(letter, wait=False, **impatient) for letter in "ab"]
    service.register(name, Gate("1"))
    service.deploy(name, endpoint_name=name, worker_group=name)
    eventually(lambda: len(service.serving(name)) == 2, 30, message="both workers serve it")
    running = service.submit(name, str(gate))
    service.wait_until_running([running])
    active = service.celery.control.inspect([worker.node_name for worker in workers], timeout=5).active()
    leaving, staying = sorted(workers, key=lambda worker: not active[worker.node_name])
    assert leaving.terminate() == 0
    gate.touch()
    [outcome] = service.outcomes([running])
    assert outcome["worker"] == staying.node_name
    assert outcome["prediction"] == ["1", str(gate)]


def test_of_killed_workers_celery_keeps_no_control_queue(service: Stack, name: str, group_worker: StartWorker) -> None:
    killed, lives = group_worker("a"), group_worker("b")
    killed.kill()
    bindings = {each: naming.pidbox_binding(each.node_name).encode() for each in (killed, lives)}
    with redis.Redis.from_url(service.redis.url) as store:

        def bound() -> set[bytes]:
            return {each for key in naming.PIDBOX_BINDINGS for each in store.smembers(key)}

        assert bound() >= set(bindings.values())
        store.zincrby(keys.WORKERS, -LONG_AGO_S, killed.node_name)
        eventually(lambda: bindings[killed] not in bound())
        assert bindings[lives] in bound()
        for key in naming.PIDBOX_BINDINGS:
            store.srem(key, bindings[lives])
    # Should it have been silent for as long and live, it can be controlled all the same.
    [answer] = service.celery.control.ping(destination=[lives.node_name], timeout=10, limit=1)
    assert list(answer) == [lives.node_name]
