"""Changing the settings of an endpoint that serves: what hosts can't bear is refused, and costs no job."""

from __future__ import annotations

import time
from typing import Any

from tests.support.calls import Document, expect
from tests.support.loads.load import Load
from tests.support.models import Echo, Heavy, Unloadable
from tests.support.service.stack import Stack


def configure(service: Stack, name: str, status: int = 200, **settings: Any) -> Document:
    answer = service.api.patch(f"/deployments/{name}", json=settings, headers={"Prefer": "wait=60"})
    return expect(status, answer)


def outcomes_of_history(service: Stack, name: str) -> list[tuple[int, str, str | None]]:
    found = expect(200, service.api.get(f"/deployments/{name}/history"))
    return [(each["revision"], each["action"], each["outcome"]) for each in found["changes"]]


def test_a_memory_limit_below_what_hosts_use_is_refused_with_the_figures_and_nothing_goes_down(
    service: Stack, name: str
) -> None:
    service.register(name, Heavy("1", 100))
    service.deploy(name, endpoint_name=name)
    pids = service.view(name)["workers"][0]["pids"]
    with Load(service.url, name) as load:
        load.wait_for(10)
        problem = configure(service, name, 409, max_memory_mb=50)
        load.wait_for(20)
        view = service.view(name)
        assert (problem["code"], problem["deployment"]["changes"]) == (
            "deployment_failed", {"max_memory_mb": {"from": None, "to": 50}}
        )  # fmt: skip
        for text in (problem["detail"], view["reason"]):
            assert "MiB of memory, more than the 50 MiB of max_memory_mb." in text
            assert "Version 1 keeps serving with the settings of revision 1." in text
        assert (view["status"], view["workers"][0]["pids"]) == ("degraded", pids)

        began = time.monotonic()
        back = configure(service, name, max_memory_mb=None)
        assert time.monotonic() - began < 20
        assert (back["status"], back["reason"], back["workers"][0]["pids"]) == ("active", None, pids)
        load.wait_for(20)
    assert load.refused == []
    service.outcomes(accepted.job_id for accepted in load.accepted)
    assert outcomes_of_history(service, name) == [
        (3, "configure", "active"), (2, "configure", "failed"), (1, "deploy", "active")
    ]  # fmt: skip


def test_a_memory_limit_that_hosts_keep_is_applied_by_new_hosts(service: Stack, name: str) -> None:
    service.register(name, Heavy("1", 40))
    service.deploy(name, endpoint_name=name)
    pids = service.view(name)["workers"][0]["pids"]
    view = configure(service, name, max_memory_mb=400)
    assert view["status"] == "active"
    assert service.predict(name, "a")["prediction"] == ["1", "a"]
    service.wait_for_other_hosts(name, pids)


def test_a_time_limit_that_the_example_exceeds_is_refused(service: Stack, name: str) -> None:
    service.register(name, Echo("1", seconds=0.3))
    service.deploy(name, endpoint_name=name)
    problem = configure(service, name, 409, timeout_s=0.05)
    assert "did not answer within 0.05 s" in problem["detail"]
    assert "Version 1 keeps serving" in problem["detail"]
    assert service.predict(name, "a")["prediction"] == ["1", "a"]
    answer = service.api.post(f"/deployments/{name}/rollback", json={}, headers={"Prefer": "wait=30"})
    rolled_back = expect(200, answer)
    assert (rolled_back["status"], rolled_back["settings"]["timeout_s"]) == ("active", 60.0)


def test_an_endpoint_whose_first_limits_are_too_low_serves_at_once_with_others(service: Stack, name: str) -> None:
    service.register(name, Heavy("1", 100))
    body = {"model_name": name, "endpoint_name": name, "max_memory_mb": 50}
    for _ in range(3):  # the pauses between loads grow
        problem = expect(409, service.api.post("/deployments/deploy", json=body, headers={"Prefer": "wait=60"}))
        assert "more than the 50 MiB" in problem["detail"]
    began = time.monotonic()
    assert configure(service, name, max_memory_mb=None)["status"] == "active"
    assert time.monotonic() - began < 20
    assert service.predict(name, "a")["prediction"] == ["1", "a"]


def test_a_drain_of_what_no_worker_can_load_says_so_at_once(service: Stack, name: str) -> None:
    service.register(name, Unloadable())
    body = {"model_name": name, "endpoint_name": name}
    expect(409, service.api.post("/deployments/deploy", json=body, headers={"Prefer": "wait=60"}))
    service.celery.send_task("predict", [name, "a"], queue=f"predict.{name}")
    began = time.monotonic()
    done = service.queuecast("undeploy", name, check=False)
    assert time.monotonic() - began < 60
    assert done.returncode == 1
    for text in ("RuntimeError: the weights are missing", "reject", "park"):
        assert text in done.stderr
    assert service.view(name)["status"] == "draining"
    assert "'reject'" in service.view(name)["reason"]
    assert service.queuecast("undeploy", name, "--backlog", "reject").returncode == 0
