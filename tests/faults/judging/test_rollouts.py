"""Background processes that are killed while they decide a rollout: each step is made once, and another goes on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis

from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from tests.workers.stand_ins import version_report
from workers import keys
from workers.measures.reports import HostsState

pytestmark = pytest.mark.slow
ROLLOUT = "/deployments/adding/rollout"


def report(store: redis.Redis) -> None:
    """Write what a worker would that has both versions loaded."""
    candidate = {**version_report(HostsState.READY), "version": "2", "arm": "candidate"}
    endpoint = {"versions": [version_report(HostsState.READY), candidate], "waiting": 0, "running": 0, "pace": None}
    worker = {"worker": "w", "worker_group": "default", "pid": 1, "started_at": 0, "endpoints": {"adding": endpoint}}
    store.hset(keys.REPORTS, "w", json.dumps(worker))
    store.zadd(keys.WORKERS, {"w": time.time()})


@pytest.mark.long
def test_a_rollout_outlives_the_processes_that_decide_it(stack: Stack) -> None:
    store = redis.Redis.from_url(stack.redis.url)
    for _ in range(2):
        stack.register("adder", Echo())
    stack.deploy("adder", wait_s=0, version="1", endpoint_name="adding")
    plan = {"version": "2", "steps": [5, 50, 100], "min_jobs": 10, "step_s": 0.5, "rules": {"disagreement": None}}
    made = stack.api.post(ROLLOUT, json=plan).json()

    def reached(step: int) -> dict[str, Any] | None:
        report(store)
        for arm, jobs in (("stable", 100), ("candidate", 11)):
            store.hincrby(keys.arms(made["id"]), f"{arm}.succeeded", jobs)
        found: dict[str, Any] = stack.api.get(ROLLOUT).json()
        return found if found["state"] == "promoted" or found["step"] >= step else None

    first, second = stack.start_background(), stack.start_background()
    eventually(lambda: reached(1), 60, message="step 1")
    first.kill()
    eventually(lambda: reached(2), 60, message="step 2")
    second.kill()
    stack.start_background()
    eventually(lambda: reached(4), 60, message="the candidate is promoted")
    found = stack.api.get(ROLLOUT).json()
    events = [(each["event"], each["details"].get("step")) for each in reversed(found["events"])]
    assert events == [("loading", None), ("step", 1), ("step", 2), ("step", 3), ("promote", 3)]
    history = stack.api.get("/deployments/adding/history").json()["changes"]
    assert [each["action"] for each in history] == ["promote", *["rollout step"] * 4, "deploy"]
    assert stack.api.get("/deployments/adding").json()["version"] == "2"
