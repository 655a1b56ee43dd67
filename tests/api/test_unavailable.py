"""What callers see while Redis or the registry is away, and that it ends with that."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from registry.database import default_database
from tests.api.conftest import Client, View
from tests.api.described_client import Answer, DescribedClient
from tests.support import desk
from tests.support.waiting import eventually
from workers.embedded_redis.server import EmbeddedRedis

#: The contract says two seconds; a busy machine may add to it, but not a second timeout.
AT_ONCE_S = 3.0
NEEDS_REDIS = [
    ("POST", "/predict/adding", {"input": [1, 2]}),
    ("POST", "/predict", {"model_name": "adder", "input": [1, 2]}),
    ("GET", "/jobs/some", None),
    ("GET", "/jobs/some?wait=30", None),
    ("DELETE", "/jobs/some", None),
    ("GET", "/jobs", None),
    ("POST", "/jobs/lookup", {"job_ids": ["some"]}),
    ("POST", "/jobs/lookup?wait=30", {"job_ids": ["some"]}),
    ("GET", "/deployments", None),
    ("GET", "/deployments/adding", None),
]
NEEDS_REGISTRY = [
    ("POST", "/predict/adding", {"input": [1, 2]}),
    ("POST", "/predict", {"model_name": "adder", "input": [1, 2]}),
    ("GET", "/models", None),
    ("GET", "/models/stats", None),
    ("GET", "/models/adder", None),
    ("GET", "/models/adder/versions/1", None),
    ("DELETE", "/models/adder/versions/1", None),
    ("GET", "/deployments", None),
    ("POST", "/deployments/deploy", {"model_name": "adder"}),
    ("POST", "/deployments/undeploy", {"endpoint_name": "adding"}),
    ("GET", "/openapi.json", None),
]


def unavailable(answer: Answer, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json["code"]) == (503, code), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    problem: dict[str, Any] = answer.json
    return problem


@pytest.fixture
def no_redis(adding: View, redis_server: EmbeddedRedis) -> Iterator[EmbeddedRedis]:
    """Redis has stopped; it is there again for the next test."""
    redis_server.stop()
    yield redis_server
    if redis_server.pid is None:
        redis_server.start()


@pytest.fixture
def hanging_redis(adding: View, redis_server: EmbeddedRedis) -> Iterator[None]:
    """Redis takes connections and answers nothing."""
    assert redis_server.pid is not None
    os.kill(redis_server.pid, signal.SIGSTOP)
    yield
    os.kill(redis_server.pid, signal.SIGCONT)


def test_without_redis_everything_that_needs_it_is_a_503_at_once(client: Client, no_redis: EmbeddedRedis) -> None:
    for method, path, body in NEEDS_REDIS:
        began = time.monotonic()
        problem = unavailable(client.open(path, method=method, json=body), "queue_unavailable")
        assert time.monotonic() - began < AT_ONCE_S, path
        assert "redis://" not in str(problem)
        assert "127.0.0.1" not in str(problem)
    assert client.get("/models/adder").status_code == 200


def test_the_first_request_after_redis_is_back_succeeds(client: Client, no_redis: EmbeddedRedis) -> None:
    unavailable(client.post("/predict/adding", json={"input": [1, 2]}), "queue_unavailable")
    no_redis.start()
    assert client.submit()
    assert len(client.get("/jobs").json["jobs"]) == 1


@pytest.mark.slow
def test_a_redis_that_hangs_is_a_503_in_two_seconds(app: Flask, hanging_redis: None) -> None:
    took_s: dict[str, float] = {}

    def ask(method: str, path: str, body: Any) -> None:
        client = DescribedClient(app)
        began = time.monotonic()
        answer = client.open(path, method=method, json=body)
        # A submit that could not even look whether its endpoint has failed has stored nothing, and knows it.
        unconfirmed = path.startswith("/predict") and answer.json["code"] == "job_unconfirmed"
        problem = unavailable(answer, "job_unconfirmed" if unconfirmed else "queue_unavailable")
        assert ("job_id" in problem) == unconfirmed
        took_s[f"{method} {path}"] = time.monotonic() - began

    asking = [threading.Thread(target=ask, args=each) for each in NEEDS_REDIS]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(took_s) == len(NEEDS_REDIS)
    assert max(took_s.values()) < AT_ONCE_S, took_s


def test_a_deploy_that_the_workers_cannot_be_told_of_says_that_it_stands(
    client: Client, no_redis: EmbeddedRedis
) -> None:
    problem = unavailable(
        client.post("/deployments/deploy", json={"model_name": "adder", "endpoint_name": "more"}),
        "deployment_unconfirmed",
    )
    assert problem["endpoint_names"] == ["more"]
    problem = unavailable(
        client.post("/deployments/undeploy", json={"endpoint_name": "adding"}), "deployment_unconfirmed"
    )
    assert problem["endpoint_names"] == ["adding"]
    no_redis.start()
    assert [each["endpoint_name"] for each in client.get("/deployments").json["deployments"]] == ["more"]


def test_a_held_poll_outlives_a_restart_of_redis(
    client: Client, adding: View, worker: Any, redis_server: EmbeddedRedis
) -> None:
    job_id = client.submit()
    answers: list[Answer] = []
    poll = threading.Thread(target=lambda: answers.append(client.get(f"/jobs/{job_id}?wait=50")))
    poll.start()
    # It has found the job, and waits.
    eventually(lambda: any(watch.submitted for watch in desk.watches(job_id)))
    redis_server.stop()
    redis_server.start()
    worker.succeed(job_id, "adding", 3.0)
    poll.join(20)
    assert answers[0].json["status"] == "succeeded"


def test_a_job_that_was_accepted_is_answered_also_if_redis_is_lost_while_it_is_waited_for(
    client: Client, adding: View, redis_server: EmbeddedRedis
) -> None:
    answers: list[Answer] = []
    waits = {"Prefer": "wait=1"}
    post = threading.Thread(
        target=lambda: answers.append(client.post("/predict/adding", json={"input": [1, 2]}, headers=waits))
    )
    post.start()
    eventually(lambda: any(watch.submitted for watch in desk.watches()))
    redis_server.stop()
    try:
        post.join(20)
    finally:
        redis_server.start()
    assert (answers[0].status_code, answers[0].json["status"]) == (202, "queued")
    assert client.get(answers[0].json["url"]).json["status"] == "queued"


def test_an_unmigrated_database_is_a_503_that_says_what_to_do(unmigrated_app: Flask) -> None:
    client = DescribedClient(unmigrated_app)
    for method, path, body in NEEDS_REGISTRY:
        problem = unavailable(client.open(path, method=method, json=body), "registry_unavailable")
        assert "queuecast migrate" in problem["detail"]


def test_a_database_that_cannot_be_opened_is_a_503(client: Client, adding: View, data_dir: Path) -> None:
    default_database().close()
    (data_dir / "registry.db").write_bytes(b"no database at all" * 100)
    for method, path, body in NEEDS_REGISTRY:
        problem = unavailable(client.open(path, method=method, json=body), "registry_unavailable")
        assert str(data_dir) not in str(problem)


def parts_of(answer: Answer) -> dict[str, str]:
    return {name: part["status"] for name, part in answer.json["parts"].items()}


def test_health_tells_the_process_from_what_it_needs(client: Client, redis_server: EmbeddedRedis) -> None:
    assert client.get("/health/live").json == {"status": "live"}
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json["status"]) == (200, "ready")
    assert parts_of(answer) == {"redis": "ready", "database": "ready"}
    assert all(part["answered_in_ms"] >= 0 for part in answer.json["parts"].values())


def test_health_names_what_is_away(client: Client, no_redis: EmbeddedRedis) -> None:
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
    assert parts_of(answer) == {"redis": "unavailable", "database": "ready"}
    assert answer.json["parts"]["redis"]["code"] == "queue_unavailable"
    no_redis.start()
    assert client.get("/health/ready").status_code == 200


def test_a_database_that_was_never_migrated_is_not_ready(unmigrated_app: Flask) -> None:
    answer = DescribedClient(unmigrated_app).get("/health/ready")
    assert (answer.status_code, parts_of(answer)) == (503, {"redis": "ready", "database": "unavailable"})
    assert "queuecast migrate" in answer.json["parts"]["database"]["detail"]
