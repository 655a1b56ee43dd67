"""Limits over HTTP: full queues, jobs that expire, and submits that are repeated under one key."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest

from tests.api.conftest import Client, View
from tests.api.described_client import Answer
from tests.api.stand_in_worker import StandInWorker
from workers.jobs import query

BODY: dict[str, Any] = {"input": [1, 2]}


def submit(client: Client, path: str = "/predict/adding", *, key: str | None = None, **body: Any) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(path, json=body or BODY, headers=headers)


def test_a_full_queue_is_a_429_that_says_when_to_come_back(client: Client, adding: View, worker: StandInWorker) -> None:
    view = client.deploy(max_queue_length=2)
    first = client.submit()
    client.submit()
    answer = submit(client)
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (429, "queue_full", "60")
    worker.report(view, jobs_per_s=0.2)
    answer = submit(client)
    assert (answer.headers["Retry-After"], answer.json["retry_after_s"]) == ("5", 5)
    assert len(query.recent()) == 2
    worker.succeed(first, "adding", 3.0)
    assert submit(client).status_code == 202


def test_the_expiry_of_a_job_is_its_own_or_the_deployments(client: Client, adding: View) -> None:
    client.deploy(expires_in_s=50)
    for body, expected_s in ((BODY, 50), ({**BODY, "expires_in_s": 7}, 7)):
        job = client.get(submit(client, **body).json["url"]).json
        lives = datetime.fromisoformat(job["expires_at"]) - datetime.fromisoformat(job["submitted_at"])
        assert lives.total_seconds() == pytest.approx(expected_s, abs=0.01)


@pytest.mark.parametrize("expires_in_s", [0, -1, "soon", 10**9, True])
def test_a_wrong_expiry_is_refused(client: Client, adding: View, expires_in_s: Any) -> None:
    answer = submit(client, input=[1, 2], expires_in_s=expires_in_s)
    assert (answer.status_code, answer.json["field"]) == (422, "expires_in_s")


def test_the_same_key_and_body_are_the_same_job_in_whatever_state(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    first = submit(client, key="one").json["job_id"]
    assert submit(client, key="one").json["job_id"] == first
    assert submit(client, key="two").json["job_id"] != first
    assert submit(client).json["job_id"] != first
    worker.succeed(first, "adding", 3.0)
    answer = submit(client, key="one")
    assert (answer.status_code, answer.json["job_id"], answer.json["prediction"]) == (200, first, 3.0)


def test_the_same_key_with_another_body_is_refused(client: Client, adding: View) -> None:
    first = submit(client, key="one").json["job_id"]
    answer = submit(client, key="one", input=[1, 3])
    assert (answer.status_code, answer.json["code"], answer.json["job_id"]) == (422, "idempotency_conflict", first)
    assert len(query.recent()) == 1


def test_a_key_counts_in_a_full_queue_too(client: Client, adding: View) -> None:
    client.deploy(max_queue_length=1)
    first = submit(client, key="one").json["job_id"]
    assert submit(client, key="two").status_code == 429
    assert submit(client, key="one").json["job_id"] == first


@pytest.mark.parametrize("key", ["", " ", "k" * 256])
def test_an_unusable_key_is_refused(client: Client, adding: View, key: str) -> None:
    answer = submit(client, key=key)
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_invalid")
    assert query.recent() == []


def test_submits_that_come_at_once_under_one_key_are_one_job(client: Client, adding: View) -> None:
    barrier, answers = threading.Barrier(8), []

    def repeat() -> None:
        barrier.wait(10)
        answers.append(submit(client, key="one"))

    threads = [threading.Thread(target=repeat) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 8
    assert len({answer.json["job_id"] for answer in answers}) == 1
    assert len(query.recent()) == 1


def test_a_running_job_is_cancelled_with_force(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = client.submit()
    worker.start(job_id, "adding")
    answer = client.delete(f"/jobs/{job_id}?force=true")
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert client.get(f"/jobs/{job_id}").json["status"] == "cancelled"
    assert client.delete(f"/jobs/{job_id}?force=true").status_code == 409
    assert client.delete(f"/jobs/{job_id}?force=perhaps").json["field"] == "force"


def test_the_same_key_and_body_for_another_endpoint_are_a_conflict(client: Client, adding: View) -> None:
    client.deploy("other")
    first = submit(client, key="one").json["job_id"]
    answer = submit(client, "/predict/other", key="one")
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_conflict")
    assert answer.json["job_id"] == first
    assert len(query.recent()) == 1


def test_the_universal_url_under_one_key_is_no_other_job_after_a_deploy_elsewhere(client: Client, adding: View) -> None:
    body = {"model_name": "adder", "input": [1, 2]}
    first = submit(client, "/predict", key="one", **body).json
    client.register()
    client.deploy("newer", version="2")
    answer = submit(client, "/predict", key="one", **body)
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_conflict")
    assert client.get(first["url"]).json["endpoint_name"] == "adding"
