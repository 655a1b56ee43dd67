"""The status of a deployment: what is desired, together with what its workers report."""

from __future__ import annotations

from pathlib import Path

from tests.service.conftest import StartWorker
from tests.support.calls import predictions
from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually


def test_without_a_worker_it_waits_and_says_why(service: Stack, name: str, group_worker: StartWorker) -> None:
    service.register(name, Echo("1"))
    wanted, unwanted = f"{name}-wanted", f"{name}-unwanted"
    for endpoint in (wanted, unwanted):
        view = service.deploy(name, endpoint_name=endpoint, worker_group=name, wait_s=0)
        assert (view["status"], view["workers"]) == ("deploying", [])
    waiting = service.submit_all(wanted, "abc") + service.submit_all(unwanted, "abc")
    view = service.undeploy(unwanted, wait_s=0)
    assert view["status"] == "draining"
    for view in (service.view(wanted), service.view(unwanted)):
        assert f"No worker of group '{name}' is running" in view["reason"]
        assert view["queue_depth"] == 3
        assert view["oldest_job_age_s"] >= 0
    group_worker()
    service.wait_for_status(wanted, "active")
    assert predictions(service.outcomes(waiting)) == [["1", row] for row in "abcabc"]
    eventually(lambda: service.api.get(f"/deployments/{unwanted}").status_code == 404, message="it is drained")


def test_an_active_deployment_shows_its_workers_and_figures(service: Stack, name: str) -> None:
    service.register(name, Echo("1", seconds=0.001))
    view = service.deploy(name, endpoint_name=name)
    assert (view["status"], view["reason"], view["request_count"]) == ("active", None, 0)
    [worker] = view["workers"]
    assert worker["worker"] == service.workers[0].node_name
    assert (worker["state"], worker["hosts"], len(worker["pids"])) == ("ready", 1, 1)
    assert worker["memory_bytes"] > 1_000_000
    assert worker["load_ms"] > 0
    service.outcomes(service.submit_all(name, map(str, range(20))))
    view = service.view(name)
    assert (view["request_count"], view["succeeded_count"], view["failed_count"]) == (20, 20, 0)
    assert 1 <= view["p50_ms"] <= view["p95_ms"] <= view["p99_ms"]
    assert view["avg_latency_ms"] >= 1
    # Workers say once a second what they hold.
    eventually(lambda: service.view(name)["queue_depth"] == 0, 3.0)
    assert service.view(name)["oldest_job_age_s"] is None
    eventually(lambda: service.view(name) in service.api.get("/deployments").json()["deployments"])


def test_it_is_degraded_when_one_of_two_workers_has_failed(
    service: Stack, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    well = service.workers[0]
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    sick = group_worker(group="default", QUEUECAST_ARTIFACT_CACHE_DIR=str(tmp_path / "file" / "cache"))
    view = service.wait_for_status(name, "degraded")
    assert "Ready on 1 of 2 workers" in view["reason"]
    assert "artifact cache can't be used" in view["reason"]
    states = {each["worker"]: each["state"] for each in view["workers"]}
    assert states == {well.node_name: "ready", sick.node_name: "failed"}
    assert {outcome["worker"] for outcome in service.outcomes(service.submit_all(name, "abc"))} == {well.node_name}
    sick.stop()
    service.wait_for_status(name, "active")


def test_a_parked_deployment_is_listed_until_it_is_undeployed_for_good(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    assert service.undeploy(name, "park")["status"] == "parked"

    def listed() -> list[str]:
        views = service.api.get("/deployments").json()["deployments"]
        return [view["status"] for view in views if view["endpoint_name"] == name]

    assert listed() == ["parked"]
    # Nothing waits and no worker has it, so that there is nothing to wind down.
    assert service.undeploy(name, "drain")["status"] == "undeployed"
    assert listed() == []
    assert service.api.get(f"/deployments/{name}").status_code == 404
