"""What the API tells of waiting: places, estimates and when to ask again."""

from __future__ import annotations

import asyncio

import pytest
from flask import Flask

from api.process import services
from api.process.intents import Intents
from registry.deployments import Intent
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker
from tests.support import desk
from workers.jobs import bulk
from workers.jobs.job import JobOptions
from workers.queues.priorities import Priority

BODY = {"input": [1, 2]}


def test_a_202_and_the_job_tell_place_wait_and_when_to_ask_again(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding, jobs_per_s=2.0)
    first = client.submit()
    for _ in range(9):
        client.submit()
    answer = client.post("/predict/adding", json=BODY)
    queue = {"position": 10, "estimated_wait_s": 4.75, "reason": None}
    # It begins after 4.75 s, and takes half a second.
    assert (answer.status_code, answer.json["queue"], answer.headers["Retry-After"]) == (202, queue, "6")
    job = client.get(answer.json["url"])
    assert (job.json["queue"], job.headers["Retry-After"]) == (queue, "6")
    worker.start(first, "adding")
    worker.succeed(first, "adding", 3.0)
    assert client.get(answer.json["url"]).json["queue"]["position"] == 9


def test_a_job_that_runs_is_in_no_queue_and_an_ended_one_is_not_to_be_asked_for(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding, jobs_per_s=0.2)
    job_id = client.submit()
    worker.start(job_id, "adding")
    running = client.get(f"/jobs/{job_id}")
    assert (running.json["queue"], running.headers["Retry-After"]) == (None, "5")
    worker.succeed(job_id, "adding", 3.0)
    ended = client.get(f"/jobs/{job_id}")
    assert (ended.json["queue"], "Retry-After" in ended.headers) == (None, False)


def test_however_long_the_wait_is_somebody_asks_again_within_a_minute(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    worker.report(adding, jobs_per_s=0.001)
    client.submit()
    answer = client.post("/predict/adding", json=BODY)
    assert (answer.json["queue"]["estimated_wait_s"], answer.headers["Retry-After"]) == (500.0, "60")


def test_where_no_worker_is_ready_the_place_is_told_and_why_there_is_no_estimate(client: Client, adding: View) -> None:
    client.submit()
    answer = client.post("/predict/adding", json=BODY)
    assert answer.json["queue"] == {"position": 1, "estimated_wait_s": None, "reason": "no_ready_worker"}
    assert answer.headers["Retry-After"] == "10"


def test_a_parked_job_says_so(client: Client, adding: View) -> None:
    job_id = client.submit()
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": "park"})
    assert client.get(f"/jobs/{job_id}").json["queue"] == {
        "position": 0, "estimated_wait_s": None, "reason": "parked",
    }  # fmt: skip


def test_a_job_that_was_waited_for_in_vain_tells_its_place(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding, jobs_per_s=2.0)
    client.submit()
    waited = client.post("/predict/adding", json=BODY, headers={"Prefer": "wait=0.05"})
    assert (waited.status_code, waited.json["queue"]["position"], waited.headers["Retry-After"]) == (202, 1, "1")
    inputs = [{"name": "INPUT0", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]
    unfinished = client.post("/v2/models/adding/infer", json={"inputs": inputs, "parameters": {"timeout": 50_000}})
    queue = {"position": 2, "estimated_wait_s": 0.75, "reason": None}
    assert (unfinished.status_code, unfinished.json["queue"]) == (504, queue)


def test_a_bulk_submit_tells_of_its_last_job(client: Client, adding: View, worker: StandInWorker) -> None:
    worker.report(adding, jobs_per_s=2.0)
    answer = client.post("/predict/adding/bulk", json=[BODY] * 5)
    assert answer.json["queue"] == {"position": 4, "estimated_wait_s": 1.75, "reason": None}
    assert answer.headers["Retry-After"] == "3"


def test_lists_and_look_ups_tell_the_place_of_each_queued_job(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    ids = [client.submit() for _ in range(3)]
    worker.start(ids[0], "adding")
    for answer in (client.get("/jobs"), client.post("/jobs/lookup", json={"job_ids": ids[::-1]})):
        places = [job["queue"] and job["queue"]["position"] for job in answer.json["jobs"]]
        assert places == [2, 1, None]


@pytest.mark.parametrize("level", Priority)
def test_a_job_shows_its_priority_in_every_state(
    client: Client, adding: View, worker: StandInWorker, level: Priority
) -> None:
    job_id = client.post("/predict/adding", json={**BODY, "priority": level}).json["job_id"]
    [other] = bulk.submit("adding", [bulk.NewJob({"input": [1, 2]}, JobOptions(priority=level))])
    for each in (job_id, other):
        assert client.get(f"/jobs/{each}").json["priority"] == level
    assert client.delete(f"/jobs/{other}").json["priority"] == level
    assert client.get(f"/jobs/{other}").json["priority"] == level


def test_thousands_ask_at_once_whether_an_endpoint_is_parked_with_few_reads(
    app: Flask, client: Client, adding: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/deployments/undeploy", json={"endpoint_name": "adding", "backlog": "park"})
    reads, read = list[str](), Intents.read

    def counted(self: Intents, endpoint_name: str) -> Intent | None:
        reads.append(endpoint_name)
        return read(self, endpoint_name)

    monkeypatch.setattr(Intents, "read", counted)
    intents = services.of(app).intents

    async def all_ask() -> list[Intent | None]:
        return await asyncio.gather(*(intents.read_on_loop("adding") for _ in range(2_000)))

    assert set(desk.run(all_ask())) == {Intent.PARK}
    assert reads == ["adding"]
