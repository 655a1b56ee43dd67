"""Pipelines over HTTP: submitted, shown with their steps, waited for, cancelled, and run again from the failed step."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from tests.support.waiting import eventually
from workers import keys
from workers.jobs import query
from workers.pipelines.mover import PipelineMover
from workers.platform.redis.client import records_client

PIPELINE: dict[str, Any] = {"steps": [{"endpoint_name": "adding", "input": [1, 2]}, {"endpoint_name": "more"}]}


@pytest.fixture
def more(client: Client, adding: View) -> View:
    """A second endpoint."""
    return client.deploy("more")


def advance() -> None:
    """Advance all pipelines, as the background process does."""
    client: Any = records_client()
    for each in client.zrange(keys.PIPELINES_DUE, 0, -1):
        client.zadd(keys.PIPELINES_DUE, {each: 0})
    PipelineMover().advance_due()


def submitted(client: Client) -> str:
    answer = client.post("/pipelines", json=PIPELINE)
    assert answer.status_code == 202, answer.text
    return str(answer.json["job_id"])


def steps_of(client: Client, job_id: str) -> list[View]:
    found: list[View] = client.get(f"/jobs/{job_id}").json["steps"]
    return found


def test_a_pipeline_is_one_job_whose_steps_are_shown(client: Client, more: View, worker: StandInWorker) -> None:
    answer = client.post("/pipelines", json=PIPELINE)
    assert (answer.status_code, answer.json["status"], answer.json["endpoint_name"]) == (202, "queued", "adding")
    job_id = answer.json["job_id"]
    assert answer.headers["Location"] == f"/jobs/{job_id}"
    first, second = steps_of(client, job_id)
    assert (first["status"], second["status"]) == ("queued", "waiting")
    worker.succeed(first["job_id"], "adding", [3, 4])
    assert steps_of(client, job_id)[0]["outcome"]["prediction"] == [3, 4]
    advance()
    worker.succeed(second["job_id"], "more", 7)
    advance()
    found = client.get(f"/jobs/{job_id}").json
    assert (found["status"], found["outcome"]["prediction"]) == ("succeeded", 7)
    assert [each["outcome"]["prediction"] for each in found["steps"]] == [[3, 4], 7]
    assert client.get(f"/jobs/{second['job_id']}").json["pipeline_id"] == job_id
    assert job_id in [each["job_id"] for each in client.get("/jobs").json["jobs"]]


def test_then_makes_a_pipeline_of_a_submit(client: Client, more: View) -> None:
    job_id = client.submit(input=[1, 2], then=["more"])
    assert [each["endpoint_name"] for each in steps_of(client, job_id)] == ["adding", "more"]
    body = {"model_name": "adder", "input": [1, 2], "then": ["more"]}
    assert len(steps_of(client, client.post("/predict", json=body).json["job_id"])) == 2


def test_a_pipeline_of_one_step_is_a_job(client: Client, more: View) -> None:
    job_id = client.post("/pipelines", json={"steps": PIPELINE["steps"][:1]}).json["job_id"]
    assert "steps" not in client.get(f"/jobs/{job_id}").json


def test_prefer_wait_waits_for_the_end_of_the_whole(client: Client, more: View, worker: StandInWorker) -> None:
    def work() -> None:
        [job] = eventually(lambda: [each for each in query.recent() if each.steps])
        ids = [each["job_id"] for each in job.steps]
        eventually(lambda: query.get(ids[0]))
        worker.succeed(ids[0], "adding", [3, 4])
        advance()
        worker.succeed(ids[1], "more", 7)
        advance()

    thread = threading.Thread(target=work)
    thread.start()
    answer = client.post("/pipelines", json=PIPELINE, headers={"Prefer": "wait=30"})
    thread.join()
    assert (answer.status_code, answer.json["prediction"], answer.json["endpoint_name"]) == (200, 7, "more")


def test_an_idempotency_key_returns_the_first_pipeline(client: Client, more: View) -> None:
    headers = {"Idempotency-Key": "k"}
    first, again = (client.post("/pipelines", json=PIPELINE, headers=headers) for _ in range(2))
    assert first.json["job_id"] == again.json["job_id"]
    changed = {"steps": [*PIPELINE["steps"], {"endpoint_name": "more"}]}
    assert client.post("/pipelines", json=changed, headers=headers).json["code"] == "idempotency_conflict"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"steps": []}, "request_invalid", "steps"),
        ({"steps": [{"endpoint_name": "adding"}]}, "request_invalid", "exactly one of"),
        ({"steps": [{"endpoint_name": "adding", "inputs": None}]}, "request_invalid", "list"),
        ({"steps": [*PIPELINE["steps"], {"endpoint_name": "more", "input": 1}]}, "request_invalid", "steps[2]"),
        ({"steps": [PIPELINE["steps"][0]] * 21}, "request_invalid", "20"),
        ({"steps": [{"endpoint_name": "adding", "input": [1]}]}, "input_invalid", "2"),
        ({"steps": [PIPELINE["steps"][0], {"endpoint_name": "nothing"}]}, "endpoint_not_deployed", "nothing"),
        ({**PIPELINE, "callback_url": "https://example.com/"}, "webhooks_not_set_up", ""),
    ],
)
def test_a_wrong_pipeline_is_refused_and_nothing_is_stored(
    client: Client, more: View, body: View, code: str, said: str
) -> None:
    answer = client.post("/pipelines", json=body)
    assert answer.json["code"] == code
    assert said in answer.text
    assert client.get("/jobs").json["jobs"] == []


def test_many_submits_in_one_call_are_no_pipelines(client: Client, more: View) -> None:
    answer = client.post("/predict/adding/bulk", json=[{"input": [1, 2], "then": ["more"]}])
    assert answer.json["code"] == "request_invalid"


def test_a_full_first_queue_refuses_the_pipeline(client: Client, more: View) -> None:
    client.post("/deployments/deploy", json={"endpoint_name": "adding", "model_name": "adder", "max_queue_length": 1})
    client.submit()
    answer = client.post("/pipelines", json=PIPELINE)
    assert (answer.status_code, answer.json["full"]) == (429, "max_queue_length")


def test_delete_cancels_the_pipeline_and_its_running_step(client: Client, more: View, worker: StandInWorker) -> None:
    job_id = submitted(client)
    first, _ = steps_of(client, job_id)
    worker.start(first["job_id"], "adding")
    answer = client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert [each["status"] for each in steps_of(client, job_id)] == ["cancelled", "skipped"]
    assert client.delete(f"/jobs/{job_id}").json["code"] == "job_not_cancellable"


def test_a_failed_pipeline_goes_on_from_the_failed_step(client: Client, more: View, worker: StandInWorker) -> None:
    job_id = submitted(client)
    first, second = steps_of(client, job_id)
    worker.succeed(first["job_id"], "adding", [3, 4])
    advance()
    worker.fail(second["job_id"], "more", "too red")
    advance()
    found = client.get(f"/jobs/{job_id}").json
    assert found["error"]["message"] == "Step 2 of 2 (more): too red"
    assert client.get(f"/jobs/{job_id}/input").json == {"input": [3, 4]}
    answer = client.post(f"/jobs/{job_id}/retry", json={})
    assert answer.status_code == 202, answer.text
    again = steps_of(client, answer.json["job_id"])
    assert [each["status"] for each in again] == ["succeeded", "queued"]
    assert again[0]["job_id"] == first["job_id"]
    worker.succeed(again[1]["job_id"], "more", 8)
    advance()
    assert client.get(f"/jobs/{answer.json['job_id']}").json["outcome"]["prediction"] == 8
    refused = client.post(f"/jobs/{job_id}/retry", json={"endpoint_name": "adding"})
    assert (refused.status_code, refused.json["code"]) == (422, "request_invalid")
    edited = client.post(f"/jobs/{job_id}/retry", json={"input": [5, 6]})
    assert edited.status_code == 202


def test_a_pipeline_that_failed_at_its_first_step_has_the_input_that_was_kept(
    client: Client, more: View, worker: StandInWorker
) -> None:
    kept, lost = submitted(client), submitted(client)
    for job_id, keeps_input in ((kept, True), (lost, False)):
        worker.fail(steps_of(client, job_id)[0]["job_id"], "adding", "too red", keeps_input=keeps_input)
    advance()
    assert client.get(f"/jobs/{kept}/input").json == {"input": [1, 2]}
    assert client.post(f"/jobs/{kept}/retry", json={}).status_code == 202
    assert client.post(f"/jobs/{lost}/retry", json={}).json["code"] == "input_not_kept"
