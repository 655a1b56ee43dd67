"""Many jobs in one request: as they stand, or as soon as all of them have ended."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.api.conftest import Client, View
from tests.api.described_client import Answer
from tests.api.stand_in_worker import StandInWorker
from tests.support import desk
from tests.support.waiting import eventually
from workers.jobs.on_loop import lookups
from workers.jobs.on_loop.desk import Desk


def look(client: Client, job_ids: list[Any], query: str = "") -> Answer:
    return client.post(f"/jobs/lookup{query}", json={"job_ids": job_ids})


def test_jobs_are_shown_in_the_order_in_which_they_are_asked_for(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    first, second, third = (client.submit() for _ in range(3))
    worker.succeed(second, "adding", 3.0)
    worker.fail(third, "adding", "too red")
    answer = look(client, [third, "ghost", first, second, first])
    assert answer.status_code == 200
    assert answer.json["unknown_job_ids"] == ["ghost"]
    assert answer.json["left_job_ids"] == []
    assert answer.json["jobs"] == [client.get(f"/jobs/{each}").json for each in (third, first, second)]


def test_a_look_that_is_held_ends_with_the_last_of_its_jobs(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    job_ids = [client.submit() for _ in range(3)]
    worker.succeed(job_ids[1], "adding", 3.0)
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(look(client, [*job_ids, "ghost"], "?wait=50")))
    asking.start()
    eventually(lambda: len(desk.watches()) == 4)
    worker.succeed(job_ids[2], "adding", 4.0)
    assert asking.is_alive()
    client.delete(f"/jobs/{job_ids[0]}")
    asking.join(20)
    [answer] = answers
    assert [job["status"] for job in answer.json["jobs"]] == ["cancelled", "succeeded", "succeeded"]
    assert not desk.watches()


def test_a_look_that_is_held_ends_with_its_time(client: Client, adding: View, worker: StandInWorker) -> None:
    ended, queued = client.submit(), client.submit()
    worker.succeed(ended, "adding", 3.0)
    for wait in ("0", "0.05"):
        assert [job["status"] for job in look(client, [queued, ended], f"?wait={wait}").json["jobs"]] == [
            "queued",
            "succeeded",
        ]
    assert look(client, [ended, "ghost"], "?wait=60").json["unknown_job_ids"] == ["ghost"]


def test_a_service_that_is_about_to_end_holds_no_look() -> None:
    async def look() -> None:
        ending = Desk()
        ending.waits.release()
        await ending.waits.wait_for_all(["ghost"], 60)
        await ending.close()

    desk.run(look())


def test_what_would_be_too_long_an_answer_is_left_for_another_one(
    client: Client, adding: View, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "MAX_BYTES", 1)
    monkeypatch.setattr(lookups, "_PAGE", 2)
    job_ids = [client.submit() for _ in range(6)]
    found = look(client, job_ids).json
    assert [job["job_id"] for job in found["jobs"]] == job_ids[:1]
    assert found["left_job_ids"] == job_ids[1:]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "job_ids"),
        ({"job_ids": []}, "job_ids"),
        ({"job_ids": ["j"] * 1_001}, "job_ids"),
        ({"job_ids": "j"}, "job_ids"),
        ({"job_ids": ["j", 5]}, "job_ids[1]"),
        ({"job_ids": [""]}, "job_ids[0]"),
        ({"job_ids": ["\ud800"]}, "job_ids[0]"),
        ({"job_ids": ["j"], "wait": 5}, "wait"),
    ],
)
def test_a_wrong_look_is_refused_with_the_field(client: Client, body: Any, field: str) -> None:
    answer = client.post("/jobs/lookup", json=body)
    assert (answer.status_code, answer.json["code"], answer.json["field"]) == (422, "request_invalid", field)
    assert look(client, ["j"], "?wait=soon").json["field"] == "wait"
