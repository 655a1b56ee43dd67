"""Deployments that sleep while they are idle, and a rollout, on RabbitMQ: each accepted job has its one right end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rabbitmq import audit as queues
from tests.service.conftest import StartWorker
from tests.support.calls import predictions
from tests.support.loads.load import Load
from tests.support.models import Echo, Heavy, LoadedInTurn
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

#: They start workers of their own.
pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

ON_DEMAND: dict[str, Any] = {"hosts": {"min": 0, "max": 1}}
BUDGET_MB, HOST_MB, ENDPOINTS, JOBS_OF_EACH = 250, 100, 3, 8


def consumers(rabbit: RabbitNode, name: str) -> int:
    return int(rabbit.queues()[queue_name(name)]["consumers"])


def is_empty(service: Stack, rabbit: RabbitNode, name: str) -> bool:
    return queues.leftovers(service, rabbit, name) == {}


def test_it_sleeps_wakes_for_its_next_jobs_and_sleeps_again_with_its_queue_consumed(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker
) -> None:
    group_worker()
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name, worker_group=name, idle_s=0.3, **ON_DEMAND)
    for row in "ab":
        service.wait_for_status(name, "asleep")
        assert service.view(name)["workers"][0]["pids"] == []
        assert consumers(rabbit, name) == 1
        with Load(service.url, name) as load:
            load.wait_for(20)
        queues.check(service, rabbit, name, load.accepted, lambda row: ["m", row])
        assert service.predict(name, row)["prediction"] == ["m", row]
    service.wait_for_status(name, "asleep")


def test_more_models_than_fit_take_turns_and_answer_every_job(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker
) -> None:
    group_worker(QUEUECAST_WORKER_MEMORY_MB=str(BUDGET_MB))
    endpoints = [f"{name}-{number}" for number in range(ENDPOINTS)]
    for endpoint in endpoints:
        service.register(endpoint, Heavy(endpoint, HOST_MB))
        service.deploy(endpoint, endpoint_name=endpoint, worker_group=name, idle_s=600.0, **ON_DEMAND)
    accepted = {
        service.submit(endpoint, str(number)): endpoint
        for number, endpoint in itertools.product(range(JOBS_OF_EACH), endpoints)
    }
    outcomes = service.outcomes(accepted)
    assert [each["prediction"][0] for each in outcomes] == list(accepted.values())
    [memory] = [each for each in service.api.get("/deployments").json()["workers"] if each["worker_group"] == name]
    assert memory["evictions"] >= 1
    for endpoint in endpoints:
        eventually(lambda each=endpoint: is_empty(service, rabbit, each), message="nothing is left")  # type: ignore[misc]


def test_a_swap_and_a_park_while_asleep_lose_no_job(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker
) -> None:
    worker = group_worker()
    for mark in "12":
        service.register(name, Echo(mark))
    service.deploy(name, version="1", endpoint_name=name, worker_group=name, idle_s=0.3, **ON_DEMAND)
    service.wait_for_status(name, "asleep")
    service.deploy(name, version="2", endpoint_name=name)
    assert service.predict(name, "a")["prediction"] == ["2", "a"]
    service.wait_for_status(name, "asleep")
    worker.stop()
    waiting = service.submit_all(name, "bc")
    service.undeploy(name, "park")
    group_worker("b")
    assert service.view(name)["status"] == "parked"
    assert rabbit.depth(queue_name(name)) == 2
    service.deploy(name, version="1", endpoint_name=name)
    outcomes = service.outcomes(waiting)
    assert predictions(outcomes) == [["1", "b"], ["1", "c"]]
    assert {each["attempts"] for each in outcomes} == {1}
    eventually(lambda: is_empty(service, rabbit, name), message="nothing is left")


def test_a_park_with_a_job_that_loads_it_gives_the_job_back(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    group_worker()
    may_load = [tmp_path / f"load{number}" for number in range(3)]
    may_load[0].touch()
    service.register(name, LoadedInTurn("m", tmp_path / "load"))
    service.deploy(name, endpoint_name=name, worker_group=name, idle_s=0.3, **ON_DEMAND)
    service.wait_for_status(name, "asleep")
    job = service.submit(name, "a")
    service.wait_for_status(name, "loading")
    service.undeploy(name, "park")
    eventually(lambda: rabbit.depth(queue_name(name)) == 1, message="the job waits in its queue")
    may_load[1].touch()  # if a host has begun
    may_load[2].touch()
    service.deploy(name, endpoint_name=name)
    [outcome] = service.outcomes([job])
    assert (outcome["prediction"], outcome["attempts"]) == (["m", "a"], 1)


def test_a_worker_that_is_killed_while_it_loads_costs_the_waiting_jobs_no_attempt(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    victim = group_worker("a")
    (tmp_path / "load0").touch()
    service.register(name, LoadedInTurn("m", tmp_path / "load"))
    service.deploy(name, endpoint_name=name, worker_group=name, idle_s=0.3, **ON_DEMAND)
    service.wait_for_status(name, "asleep")
    jobs = service.submit_all(name, "abc")
    service.wait_for_status(name, "loading")
    eventually((tmp_path / "load1.taken").exists, message="its host loads")
    victim.kill()
    (tmp_path / "load2").touch()
    heir = group_worker("b")
    outcomes = service.outcomes(jobs)
    assert predictions(outcomes) == [["m", row] for row in "abc"]
    assert {(each["worker"], each["attempts"]) for each in outcomes} == {(heir.node_name, 1)}
    eventually(lambda: is_empty(service, rabbit, name), message="nothing is left")
    service.wait_for_status(name, "asleep")


@pytest.fixture
def background(service: Stack) -> Iterator[None]:
    started = service.start_background()
    yield
    started.stop()


@pytest.mark.usefixtures("background")
def test_a_worker_that_is_killed_during_a_rollout_loses_no_job_and_the_rollout_goes_on(
    service: Stack, rabbit: RabbitNode, name: str, group_worker: StartWorker
) -> None:
    for mark in "12":
        service.register(name, Echo(mark, seconds=0.002))
    victim, _ = group_worker("a"), group_worker("b")
    service.deploy(name, version="1", endpoint_name=name, worker_group=name)
    path = f"/deployments/{name}/rollout"
    plan = {"version": "2", "steps": [50, 100], "min_jobs": 20, "step_s": 3.0, "rules": {"disagreement": None}}
    assert service.api.post(path, json=plan).status_code == 202
    with Load(service.url, name, pause_s=0.02) as load:
        eventually(lambda: service.api.get(path).json()["step"] == 1, 30, message="both versions answer")
        load.wait_for(30)
        victim.kill()
        load.wait_for(30)
        group_worker("a")
        eventually(lambda: service.api.get(path).json()["state"] == "promoted", 60, message="it goes on")
        load.wait_for(10)
    assert load.refused == []
    documents = service.ended([each.job_id for each in load.accepted])
    assert {each["status"] for each in documents} == {"succeeded"}
    outcomes = [each["outcome"] for each in documents]
    assert predictions(outcomes) == [
        [outcome["version"], each.row] for outcome, each in zip(outcomes, load.accepted, strict=True)
    ]
    assert {each["version"] for each in outcomes} == {"1", "2"}
    assert service.view(name)["version"] == "2"
    eventually(
        lambda: queues.leftovers(service, rabbit, name, [each.job_id for each in load.accepted]) == {},
        message="nothing is left of ended jobs",
    )
