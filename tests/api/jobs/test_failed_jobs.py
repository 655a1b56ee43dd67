"""Failed jobs over HTTP: the traceback of the model's code, the kept input, and jobs that are run again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker

TRACEBACK = 'Traceback (most recent call last):\n  File "model.py", line 3, in predict\nValueError: too red'


def failed(
    client: Client, worker: StandInWorker, traceback: str = TRACEBACK, *, keeps_input: bool = True, **rows: Any
) -> str:
    job_id = client.submit(**rows)
    worker.fail(job_id, "adding", "ValueError: too red", traceback=traceback, keeps_input=keeps_input)
    return job_id


def input_of(client: Client, worker: StandInWorker, job_id: str) -> Any:
    """Let a job fail; return the input that it had."""
    endpoint_name = client.get(f"/jobs/{job_id}").json["endpoint_name"]
    worker.fail(job_id, endpoint_name, "no", keeps_input=True)
    return client.get(f"/jobs/{job_id}/input").json


def test_the_page_of_a_failed_job_has_the_traceback_and_lists_and_look_ups_do_not(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = failed(client, worker)
    error = {"code": "prediction_failed", "type": "PredictionFailed", "message": "ValueError: too red"}
    assert client.get(f"/jobs/{job_id}").json["error"] == {**error, "traceback": TRACEBACK}
    assert client.get(f"/jobs/{job_id}?wait=1").json["error"] == {**error, "traceback": TRACEBACK}
    [listed] = client.get("/jobs").json["jobs"]
    [found] = client.post("/jobs/lookup", json={"job_ids": [job_id]}).json["jobs"]
    assert listed["error"] == found["error"] == error


def test_a_failure_without_a_traceback_has_none(client: Client, adding: View, worker: StandInWorker) -> None:
    assert "traceback" not in client.get(f"/jobs/{failed(client, worker, '')}").json["error"]


def test_a_traceback_is_not_in_what_leaves_the_house(client: Client, adding: View, worker: StandInWorker) -> None:
    link = client.post(f"/jobs/{failed(client, worker)}/events-link").json
    stream = client.get(link["url"], headers={})
    assert "too red" in stream.text
    assert "Traceback" not in stream.text


@pytest.mark.parametrize("rows", [{"input": [0.5, 2]}, {"inputs": [[1, 2], [3, 4]]}])
def test_a_failed_job_is_run_again_with_the_same_input(
    client: Client, adding: View, worker: StandInWorker, rows: dict[str, Any]
) -> None:
    job_id = failed(client, worker, **rows)
    assert client.get(f"/jobs/{job_id}/input").json == rows
    answer = client.post(f"/jobs/{job_id}/retry", json={})
    assert (answer.status_code, answer.json["status"]) == (202, "queued")
    assert answer.headers["Location"] == f"/jobs/{answer.json['job_id']}"
    assert answer.json["job_id"] != job_id
    assert input_of(client, worker, answer.json["job_id"]) == rows
    assert client.get(f"/jobs/{job_id}").json["status"] == "failed"
    assert client.post(f"/jobs/{job_id}/retry", json={}).status_code == 202, "and again"


def test_a_failed_job_is_run_again_with_an_edited_input_or_at_another_endpoint(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    client.deploy("more")
    job_id = failed(client, worker, keeps_input=False)
    edited = client.post(f"/jobs/{job_id}/retry", json={"input": [7, 8]}).json["job_id"]
    assert input_of(client, worker, edited) == {"input": [7, 8]}
    other = client.post(f"/jobs/{edited}/retry", json={"endpoint_name": "more"}).json
    assert (other["endpoint_name"], input_of(client, worker, other["job_id"])) == ("more", {"input": [7, 8]})


def test_retries_with_one_idempotency_key_are_one_job(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id, headers = failed(client, worker), {"Idempotency-Key": "again-1"}
    first, second = (client.post(f"/jobs/{job_id}/retry", json={}, headers=headers) for _ in range(2))
    assert first.json["job_id"] == second.json["job_id"]
    other = client.post(f"/jobs/{job_id}/retry", json={"input": [7, 8]}, headers=headers)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"input": "words"}, 422, "input_invalid"),
        ({"input": [1, 2], "inputs": [[1, 2]]}, 422, "request_invalid"),
        ({"inputs": []}, 422, "request_invalid"),
        ({"colour": "red"}, 422, "request_invalid"),
        ({"endpoint_name": "ghost"}, 404, "endpoint_not_deployed"),
        ({"endpoint_name": "full"}, 429, "queue_full"),
    ],
)
def test_a_retry_is_checked_like_a_submit(
    client: Client, adding: View, worker: StandInWorker, body: Any, status: int, code: str
) -> None:
    job_id = failed(client, worker)
    client.deploy("full", max_queue_length=1)
    client.submit("full")
    answer = client.post(f"/jobs/{job_id}/retry", json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert client.get(f"/jobs/{job_id}/input").status_code == 200


def test_an_input_that_is_not_kept_is_said_to_be_so(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = failed(client, worker, keeps_input=False)
    for answer in (client.post(f"/jobs/{job_id}/retry", json={}), client.get(f"/jobs/{job_id}/input")):
        assert (answer.status_code, answer.json["code"]) == (409, "input_not_kept")
        assert answer.json["job_id"] == job_id


def test_only_failed_jobs_are_run_again(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()
    for _ in range(2):
        answer = client.post(f"/jobs/{job_id}/retry", json={"input": [1, 2]})
        assert (answer.status_code, answer.json["code"]) == (409, "job_not_failed")
        client.delete(f"/jobs/{job_id}")
    assert answer.json["state"] == "cancelled"
    assert client.post("/jobs/ghost/retry", json={}).json["code"] == "job_not_found"


def test_a_dead_letter_is_run_again_and_stays(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit(input=[1, 2])
    worker.give_up(job_id, "adding", "killed by signal 9")
    again = client.post(f"/jobs/{job_id}/retry", json={}).json["job_id"]
    assert input_of(client, worker, again) == {"input": [1, 2]}
    assert client.get(f"/dead-letters/{job_id}").status_code == 200


def test_failed_jobs_are_listed_apart_from_those_that_were_given_up(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id, given_up = failed(client, worker), client.submit()
    worker.give_up(given_up, "adding", "killed by signal 9")
    [letter] = client.get("/dead-letters").json["dead_letters"]
    assert (letter["job_id"], letter["kind"], letter["reason"]) == (given_up, "given_up", "killed by signal 9")
    [letter] = client.get("/dead-letters?kind=failed").json["dead_letters"]
    assert (letter["job_id"], letter["kind"], letter["reason"]) == (job_id, "failed", "ValueError: too red")
    assert "queuecast_dead_letters 1" in client.get("/metrics").text
    assert client.delete(f"/dead-letters/{job_id}").status_code == 204
    assert client.get(f"/jobs/{job_id}/input").json["code"] == "input_not_kept"
