"""A version that can't be loaded fails its deploy with the reason; what served before goes on serving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.calls import Document, expect, predictions
from tests.support.loads.load import Load
from tests.support.models import DiesWhenLoaded, Echo, Mortal, Unloadable
from tests.support.service.stack import Stack

#: Registers a version that can't be loaded.
Spoil = Callable[[Stack, str], Document]


def raises_when_loaded(service: Stack, name: str) -> Document:
    return service.register(name, Unloadable())


def dies_when_loaded(service: Stack, name: str) -> Document:
    return service.register(name, DiesWhenLoaded())


def fails_on_its_example(service: Stack, name: str) -> Document:
    return service.register(name, Mortal("2"), input_example="raise")


def is_missing(service: Stack, name: str) -> Document:
    version = service.register(name, Echo("2", seconds=0.0001))
    artifact_of(service, version).unlink()
    return version


def is_damaged(service: Stack, name: str) -> Document:
    version = service.register(name, Echo("2", seconds=0.0002))
    path = artifact_of(service, version)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    return version


def artifact_of(service: Stack, version: Document) -> Path:
    """Where the artifact store keeps a version's bytes."""
    [path] = (service.folder / "data" / "artifacts").rglob(version["artifact_sha256"])
    return path


def deploy_refused(service: Stack, name: str, version: str) -> Document:
    body = {"model_name": name, "version": version, "endpoint_name": name}
    return expect(409, service.api.post("/deployments/deploy", json=body, headers={"Prefer": "wait=60"}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (raises_when_loaded, "RuntimeError: the weights are missing"),
        (dies_when_loaded, "exited with status 9"),
        (fails_on_its_example, "ValueError: this row is not liked"),
        (is_missing, "is not in the artifact store"),
        (is_damaged, "is damaged"),
    ],
)
def test_the_old_version_keeps_serving(service: Stack, name: str, spoil: Spoil, reason: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    with Load(service.url, name) as load:
        load.wait_for(10)
        version = spoil(service, name)["version"]
        problem = deploy_refused(service, name, version)
        load.wait_for(20)
    assert problem["code"] == "deployment_failed"
    for text in (problem["detail"], problem["deployment"]["reason"], service.view(name)["reason"]):
        assert reason in text
        assert "Version 1 keeps serving." in text
    assert service.view(name)["status"] == "failed"
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert {outcome["version"] for outcome in outcomes} == {"1"}

    service.register(name, Echo("3"))
    service.deploy(name, version="3", endpoint_name=name)
    assert service.predict(name, "a")["prediction"] == ["3", "a"]


def test_an_endpoint_that_never_came_up_takes_no_jobs_over_http_until_a_good_version_is_deployed(
    service: Stack, name: str
) -> None:
    raises_when_loaded(service, name)
    problem = deploy_refused(service, name, "1")
    assert "keeps serving" not in problem["detail"]
    for path, body in ((f"/predict/{name}", {"input": "a"}), ("/predict", {"model_name": name, "input": "a"})):
        refused = expect(409, service.api.post(path, json=body))
        assert refused["code"] == "endpoint_failed"
        assert "RuntimeError: the weights are missing" in refused["reason"]
    # Celery programs don't read the registry: their jobs wait, and expire if they are told to.
    waiting = [service.celery.send_task("predict", [name, row], queue=f"predict.{name}") for row in "abc"]
    service.register(name, Echo("2"))
    service.deploy(name, version="2", endpoint_name=name)
    assert service.predict(name, "now")["prediction"] == ["2", "now"]
    assert predictions(each.get(timeout=30) for each in waiting) == [["2", "a"], ["2", "b"], ["2", "c"]]


def test_a_damaged_artifact_that_was_mended_is_served_after_another_deploy(service: Stack, name: str) -> None:
    version = is_damaged(service, name)
    deploy_refused(service, name, "1")
    path = artifact_of(service, version)
    path.write_bytes(path.read_bytes()[:-1] + b".")
    service.deploy(name, endpoint_name=name)
    assert service.predict(name, "a")["prediction"] == ["2", "a"]


def test_the_neighbours_are_not_disturbed(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    pids = service.view(name)["workers"][0]["pids"]
    service.register(f"{name}-bad", DiesWhenLoaded())
    deploy_refused(service, f"{name}-bad", "1")
    assert service.predict(name, "a")["prediction"] == ["1", "a"]
    assert service.view(name)["workers"][0]["pids"] == pids
