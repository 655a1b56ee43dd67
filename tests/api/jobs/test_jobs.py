"""Jobs over HTTP: state, long poll, cancelling, and the recent ones."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.api.conftest import Client, View
from tests.api.described_client import Answer
from tests.api.stand_in_worker import StandInWorker
from tests.support import desk
from workers import keys, tasks
from workers.platform.redis.client import records_client


def polled(client: Client, job_id: str, end: Any) -> Answer:
    """Hold a long poll, call `end`, and return the poll's answer."""
    answers: list[Answer] = []
    poll = threading.Thread(target=lambda: answers.append(client.get(f"/jobs/{job_id}?wait=50")))
    poll.start()
    while not desk.watches():
        poll.join(0.01)
        assert poll.is_alive()
    end()
    poll.join(20)
    [answer] = answers
    return answer


def test_a_job_is_shown_in_every_state(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()
    job = client.get(f"/jobs/{job_id}").json
    assert (job["job_id"], job["endpoint_name"], job["status"]) == (job_id, "adding", "queued")
    assert (job["outcome"], job["error"], job["attempts"], job["started_at"]) == (None, None, 0, None)
    assert datetime.fromisoformat(job["submitted_at"]) <= datetime.now(UTC)
    worker.start(job_id, "adding")
    job = client.get(f"/jobs/{job_id}").json
    assert (job["status"], job["attempts"], job["outcome"], job["finished_at"]) == ("running", 1, None, None)
    worker.succeed(job_id, "adding", 3.0)
    job = client.get(f"/jobs/{job_id}").json
    assert (job["status"], job["outcome"]["prediction"], job["error"]) == ("succeeded", 3.0, None)
    assert job["submitted_at"] <= job["started_at"] <= job["finished_at"]


def test_a_failed_and_an_expired_job_say_so(client: Client, adding: View, worker: StandInWorker) -> None:
    failed, expired = client.submit(), client.submit()
    worker.fail(failed, "adding", "ValueError: too red")
    worker.expire(expired, "adding")
    job = client.get(f"/jobs/{failed}").json
    assert (job["status"], job["outcome"]) == ("failed", None)
    assert job["error"] == {"code": "prediction_failed", "type": "PredictionFailed", "message": "ValueError: too red"}
    assert client.get(f"/jobs/{expired}").json["status"] == "expired"


def test_a_job_sent_through_celery_is_known(client: Client, adding: View) -> None:
    job_id = tasks.predict.delay("adding", [1, 2]).id
    assert client.get(f"/jobs/{job_id}").json["status"] == "queued"


@pytest.mark.parametrize("path", ["/jobs/ghost", "/jobs/ghost?wait=60", "/jobs/%00", "/jobs/" + "j" * 5_000])
def test_an_unknown_job_is_a_404_at_once(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "job_not_found")
    assert client.delete(path.partition("?")[0]).status_code == 404


def test_a_long_poll_wakes_on_the_outcome(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()
    answer = polled(client, job_id, lambda: worker.succeed(job_id, "adding", 3.0))
    assert (answer.status_code, answer.json["status"], answer.json["outcome"]["prediction"]) == (200, "succeeded", 3.0)


def test_a_long_poll_wakes_on_a_cancel(client: Client, adding: View) -> None:
    job_id = client.submit()
    answer = polled(client, job_id, lambda: client.delete(f"/jobs/{job_id}"))
    assert answer.json["status"] == "cancelled"


def test_a_long_poll_is_not_woken_by_the_start(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()

    def run() -> None:
        worker.start(job_id, "adding")
        worker.succeed(job_id, "adding", 3.0)

    assert polled(client, job_id, run).json["status"] == "succeeded"


def test_a_long_poll_ends_with_its_time(client: Client, adding: View) -> None:
    job_id = client.submit()
    for wait in ("0", "0.05", "1"):
        assert client.get(f"/jobs/{job_id}?wait={wait}").json["status"] == "queued"


def test_a_poll_for_a_job_that_has_ended_answers_at_once(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()
    worker.succeed(job_id, "adding", 3.0)
    assert client.get(f"/jobs/{job_id}?wait=60").json["status"] == "succeeded"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("wait=soon", "wait"),
        ("wait=-1", "wait"),
        ("wait=nan", "wait"),
        ("wait=inf", "wait"),
        ("wait=", "wait"),
        ("wait=1&wait=2", "wait"),
        ("force=true", "force"),
    ],
)
def test_a_wrong_poll_is_refused_with_the_parameter(client: Client, adding: View, query: str, field: str) -> None:
    answer = client.get(f"/jobs/{client.submit()}?{query}")
    assert (answer.status_code, answer.json["code"], answer.json["field"]) == (422, "request_invalid", field)


def test_a_queued_job_is_cancelled(client: Client, adding: View) -> None:
    job_id = client.submit()
    answer = client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert answer.json["finished_at"]
    assert client.get(f"/jobs/{job_id}").json == answer.json


def test_a_job_that_has_ended_cannot_be_cancelled(client: Client, adding: View, worker: StandInWorker) -> None:
    succeeded, failed, cancelled = (client.submit() for _ in range(3))
    worker.succeed(succeeded, "adding", 3.0)
    worker.fail(failed, "adding", "ValueError: no")
    client.delete(f"/jobs/{cancelled}")
    for job_id, state in ((succeeded, "succeeded"), (failed, "failed"), (cancelled, "cancelled")):
        answer = client.delete(f"/jobs/{job_id}")
        assert (answer.status_code, answer.json["code"]) == (409, "job_not_cancellable")
        assert (answer.json["job_id"], answer.json["state"]) == (job_id, state)
        assert client.get(f"/jobs/{job_id}").json["status"] == state


@pytest.mark.parametrize(
    "record", [" ", "{", "[]", '{"status": "SUCCESS"}', '{"status": "QUEUED", "failures": [1]}', ["a list"]]
)
def test_a_job_whose_record_cannot_be_read_is_a_problem_that_says_so(
    client: Client, adding: View, record: str | list[str]
) -> None:
    job_id = client.submit()
    if isinstance(record, str):
        records_client().set(keys.record(job_id), record)
    else:
        records_client().delete(keys.record(job_id))
        records_client().rpush(keys.record(job_id), *record)
    path = f"/jobs/{job_id}"
    calls = [
        client.get(path), client.get(f"{path}?wait=1"), client.delete(path), client.delete(f"{path}?force=true"),
        client.get(f"{path}/events"), client.post(f"{path}/events-link"),
    ]  # fmt: skip
    assert {(answer.status_code, answer.json["code"], answer.json["job_id"]) for answer in calls} == {
        (409, "job_unreadable", job_id)
    }
    for listed in (client.get("/jobs"), client.post("/jobs/lookup", json={"job_ids": [job_id]})):
        assert [job["status"] for job in listed.json["jobs"]] == ["unreadable"]


def test_a_running_job_is_not_cancelled_without_force(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()
    worker.start(job_id, "adding")
    answer = client.delete(f"/jobs/{job_id}")
    assert (answer.status_code, answer.json["state"]) == (409, "running")
    assert client.get(f"/jobs/{job_id}").json["status"] == "running"


def listed(client: Client, query: str = "") -> list[str]:
    return [job["job_id"] for job in client.get(f"/jobs{query}").json["jobs"]]


def test_recent_jobs_are_listed_newest_first_and_filtered(client: Client, adding: View, worker: StandInWorker) -> None:
    assert listed(client) == []
    client.deploy("other")
    first, second = client.submit(), client.submit()
    third = client.submit("other")
    worker.succeed(first, "adding", 3.0)
    assert listed(client) == [third, second, first]
    assert listed(client, "?endpoint_name=adding") == [second, first]
    assert listed(client, "?endpoint_name=ghost") == []
    assert listed(client, "?status=queued") == [third, second]
    assert listed(client, "?status=succeeded&endpoint_name=other") == []
    assert listed(client, "?status=succeeded") == [first]
    assert listed(client, "?limit=1") == [third]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=1.5", "limit"),
        ("limit=" + "9" * 5_000, "limit"),
        ("endpoint_name=", "endpoint_name"),
        ("limit=1&limit=2", "limit"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_filter_is_refused_with_the_parameter(client: Client, query: str, field: str) -> None:
    answer = client.get(f"/jobs?{query}")
    assert (answer.status_code, answer.json["code"], answer.json["field"]) == (422, "request_invalid", field)
