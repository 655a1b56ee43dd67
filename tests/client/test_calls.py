"""What the clients send, what they make of answers, and what they send again."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.client import (
    AccessDenied,
    AnswerUnreadable,
    AsyncClient,
    Client,
    ClientError,
    Conflict,
    DeploymentFailed,
    EndpointNotDeployed,
    InputInvalid,
    InputNotJson,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobUnfinished,
    NotFound,
    RequestInvalid,
    ServerFailed,
    ServiceUnavailable,
    ServiceUnreachable,
    SettingsWrong,
    TooMuch,
    WaitTimedOut,
)
from tests.cli.fake_service import HANG_UP, FakeService
from tests.client.conftest import Awaited
from tests.support.service.ports import free_port

OUTCOME = {"prediction": {"label": "a"}, "endpoint_name": "iris", "model_name": "iris", "version": "2",
           "worker": "w", "batch_size": 3, "attempts": 1, "timing": {"total_ms": 4.5}}  # fmt: skip
ACCEPTED = {"job_id": "j1", "status": "queued", "endpoint_name": "iris", "url": "/jobs/j1"}
ERROR = {"code": "prediction_timed_out", "type": "PredictionTimedOut", "message": "took too long"}


def job(status: str, **more: Any) -> dict[str, Any]:
    return {"job_id": "j1", "endpoint_name": "iris", "status": status, "outcome": None, "error": None, **more}


def problem(code: str, **more: Any) -> dict[str, Any]:
    return {"code": code, "detail": f"this is {code}", **more}


def view(status: str, **more: Any) -> dict[str, Any]:
    return {"endpoint_name": "iris", "model_name": "iris", "version": "1", "status": status, **more}


def keys(service: FakeService) -> list[str]:
    return [each.headers["idempotency-key"] for each in service.received if each.method == "POST"]


def test_a_prediction_that_is_there_in_time_is_one_request(service: FakeService, client: Any) -> None:
    service.on("POST", "/predict/iris", {"job_id": "j1", **OUTCOME})
    assert client.predict("iris", [1, 2]) == {"label": "a"}
    [sent] = service.received
    assert (sent.json, sent.headers["prefer"]) == ({"input": [1, 2]}, "wait=2")
    assert len(sent.headers["idempotency-key"]) == 36


def test_a_pipeline_is_one_job_with_steps(service: FakeService, client: Any) -> None:
    service.on("POST", "/predict/embed", {"job_id": "j1", **OUTCOME})
    assert client.pipeline(["embed", "iris"], "text", priority="low") == {"label": "a"}
    assert service.received[0].json == {"input": "text", "then": ["iris"], "priority": "low"}
    service.on("POST", "/predict/embed", ACCEPTED, status=202)
    step = {"endpoint_name": "embed", "job_id": "j1.1", "status": "succeeded", "outcome": OUTCOME, "error": None}
    steps = [step, {"endpoint_name": "iris", "job_id": "j1.2", "status": "waiting", "outcome": None}]
    service.on("GET", "/jobs/j1", job("running", steps=steps))
    job_view = client.submit("embed", "text", then=["iris"])
    assert job_view.steps == []
    first, second = job_view.refresh().steps
    assert (first.job_id, first.status, first.outcome.prediction) == ("j1.1", "succeeded", {"label": "a"})
    assert (second.status, second.outcome) == ("waiting", None)
    wrong: list[Any] = ["embed", []]
    for names in wrong:
        with pytest.raises(SettingsWrong):
            client.pipeline(names, "text")


def test_a_prediction_that_takes_longer_is_polled(service: FakeService, client: Any) -> None:
    own = {"priority": "high", "expires_in_s": 5}
    service.on("POST", "/predict", ACCEPTED, status=202)
    service.on("GET", "/jobs/j1", job("running"), job("succeeded", outcome={**OUTCOME, "predictions": [1, 2]}))
    assert client.predict(model_name="iris", version="2", inputs=iter([[1], [2]]), **own) == [1, 2]
    assert service.received[0].json == {"model_name": "iris", "version": "2", "inputs": [[1], [2]], **own}
    assert float(service.received[1].query["wait"]) <= 2


@pytest.mark.parametrize(
    ("status", "error"), [("failed", JobFailed), ("cancelled", JobCancelled), ("expired", JobExpired)]
)
def test_a_job_without_an_outcome_raises_its_reason(
    service: FakeService, client: Any, status: str, error: type[ClientError]
) -> None:
    service.on("POST", "/predict/iris", ACCEPTED, status=202)
    service.on("GET", "/jobs/j1", job(status, error=ERROR))
    ended = client.submit("iris", 1).wait()
    askings: list[Callable[[], Any]] = [lambda: client.predict("iris", 1), lambda: ended.result, lambda: ended.outcome]
    for ask in askings:
        with pytest.raises(error, match=f"Job j1 is {status}: took too long") as raised:
            ask()
        assert (raised.value.code, raised.value.job_id) == ("prediction_timed_out", "j1")


def test_a_job_that_fails_while_it_is_waited_for_raises_its_reason(service: FakeService, client: Any) -> None:
    told = problem("prediction_failed", job_id="j1", job_status="failed", error=ERROR)
    service.on("POST", "/predict/iris", told, status=500)
    with pytest.raises(JobFailed) as raised:
        client.predict("iris", 1)
    assert (raised.value.code, raised.value.job_id, len(service.received)) == ("prediction_timed_out", "j1", 1)


def test_a_job_is_followed_by_hand(service: FakeService, client: Any) -> None:
    service.on("POST", "/predict/iris", ACCEPTED, status=202)
    service.on("GET", "/jobs/j1", job("running"), job("succeeded", outcome=OUTCOME))
    submitted = client.submit("iris", None)
    assert service.received[0].json == {"input": None}
    assert (submitted.job_id, submitted.status, submitted.ended) == ("j1", "queued", False)
    with pytest.raises(JobUnfinished, match="wait"):
        _ = submitted.result
    assert submitted.refresh().status == "running"
    assert submitted.wait().result == {"label": "a"}
    assert (submitted.outcome.version, submitted.outcome.timing.total_ms, submitted.outcome.batch_size) == ("2", 4.5, 3)
    asked = len(service.received)
    submitted.wait()
    assert len(service.received) == asked
    assert client.job("j1").result == {"label": "a"}


def test_a_wait_that_is_over_leaves_the_job_to_be_found(service: FakeService, client: Any) -> None:
    service.on("POST", "/predict/iris", ACCEPTED, status=202)
    service.on("GET", "/jobs/j1", job("running"))
    waits: list[Callable[[], Any]] = [
        lambda: client.predict("iris", 1, timeout_s=0.2),
        lambda: client.submit("iris", 1).wait(timeout_s=0.2),
    ]
    for wait in waits:
        with pytest.raises(WaitTimedOut, match="goes on") as raised:
            wait()
        assert raised.value.job_id == "j1"
    # A service that holds nobody is not asked without a pause.
    assert len(service.received) < 20


def test_a_queued_job_tells_its_place(service: FakeService, client: Any) -> None:
    queue = {"position": 12, "estimated_wait_s": 3.5, "reason": None}
    service.on("POST", "/predict/iris", {**ACCEPTED, "queue": queue}, status=202)
    service.on("GET", "/jobs/j1", job("running", queue=None), job("running"))
    submitted = client.submit("iris", 1)
    assert (submitted.queue.position, submitted.queue.estimated_wait_s, submitted.queue.reason) == (12, 3.5, None)
    assert submitted.refresh().queue is None
    assert submitted.refresh().queue is None  # of a service that doesn't say


def test_a_service_that_holds_nobody_is_asked_less_often_for_a_job_that_begins_much_later(
    service: FakeService, client: Any
) -> None:
    queue = {"position": 900, "estimated_wait_s": 60.0, "reason": None}
    service.on("POST", "/predict/iris", {**ACCEPTED, "queue": queue}, status=202)
    service.on("GET", "/jobs/j1", job("queued", queue=queue))
    submitted = client.submit("iris", 1)
    with pytest.raises(WaitTimedOut):
        submitted.wait(timeout_s=0.3)
    # Now, and when the time is over.
    assert len([each for each in service.received if each.method == "GET"]) == 2


def test_a_job_is_cancelled_also_if_the_first_answer_is_lost(service: FakeService, client: Any) -> None:
    service.on("GET", "/jobs/j1", job("running"), job("cancelled"))
    service.on("DELETE", "/jobs/j1", HANG_UP)
    service.on("DELETE", "/jobs/j1", problem("job_not_cancellable", state="cancelled"), status=409)
    assert client.job("j1").cancel(force=True).status == "cancelled"
    assert service.received[1].query == {"force": "true"}
    service.on("DELETE", "/jobs/j1", problem("job_not_cancellable", state="succeeded"), status=409)
    client.call("GET", "/jobs/j1")
    running = client.job("j1")
    service._answers["DELETE", "/jobs/j1"] = service._answers["DELETE", "/jobs/j1"][-1:]
    with pytest.raises(Conflict):
        running.cancel()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "json_invalid", RequestInvalid),
        (401, "api_key_missing", AccessDenied),
        (403, "role_insufficient", AccessDenied),
        (404, "not_found", NotFound),
        (404, "endpoint_not_deployed", EndpointNotDeployed),
        (404, "job_not_found", JobNotFound),
        (409, "version_in_use", Conflict),
        (413, "body_too_large", RequestInvalid),
        (422, "request_invalid", RequestInvalid),
        (422, "input_invalid", InputInvalid),
        (500, "internal_error", ServerFailed),
        (507, "registry_full", ServerFailed),
    ],
)
def test_a_refusal_is_an_error_of_its_kind_and_is_not_tried_again(
    service: FakeService, client: Any, status: int, code: str, error: type[ClientError]
) -> None:
    service.on("POST", "/predict/iris", problem(code, field="input[2]"), status=status, X_Request_ID="r1")
    with pytest.raises(error, match=f"this is {code}") as raised:
        client.submit("iris", 1)
    found = raised.value
    assert type(found) is error
    assert (found.code, found.status, found.request_id, found.problem["field"]) == (code, status, "r1", "input[2]")
    assert len(service.received) == 1
    again = pickle.loads(pickle.dumps(found))
    assert (type(again), str(again), again.code, again.problem) == (error, str(found), code, found.problem)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again_under_the_same_key(service: FakeService, client: Any, status: int) -> None:
    service.on("POST", "/predict/iris", b"<html>", status=status, Retry_After="0.2")
    service.on("POST", "/predict/iris", HANG_UP)
    service.on("POST", "/predict/iris", ACCEPTED, status=202)
    began = time.monotonic()
    assert client.submit("iris", 1).job_id == "j1"
    assert time.monotonic() - began >= 0.2
    assert len(keys(service)) == 3
    assert len(set(keys(service))) == 1
    client.submit("iris", 1)
    assert len(set(keys(service))) == 2
    client.submit("iris", 1, idempotency_key="mine")
    assert keys(service)[-1] == "mine"


def test_each_job_of_a_map_is_told_what_all_of_them_are(service: FakeService, client: Any) -> None:
    service.on("POST", "/predict/iris/bulk", {"job_ids": ["j1", "j2"]}, status=202)
    jobs = [{**job("succeeded", outcome=OUTCOME), "job_id": each} for each in ("j1", "j2")]
    service.on("POST", "/jobs/lookup", {"jobs": jobs, "unknown_job_ids": [], "left_job_ids": []})
    own = {"priority": "low", "expires_in_s": 5}
    assert list(client.map("iris", [1, 2], **own)) == [{"label": "a"}] * 2
    sent = [json.loads(line) for line in service.received[0].body.splitlines()]
    assert sent == [{"input": 1, **own}, {"input": 2, **own}]


def test_no_longer_than_the_call_may_take(service: FakeService, client: Any) -> None:
    service.on("POST", "/predict/iris", problem("queue_full", retry_after_s=7), status=429, Retry_After="7")
    with pytest.raises(TooMuch) as raised:
        client.submit("iris", 1)
    assert raised.value.retry_after_s == 7
    assert len(service.received) == 1
    service.on("GET", "/models", problem("registry_unavailable"), status=503)
    with pytest.raises(ServiceUnavailable):
        client.models()
    assert 3 <= len(service.received) < 50


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_service_that_is_not_there_is_told_with_its_url(kind: Any) -> None:

    url = f"http://127.0.0.1:{free_port()}"
    with asyncio.Runner() as runner:
        client = kind(url, timeout_s=0.3)
        found = client if kind is Client else Awaited(runner, client)
        with pytest.raises(ServiceUnreachable, match=f"No service answers at {url}"):
            found.models()
        found.close()
    for wrong in ("nonsense", "ftp://x", "http://[::1"):
        with Client(wrong) as client, pytest.raises(ServiceUnreachable, match="is not a URL"):
            client.models()


def test_something_else_at_the_url_is_told(service: FakeService, client: Any) -> None:
    service.on("GET", "/models", b"<html>", b"[]")
    service.on("GET", "/deployments", b"<html>", status=404)
    for call in (client.models, client.models, client.deployments):
        with pytest.raises(AnswerUnreadable, match="is not Queuecast"):
            call()


@pytest.mark.parametrize(
    "named", [{}, {"input": 1, "inputs": [1]}, {"input": 1, "model_name": "iris", "endpoint_name": "iris"}]
)
def test_a_prediction_names_one_place_and_one_kind_of_input(
    service: FakeService, client: Any, named: dict[str, Any]
) -> None:
    wanted = {"endpoint_name": "iris", **named}
    for call in (client.predict, client.submit):
        with pytest.raises(SettingsWrong):
            call(**wanted)
    with pytest.raises(SettingsWrong):
        client.predict(input=1)
    assert service.received == []


@pytest.mark.parametrize("value", [[float("inf")], {1, 2}, b"bytes", object()])
def test_what_json_cannot_say_is_told_and_not_sent(service: FakeService, client: Any, value: Any) -> None:
    with pytest.raises(InputNotJson):
        client.predict("iris", value)
    assert service.received == []


def test_the_key_and_the_address_come_from_the_environment(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("GET", "/models", {"models": []})
    monkeypatch.setenv("QUEUECAST_URL", f"{service.url}/")
    monkeypatch.setenv("QUEUECAST_API_KEY", "qc_env")
    for client in (Client(), Client(api_key="qc_mine"), Client(api_key="")):
        with client:
            client.models()
            assert "qc_" not in repr(client) + repr(vars(client))
    assert [each.headers.get("authorization") for each in service.received] == ["Bearer qc_env", "Bearer qc_mine", None]


def test_the_port_of_a_service_here_comes_from_the_environment(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("GET", "/models", {"models": []})
    monkeypatch.delenv("QUEUECAST_URL", raising=False)
    monkeypatch.setenv("QUEUECAST_PORT", service.url.rpartition(":")[2])
    with Client() as client:
        assert client.models() == []


async def test_requests_belong_to_the_trace_of_a_program_that_traces_itself(service: FakeService) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, False, trace.TraceFlags(1)))
    service.on("GET", "/jobs", {"jobs": []})

    with Client(service.url) as blocking:
        blocking.jobs()
        with trace.use_span(span):
            blocking.jobs()
    async with AsyncClient(service.url) as awaited:
        with trace.use_span(span):
            await awaited.jobs()
    theirs = f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert [each.headers.get("traceparent") for each in service.received] == [None, theirs, theirs]


def test_deploy_waits_until_it_is_active(service: FakeService, client: Any) -> None:
    service.on("POST", "/deployments/deploy", view("deploying"), status=202)
    service.on("GET", "/deployments/iris", view("deploying"), view("active", settings={"hosts": 2}))
    found = client.deploy("iris", endpoint_name="iris", hosts=2)
    assert (found.status, found.settings) == ("active", {"hosts": 2})
    assert service.received[0].json == {"model_name": "iris", "endpoint_name": "iris", "hosts": 2}
    assert service.received[0].headers["prefer"] == "wait=25"
    assert client.deploy("iris", wait=False).status == "deploying"
    assert "prefer" not in service.received[-1].headers


def test_a_deployment_that_fails_raises_the_workers_reason(service: FakeService, client: Any) -> None:
    told = problem("deployment_failed", deployment=view("failed", reason="no such checksum"))
    service.on("POST", "/deployments/deploy", told, status=409)
    service.on("POST", "/deployments/deploy", view("deploying"), status=202)
    service.on("GET", "/deployments/iris", view("failed", reason="no such checksum"))
    for _ in range(2):
        with pytest.raises(DeploymentFailed) as raised:
            client.deploy("iris")
        assert raised.value.problem["reason"] == "no such checksum"


def test_a_deploy_that_takes_too_long_says_how_it_stands(service: FakeService, client: Any) -> None:
    service.on("POST", "/deployments/deploy", view("deploying", reason="No worker is running."), status=202)
    with pytest.raises(WaitTimedOut, match="No worker is running"):
        client.deploy("iris", timeout_s=0)


def test_swap_keeps_the_model_of_the_endpoint(service: FakeService, client: Any) -> None:
    service.on("GET", "/deployments/iris", view("active"))
    service.on("POST", "/deployments/deploy", view("active", version="2"), status=201)
    assert client.swap("iris", version="2").version == "2"
    assert service.received[-1].json == {"model_name": "iris", "endpoint_name": "iris", "version": "2"}
    with pytest.raises(NotFound):
        client.swap("ghost")


def test_undeploy_waits_until_nothing_of_it_is_left(service: FakeService, client: Any) -> None:
    service.on("POST", "/deployments/undeploy", {"deployments": [view("draining")]}, status=202)
    service.on("GET", "/deployments/iris", view("draining"))
    service.on("GET", "/deployments/iris", problem("deployment_not_found"), status=404)
    [found] = client.undeploy("iris", backlog="reject")
    assert found.status == "undeployed"
    assert service.received[0].json == {"endpoint_name": "iris", "backlog": "reject"}
    with pytest.raises(SettingsWrong):
        client.undeploy()


def version(number: str, checksum: str = "", **more: Any) -> dict[str, Any]:
    described = {"runtime": "sklearn", "runtime_options": {}, "input_example": [1, 2], "metadata": {}}
    return {"model_name": "iris", "version": number, "artifact_sha256": checksum, **described, **more}


def test_register_sends_the_artifact_and_what_it_is(service: FakeService, client: Any, tmp_path: Path) -> None:
    service.on("POST", "/models", version("1"), status=201)
    (tmp_path / "iris.onnx").write_bytes(b"\x00model\xff")
    with (tmp_path / "iris.onnx").open("rb") as file:
        file.read()
        for artifact, runtime in (
            (b"\x00model\xff", "sklearn"), (tmp_path / "iris.onnx", None), (str(tmp_path / "iris.onnx"), None),
            (file, "onnx"),
        ):  # fmt: skip
            assert client.register("iris", artifact, runtime=runtime, input_example=[1, 2]).version == "1"
    assert all(b"\x00model\xff" in each.body for each in service.received)
    metadata = [
        json.loads(each.body.split(b'name="metadata"\r\n\r\n')[1].split(b"\r\n--")[0]) for each in service.received
    ]
    assert metadata[0] == {"name": "iris", "runtime": "sklearn", "input_example": [1, 2]}
    assert [each["runtime"] for each in metadata[1:]] == ["onnx"] * 3
    client.register("iris", b"\x00model\xff")
    assert b'"runtime"' not in service.received[-1].body  # the service finds it


#: sha256 of b"model".
CHECKSUM = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"


@pytest.mark.parametrize(
    ("latest", "registered"),
    [
        (version("4", CHECKSUM), "4"),
        (version("4", "another"), "5"),
        (version("4", CHECKSUM, input_example=[1, 3]), "5"),
        (None, "5"),
    ],
)
def test_a_registration_whose_answer_is_lost_is_looked_for_before_it_is_sent_again(
    service: FakeService, client: Any, latest: dict[str, Any] | None, registered: str
) -> None:
    service.on("POST", "/models", HANG_UP)
    service.on("POST", "/models", version("5", CHECKSUM), status=201)
    if latest is not None:
        service.on("GET", "/models/iris", {"name": "iris", "versions": [version("3", CHECKSUM), latest]})
    found = client.register("iris", b"model", runtime="sklearn", input_example=[1, 2])
    assert found.version == registered
    assert [each.method for each in service.received] == ["POST", "GET", *(["POST"] if registered == "5" else [])]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("predict", ("iris", [1])), ("submit", ("iris", [1])), ("map", ("iris", [1])), ("register", ("iris", b"model"))],
)
def test_an_option_that_a_call_does_not_have_is_a_type_error(client: Any, name: str, arguments: Any) -> None:
    with pytest.raises(TypeError, match="prority"):
        getattr(client, name)(*arguments, prority="high")


def test_a_body_of_bytes_is_sent_as_it_is_with_the_given_headers(client: Any, service: FakeService) -> None:
    service.on("POST", "/predict/iris/bulk", {"job_ids": []}, status=202)
    lines = b'{"input": 1}\n{"input": 2}\n'
    client.call("POST", "/predict/iris/bulk", body=lines, headers={"Content-Type": "application/x-ndjson"})
    [received] = service.received
    assert (received.body, received.headers["content-type"]) == (lines, "application/x-ndjson")


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: Any) -> dict[str, dict[str, Any]]:
        return {
            name: {each.name: (each.default, each.kind) for each in inspect.signature(method).parameters.values()}
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert calls(Client) == calls(AsyncClient)
    assert calls(Client)


def test_stats_are_figures_with_names(client: Any, service: FakeService) -> None:
    bucket = {"at": "2026-11-24T10:00:00+00:00", "jobs": 3, "failed": 1, "total_p95_ms": 12.5, "queue_depth": None}
    answer = {"endpoint_name": "iris", "since_s": 120, "step_s": 60, "summary": {"jobs": 3}, "buckets": [bucket]}
    service.on("GET", "/deployments/iris/stats", answer)
    found = client.stats("iris", since="2m")
    assert service.received[-1].query == {"since": "2m"}
    assert (found.step_s, found.summary.jobs, found.summary.total_p95_ms) == (60, 3, None)
    [shown] = found.buckets
    assert (shown.at, shown.jobs, shown.failed, shown.total_p95_ms) == (bucket["at"], 3, 1, 12.5)
    assert found.document == answer
