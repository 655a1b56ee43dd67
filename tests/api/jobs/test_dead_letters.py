"""Dead letters over HTTP: list, show, replay, discard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client, View
from tests.api.stand_in_worker import NAME, StandInWorker
from workers.jobs import dead_letters

REASON = "The host was killed by signal 11."


def poison(client: Client, worker: StandInWorker, **rows: Any) -> str:
    job_id = client.submit(**rows)
    worker.give_up(job_id, "adding", REASON)
    return job_id


def test_a_job_that_was_given_up_is_kept_with_its_input_and_reasons(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_id = poison(client, worker, input=[0.5, 2])
    letter = client.get(f"/dead-letters/{job_id}").json
    assert (letter["job_id"], letter["endpoint_name"], letter["input"]) == (job_id, "adding", [0.5, 2])
    [failure] = letter["failures"]
    assert (failure["attempt"], failure["worker"], failure["reason"]) == (1, NAME, REASON)
    job = client.get(f"/jobs/{job_id}").json
    assert (job["status"], job["error"]["code"], job["failures"]) == ("failed", "poison_job", letter["failures"])


def test_dead_letters_are_listed_newest_first_without_inputs(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    assert client.get("/dead-letters").json == {"dead_letters": []}
    first, second = poison(client, worker), poison(client, worker)
    listed = client.get("/dead-letters").json["dead_letters"]
    assert [each["job_id"] for each in listed] == [second, first]
    assert "input" not in listed[0]
    assert [each["job_id"] for each in client.get("/dead-letters?limit=1").json["dead_letters"]] == [second]
    assert client.get("/dead-letters?endpoint_name=other").json == {"dead_letters": []}
    assert client.get("/dead-letters?limit=0").json["field"] == "limit"


def test_a_replay_is_a_new_job_with_the_same_input(client: Client, adding: View, worker: StandInWorker) -> None:
    client.deploy("more")
    for body, endpoint_name in (({}, "adding"), ({"endpoint_name": "more"}, "more")):
        job_id = poison(client, worker, inputs=[[1, 2], [3, 4]])
        answer = client.post(f"/dead-letters/{job_id}/replay", json=body)
        assert answer.status_code == 202
        assert (answer.json["endpoint_name"], answer.json["status"]) == (endpoint_name, "queued")
        assert answer.headers["Location"] == answer.json["url"] == f"/jobs/{answer.json['job_id']}"
        assert answer.json["job_id"] != job_id
        assert client.get(answer.json["url"]).json["status"] == "queued"
        assert client.get(f"/dead-letters/{job_id}").status_code == 404
        worker.give_up(answer.json["job_id"], endpoint_name, REASON)
        assert client.get(f"/dead-letters/{answer.json['job_id']}").json["inputs"] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"endpoint_name": "ghost"}, 404, "endpoint_not_deployed"),
        ({"endpoint_name": "text"}, 422, "input_invalid"),
        ({"endpoint_name": "full"}, 429, "queue_full"),
        ({"colour": "red"}, 422, "request_invalid"),
    ],
)
def test_a_replay_that_is_refused_keeps_the_letter(
    client: Client, adding: View, worker: StandInWorker, body: Any, status: int, code: str
) -> None:
    job_id = poison(client, worker)
    client.register("text", input_example="words")
    client.deploy("text", "text")
    client.deploy("full", max_queue_length=1)
    client.submit("full")
    answer = client.post(f"/dead-letters/{job_id}/replay", json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert (status == 429) == ("Retry-After" in answer.headers)
    assert client.get(f"/dead-letters/{job_id}").json["input"] == [1, 2]


def test_two_replays_at_once_are_one_job(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = poison(client, worker)
    letter = dead_letters.get(job_id)
    first = client.post(f"/dead-letters/{job_id}/replay", json={}).json["job_id"]
    worker.keep(letter)  # as the second sees it that comes before the first has discarded it
    assert client.post(f"/dead-letters/{job_id}/replay", json={}).json["job_id"] == first


def test_a_discarded_letter_is_gone(client: Client, adding: View, worker: StandInWorker) -> None:
    job_id = poison(client, worker)
    assert client.delete(f"/dead-letters/{job_id}").status_code == 204
    assert client.get("/dead-letters").json == {"dead_letters": []}
    assert client.get(f"/jobs/{job_id}").json["status"] == "failed"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/replay")])
def test_a_letter_that_there_is_not_is_a_404(client: Client, method: str, path: str) -> None:
    answer = client.open(f"/dead-letters/ghost{path}", method=method, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json["code"]) == (404, "dead_letter_not_found")
