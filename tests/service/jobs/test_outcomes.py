"""What a job's end looks like, to HTTP clients and to Celery programs: the same to both."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from tests.support.calls import Document, expect
from tests.support.models import Mortal
from tests.support.service.stack import Stack

OUTCOME_FIELDS = {
    "endpoint_name", "model_name", "version", "worker", "batch_size", "timing", "attempts", "prediction",
}  # fmt: skip
JOB_FIELDS = {
    "job_id", "endpoint_name", "status", "submitted_at", "started_at", "finished_at", "expires_at", "attempts",
    "failures", "outcome", "error", "owner", "priority", "queue", "not_before",
    "sticky_key",
}  # fmt: skip
SAY_WHAT_IS_RAISED = """
import sys
from workers import errors
from workers.tasks import predict
try:
    predict.delay(sys.argv[1], "raise").get(timeout=30)
except errors.JobFailed as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def endpoint(service: Stack) -> str:
    service.register("outcomes", Mortal("first"))
    endpoint: str = service.deploy("outcomes", endpoint_name="outcomes-prod")["endpoint_name"]
    return endpoint


def send(app: Celery, endpoint: str, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
    return app.send_task("predict", args=[endpoint, *args], kwargs=kwargs, queue=f"predict.{endpoint}")


def check_outcome(outcome: Document, service: Stack) -> None:
    assert outcome.keys() - {"predictions"} | {"prediction"} == OUTCOME_FIELDS
    named = {name: outcome[name] for name in ("endpoint_name", "model_name", "version", "worker", "attempts")}
    assert named == {
        "endpoint_name": "outcomes-prod",
        "model_name": "outcomes",
        "version": "1",
        "worker": service.workers[0].node_name,
        "attempts": 1,
    }
    timing = outcome["timing"]
    assert timing.keys() == {"queued_ms", "predict_ms", "total_ms"}
    assert 0 <= timing["predict_ms"] <= timing["total_ms"]
    assert 0 <= timing["queued_ms"] <= timing["total_ms"]


def test_the_outcome_of_one_input(service: Stack, endpoint: str) -> None:
    answer = service.predict(endpoint, "a")
    job = service.job(answer.pop("job_id"))
    check_outcome(answer, service)
    assert answer["prediction"] == ["first", "a"]
    assert answer["batch_size"] == 1
    assert job["outcome"] == answer
    assert job.keys() == JOB_FIELDS
    assert (job["status"], job["error"], job["attempts"]) == ("succeeded", None, 1)
    times = [datetime.fromisoformat(job[name]) for name in ("submitted_at", "started_at", "finished_at")]
    assert times == sorted(times)


def test_the_outcome_of_several_inputs(service: Stack, endpoint: str) -> None:
    result = send(service.celery, endpoint, inputs=["a", "b"])
    outcome = result.get(timeout=30)
    check_outcome(outcome, service)
    assert outcome["predictions"] == [["first", "a"], ["first", "b"]]
    assert outcome["batch_size"] == 2
    assert service.job(result.id)["outcome"] == outcome


def test_asyncresult_of_a_job_that_was_submitted_over_http(service: Stack, endpoint: str) -> None:
    job_id = service.submit(endpoint, "a")
    result = AsyncResult(job_id, app=service.celery)
    assert result.get(timeout=30) == service.job(job_id)["outcome"]
    assert result.state == "SUCCESS"


def test_a_job_that_failed_raises_in_a_celery_program(service: Stack, endpoint: str) -> None:
    result = send(service.celery, endpoint, "raise")
    with pytest.raises(Exception, match="ValueError: this row is not liked") as raised:
        result.get(timeout=30)
    assert type(raised.value).__name__ == "PredictionFailed"
    assert result.state == "FAILURE"
    said = service.run("-c", SAY_WHAT_IS_RAISED, endpoint).stdout
    assert said == "PredictionFailed ValueError: this row is not liked\n"


def test_a_job_that_failed_over_http(service: Stack, endpoint: str) -> None:
    url, body = f"/predict/{endpoint}", {"inputs": ["a", "raise"]}
    waited = expect(500, service.api.post(url, json=body, headers={"Prefer": "wait=30"}))
    assert waited["code"] == "prediction_failed"
    job = service.job(waited["job_id"])
    assert job.keys() == JOB_FIELDS
    assert (job["status"], job["outcome"]) == ("failed", None)
    traceback = job["error"].pop("traceback")
    assert (
        job["error"]
        == waited["error"]
        == {
            "code": "prediction_failed",
            "type": "PredictionFailed",
            "message": "inputs[1]: ValueError: this row is not liked",
        }
    )
    assert traceback.endswith(", in __call__\nValueError: this row is not liked")
    assert service.celery.AsyncResult(job["job_id"]).traceback == traceback


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ([7], {}, "input"),
        ([["a"]], {}, "input"),
        ([], {"inputs": ["a", 7]}, r"inputs\[1\]"),
        ([], {"inputs": []}, "inputs"),
        ([], {}, "exactly one"),
        (["a"], {"input": "a"}, "twice"),
    ],
)
def test_wrong_arguments_that_came_through_celery_fail_that_job_alone(
    service: Stack, endpoint: str, args: list[Any], kwargs: Document, message: str
) -> None:
    good, bad = send(service.celery, endpoint, "a"), send(service.celery, endpoint, *args, **kwargs)
    with pytest.raises(Exception, match=message) as raised:
        bad.get(timeout=30)
    assert type(raised.value).__name__ == "InputRejected"
    assert service.job(bad.id)["error"]["code"] == "input_invalid"
    assert good.get(timeout=30)["prediction"] == ["first", "a"]


def test_what_was_never_submitted_is_unknown(service: Stack) -> None:
    assert expect(404, service.api.get("/jobs/5e0ef0f4-never"))["code"] == "job_not_found"
    refused = service.api.post("/predict/never-deployed", content=json.dumps({"input": "a"}))
    assert expect(404, refused)["code"] == "endpoint_not_deployed"
