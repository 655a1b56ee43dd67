"""Failed jobs over HTTP: the traceback of the model's code, for those who may see it."""

from __future__ import annotations

from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker

TRACEBACK = 'Traceback (most recent call last):\n  File "model.py", line 3, in predict\nValueError: too red'


def failed(client: Client, worker: StandInWorker, traceback: str = TRACEBACK) -> str:
    job_id = client.submit()
    worker.fail(job_id, "adding", "ValueError: too red", traceback=traceback)
    return job_id


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
