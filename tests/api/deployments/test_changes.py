"""Changes of deployments over HTTP: what stays, what is answered, what the history says, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from registry.serving.settings import ServingSettings
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from workers.measures.reports import HostsState

WAIT = {"Prefer": "wait=10"}


def configure(client: Client, **wanted: Any) -> Any:
    return client.patch("/deployments/adding", json=wanted)


def history(client: Client) -> list[View]:
    document: Any = client.get("/deployments/adding/history").json
    found: list[View] = document["changes"]
    return found


def test_a_deploy_without_a_version_keeps_it_and_says_what_has_changed(client: Client, adding: View) -> None:
    client.register()
    kept = client.deploy("adding", hosts=2)
    assert (kept["version"], kept["changes"]) == ("1", {"hosts": {"from": 1, "to": 2}})
    swapped = client.deploy("adding", version="2")
    assert swapped["changes"] == {"version": {"from": "1", "to": "2"}}
    assert client.deploy("adding")["changes"] == {}
    assert client.post("/deployments/deploy", json={"model_name": "adder"}).json["endpoint_name"] == "adder-v2"


def test_a_deploy_after_an_undeploy_keeps_the_settings_unless_it_resets_them(client: Client, adding: View) -> None:
    client.deploy("adding", hosts=2, worker_group="gpu")
    client.post("/deployments/undeploy", json={"endpoint_name": "adding"})
    again = client.deploy("adding")
    assert (again["settings"]["hosts"], again["worker_group"]) == (2, "gpu")
    assert again["changes"] == {"intent": {"from": "drain", "to": "serve"}}
    reset = client.deploy("adding", reset=True)
    assert reset["changes"] == {"worker_group": {"from": "gpu", "to": "default"}, "hosts": {"from": 2, "to": 1}}


def test_settings_are_changed_alone_and_null_is_the_default(client: Client, adding: View) -> None:
    client.register()
    answer = configure(client, hosts=2, timeout_s=5, max_memory_mb=500)
    assert (answer.status_code, answer.headers["Location"]) == (202, "/deployments/adding")
    assert (answer.json["version"], answer.json["revision"]) == ("1", 2)
    answer = configure(client, timeout_s=None, max_memory_mb=None, worker_group="gpu", revision=2)
    assert answer.json["changes"] == {
        "worker_group": {"from": "default", "to": "gpu"},
        "timeout_s": {"from": 5.0, "to": 60.0},
        "max_memory_mb": {"from": 500, "to": None},
    }
    assert configure(client, reset=True).json["settings"] == ServingSettings().model_dump()


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ({"hosts": 0}, 422, "request_invalid"),
        ({"hosts": "2"}, 422, "request_invalid"),
        ({"max_batch_size": 10**9}, 422, "request_invalid"),
        ({"version": "1"}, 422, "request_invalid"),
        ({"colour": "red"}, 422, "request_invalid"),
        ({"target_latency_ms": 50}, 422, "settings_invalid"),
        ({"worker_group": "a b"}, 422, "name_invalid"),
        ({"hosts": 2, "revision": 9}, 409, "deployment_changed"),
        ({"callback_url": "https://hooks.example.com/"}, 422, "webhooks_not_set_up"),
    ],
)
def test_a_wrong_change_of_settings_changes_nothing(
    client: Client, adding: View, wanted: Any, status: int, code: str
) -> None:
    answer = configure(client, **wanted)
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert client.get("/deployments/adding").json["revision"] == 1


def test_what_is_not_deployed_is_not_configured(client: Client, adding: View) -> None:
    assert client.patch("/deployments/none", json={"hosts": 2}).status_code == 404
    client.post("/deployments/undeploy", json={"endpoint_name": "adding"})
    answer = configure(client, hosts=2)
    assert (answer.status_code, answer.json["code"]) == (409, "deployment_undeployed")


def test_a_change_that_is_waited_for_is_a_200_once_the_workers_report_its_revision(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding)
    old: Any = client.patch("/deployments/adding", json={"hosts": 2}, headers={"Prefer": "wait=1"})
    assert (old.status_code, old.json["status"]) == (202, "deploying")
    worker.report({**adding, "revision": 3})
    new: Any = client.patch("/deployments/adding", json={"hosts": 1}, headers=WAIT)
    assert (new.status_code, new.json["status"]) == (200, "active")
    assert [each["outcome"] for each in history(client)] == ["active", "superseded", "superseded"]


def test_a_failure_of_an_older_revision_is_no_failure_of_the_new_one(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding, HostsState.FAILED, "ImportError: no module named 'colours'")
    answer: Any = client.patch("/deployments/adding", json={"hosts": 2}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json["status"], answer.json["load_error"]) == (202, "deploying", None)
    worker.report({**adding, "revision": 3}, HostsState.FAILED, "ImportError: no module named 'shapes'")
    answer = client.patch("/deployments/adding", json={"hosts": 1}, headers=WAIT)
    assert (answer.status_code, answer.json["code"]) == (409, "deployment_failed")
    newest = history(client)[0]
    assert (newest["outcome"], newest["reason"]) == ("failed", "ImportError: no module named 'shapes'")


def test_a_drain_that_no_worker_can_finish_ends_the_wait_and_says_what_to_do(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    client.submit()
    worker.report(adding, HostsState.FAILED, "ImportError: no module named 'colours'")
    answer = client.post("/deployments/undeploy", json={"endpoint_name": "adding"}, headers={"Prefer": "wait=60"})
    [view] = answer.json["deployments"]
    assert (answer.status_code, view["status"]) == (202, "draining")
    for text in ("no module named 'colours'", "'reject'", "'park'"):
        assert text in view["reason"]
    assert view["changes"] == {"intent": {"from": "serve", "to": "drain"}}


def test_the_history_says_who_when_what_and_what_came_of_it(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    configure(client, hosts=2)
    worker.report({**adding, "revision": 2})
    document = client.get("/deployments/adding/history").json
    assert (document["endpoint_name"], document["revision"], document["rollback_to"]) == ("adding", 2, 1)
    newest, first = document["changes"]
    assert (newest["revision"], newest["action"], newest["by"], newest["outcome"]) == (2, "configure", None, "active")
    assert newest["changes"] == {"hosts": {"from": 1, "to": 2}}
    assert (newest["from"]["settings"]["hosts"], newest["to"]["settings"]["hosts"]) == (1, 2)
    assert (first["action"], first["from"], first["outcome"]) == ("deploy", None, "superseded")
    assert len(client.get("/deployments/adding/history?limit=1").json["changes"]) == 1
    assert client.get("/deployments/adding/history?limit=0").status_code == 422
    assert client.get("/deployments/none/history").status_code == 404


def test_the_history_of_an_undeployed_endpoint_is_there(client: Client, adding: View) -> None:
    client.post("/deployments/undeploy", json={"endpoint_name": "adding"})
    assert client.get("/deployments/adding").status_code == 404
    assert [each["outcome"] for each in history(client)] == ["undeployed", "superseded"]


def test_a_rollback_goes_back_and_says_what_it_has_changed(client: Client, adding: View) -> None:
    client.register()
    client.deploy("adding", version="2", hosts=3)
    answer = client.post("/deployments/adding/rollback", json={})
    assert answer.status_code == 202
    assert answer.json["changes"] == {"version": {"from": "2", "to": "1"}, "hosts": {"from": 3, "to": 1}}
    answer = client.post("/deployments/adding/rollback", json={"to_revision": 2, "revision": 3})
    assert (answer.json["version"], answer.json["revision"]) == ("2", 4)
    newest = history(client)[0]
    assert (newest["action"], newest["rolled_back_to"]) == ("rollback", 2)


def test_a_rollback_that_can_not_be_done_is_refused_in_one_sentence(client: Client, adding: View) -> None:
    def refused(status: int, code: str, **wanted: Any) -> str:
        answer = client.post("/deployments/adding/rollback", json=wanted)
        assert (answer.status_code, answer.json["code"]) == (status, code)
        return str(answer.json["detail"])

    assert "No earlier revision" in refused(409, "rollback_refused")
    assert "has no revision 7" in refused(404, "revision_not_found", to_revision=7)
    client.register()
    client.deploy("adding", version="2")
    assert client.delete("/models/adder/versions/1").status_code == 204
    assert "version 1 of adder, which was deleted" in refused(409, "rollback_refused", to_revision=1)
    refused(409, "deployment_changed", to_revision=1, revision=1)
    assert client.post("/deployments/none/rollback", json={}).status_code == 404
    assert client.get("/deployments/adding").json["revision"] == 2
