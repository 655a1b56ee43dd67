"""`POST /predict/<endpoint>/bulk`: a job for each element, all of them checked before any is stored."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import redis

from api.process import services
from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.described_client import Answer
from tests.api.stand_in_worker import StandInWorker
from workers import keys
from workers.errors import BulkInterrupted
from workers.jobs import bulk, query
from workers.platform.redis.client import records_client
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

ROWS: list[dict[str, Any]] = [{"input": [1, 2]}, {"inputs": [[3, 4], [5, 6]]}, {"input": [7, 8], "expires_in_s": 60}]
NDJSON = "application/x-ndjson"


def send(client: Client, body: Any, content_type: str | None = "application/json", **headers: str) -> Answer:
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.post("/predict/adding/bulk", data=text, content_type=content_type, headers=headers)


def by_line(rows: list[Any]) -> str:
    return "\n".join(json.dumps(each) for each in rows)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps(ROWS), "application/json"),
        (json.dumps(ROWS), None),
        ("\n " + json.dumps(ROWS, indent=2), "text/plain"),
        (by_line(ROWS), NDJSON),
        (by_line(ROWS), "application/jsonl; charset=utf-8"),
        (by_line(ROWS), "application/json"),
        ("\r\n" + by_line(ROWS).replace("\n", "\r\n\n") + "\n\n", NDJSON),
        ("\ufeff" + by_line(ROWS), "text/plain"),
        ("\ufeff" + json.dumps(ROWS), "application/json"),
    ],
)
def test_elements_become_jobs_in_order_in_whatever_form_they_come(
    client: Client, adding: View, body: str, content_type: str | None
) -> None:
    answer = send(client, body, content_type)
    assert answer.status_code == 202
    job_ids = answer.json.pop("job_ids")
    assert answer.json | {"job_ids": 0} == {
        "job_ids": 0, "count": 3, "endpoint_name": "adding", "model_name": "adder", "version": "1",
        "url": "/jobs?endpoint_name=adding",
        "queue": {"position": 2, "estimated_wait_s": None, "reason": "no_ready_worker"},
    }  # fmt: skip
    found = [client.get(f"/jobs/{each}").json for each in job_ids]
    assert [each["status"] for each in found] == ["queued"] * 3
    assert [each["expires_at"] is not None for each in found] == [False, False, True]
    assert [each["job_id"] for each in client.get(answer.json["url"]).json["jobs"]] == job_ids[::-1]
    assert client.delete(f"/jobs/{job_ids[1]}").json["status"] == "cancelled"


@pytest.mark.parametrize(
    ("element", "field"),
    [
        ({"input": [1, "x"]}, "input[1]"),
        ({"inputs": [[1, 2], [1]]}, "inputs[1]"),
        ({"input": [1, 2], "inputs": [[1, 2]]}, ""),
        ({"input": [1, 2], "expires_in_s": -1}, "expires_in_s"),
        ({"input": [1, 2], "model_name": "adder"}, "model_name"),
        ({}, ""),
        (5, ""),
        (None, ""),
    ],
)
def test_a_wrong_element_is_named_and_nothing_is_stored(client: Client, adding: View, element: Any, field: str) -> None:
    rows = [*ROWS, element, *ROWS]
    for answer, place in ((send(client, rows), "[3]."), (send(client, by_line(rows), NDJSON), "line 4: ")):
        assert answer.status_code == 422, answer.text
        assert answer.json["field"] == (place + field if field else place.rstrip(".: ")), answer.text
    assert query.recent() == []


@pytest.mark.parametrize(
    ("body", "content_type", "status", "told"),
    [
        ("", "application/json", 400, "The body is empty"),
        ("", NDJSON, 422, "at least one element"),
        ("[]", "application/json", 422, "at least one element"),
        ("5", "application/json", 422, "must be a JSON array"),
        ('[{"input": [1, 2]}', "application/json", 400, "line 1 column 19"),
        ('{"input": [1, 2]}\n\n{"input": [1, NaN]}', NDJSON, 400, "Line 3: .*NaN is not a JSON number"),
        (b'{"input": [1, 2]}\n"\xff"', NDJSON, 400, "Line 2: The body is not UTF-8"),
        ("[" * 100 + "]" * 100, NDJSON, 400, "Line 1: .*64 levels"),
    ],
)
def test_a_body_that_is_not_many_is_refused_with_the_reason(
    client: Client, adding: View, body: Any, content_type: str, status: int, told: str
) -> None:
    answer = send(client, body, content_type)
    assert answer.status_code == status
    assert re.search(told, answer.json["detail"]), answer.json["detail"]


def test_too_many_elements_and_too_long_bodies_are_refused(
    client: Client, adding: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_JOBS", 5)
    answer = send(client, ROWS * 2)
    assert (answer.status_code, answer.json["code"], answer.json["most"]) == (422, "bulk_too_large", 5)
    assert send(client, "[" + " " * MAX_BYTES + "]").status_code == 413
    assert query.recent() == []


def test_an_endpoint_that_takes_nothing_is_a_404(client: Client, adding: View) -> None:
    assert client.post("/predict/other/bulk", json=ROWS).json["code"] == "endpoint_not_deployed"


def test_a_queue_without_room_for_all_is_a_429_that_says_when_to_come_back(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    view = client.deploy(max_queue_length=4)
    worker.report(view, jobs_per_s=0.2)
    assert send(client, ROWS).status_code == 202
    answer = send(client, ROWS[:2])
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (429, "queue_full", "10")
    assert len(query.recent()) == 3
    assert send(client, ROWS * 2).json["code"] == "bulk_too_large"


def test_a_repeated_request_is_the_same_jobs_and_another_one_is_a_conflict(client: Client, adding: View) -> None:
    first = send(client, ROWS, **{"Idempotency-Key": "one"})
    # As lines it is the same request.
    again = send(client, by_line(ROWS), NDJSON, **{"Idempotency-Key": "one"})
    assert again.json["job_ids"] == first.json["job_ids"]
    assert send(client, ROWS[:1], **{"Idempotency-Key": "one"}).json["code"] == "idempotency_conflict"
    assert len(query.recent()) == 3


def test_a_request_that_was_interrupted_names_the_jobs_that_are_stored(
    client: Client, adding: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> list[str]:
        raise BulkInterrupted(5, ["a", None, "c"], ["d"])

    monkeypatch.setattr(bulk, "submit", interrupted)
    answer = send(client, ROWS)
    assert (answer.status_code, answer.json["code"], answer.json["stored"]) == (503, "bulk_interrupted", 2)
    assert (answer.json["job_ids"], answer.json["unconfirmed_job_ids"]) == (["a", None, "c"], ["d"])
    assert "Idempotency-Key" in answer.json["detail"]


def test_ten_thousand_jobs_are_one_request(client: Client, adding: View, redis_url: str) -> None:
    roomy = services.of(client.application).settings.model_copy(update={"max_body_bytes": 10_000_000})
    services.install(client.application, services.Services(roomy))
    answer = send(client, by_line([{"input": [number, 0]} for number in range(10_000)]), NDJSON)
    assert (answer.json["count"], len(set(answer.json["job_ids"]))) == (10_000, 10_000)
    store: redis.Redis = records_client()
    assert store.zcard(keys.unfinished("adding")) == store.llen("predict.adding") == 10_000


def test_each_element_says_its_own_priority(client: Client, adding: View) -> None:
    levels = ["low", "high", "low", "normal"]
    assert send(client, [{"input": [1, 2], "priority": level} for level in levels]).status_code == 202
    found = {level.value: records_client().llen(queue_name("adding", level)) for level in Priority}
    assert found == {"high": 1, "normal": 1, "low": 2}
