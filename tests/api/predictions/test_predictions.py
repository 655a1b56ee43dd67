"""Predictions over HTTP: both forms, what they refuse, and waiting for the outcome."""

from __future__ import annotations

import json
import re
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.described_client import Answer
from tests.api.stand_in_worker import StandInWorker
from tests.support.waiting import eventually
from workers.jobs import query
from workers.platform.redis.client import records_client
from workers.queues import envelopes
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

#: Both forms, for what is true of both: the address, and what the body says besides the input.
FORMS = [
    pytest.param("/predict/adding", {}, id="endpoint"),
    pytest.param("/predict", {"model_name": "adder"}, id="model"),
]
both_forms = pytest.mark.parametrize(("path", "named"), FORMS)


def refused(answer: Answer, status: int, code: str) -> Any:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert query.recent() == []
    return answer.json


@both_forms
@pytest.mark.parametrize("rows", [{"input": [0.5, 2]}, {"inputs": [[0.5, 2], [1, 1]]}])
def test_a_prediction_is_accepted_as_a_queued_job(
    client: Client, adding: View, path: str, named: Any, rows: Any
) -> None:
    answer = client.post(path, json={**named, **rows})
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"] == job["url"] == f"/jobs/{job['job_id']}"
    assert "Preference-Applied" not in answer.headers
    assert (job["status"], job["endpoint_name"], job["model_name"], job["version"]) == (
        "queued", "adding", "adder", "1",
    )  # fmt: skip
    assert client.get(job["url"]).json["status"] == "queued"


def test_a_model_predicts_with_its_latest_deployed_version_unless_one_is_named(client: Client) -> None:
    for _ in range(3):
        client.register()
    for version in ("2", "1"):
        client.deploy(f"v{version}", version=version)
    chosen = [
        client.post("/predict", json={"model_name": "adder", "input": [1, 2], **named}).json["endpoint_name"]
        for named in ({}, {"version": None}, {"version": "1"}, {"version": 1})
    ]
    assert chosen == ["v2", "v2", "v1", "v1"]
    client.post("/deployments/undeploy", json={"endpoint_name": "v2"})
    assert client.post("/predict", json={"model_name": "adder", "input": [1, 2]}).json["endpoint_name"] == "v1"


def test_what_is_not_deployed_is_a_404_that_says_where_to_look(client: Client) -> None:
    client.register()
    client.register()
    problem = refused(client.post("/predict/adding", json={"input": [1, 2]}), 404, "endpoint_not_deployed")
    assert (problem["endpoint_name"], "GET /deployments" in problem["detail"]) == ("adding", True)
    problem = refused(client.post("/predict", json={"model_name": "adder", "input": 1}), 404, "endpoint_not_deployed")
    assert (problem["model_name"], problem["version"]) == ("adder", None)
    client.deploy(version="1")
    body = {"model_name": "adder", "version": "2", "input": [1, 2]}
    assert refused(client.post("/predict", json=body), 404, "endpoint_not_deployed")["version"] == "2"


@pytest.mark.parametrize(("backlog", "intent"), [("drain", "drain"), ("reject", "reject"), ("park", "park")])
def test_an_endpoint_that_is_undeployed_takes_no_jobs_and_says_why(
    client: Client, adding: View, backlog: str, intent: str
) -> None:
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": backlog})
    problem = refused(client.post("/predict/adding", json={"input": [1, 2]}), 404, "endpoint_not_deployed")
    assert problem["intent"] == intent
    assert "takes no new" in problem["detail"]
    refused(client.post("/predict", json={"model_name": "adder", "input": [1, 2]}), 404, "endpoint_not_deployed")


@pytest.mark.parametrize("name", ["a%2Fb", "%00", "e" * 5_000, "%F0%9F%91%BB", "..%2fjobs"])
def test_a_name_that_no_endpoint_can_have_is_a_404(client: Client, name: str) -> None:
    assert client.post(f"/predict/{name}", json={"input": 1}).status_code == 404


@both_forms
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json_invalid"),
        (b"{", "json_invalid"),
        (b'{"input": [NaN, 1]}', "json_invalid"),
        (b'{"input": [Infinity, 1]}', "json_invalid"),
        (b'{"input": [1e999, 1]}', "json_invalid"),
        (b'{"input": "\xff"}', "json_invalid"),
        (b'{"input": ' + b"[" * 65 + b"]" * 65 + b"}", "json_invalid"),
        (b'{"input": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "json_invalid"),
        (b'{"input": [' + b"9" * 5_000 + b"]}", "json_invalid"),
        (b"input=1", "json_invalid"),
    ],
    ids=["empty", "cut", "nan", "infinity", "1e999", "utf-8", "deep", "very-deep", "huge-integer", "form"],
)
def test_a_body_that_is_not_json_is_a_400(
    client: Client, adding: View, path: str, named: Any, body: bytes, code: str
) -> None:
    refused(client.post(path, data=body), 400, code)


BODIES = [
    b'{"input": [0.5, 2], "priority": "high", "expires_in_s": 60}',
    b'{"inputs": [[0.5, 2], [1, -1e-3]], "sticky_key": "\\u00e9"}',
    b'{"input": [1], "input": [0.5, 2]}',
    # Not known to fit before they are parsed.
    b'{"input": [18446744073709551616, 2]}',
    b'{"input": [1]}',
    b'{"inputs": [[1, 2], [1, "2"]]}',
    b'{"inputs": [[1, 2], [1, 1e999]]}',
    b'{"inputs": [[1, 2], [1, "\xff"]]}',
    b'{"inputs": [[1, 2], [1, "\\ud800"]]}',
    b'{"input": ' + b"[" * 70 + b"]" * 70 + b"}",
    b'{"input": [1, 2], "inputs": [[1, 2]]}',
    b'{"inputs": []}',
    b'{"inputs": null}',
    b'{"inputs": {"a": 1}}',
    b'{"input": [1, 2], "priority": "higher"}',
    b'{"input": [1, 2], "sticky_key": "\xff"}',
    b'{"input": [1, 2], "unknown": 1}',
    b'{"priority": "high"}',
    b'{"input": [1, 2]',
    b'{"input": [1,, 2]}',
    b"[1, 2]",
]


@pytest.mark.parametrize("has_key", [False, True])
def test_long_bodies_are_answered_as_short_ones(client: Client, adding: View, has_key: bool) -> None:
    for number, body in enumerate(BODIES):
        headers = {"Idempotency-Key": f"key {number}"} if has_key else {}
        short = client.post("/predict/adding", data=body, headers=headers)
        message = popped()
        long = client.post("/predict/adding", data=body + b" " * 5_000, headers=headers)
        assert (long.status_code, long.json.get("field")) == (short.status_code, short.json.get("field")), body
        if short.status_code != 202:
            assert long.json["code"] == short.json["code"], body
            # The end of a cut body is elsewhere.
            assert re.sub(r"\d+", "", long.json["detail"]) == re.sub(r"\d+", "", short.json["detail"]), body
        elif has_key:
            assert long.json["job_id"] == short.json["job_id"], body
        else:
            assert arguments_in(popped()) == arguments_in(message), body


def popped() -> bytes:
    found = records_client().rpop(queue_name("adding", Priority.HIGH)) or records_client().rpop(queue_name("adding"))
    return found if isinstance(found, bytes) else b""


def arguments_in(message: bytes) -> Any:
    return envelopes.decode(message).arguments()


@both_forms
def test_a_body_over_the_limit_is_a_413_that_names_the_limit(
    client: Client, adding: View, path: str, named: Any
) -> None:
    body = json.dumps({**named, "input": [1, 2], "pad": "x" * MAX_BYTES})
    assert str(MAX_BYTES) in refused(client.post(path, data=body), 413, "body_too_large")["detail"]
    refused(client.post(path, environ_overrides={"CONTENT_LENGTH": str(10**15)}), 413, "body_too_large")


@both_forms
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": [1, 2], "colour": "red"}, "colour"),
        ({"input": [1, 2], "\ud800": 1}, ""),
        ({"input": [1, 2], "inputs": [[1, 2]]}, ""),
        ({}, ""),
        ({"inputs": None}, ""),
        ({"inputs": []}, "inputs"),
        ({"inputs": {"0": [1, 2]}}, "inputs"),
    ],
)
def test_a_wrong_body_is_refused_with_the_field(
    client: Client, adding: View, path: str, named: Any, body: Any, field: str
) -> None:
    assert refused(client.post(path, json={**named, **body}), 422, "request_invalid")["field"] == field


@pytest.mark.parametrize("body", ["[]", "1", "null", '"input"'])
def test_a_body_that_is_no_object_is_refused(client: Client, adding: View, body: str) -> None:
    problem = refused(client.post("/predict/adding", data=body), 422, "request_invalid")
    assert problem["detail"].startswith("The body must be a JSON object")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": [1, 2]}, "model_name"),
        ({"model_name": "adder", "input": [1, 2], "version": 1.5}, "version"),
        ({"model_name": "adder", "input": [1, 2], "version": []}, "version"),
        ({"model_name": 1, "input": [1, 2]}, "model_name"),
        ({"model_name": "adder", "input": [1, 2], "endpoint_name": "adding"}, "endpoint_name"),
    ],
)
def test_the_universal_form_checks_which_model_is_meant(client: Client, adding: View, body: Any, field: str) -> None:
    assert refused(client.post("/predict", json=body), 422, "request_invalid")["field"] == field


@both_forms
@pytest.mark.parametrize(
    ("rows", "field", "received"),
    [
        ({"input": [1]}, "input", "a list of 1 value"),
        ({"input": [1, 2, 3]}, "input", "a list of 3 values"),
        ({"input": []}, "input", "an empty list"),
        ({"input": None}, "input", "null"),
        ({"input": {"0": 1}}, "input", "an object with the fields 0"),
        ({"input": "text"}, "input", "a string: 'text'"),
        ({"input": [1, "2"]}, "input[1]", "a string: '2'"),
        ({"input": [True, 2]}, "input[0]", "true"),
        ({"input": [1, [2]]}, "input[1]", "a list of 1 value"),
        ({"input": [1, 10**400]}, "input[1]", "an integer of about 401 digits"),
        ({"inputs": [[1, 2], [3]]}, "inputs[1]", "a list of 1 value"),
        ({"inputs": [[1, 2], [3, None]]}, "inputs[1][1]", "null"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_the_place_and_what_belongs_there(
    client: Client, adding: View, path: str, named: Any, rows: Any, field: str, received: str
) -> None:
    problem = refused(client.post(path, json={**named, **rows}), 422, "input_invalid")
    assert (problem["field"], problem["received"]) == (field, received)
    assert problem["expected"] in ("a list of 2 finite numbers", "a finite number")


@both_forms
def test_a_waited_for_outcome_is_a_200(
    client: Client, adding: View, worker: StandInWorker, path: str, named: Any
) -> None:
    answer = waited_for(client, path, {**named, "input": [1, 2]}, lambda job: worker.succeed(job, "adding", 3.0))
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=30"
    job_id = answer.headers["Location"].removeprefix("/jobs/")
    outcome = answer.json
    assert (outcome.pop("job_id"), outcome["prediction"]) == (job_id, 3.0)
    assert outcome == client.get(f"/jobs/{job_id}").json["outcome"]


def test_waited_for_outcomes_of_many_inputs_are_a_list(client: Client, adding: View, worker: StandInWorker) -> None:
    answer = waited_for(
        client, "/predict/adding", {"inputs": [[1, 2], [3, 4]]},
        lambda job: worker.succeed(job, "adding", [3.0, 7.0], many=True),
    )  # fmt: skip
    assert (answer.status_code, answer.json["predictions"]) == (200, [3.0, 7.0])
    assert "prediction" not in answer.json


def test_a_waited_for_job_that_fails_is_a_500_with_its_reason(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    answer = waited_for(
        client, "/predict/adding", {"input": [1, 2]}, lambda job: worker.fail(job, "adding", "ValueError: too red")
    )
    assert (answer.status_code, answer.json["code"]) == (500, "prediction_failed")
    assert answer.json["detail"] == "ValueError: too red"
    assert client.get(f"/jobs/{answer.json['job_id']}").json["error"] == answer.json["error"]


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_a_waited_for_job_that_is_withdrawn_is_a_409(
    client: Client, adding: View, worker: StandInWorker, end: str
) -> None:

    def withdraw(job_id: str) -> None:
        if end == "cancelled":
            client.delete(f"/jobs/{job_id}")
        else:
            worker.expire(job_id, "adding")

    answer = waited_for(client, "/predict/adding", {"input": [1, 2]}, withdraw)
    assert (answer.status_code, answer.json["code"], answer.json["job_status"]) == (409, "job_withdrawn", end)


def test_a_wait_that_is_over_is_a_202(client: Client, adding: View) -> None:
    for seconds in ("0", "1"):
        answer = client.post("/predict/adding", json={"input": [1, 2]}, headers={"Prefer": f"wait={seconds}"})
        assert (answer.status_code, answer.json["status"]) == (202, "queued")
        assert answer.headers["Preference-Applied"] == f"wait={seconds}"


def test_a_malformed_preference_is_no_preference(client: Client, adding: View) -> None:
    answer = client.post("/predict/adding", json={"input": [1, 2]}, headers={"Prefer": "wait=soon"})
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)


def test_a_wait_that_there_is_no_room_for_is_answered_at_once(app: Flask, client: Client, adding: View) -> None:
    services = app.extensions["queuecast"]
    with ExitStack() as held:
        for _ in range(services.settings.max_held_waits):
            assert held.enter_context(services.waits.holding(None, shared=False))
        answer = client.post("/predict/adding", json={"input": [1, 2]}, headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json["status"]) == (202, "queued")


def waited_for(client: Client, path: str, body: Any, end: Any) -> Answer:
    """Submit with a long wait, end the job with `end(job_id)` meanwhile, and return the answer."""
    answers: list[Answer] = []

    def submit() -> None:
        answers.append(client.post(path, json=body, headers={"Prefer": "wait=30"}))

    waiting = threading.Thread(target=submit)
    waiting.start()
    [job] = eventually(query.recent)
    assert not answers
    end(job.job_id)
    waiting.join(20)
    [answer] = answers
    return answer


@both_forms
@pytest.mark.parametrize("level", ["high", "normal", "low"])
def test_a_prediction_says_its_priority(client: Client, adding: View, path: str, named: Any, level: str) -> None:
    answer = client.post(path, json={**named, "input": [1, 2], "priority": level})
    assert answer.status_code == 202
    assert records_client().llen(queue_name("adding", Priority(level))) == 1
    assert client.get("/deployments/adding").json["queue_depth"] == 1


@pytest.mark.parametrize("level", ["urgent", "High", 1, None])
def test_a_priority_that_there_is_not_is_refused(client: Client, adding: View, level: Any) -> None:
    answer = client.post("/predict/adding", json={"input": [1, 2], "priority": level})
    problem = refused(answer, 422, "request_invalid")
    assert problem["errors"][0]["field"] == "priority"


def test_an_endpoint_shows_what_it_takes(client: Client, adding: View) -> None:
    found = client.get("/predict/adding").json
    assert (found["endpoint_name"], found["model_name"], found["version"]) == ("adding", "adder", "1")
    assert found["signature"]["kind"] == "vector"
    assert found["input_schema"]["type"] == "array"
    answer = client.get("/predict/ghost")
    assert (answer.status_code, answer.json["code"]) == (404, "endpoint_not_deployed")
