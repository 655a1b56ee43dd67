"""Many deployments on one worker, one deployment on many workers, and groups that keep to themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.calls import expect
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate, LoadedInTurn
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually

PAIR = "pair"


@pytest.fixture(scope="module")
def pair(service: Stack) -> Iterator[set[str]]:
    """The node names of two workers of a group of their own."""
    workers: list[Worker] = [service.start_worker(f"{PAIR}-{letter}", group=PAIR, wait=False) for letter in "ab"]
    yield {worker.node_name for worker in workers}
    for worker in workers:
        worker.kill()
        worker.stop()


def test_one_worker_serves_several_deployments_and_two_versions_of_one_model(service: Stack, name: str) -> None:
    for mark in "12":
        service.register(name, Echo(mark))
    service.register(f"{name}-other", Echo("other"))
    first = service.deploy(name, version="1")["endpoint_name"]
    second = service.deploy(name, version="2")["endpoint_name"]
    again = service.deploy(name, version="2", endpoint_name=f"{name}-again")["endpoint_name"]
    other = service.deploy(f"{name}-other")["endpoint_name"]
    assert (first, second, other) == (f"{name}-v1", f"{name}-v2", f"{name}-other-v1")
    for endpoint, mark in ((first, "1"), (second, "2"), (again, "2"), (other, "other")):
        outcome = service.predict(endpoint, "a")
        assert outcome["prediction"] == [mark, "a"]
        assert outcome["worker"] == service.workers[0].node_name

    assert ask_model(service, name) == ["2", f"{name}-again"]
    assert ask_model(service, name, version="1") == ["1", first]
    service.undeploy(again, "reject", wait_s=0)
    assert ask_model(service, name) == ["2", second]
    service.undeploy(second, "reject", wait_s=0)
    assert ask_model(service, name) == ["1", first]
    refused = service.api.post("/predict", json={"model_name": name, "version": "2", "input": "a"})
    assert expect(404, refused)["code"] == "endpoint_not_deployed"


def ask_model(service: Stack, model_name: str, **named: str) -> list[str]:
    body = {"model_name": model_name, "input": "a", **named}
    answer = expect(200, service.api.post("/predict", json=body, headers={"Prefer": "wait=30"}))
    return [answer["version"], answer["endpoint_name"]]


def test_two_workers_share_the_jobs_of_one_endpoint(service: Stack, name: str, pair: set[str], tmp_path: Path) -> None:
    service.register(name, Gate("1"))
    service.deploy(name, endpoint_name=name, worker_group=PAIR, max_batch_size=1)
    eventually(lambda: service.serving(name) == pair, message="both workers serve it")
    gates = [str(tmp_path / str(number)) for number in range(8)]
    job_ids = service.submit_all(name, gates)

    def running() -> int:
        return len(service.api.get("/jobs", params={"endpoint_name": name, "status": "running"}).json()["jobs"])

    eventually(lambda: running() == 2, message="each worker runs a job")
    for gate in gates:
        Path(gate).touch()
    outcomes = service.outcomes(job_ids)
    assert {outcome["worker"] for outcome in outcomes} == pair
    # The shared worker belongs to another group, and never hears of this endpoint.
    assert "for " + name not in service.workers[0].log()


def test_a_swap_is_over_when_the_last_worker_has_the_new_version(
    service: Stack, name: str, pair: set[str], tmp_path: Path
) -> None:
    service.register(name, Echo("1"))
    service.register(name, LoadedInTurn("2", tmp_path / "go"))
    service.deploy(name, version="1", endpoint_name=name, worker_group=PAIR)
    eventually(lambda: service.serving(name) == pair, message="both workers serve it")
    with Load(service.url, name) as load:
        load.wait_for(20)
        service.deploy(name, version="2", endpoint_name=name, wait_s=0)
        (tmp_path / "go0").touch()
        eventually(lambda: service.predict(name, "a")["version"] == "2", message="one worker has swapped")
        view = service.view(name)
        assert view["status"] == "deploying", view
        (tmp_path / "go1").touch()
        service.wait_for_status(name, "active")
        before = load.count + 1
        load.wait_for(40)
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert {outcome["version"] for outcome in outcomes[before:]} == {"2"}


def test_an_endpoint_moves_to_another_group_without_losing_a_job(service: Stack, name: str, pair: set[str]) -> None:
    before = service.workers[0].node_name
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    with Load(service.url, name) as load:
        load.wait_for(30)
        service.deploy(name, endpoint_name=name, worker_group=PAIR)
        eventually(lambda: service.serving(name) == pair, message="both workers serve it")
        load.wait_for(30)
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert outcomes[0]["worker"] == before
    assert outcomes[-1]["worker"] in pair
    assert {outcome["worker"] for outcome in outcomes} <= {before, *pair}
    eventually(
        lambda: {each["worker"] for each in service.view(name)["workers"]} == pair, message="the old one is gone"
    )
