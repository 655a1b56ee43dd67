"""Deployments over HTTP: what deploy and undeploy take and answer, and what is shown of them."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest
import redis

from tests.api.conftest import Client, View
from tests.api.stand_in_worker import LOAD_MS, NAME, StandInWorker
from tests.support.waiting import eventually
from workers import keys
from workers.measures.reports import HostsState


def undeploy(client: Client, **wanted: Any) -> Any:
    return client.post("/deployments/undeploy", json=wanted)


def test_a_deploy_is_accepted_and_says_what_it_waits_for(client: Client) -> None:
    client.register()
    answer = client.post("/deployments/deploy", json={"model_name": "adder"})
    assert answer.status_code == 202
    assert answer.headers["Location"] == "/deployments/adder-v1"
    assert "Preference-Applied" not in answer.headers
    view = answer.json
    assert (view["endpoint_name"], view["model_name"], view["version"]) == ("adder-v1", "adder", "1")
    assert view["status"] == "deploying"
    assert view["reason"] == "No worker of group 'default' is running; jobs wait in the queue."
    assert (view["workers"], view["worker_group"], view["revision"]) == ([], "default", 1)
    assert set(view["changes"]) == {"model_name", "version", "worker_group", "intent"}
    del view["changes"]
    assert client.get(answer.headers["Location"]).json == view


def test_the_latest_registered_version_is_deployed_unless_one_is_named(client: Client) -> None:
    for _ in range(2):
        client.register()
    deploy = {"model_name": "adder"}
    assert client.post("/deployments/deploy", json=deploy).json["endpoint_name"] == "adder-v2"
    for version in ("1", 1):
        answer = client.post("/deployments/deploy", json={**deploy, "version": version})
        assert (answer.json["endpoint_name"], answer.json["version"]) == ("adder-v1", "1")


def test_a_deploy_that_is_waited_for_is_a_201_once_it_is_active(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report({**adding, "revision": adding["revision"] + 1})
    body = {"model_name": "adder", "endpoint_name": "adding"}
    answer = client.post("/deployments/deploy", json=body, headers={"Prefer": "wait=20"})
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert (answer.json["status"], answer.json["reason"]) == ("active", None)
    [seen] = answer.json["workers"]
    assert (seen["worker"], seen["state"], seen["load_ms"], seen["hosts"]) == (NAME, "ready", LOAD_MS, 1)


def test_a_wait_for_a_deploy_ends_as_soon_as_the_worker_is_ready(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    answers: list[Any] = []

    def deploy() -> None:
        body = {"model_name": "adder", "endpoint_name": "adding"}
        answers.append(client.post("/deployments/deploy", json=body, headers={"Prefer": "wait=60"}))

    waiting = threading.Thread(target=deploy)
    waiting.start()
    second = {**adding, "revision": 2}
    eventually(lambda: client.get("/deployments/adding").json["revision"] == 2)
    worker.report(second, HostsState.LOADING)
    eventually(lambda: client.get("/deployments/adding").json["reason"] == "The model is being loaded.")
    assert not answers
    worker.report(second)
    waiting.join(20)
    assert answers[0].status_code == 201


def test_a_wait_that_is_over_answers_202_with_what_there_is(client: Client) -> None:
    client.register()
    answer = client.post("/deployments/deploy", json={"model_name": "adder"}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json["status"]) == (202, "deploying")
    assert answer.headers["Preference-Applied"] == "wait=1"


def test_a_deploy_that_no_worker_can_load_is_a_409_with_the_reason(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report({**adding, "revision": 2}, HostsState.FAILED, "ImportError: no module named 'colours'")
    body = {"model_name": "adder", "endpoint_name": "adding"}
    answer = client.post("/deployments/deploy", json=body, headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.json["code"]) == (409, "deployment_failed")
    assert "no module named 'colours'" in answer.json["detail"]
    assert answer.json["deployment"]["status"] == "failed"
    assert client.get("/deployments/adding").json["status"] == "failed"


def test_an_existing_endpoint_is_bound_anew_with_its_settings(client: Client) -> None:
    client.register()
    client.register()
    first = client.deploy("adding", version="1", max_batch_size=7, timeout_s=3)
    assert (first["settings"]["max_batch_size"], first["settings"]["timeout_s"]) == (7, 3.0)
    second = client.deploy("adding", version="2", timeout_s=4.5)
    assert (second["version"], second["revision"]) == ("2", 2)
    assert (second["settings"]["max_batch_size"], second["settings"]["timeout_s"]) == (7, 4.5)
    assert [each["endpoint_name"] for each in client.get("/deployments").json["deployments"]] == ["adding"]


def test_a_latency_target_goes_with_auto_and_with_nothing_else(client: Client) -> None:
    client.register()
    refused = {"model_name": "adder", "endpoint_name": "adding", "target_latency_ms": 50}
    answer = client.post("/deployments/deploy", json=refused)
    assert (answer.status_code, answer.json["code"]) == (422, "settings_invalid")
    assert 'Set max_batch_size to "auto"' in answer.json["detail"]
    assert client.get("/deployments").json["deployments"] == []
    client.deploy("adding", max_batch_size="auto")
    named = client.deploy("adding", target_latency_ms=50)["settings"]
    assert (named["max_batch_size"], named["target_latency_ms"]) == ("auto", 50)
    answer = client.post("/deployments/deploy", json={**refused, "max_batch_size": 8})
    assert answer.status_code == 422
    view = client.get("/deployments/adding").json
    assert (view["settings"], view["revision"]) == (named, 2)
    fixed = client.deploy("adding", max_batch_size=8)["settings"]
    assert (fixed["max_batch_size"], fixed["target_latency_ms"]) == (8, None)
    assert client.deploy("adding", hosts=2)["settings"]["max_batch_size"] == 8
    assert client.deploy("adding", max_batch_size=None)["settings"]["max_batch_size"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "model_name"),
        ({"model_name": None}, "model_name"),
        ({"model_name": ""}, "model_name"),
        ({"model_name": "m" * 101}, "model_name"),
        ({"model_name": ["adder"]}, "model_name"),
        ({"model_name": "adder", "colour": "red"}, "colour"),
        ({"model_name": "adder", "version": 1.5}, "version"),
        ({"model_name": "adder", "version": False}, "version"),
        ({"model_name": "adder", "endpoint_name": 3}, "endpoint_name"),
        ({"model_name": "adder", "max_batch_size": 0}, "max_batch_size"),
        ({"model_name": "adder", "max_batch_size": "8"}, "max_batch_size"),
        ({"model_name": "adder", "max_batch_size": 10**30}, "max_batch_size"),
        ({"model_name": "adder", "hosts": True}, "hosts"),
        ({"model_name": "adder", "timeout_s": -1}, "timeout_s"),
        ({"model_name": "adder", "timeout_s": None}, "timeout_s"),
    ],
)
def test_a_wrong_deploy_is_refused_with_the_field(client: Client, body: Any, field: str) -> None:
    client.register()
    answer = client.post("/deployments/deploy", json=body)
    assert (answer.status_code, answer.json["code"], answer.json["field"]) == (422, "request_invalid", field)
    assert client.get("/deployments").json["deployments"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model_name": "ghost"}, 404, "model_not_found"),
        ({"model_name": "adder", "version": "2"}, 404, "version_not_found"),
        ({"model_name": "adder", "version": "1/2"}, 404, "version_not_found"),
        ({"model_name": "adder", "endpoint_name": "deploy"}, 422, "name_invalid"),
        ({"model_name": "adder", "endpoint_name": "a/b"}, 422, "name_invalid"),
        ({"model_name": "adder", "worker_group": "gpu pool"}, 422, "name_invalid"),
    ],
)
def test_what_cannot_be_deployed_has_a_code_of_its_own(client: Client, body: Any, status: int, code: str) -> None:
    client.register()
    answer = client.post("/deployments/deploy", json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert client.get("/deployments").json["deployments"] == []


def test_undeploying_an_idle_endpoint_is_a_200_and_forgets_it(client: Client, adding: View) -> None:
    answer = undeploy(client, endpoint_name="adding")
    assert answer.status_code == 200
    assert [each["status"] for each in answer.json["deployments"]] == ["undeployed"]
    assert client.get("/deployments").json["deployments"] == []
    shown = client.get("/deployments/adding")
    assert (shown.status_code, shown.json["code"]) == (404, "deployment_not_found")


def test_undeploying_with_queued_jobs_is_a_202_until_they_are_done(
    client: Client, adding: View, redis_url: str
) -> None:
    client.submit()
    answer = undeploy(client, endpoint_name="adding")
    assert answer.status_code == 202
    [view] = answer.json["deployments"]
    assert (view["status"], view["queue_depth"]) == ("draining", 1)
    assert client.get("/deployments/adding").json["status"] == "draining"


def test_undeploying_waits_for_the_worker_to_let_go(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding)
    answers: list[Any] = []

    def wait() -> None:
        body = {"endpoint_name": "adding"}
        answers.append(client.post("/deployments/undeploy", json=body, headers={"Prefer": "wait=60"}))

    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: client.get("/deployments/adding").json["status"] == "draining")
    worker.drop("adding")
    waiting.join(20)
    assert answers[0].status_code == 200
    assert answers[0].headers["Preference-Applied"] == "wait=60"


def test_parking_keeps_the_endpoint_in_view(client: Client, adding: View) -> None:
    client.submit()
    answer = undeploy(client, endpoint_name="adding", backlog="park")
    assert (answer.status_code, answer.json["deployments"][0]["status"]) == (200, "parked")
    assert client.get("/deployments/adding").json["status"] == "parked"
    assert client.deploy("adding")["status"] == "deploying"


def test_a_model_is_undeployed_wherever_it_serves_or_one_version_of_it(client: Client) -> None:
    client.register()
    client.register()
    for endpoint, version in (("one", "1"), ("uno", "1"), ("two", "2")):
        client.deploy(endpoint, version=version)
    answer = undeploy(client, model_name="adder", version=1, backlog="reject")
    assert [each["endpoint_name"] for each in answer.json["deployments"]] == ["one", "uno"]
    assert [each["endpoint_name"] for each in client.get("/deployments").json["deployments"]] == ["two"]
    assert [each["endpoint_name"] for each in undeploy(client, model_name="adder").json["deployments"]] == ["two"]
    assert undeploy(client, model_name="adder").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"endpoint_name": "adding", "model_name": "adder"}, ""),
        ({"endpoint_name": "adding", "version": "1"}, ""),
        ({"endpoint_name": "adding", "backlog": "burn"}, "backlog"),
        ({"endpoint_name": "adding", "force": True}, "force"),
        ({"endpoint_name": 1}, "endpoint_name"),
    ],
)
def test_a_wrong_undeploy_is_refused_with_the_field(client: Client, adding: View, body: Any, field: str) -> None:
    answer = undeploy(client, **body)
    assert (answer.status_code, answer.json["code"], answer.json["field"]) == (422, "request_invalid", field)
    assert client.get("/deployments/adding").json["revision"] == 1


@pytest.mark.parametrize(
    "body", [{"endpoint_name": "ghost"}, {"endpoint_name": "a/b"}, {"model_name": "ghost"}, {"model_name": "adder"}]
)
def test_undeploying_what_is_not_deployed_is_a_404(client: Client, body: Any) -> None:
    client.register()
    answer = undeploy(client, **body)
    assert (answer.status_code, answer.json["code"]) == (404, "deployment_not_found")


@pytest.mark.parametrize("name", ["ghost", "a%2Fb", "%00", "e" * 5_000])
def test_a_deployment_that_never_was_is_a_404(client: Client, name: str) -> None:
    assert client.get(f"/deployments/{name}").status_code == 404


def test_deploy_and_undeploy_tell_the_workers(client: Client, redis_url: str) -> None:
    client.register()
    with redis.Redis.from_url(redis_url) as listener, listener.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(keys.NUDGE_CHANNEL)
        eventually(lambda: listener.pubsub_numsub(keys.NUDGE_CHANNEL)[0][1] == 1)
        client.deploy()
        undeploy(client, endpoint_name="adding")
        for _ in range(2):
            eventually(channel.get_message, message="a nudge")


def test_the_view_counts_requests_latencies_and_the_queue(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding)
    for job_id in [client.submit() for _ in range(3)]:
        worker.succeed(job_id, "adding", 3.0)
    worker.fail(client.submit(), "adding", "ValueError: no")
    seen = client.get("/deployments/adding").json
    assert (seen["status"], seen["request_count"], seen["failed_count"]) == ("active", 4, 1)
    assert seen["avg_latency_ms"] == pytest.approx(2.0, rel=0.05)
    assert 1.8 < seen["p50_ms"] <= seen["p95_ms"] <= seen["p99_ms"] < 2.3
    assert seen["queue_depth"] == 4  # nobody has fetched the messages
    assert seen["oldest_job_age_s"] >= 0
    assert datetime.fromisoformat(seen["deployed_at"]) <= datetime.fromisoformat(seen["updated_at"])


def test_a_deploy_and_an_undeploy_can_name_the_revision_that_they_change(client: Client, adding: View) -> None:
    old = {"endpoint_name": "adding", "revision": adding["revision"] + 1}
    for address, body in (("deploy", {**old, "model_name": "adder"}), ("undeploy", old)):
        answer = client.post(f"/deployments/{address}", json=body)
        assert (answer.status_code, answer.json["code"]) == (409, "deployment_changed")
        assert answer.json["revision"] == adding["revision"]
    assert client.get("/deployments/adding").json["revision"] == adding["revision"]
    right = {"endpoint_name": "adding", "revision": adding["revision"]}
    assert client.post("/deployments/undeploy", json=right).status_code in (200, 202)
    answer = client.post("/deployments/undeploy", json={"model_name": "adder", "revision": 1})
    assert (answer.status_code, answer.json["code"]) == (422, "request_invalid")


def test_deployments_are_listed_by_name(client: Client) -> None:
    client.register()
    for name in ("zebra", "adding", "middle"):
        client.deploy(name)
    listed = client.get("/deployments").json["deployments"]
    assert [each["endpoint_name"] for each in listed] == ["adding", "middle", "zebra"]
    assert listed[0] == client.get("/deployments/adding").json


def test_an_endpoint_with_the_longest_name_that_there_is_can_be_named_everywhere(client: Client) -> None:
    name = "e" * 128
    client.register()
    client.deploy(name)
    assert client.post(f"/predict/{name}", json={"input": [1, 2]}).status_code == 202
    assert len(client.get(f"/jobs?endpoint_name={name}").json["jobs"]) == 1
    assert client.get(f"/dead-letters?endpoint_name={name}").json["dead_letters"] == []
    answer = client.post("/deployments/undeploy", json={"endpoint_name": name, "backlog": "park"})
    assert answer.status_code == 200, answer.text
