"""Redis that is killed, hangs, or drops connections: submits say so in time, and workers go on by themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from tests.faults import audit
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate, Mortal
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys

#: A submit must say within two seconds that it could not be stored; the rest is for the way, also on a busy machine.
ANSWER_S = 3.5


@contextmanager
def hanging(stack: Stack) -> Iterator[None]:
    """Redis accepts connections and answers nothing."""
    assert stack.redis.pid is not None
    os.kill(stack.redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.redis.pid, signal.SIGCONT)


def submit_while_it_is_away(stack: Stack, endpoint_name: str) -> None:
    began = time.monotonic()
    answer = httpx.post(f"{stack.url}/predict/{endpoint_name}", json={"input": "x"}, timeout=30)
    took_s = time.monotonic() - began
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] in ("queue_unavailable", "job_unconfirmed")
    assert int(answer.headers["Retry-After"]) >= 1
    assert took_s < ANSWER_S


def test_a_killed_redis_loses_nothing_that_was_accepted(service: Stack, name: str) -> None:
    service.register(name, Echo("m", seconds=0.001))
    service.start_worker(f"{name}-another")
    service.deploy(name, endpoint_name=name, max_batch_size=8)
    with Load(service.url, name) as load:
        for _ in range(2):
            load.wait_for(100)
            assert service.redis.pid is not None
            os.kill(service.redis.pid, signal.SIGKILL)
            load.wait_for_refusals()
            service.redis.stop()
            service.redis.start()
        load.wait_for(100, timeout_s=30)
    assert {answer.status_code for answer in load.refused} == {503}
    audit.check(service, name, load.accepted, lambda row: ["m", row], 30)
    service.wait_for_status(name, "active")


def test_while_redis_is_down_submits_say_so_in_time(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    service.redis.stop()
    submit_while_it_is_away(service, name)
    assert httpx.get(f"{service.url}/health/ready").status_code == 503
    assert httpx.get(f"{service.url}/health/live").status_code == 200
    service.redis.start()
    assert service.predict(name, "back")["prediction"] == ["m", "back"]


def test_while_redis_hangs_submits_say_so_in_time_and_nothing_is_stored(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.deploy(name, endpoint_name=name)
    assert service.predict(name, "before")["prediction"] == ["m", "before"]
    with hanging(service):
        submit_while_it_is_away(service, name)
        submit_while_it_is_away(service, name)
    assert service.predict(name, "after")["prediction"] == ["m", "after"]


def test_an_outcome_that_was_computed_while_redis_was_down_is_written_when_it_is_back(
    service: Stack, name: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name)
    job = service.submit(name, str(gate))
    service.wait_until_running([job])
    service.redis.stop()
    gate.touch()
    submit_while_it_is_away(service, name)
    service.redis.start()
    document = service.job(job)
    assert document["status"] == "succeeded"
    assert document["attempts"] == 1
    assert service.predict(name, "next")["prediction"] == ["m", "next"]


def test_dropped_connections_lose_nothing(service: Stack, name: str) -> None:
    service.register(name, Echo("m", seconds=0.001))
    service.deploy(name, endpoint_name=name, max_batch_size=4)
    with Load(service.url, name) as load, redis.Redis.from_url(service.redis.url) as client:
        for _ in range(10):
            load.wait_for(20)
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        load.wait_for(20)
    # A dropped connection may cost a submit its answer, never an accepted job its outcome.
    assert {answer.status_code for answer in load.refused} <= {503}
    audit.check(service, name, load.accepted, lambda row: ["m", row], 20)
    assert service.workers[0].running


def test_a_worker_that_is_told_to_end_while_redis_is_down_ends(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    worker = service.start_worker(name, group=name)
    service.deploy(name, endpoint_name=name, worker_group=name)
    service.redis.stop()
    # Celery's own heartbeat, each two seconds, has met the closed door by then.
    worker.wait_for_log("writing the report failed")
    worker.wait_for_log("Trying again")
    assert worker.terminate(20) == 0
    eventually(lambda: worker.descendants() == [], message="nothing of it is left")
    service.redis.start()


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    service.redis.stop()
    worker = service.start_worker(name, group=name, wait=False)
    worker.wait_for_log("Trying again")
    service.redis.start()
    worker.wait_until_ready()
    service.deploy(name, endpoint_name=name, worker_group=name)
    assert service.predict(name, "x")["prediction"] == ["m", "x"]


@pytest.mark.servers
def test_a_full_redis_refuses_new_jobs_and_ends_those_that_it_has(service: Stack, name: str, tmp_path: Path) -> None:
    service.register(name, Mortal("g"))
    held, deadly, idle = f"{name}-held", f"{name}-deadly", f"{name}-idle"
    for endpoint_name in (held, deadly, idle):
        service.deploy(name, endpoint_name=endpoint_name, max_batch_size=1, max_attempts=1)
    gate = tmp_path / "gate"
    _, poison = service.submit_all(deadly, [str(gate), "exit"])
    jobs = service.submit_all(held, [str(gate), *map(str, range(20))])
    with redis.Redis.from_url(service.redis.url) as client:
        client.config_set("maxmemory", "1")
        client.delete(keys.SWEPT)
        answer = service.api.post(f"/predict/{held}", json={"input": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_store_full")
        assert "memory is full" in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert service.api.delete(f"/jobs/{jobs.pop()}").json()["status"] == "cancelled"
        service.undeploy(idle, "park")
        gate.touch()
        # Longer than a lease: those of the jobs that wait are renewed meanwhile.
        assert {outcome["attempts"] for outcome in service.outcomes(jobs)} == {1}
        assert service.job(poison)["error"]["code"] == "poison_job"
        assert service.api.get(f"/dead-letters/{poison}").json()["input"] == "exit"
        eventually(lambda: client.exists(keys.SWEPT), interval_s=0.1, message="it is looked for lost jobs")
        client.config_set("maxmemory", "0")
    assert service.predict(held, "y")["prediction"] == ["g", "y"]
    assert audit.leftovers(service, held, jobs) == {}
