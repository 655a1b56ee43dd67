"""What Flower and `celery inspect` show of jobs and workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.calls import Document
from tests.support.models import Gate, Mortal
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

INSPECTED = ("ping", "stats", "active", "reserved", "active_queues")


@pytest.fixture(scope="module")
def flower(service: Stack) -> Iterator[httpx.Client]:
    service.register("watched", Mortal("first"))
    service.deploy("watched", endpoint_name="watched")
    service.register("watched-gate", Gate("gate"))
    service.deploy("watched-gate", endpoint_name="watched-gate", max_batch_size=1)
    with service.flower(service.workers[0]) as url, httpx.Client(base_url=url) as client:
        yield client


def task(flower: httpx.Client, job_id: str, state: str) -> Document:
    """Wait until Flower shows the job in this state; return all that it shows."""

    def shown() -> Document:
        tasks = flower.get("/api/tasks").json()
        assert tasks.get(job_id, {}).get("state") == state, tasks.get(job_id)
        found: Document = flower.get(f"/api/task/info/{job_id}").json()
        return found

    return eventually(shown, message=f"Flower shows {job_id} as {state}")


def test_flower_shows_each_job_with_arguments_state_runtime_and_worker(service: Stack, flower: httpx.Client) -> None:
    rows = [f"row {number}" for number in range(20)]
    job_ids = service.submit_all("watched", rows)
    outcomes = service.outcomes(job_ids)
    for job_id, row, outcome in zip(job_ids, rows, outcomes, strict=True):
        found = task(flower, job_id, "SUCCESS")
        assert found["name"] == "predict"
        assert json.loads(found["args"]) == ["watched", row]
        assert found["kwargs"] == "{}"
        assert found["worker"] == outcome["worker"]
        assert found["received"] <= found["started"] <= found["succeeded"]
        assert 0 < found["runtime"] < outcome["timing"]["total_ms"] / 1000 + 0.001
        assert row in found["result"]


def test_flower_shows_of_a_step_which_pipeline_it_belongs_to(service: Stack, flower: httpx.Client) -> None:
    answer = service.api.post("/predict/watched", json={"input": "a", "then": ["watched"]})
    pipeline_id = answer.json()["job_id"]
    found = task(flower, f"{pipeline_id}.1", "SUCCESS")
    assert (found["root_id"], found["parent_id"]) == (pipeline_id, pipeline_id)
    # The answer of the first step is a list, and so no input of the second one.
    assert task(flower, f"{pipeline_id}.2", "FAILURE")["parent_id"] == f"{pipeline_id}.1"
    assert service.job(pipeline_id)["error"]["code"] == "input_invalid"


def test_flower_and_celery_control_are_told_what_became_of_their_commands_about_queues(
    service: Stack, flower: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = service.workers[0]
    monkeypatch.setitem(service.env, "QUEUECAST_FLOWER_READ_ONLY", "false")
    with service.flower(worker) as url, httpx.Client(base_url=f"{url}/api/worker/queue") as buttons:

        def pressed(command: str, queue: str) -> tuple[int, str]:
            answer = buttons.post(f"/{command}-consumer/{worker.node_name}", params={"queue": queue})
            return answer.status_code, answer.text

        status, said = pressed("cancel", "predict.watched")
        assert (status, "queuecast undeploy watched --backlog park" in said) == (403, True)
        status, said = pressed("add", "predict.nothing")
        assert (status, "queuecast deploy MODEL --endpoint nothing" in said) == (403, True)
        status, said = pressed("add", "predict.watched:high")
        assert (status, "already consuming from predict.watched:high" in said) == (200, True)
        status, said = pressed("cancel", "predict.nothing")
        assert (status, "not consuming from predict.nothing" in said) == (200, True)
        assert pressed("add", "somebody-elses")[0] == pressed("cancel", "somebody-elses")[0] == 200
    control = service.run("-m", "celery", "-b", service.redis.url, "control", "cancel_consumer", "predict.watched")
    assert "--backlog park" in control.stdout
    assert service.predict("watched", "a")["prediction"] == ["first", "a"]


def test_flower_shows_why_a_job_failed(service: Stack, flower: httpx.Client) -> None:
    job_id = service.submit("watched", "raise")
    found = task(flower, job_id, "FAILURE")
    assert "this row is not liked" in found["exception"]
    assert found["worker"] == service.workers[0].node_name
    assert found["failed"] >= found["started"]


def test_flower_shows_jobs_of_a_celery_app_without_our_code(service: Stack, flower: httpx.Client) -> None:
    app = service.celery
    one = app.send_task("predict", args=["watched", "a"], queue="predict.watched")
    two = app.send_task("predict", args=["watched"], kwargs={"inputs": ["a", "b"]}, queue="predict.watched")
    assert task(flower, one.id, "SUCCESS")["args"] == "['watched', 'a']"
    assert task(flower, two.id, "SUCCESS")["kwargs"] == "{'inputs': ['a', 'b']}"


def test_flower_and_inspect_show_what_runs_and_what_waits(service: Stack, flower: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = service.submit("watched-gate", str(gate))
    service.wait_until_running([running])
    waiting = service.submit("watched-gate", "behind it")
    assert task(flower, running, "STARTED")["worker"] == service.workers[0].node_name
    assert task(flower, waiting, "RECEIVED")["started"] is None

    said = inspected(service)
    assert said["ping"] == {"ok": "pong"}
    assert said["stats"]["pid"] == service.workers[0].pid
    assert {"predict.watched", "predict.watched-gate"} <= {queue["name"] for queue in said["active_queues"]}
    assert [(job["id"], job["name"]) for job in said["active"]] == [(running, "predict")]
    assert str(gate) in said["active"][0]["args"]
    assert [job["id"] for job in said["reserved"]] == [waiting]

    gate.touch()
    service.outcomes([running, waiting])
    task(flower, waiting, "SUCCESS")


def test_stats_count_the_jobs(service: Stack, flower: httpx.Client) -> None:
    node_name = service.workers[0].node_name
    inspect = service.celery.control.inspect(destination=[node_name], timeout=5)

    def predicted() -> int:
        count: int = inspect.stats()[node_name]["total"].get("predict", 0)
        return count

    before = predicted()
    service.outcomes(service.submit_all("watched", "abc"))
    assert predicted() == before + 3
    assert inspect.active() == inspect.reserved() == {node_name: []}


def test_flower_shows_the_queues_of_a_worker(service: Stack, flower: httpx.Client) -> None:
    node_name = service.workers[0].node_name

    def queues() -> set[str]:
        workers = flower.get("/api/workers", params={"refresh": "1", "workername": node_name}).json()
        # A part that the worker has not told in a second is missing.
        return {queue["name"] for queue in workers[node_name].get("active_queues", [])}

    eventually(lambda: {"predict.watched", "predict.watched-gate"} <= queues(), interval_s=0.2)


def inspected(service: Stack) -> Document:
    """What `celery inspect` says about the shared worker, by the kind of question."""
    node_name = service.workers[0].node_name
    inspect = service.celery.control.inspect(destination=[node_name], timeout=10)
    said = {kind: getattr(inspect, kind)()[node_name] for kind in INSPECTED}
    # The command asks in the same way, and starts for a second.
    options = ["--json", "-t", "10", "-d", node_name, "active"]
    done = service.run("-m", "celery", "-A", "workers.app", "inspect", *options)
    assert json.loads(done.stdout)[node_name] == said["active"]
    return said
