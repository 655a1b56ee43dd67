"""What is seen of a running service from outside: metrics, traces and log lines, against what was done to it."""

from __future__ import annotations

import logging
import re
import secrets
from pathlib import Path

import pytest

from api.client import Client
from tests.observability.conftest import ENDPOINT, Observed, json_lines
from tests.support.calls import expect
from tests.support.metrics import Scrape
from tests.support.models import Echo
from tests.support.servers.otlp import Receiver
from tests.support.service.environment import REPOSITORY
from tests.support.waiting import eventually
from workers import metric_names
from workers.queues.naming import queue_name

pytestmark = pytest.mark.slow

SERVER, PRODUCER, CONSUMER = 2, 4, 5


def new_trace(*, sampled: bool = True) -> tuple[str, dict[str, str]]:
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"}


def test_both_scrapes_agree_with_what_became_of_the_jobs(observed: Observed, tmp_path: Path) -> None:
    endpoint = "counted"
    observed.deploy("mortal", endpoint_name=endpoint, max_attempts=1)
    before = observed.scrape_worker()
    assert before.by("outcome", "queuecast_jobs_total", endpoint=endpoint) == dict.fromkeys(
        ["succeeded", "failed", "withdrawn"], 0
    )
    gate = tmp_path / "gate"
    blocking = observed.submit(endpoint, str(gate))
    observed.wait_until_running([blocking])
    good = observed.submit_all(endpoint, "abcde")
    waiting = observed.submit(endpoint, "f")
    expect(200, observed.api.delete(f"/jobs/{waiting}"))
    observed.wait_until_reserved(observed.workers[0], good)
    # What waits in a worker is in its next report.
    eventually(lambda: observed.scrape_api().value("queuecast_queue_depth", endpoint=endpoint) >= 5)
    gate.touch()
    observed.outcomes([blocking, *good])
    for row in ("raise", "kill"):
        assert observed.job(observed.submit(endpoint, row))["status"] == "failed"
    observed.wait_for_status(endpoint, "active")

    observed.wait_for_jobs(endpoint, succeeded=6, failed=2, withdrawn=0)

    def settled() -> Scrape:
        """What is scraped once a worker has reported that no job waits there, and its host."""
        scrape = observed.scrape_api()
        assert scrape.value("queuecast_queue_depth", endpoint=endpoint) == 0
        assert scrape.value("queuecast_hosts_ready", endpoint=endpoint, version="1") == 1
        assert scrape.value("queuecast_host_memory_bytes", endpoint=endpoint) > 1e6
        return scrape

    api = eventually(settled, message="the worker has reported")
    # The cancelled job was ended by the API, not by the worker.
    ended = {"succeeded": 6, "failed": 2, "withdrawn": 1}
    assert api.by("outcome", "queuecast_endpoint_jobs_total", endpoint=endpoint) == ended
    assert api.value("queuecast_endpoint_job_duration_seconds_count", endpoint=endpoint) == 8
    assert api.value("queuecast_endpoint_job_duration_seconds_sum", endpoint=endpoint) > 0
    assert api.by("state", "queuecast_deployment_state", endpoint=endpoint)["active"] == 1
    assert sum(api.by("state", "queuecast_deployment_state", endpoint=endpoint).values()) == 1
    assert api.value("queuecast_dead_letters") == 1
    assert api.value("queuecast_workers", group="default") == 1
    assert api.by("part", "queuecast_up") == {"redis": 1, "registry": 1}
    assert api.value(
        "queuecast_http_requests_total", method="DELETE", route="/jobs/<job_id>", status="200"
    ) == 1  # fmt: skip

    worker = observed.scrape_worker()
    assert worker.value("queuecast_host_restarts_total", endpoint=endpoint, version="1") == 1
    # The row that killed its host has had no answer.
    assert worker.value("queuecast_job_queued_seconds_count", endpoint=endpoint) == 7
    assert worker.value("queuecast_batch_rows_sum", endpoint=endpoint) == 7
    batches = worker.value("queuecast_batch_rows_count", endpoint=endpoint)
    assert batches == worker.value("queuecast_batch_predict_seconds_count", endpoint=endpoint) < 7


def test_series_of_an_endpoint_are_gone_after_its_undeploy(observed: Observed) -> None:
    endpoint = "leaving"
    observed.deploy("mortal", endpoint_name=endpoint)
    observed.predict(endpoint, "a")
    observed.wait_for_jobs(endpoint, succeeded=1, failed=0, withdrawn=0)
    assert observed.scrape_api().of(endpoint)
    observed.undeploy(endpoint, "reject")
    eventually(lambda: not observed.scrape_worker().of(endpoint), message="the worker has no series of it")
    assert observed.scrape_api().of(endpoint) == set()
    assert observed.scrape_worker().of(ENDPOINT)


def test_a_swap_counts_for_each_version(observed: Observed) -> None:
    endpoint = "swapped"
    observed.register("echo", Echo("1"))
    observed.register("echo", Echo("2"))
    for version in ("1", "2"):
        observed.deploy("echo", endpoint_name=endpoint, version=version)
        observed.predict(endpoint, "a")
    jobs = "queuecast_jobs_total"

    def counted() -> bool:
        return observed.scrape_worker().by("version", jobs, endpoint=endpoint, outcome="succeeded") == {"1": 1, "2": 1}

    eventually(counted)


def test_a_second_worker_takes_the_next_port_and_counts_for_itself(observed: Observed) -> None:
    other = observed.start_worker("other", group="others")
    eventually(lambda: observed.scrape_worker(1).names)
    assert observed.scrape_worker(1).of(ENDPOINT) == set()
    assert observed.scrape_api().by("group", "queuecast_workers") == {"default": 1, "others": 1}
    assert other.terminate() == 0


def test_one_trace_leads_from_the_http_request_to_the_model_host(observed: Observed, spans: Receiver) -> None:
    trace_id, headers = new_trace()
    answer = observed.api.post(
        f"/predict/{ENDPOINT}", json={"input": "a"}, headers={**headers, "Prefer": "wait=20"}
    )  # fmt: skip
    job_id = expect(200, answer)["job_id"]
    queue = queue_name(ENDPOINT)
    trace = spans.trace(trace_id, 5)
    server, send = trace["POST /predict/<endpoint_name>"], trace[f"send {queue}"]
    process, queued, predict = trace[f"process {queue}"], trace["queued"], trace["predict"]
    assert [server.kind, send.kind, process.kind] == [SERVER, PRODUCER, CONSUMER]
    assert (server.service, send.service) == ("queuecast-api", "queuecast-api")
    assert {each.service for each in (process, queued, predict)} == {"queuecast-worker"}
    assert server.parent_id == headers["traceparent"].split("-")[2]
    assert [send.parent_id, process.parent_id, queued.parent_id] == [server.span_id, send.span_id, send.span_id]
    assert predict.parent_id == process.span_id
    assert server.attributes["http.response.status_code"] == 200
    assert send.attributes["messaging.message.id"] == process.attributes["messaging.message.id"] == job_id
    assert process.attributes["queuecast.version"] == "1"
    assert queued.ended == process.began <= predict.began <= predict.ended == process.ended
    assert not any(span.failed for span in trace.values())


def test_a_job_of_a_celery_program_continues_the_trace_of_its_header(observed: Observed, spans: Receiver) -> None:
    trace_id, headers = new_trace()
    job = observed.celery.send_task(
        "predict", args=[ENDPOINT, "raise"], queue=queue_name(ENDPOINT), headers=headers
    )  # fmt: skip
    with pytest.raises(Exception, match="is not liked"):
        job.get(timeout=20)
    trace = spans.trace(trace_id, 3)
    process = trace[f"process {queue_name(ENDPOINT)}"]
    assert process.parent_id == headers["traceparent"].split("-")[2]
    assert process.failed
    assert process.attributes["error.type"] == "ValueError"


def test_the_python_task_sends_the_trace_of_its_caller(observed: Observed, spans: Receiver) -> None:
    trace_id, headers = new_trace()
    program = f"""
from workers.tasks import predict
job = predict.apply_async(("{ENDPOINT}", "a"), headers={headers!r})
print(job.get(timeout=20)["prediction"])
"""
    # A program that traces nothing itself passes on the header that it is given.
    env = {name: value for name, value in observed.env.items() if not name.startswith("OTEL_")}
    observed.env, before = env, observed.env
    try:
        assert observed.run("-c", program).stdout == "['1', 'a']\n"
    finally:
        observed.env = before
    trace = spans.trace(trace_id, 3)
    assert trace["queued"].parent_id == headers["traceparent"].split("-")[2]


def test_the_python_client_sends_the_trace_of_its_program(observed: Observed, spans: Receiver) -> None:
    trace_id, headers = new_trace()
    trace = pytest.importorskip("opentelemetry.trace")
    span_id = headers["traceparent"].split("-")[2]
    theirs = trace.SpanContext(int(trace_id, 16), int(span_id, 16), False, trace.TraceFlags(1))
    with Client(observed.url) as client, trace.use_span(trace.NonRecordingSpan(theirs)):
        assert client.predict(ENDPOINT, "a", priority="high") == ["1", "a"]
    trace_of_job = spans.trace(trace_id, 5)
    assert trace_of_job["POST /predict/<endpoint_name>"].parent_id == span_id
    assert trace_of_job[f"process {queue_name(ENDPOINT)}"].attributes["queuecast.priority"] == "high"


def test_a_host_that_is_lost_is_a_failed_span(observed: Observed, spans: Receiver) -> None:
    trace_id, headers = new_trace()
    answer = observed.api.post(f"/predict/{ENDPOINT}", json={"input": "exit"}, headers=headers)
    assert observed.job(expect(202, answer)["job_id"])["status"] == "failed"
    process = spans.trace(trace_id, 4)[f"process {queue_name(ENDPOINT)}"]
    assert process.failed
    assert process.attributes["error.type"] == "HostGone"
    observed.wait_for_status(ENDPOINT, "active")


def test_what_the_caller_does_not_sample_makes_no_spans(observed: Observed, spans: Receiver) -> None:
    unsampled, headers = new_trace(sampled=False)
    wait = {"Prefer": "wait=20"}
    expect(200, observed.api.post(f"/predict/{ENDPOINT}", json={"input": "a"}, headers={**headers, **wait}))
    later, headers = new_trace()
    expect(200, observed.api.post(f"/predict/{ENDPOINT}", json={"input": "a"}, headers={**headers, **wait}))
    spans.trace(later, 5)
    assert unsampled not in {span.trace_id for span in spans.spans}


def test_the_api_logs_each_request_with_its_ids(observed: Observed) -> None:
    headers = {"X-Request-ID": "asked-for-in-a-test"}
    job_id = expect(202, observed.api.post(f"/predict/{ENDPOINT}", json={"input": "a"}, headers=headers))["job_id"]

    def line() -> dict[str, object]:
        found = [each for each in json_lines(observed.server) if each.get("request_id") == headers["X-Request-ID"]]
        assert found
        return found[0]

    logged = eventually(line)
    expected = {"logger": "api.access", "level": "INFO", "process": "api", "job_id": job_id, "endpoint_name": ENDPOINT}
    assert logged.items() >= {**expected, "method": "POST", "path": f"/predict/{ENDPOINT}", "status": 202}.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", str(logged["time"]))
    assert float(str(logged["duration_ms"])) > 0


def test_every_line_of_worker_and_host_is_json_and_names_job_and_endpoint(observed: Observed) -> None:
    job_id = observed.submit(ENDPOINT, "segfault")
    observed.job(job_id)
    observed.wait_for_status(ENDPOINT, "active")
    lines = json_lines(observed.workers[0])
    lost = [each for each in lines if each.get("job_ids") == [job_id]]
    assert [each["endpoint_name"] for each in lost] == [ENDPOINT]
    assert lost[0]["level"] == logging.getLevelName(logging.WARNING)
    assert "celery.worker.consumer.connection" in {each["logger"] for each in lines}

    observed.job(observed.submit(ENDPOINT, "raise"))

    def hosts_line() -> bool:
        found = [each for each in json_lines(observed.workers[0]) if each["process"] == "host"]
        return any("is not liked" in each["message"] and each["endpoint_name"] == ENDPOINT for each in found)

    eventually(hosts_line)


@pytest.mark.parametrize("document", ["grafana-dashboard.json", "alerts.yml"])
def test_every_metric_that_dashboard_and_alerts_ask_for_is_exported(observed: Observed, document: str) -> None:
    asked = set(re.findall(r"queuecast_\w+", (REPOSITORY / "docs" / document).read_text(encoding="utf-8")))
    exported = observed.scrape_api().names | observed.scrape_worker().names
    # They are exported where there is a rollout, a journal or drift, and there is none here.
    exported |= {metric_names.ROLLOUT_STATE.name, metric_names.JOURNAL_JOBS.name, metric_names.DRIFT.name}
    assert len(asked) > 5
    assert asked <= exported
