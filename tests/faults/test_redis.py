"""Redis that is killed, hangs, or drops connections: submits say so in time, and workers go on by themselves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import redis

from tests.faults import audit
from tests.support.load import Load
from tests.support.models import Echo, Gate, Mortal
from tests.support.stack import Stack
from tests.support.waiting import eventually
from workers import keys

#: A submit must say within two seconds that it could not be stored; half a second is for the way.
ANSWER_S = 2.5


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
    assert answer.json()["code"] == "queue_unavailable"
    assert int(answer.headers["Retry-After"]) >= 1
    assert took_s < ANSWER_S


def test_a_killed_redis_loses_nothing_that_was_accepted(faulty: Stack) -> None:
    faulty.register("echo", Echo("m", seconds=0.001))
    faulty.start_worker("one")
    faulty.start_worker("two")
    faulty.deploy("echo", endpoint_name="echo", max_batch_size=8)
    with Load(faulty.url, "echo") as load:
        for _ in range(3):
            load.wait_for(100)
            assert faulty.redis.pid is not None
            os.kill(faulty.redis.pid, signal.SIGKILL)
            load.wait_for_refusals()
            faulty.redis.stop()
            faulty.redis.start()
        load.wait_for(100, timeout_s=30)
    assert {answer.status_code for answer in load.refused} == {503}
    audit.check(faulty, "echo", load.accepted, lambda row: ["m", row], 30)
    faulty.wait_for_status("echo", "active")


def test_while_redis_is_down_submits_say_so_in_time(faulty: Stack) -> None:
    faulty.register("echo", Echo("m"))
    faulty.start_worker()
    faulty.deploy("echo", endpoint_name="echo")
    faulty.redis.stop()
    submit_while_it_is_away(faulty, "echo")
    assert httpx.get(f"{faulty.url}/health/ready").status_code == 503
    assert httpx.get(f"{faulty.url}/health/live").status_code == 200
    faulty.redis.start()
    assert faulty.predict("echo", "back")["prediction"] == ["m", "back"]


def test_while_redis_hangs_submits_say_so_in_time_and_nothing_is_stored(faulty: Stack) -> None:
    faulty.register("echo", Echo("m"))
    faulty.start_worker()
    faulty.deploy("echo", endpoint_name="echo")
    assert faulty.predict("echo", "before")["prediction"] == ["m", "before"]
    with hanging(faulty):
        submit_while_it_is_away(faulty, "echo")
        submit_while_it_is_away(faulty, "echo")
    assert faulty.predict("echo", "after")["prediction"] == ["m", "after"]


def test_an_outcome_that_was_computed_while_redis_was_down_is_written_when_it_is_back(
    faulty: Stack, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    faulty.register("gate", Gate("m"))
    faulty.start_worker()
    faulty.deploy("gate", endpoint_name="gate")
    job = faulty.submit("gate", str(gate))
    faulty.wait_until_running([job])
    faulty.redis.stop()
    gate.touch()
    submit_while_it_is_away(faulty, "gate")
    faulty.redis.start()
    document = faulty.job(job)
    assert document["status"] == "succeeded"
    assert document["attempts"] == 1
    assert faulty.predict("gate", "next")["prediction"] == ["m", "next"]


def test_dropped_connections_lose_nothing(faulty: Stack) -> None:
    faulty.register("echo", Echo("m", seconds=0.001))
    worker = faulty.start_worker()
    faulty.deploy("echo", endpoint_name="echo", max_batch_size=4)
    with Load(faulty.url, "echo") as load, redis.Redis.from_url(faulty.redis.url) as client:
        for _ in range(10):
            load.wait_for(20)
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        load.wait_for(20)
    # A dropped connection may cost a submit its answer, never an accepted job its outcome.
    assert {answer.status_code for answer in load.refused} <= {503}
    audit.check(faulty, "echo", load.accepted, lambda row: ["m", row], 20)
    assert worker.running


def test_a_worker_that_is_told_to_end_while_redis_is_down_ends(faulty: Stack) -> None:
    faulty.register("echo", Echo("m"))
    worker = faulty.start_worker()
    faulty.deploy("echo", endpoint_name="echo")
    faulty.redis.stop()
    # Celery's own heartbeat, each two seconds, has met the closed door by then.
    worker.wait_for_log("can't report")
    worker.wait_for_log("Trying again")
    assert worker.terminate(20) == 0
    eventually(lambda: worker.descendants() == [], message="nothing of it is left")


def test_a_worker_waits_for_a_redis_that_is_not_there_yet(faulty: Stack) -> None:
    faulty.register("echo", Echo("m"))
    faulty.redis.stop()
    worker = faulty.start_worker(wait=False)
    worker.wait_for_log("Trying again")
    faulty.redis.start()
    worker.wait_until_ready()
    faulty.deploy("echo", endpoint_name="echo")
    assert faulty.predict("echo", "x")["prediction"] == ["m", "x"]


def test_a_full_redis_refuses_new_jobs_and_ends_those_that_it_has(faulty: Stack, tmp_path: Path) -> None:
    faulty.register("gate", Mortal("g"))
    faulty.start_worker("worker")
    for name in ("held", "deadly", "idle"):
        faulty.deploy("gate", endpoint_name=name, max_batch_size=1, max_attempts=1)
    gate = tmp_path / "gate"
    _, poison = faulty.submit_all("deadly", [str(gate), "exit"])
    jobs = faulty.submit_all("held", [str(gate), *map(str, range(20))])
    with redis.Redis.from_url(faulty.redis.url) as client:
        client.config_set("maxmemory", "1")
        client.delete(keys.SWEPT)
        answer = faulty.api.post("/predict/held", json={"input": "x"})
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_store_full")
        assert "memory is full" in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert faulty.api.delete(f"/jobs/{jobs.pop()}").json()["status"] == "cancelled"
        faulty.undeploy("idle", "park")
        gate.touch()
        # Longer than a lease: those of the jobs that wait are renewed meanwhile.
        assert {outcome["attempts"] for outcome in faulty.outcomes(jobs)} == {1}
        assert faulty.job(poison)["error"]["code"] == "poison_job"
        assert faulty.api.get(f"/dead-letters/{poison}").json()["input"] == "exit"
        eventually(lambda: client.exists(keys.SWEPT), interval_s=0.1, message="it is looked for lost jobs")
        client.config_set("maxmemory", "0")
    assert faulty.predict("held", "y")["prediction"] == ["g", "y"]
    assert audit.leftovers(faulty, "held", jobs) == {}
