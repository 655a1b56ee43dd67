"""Emptying a queue over HTTP: an operator cancels all queued jobs of an endpoint, a client its own."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from workers.jobs import emptying


def test_queued_jobs_are_counted_and_cancelled(client: Client, adding: View, worker: StandInWorker) -> None:
    client.deploy("other")
    ids, other, running = [client.submit() for _ in range(3)], client.submit("other"), client.submit()
    worker.start(running, "adding")
    body = {"endpoint_name": "adding"}
    found = client.post("/jobs/cancel", json={**body, "dry_run": True}).json
    assert found == {"matched_count": 3, "cancelled_count": 0, "cursor": None}
    assert client.post("/jobs/cancel", json={**body, "older_than_s": 60}).json["matched_count"] == 0
    found = client.post("/jobs/cancel", json=body).json
    assert found == {"matched_count": 3, "cancelled_count": 3, "cursor": None}
    assert {client.get(f"/jobs/{job_id}").json["status"] for job_id in ids} == {"cancelled"}
    assert client.get(f"/jobs/{other}").json["status"] == "queued"
    assert client.get(f"/jobs/{running}").json["status"] == "running"


def test_an_answer_says_where_the_next_one_continues(
    client: Client, adding: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emptying.cancel_queued, "__kwdefaults__", {"cursor": 0, "budget_s": 0.0, "dry_run": False})
    client.post("/predict/adding/bulk", json=[{"input": [1, 2]}] * 1_000)
    count, found = 0, cast("dict[str, Any]", {"cursor": 0})
    while found["cursor"] is not None:
        found = client.post("/jobs/cancel", json={"endpoint_name": "adding", "cursor": found["cursor"]}).json
        count += found["cancelled_count"]
    assert count == 1_000


@pytest.mark.parametrize("body", [{}, {"endpoint_name": "adding", "older_than_s": -1}])
def test_a_wrong_request_cancels_nothing(client: Client, adding: View, body: dict[str, object]) -> None:
    job_id = client.submit()
    answer = client.post("/jobs/cancel", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "request_invalid")
    assert client.get(f"/jobs/{job_id}").json["status"] == "queued"
