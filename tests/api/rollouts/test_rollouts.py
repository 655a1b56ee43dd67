"""Shadows and rollouts over HTTP: start, show, steer, and refusals."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

import pytest
import redis

from registry.database import default_database
from registry.judging import evaluations, rollouts
from tests.api.conftest import Client
from workers import keys
from workers.judging.pairs_duty import PairsDuty
from workers.platform.redis.client import records_client

PATH = "/deployments/adding/rollout"
SHADOW = "/deployments/adding/shadow"


@pytest.fixture(autouse=True)
def _two_versions(client: Client) -> None:
    client.register()
    client.register()
    client.deploy(version="1")


@pytest.fixture
def store(client: Client) -> redis.Redis:
    return records_client()


def start(client: Client, **wanted: Any) -> Any:
    answer = client.post(PATH, json={"version": "2", **wanted})
    assert answer.status_code == 202, answer.text
    return answer.json


def begin() -> None:
    """Do what the background process does once the candidate is loaded."""
    with default_database().session() as session:
        rollouts.begin(session, rollouts.latest(session, "adding"), {"step_start": 0})
        session.commit()


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    return str(answer.json["detail"])


def test_a_rollout_is_started_with_defaults_and_shown(client: Client) -> None:
    made = start(client)
    assert (made["state"], made["version"], made["stable_version"], made["step"], made["weight"]) == (
        "loading", "2", "1", 0, 0.0,
    )  # fmt: skip
    assert (made["steps"], made["min_jobs"], made["step_s"], made["on_failure"]) == (
        [1, 10, 50, 100],
        200,
        600,
        "stable",
    )
    assert made["rules"] == {"errors": 0.01, "latency_p95": 1.5, "disagreement": 0.05}
    assert made["report"] is None
    assert client.get(PATH).json == made
    view = client.get("/deployments/adding").json
    assert (view["version"], view["revision"]) == ("1", 2)
    [listed] = client.get("/deployments/adding/rollouts").json["rollouts"]
    assert listed["id"] == made["id"]


def test_figures_of_both_versions_are_shown_beside_each_other(client: Client, store: redis.Redis) -> None:
    made = start(client, rules={"latency_p95": None})
    begin()
    counts: dict[Any, Any] = {
        "stable.succeeded": 900, "stable.failed": 1, "stable.ms.20": 900,
        "candidate.succeeded": 100, "candidate.errors": 2, "candidate.ms.20": 100,
    }  # fmt: skip
    store.hset(keys.arms(made["id"]), mapping=counts)
    shown = client.get(PATH).json
    assert shown["jobs_in_step"] == 100
    assert shown["figures"]["stable"] == {"jobs": 901, "failed": 1, "predict_p95_ms": pytest.approx(4.1, rel=0.1)}
    assert shown["figures"]["candidate"]["failed"] == 2
    assert [(each["rule"], each["state"]) for each in shown["figures"]["rules"]] == [
        ("errors", "doubtful"), ("disagreement", "kept"),
    ]  # fmt: skip


def test_a_rollout_is_paused_resumed_and_promoted_by_a_caller(client: Client) -> None:
    start(client)
    begin()
    paused = client.post(f"{PATH}/pause", json={"reason": "Lunch."})
    assert (paused.status_code, paused.json["state"], paused.json["reason"]) == (200, "paused", "Lunch.")
    assert client.post(f"{PATH}/resume").json["state"] == "running"
    promoted = client.post(f"{PATH}/promote", json={}).json
    assert (promoted["state"], promoted["weight"]) == ("promoted", 1.0)
    assert client.get("/deployments/adding").json["version"] == "2"
    assert [each["event"] for each in promoted["events"]] == ["promote", "resume", "pause", "step", "loading"]
    change = client.get("/deployments/adding/history").json["changes"][0]
    assert (change["action"], change["changes"]["version"]) == ("promote", {"from": "1", "to": "2"})


def test_a_rollout_is_aborted_by_a_caller_or_by_another_deploy(client: Client) -> None:
    start(client)
    assert client.post(f"{PATH}/abort", json={"reason": "Wrong one."}).json["state"] == "aborted"
    client.register()
    start(client)
    client.deploy(version="3")
    shown = client.get(PATH).json
    assert (shown["state"], shown["reason"]) == ("aborted", "Version 3 of adder was deployed in its place.")


def test_what_a_rollout_can_not_do_is_refused_by_name(client: Client) -> None:
    refused(client.get(PATH), 404, "rollout_not_found")
    refused(client.get("/deployments/other/rollout"), 404, "deployment_not_found")
    refused(client.post("/deployments/other/rollout", json={"version": "2"}), 404, "deployment_not_found")
    refused(client.post(PATH, json={"version": "9"}), 404, "version_not_found")
    refused(client.post(PATH, json={"version": "1"}), 409, "trial_refused")
    refused(client.post(PATH, json={"version": "2", "steps": [10, 1]}), 422, "settings_invalid")
    refused(client.post(PATH, json={"version": "2", "rules": {"colour": 1}}), 422, "request_invalid")
    for no_number in ({"min_jobs": True}, {"step_s": True}, {"steps": [True]}, {"rules": {"errors": True}}):
        refused(client.post(PATH, json={"version": "2", **no_number}), 422, "request_invalid")
    start(client)
    refused(client.post(PATH, json={"version": "2"}), 409, "trial_active")
    refused(client.post(SHADOW, json={"version": "2"}), 409, "trial_active")
    assert "is loading" in refused(client.post(f"{PATH}/pause", json={}), 409, "rollout_refused")
    refused(client.post(f"{PATH}/promote", json={}), 409, "rollout_refused")
    assert "candidate of adding" in refused(client.delete("/models/adder/versions/2"), 409, "version_judged")


def keep_job(store: redis.Redis) -> None:
    """Add an ended job to the journal, as the script that ends jobs does."""
    result = {"prediction": 3.0, "model_name": "adder", "version": "1", "worker": "w", "batch_size": 1}
    record = {"status": "SUCCESS", "result": result, "task_id": "a", "finished_at": time.time(), "attempts": 1}
    shared = json.dumps({"model_name": "adder", "version": "1", "worker": "w"})
    jobs = "\n".join((json.dumps(record), "{}", "[2.0]"))
    store.xadd(keys.JOURNAL, {"endpoint_name": "adding", "answered_by": shared, "jobs": jobs})


def evaluations_of_adding(client: Client) -> list[Any]:
    return list(client.get("/evaluations", query_string={"endpoint_name": "adding"}).json["evaluations"])


def test_a_rollout_begins_with_an_evaluation_and_waits_for_its_verdict(client: Client, store: redis.Redis) -> None:
    keep_job(store)
    made = start(client, start="evaluation")
    assert (made["state"], made["step"], made["weight"]) == ("evaluating", 0, 0.0)
    [evaluation] = evaluations_of_adding(client)
    assert evaluation["evaluation_id"] == made["evaluation_id"]
    assert (evaluation["version"], evaluation["stable_version"], evaluation["state"]) == ("2", "1", "waiting")
    since_s = datetime.fromisoformat(evaluation["since"]).timestamp()
    assert time.time() - since_s == pytest.approx(86_400, abs=60)
    with default_database().session() as session:
        rollout = rollouts.latest(session, "adding")
        assert rollouts.evaluation(session, rollout).is_over is False
        evaluations.cancel(session, made["evaluation_id"])
        assert rollouts.evaluation(session, rollout).is_over is True


def test_a_rollout_that_is_refused_leaves_no_evaluation(client: Client, store: redis.Redis) -> None:
    body = {"version": "2", "start": "evaluation"}
    detail = refused(client.post(PATH, json=body), 409, "evaluation_refused")
    assert "The journal has no jobs of adding" in detail
    keep_job(store)
    refused(client.post(PATH, json={**body, "steps": [10, 1]}), 422, "settings_invalid")
    refused(client.post(PATH, json={**body, "evaluation_id": "x"}), 422, "request_invalid")
    refused(client.post(PATH, json={"version": "2", "since": "7d"}), 422, "request_invalid")
    assert client.post(SHADOW, json={"version": "2"}).status_code == 202
    refused(client.post(PATH, json=body), 409, "trial_active")
    assert evaluations_of_adding(client) == []
    assert refused(client.get(PATH), 404, "rollout_not_found")


def test_a_shadow_is_started_shown_and_stopped(client: Client, store: redis.Redis) -> None:
    refused(client.get(SHADOW), 404, "shadow_not_found")
    made = client.post(SHADOW, json={"version": 2, "share": 0.5})
    assert made.status_code == 202, made.text
    assert (made.json["state"], made.json["share"], made.json["report"]) == ("running", 0.5, None)
    store.hset(keys.arms(made.json["id"]), mapping={"shadow.predicted": 7, "shadow.shed": 2, "shadow.lost_hosts": 3})
    store.hset(keys.arms(made.json["id"]), "candidate.copies_lost_hosts", "1")
    answer = '{"job_id": "a", "inputs": [1], "stable": {"version": "1", "predictions": ["x"]}, "candidate": '
    answer += '{"version": "2", "predictions": ["y"]}}'
    store.xadd(keys.PAIRS, {"trial_id": made.json["id"], "pair": answer})
    PairsDuty().read()
    shown = client.get(SHADOW).json
    assert (shown["predicted"], shown["shed"], shown["pairs"], shown["disagreements"]) == (7, 2, 1, 1)
    assert (shown["lost"], shown["lost_hosts"]) == (3, 1)
    assert (shown["report"]["verdict"], shown["report"]["jobs"]) == ("differs", 1)
    stopped = client.delete(SHADOW).json
    assert (stopped["state"], stopped["report"]["jobs"]) == ("stopped", 1)
    refused(client.delete(SHADOW), 404, "shadow_not_found")


def test_metrics_show_state_weight_and_jobs_of_a_rollout(client: Client, store: redis.Redis) -> None:
    assert "queuecast_rollout_state" not in client.get("/metrics").text
    made = start(client)
    begin()
    counts: dict[Any, Any] = {"candidate.succeeded": 9, "candidate.errors": 2, "stable.succeeded": 90}
    store.hset(keys.arms(made["id"]), mapping=counts)
    text = client.get("/metrics").text
    of = 'endpoint="adding"'
    assert f'queuecast_rollout_state{{{of},state="running",version="2"}} 1.0' in text
    assert f'queuecast_rollout_state{{{of},state="aborted",version="2"}} 0.0' in text
    assert f'queuecast_rollout_weight{{{of},version="2"}} 0.01' in text
    assert f'queuecast_rollout_step{{{of},version="2"}} 1.0' in text
    assert f'queuecast_rollout_jobs_total{{arm="candidate",{of},outcome="failed",version="2"}} 2.0' in text
