"""Trace headers pass through processes with and without spans."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest

from tests.support.service.environment import REPOSITORY, clean_environment
from tests.workers.stand_ins import queued_job
from workers import keys
from workers.jobs import accept, bulk
from workers.platform.redis.client import records_client
from workers.queues import envelopes
from workers.tracing import spans
from workers.tracing.traced import Batch

TRACE = "0af7651916cd43dd8448eb211c80319c"
GOOD = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "value",
    [
        None, "", 5, "00", GOOD[:-1], GOOD.upper(), GOOD + "x", f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01", GOOD + "\n",
    ],
)  # fmt: skip
def test_a_header_that_names_no_trace_is_ignored(value: Any) -> None:
    assert spans.headers_in({"traceparent": value}) is None


def test_a_trace_and_its_state_are_taken_from_headers_and_nothing_else_is() -> None:
    given = {"traceparent": GOOD, "tracestate": "vendor=1", "id": "job"}
    assert spans.headers_in(given) == {"traceparent": GOOD, "tracestate": "vendor=1"}
    assert spans.headers_in({**given, "tracestate": "x" * 3_000}) == {"traceparent": GOOD}
    assert spans.trace_id({"traceparent": GOOD}) == TRACE
    assert spans.trace_id(None) is None


def test_a_job_that_is_submitted_while_a_request_is_served_carries_its_trace() -> None:
    options: dict[str, Any] = {"headers": {"mine": 1}}
    spans.arrive({"traceparent": GOOD, "tracestate": "vendor=1"})
    with spans.sending("adding", "job", options) as traceparent:
        assert traceparent == GOOD
    assert options["headers"] == {"mine": 1, "tracestate": "vendor=1"}
    options = {}
    spans.arrive(None)
    with spans.sending("adding", "job", options) as traceparent:
        assert traceparent is None
    assert options == {}


@pytest.mark.parametrize("options", [{}, {"headers": {"mine": 1}}, {"headers": {"traceparent": "no trace"}}])
def test_the_message_of_a_traced_job_says_so_and_that_of_another_does_not(
    redis_url: str, options: dict[str, Any]
) -> None:
    found = []
    for headers in ({"traceparent": GOOD}, None):
        spans.arrive(headers)
        accepted = accept.submit(("adding", 1.0), {}, **options)
        message = records_client().get(keys.message(accepted.job_id))
        assert isinstance(message, bytes)
        found.append(spans.headers_in(envelopes.decode(message).headers))
    assert found == [{"traceparent": GOOD}, None]


def test_all_jobs_of_one_call_carry_its_trace(redis_url: str) -> None:
    spans.arrive({"traceparent": GOOD})
    ids = bulk.submit("adding", [bulk.NewJob({"input": 1.0}), bulk.NewJob({"input": 2.0})])
    messages = cast("list[bytes]", records_client().mget([keys.message(job_id) for job_id in ids]))
    spans.arrive(None)
    assert [spans.headers_in(envelopes.decode(each).headers) for each in messages] == [{"traceparent": GOOD}] * 2


def run(program: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=clean_environment(**env),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_extra_an_endpoint_for_traces_is_a_warning_and_no_error() -> None:
    program = """
import logging, sys
sys.modules["opentelemetry"] = None
logging.basicConfig(stream=sys.stdout)
from workers.tracing import spans
spans.start("api")
with spans.sending("adding", "job", {}):
    pass
spans.stop()
"""
    assert "pip install 'queuecast[otel]'" in run(program, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")


@pytest.mark.slow
def test_a_program_that_traces_itself_is_the_parent_of_what_it_submits() -> None:
    pytest.importorskip("opentelemetry.sdk")
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from workers.tracing import spans
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with trace.get_tracer("theirs").start_as_current_span("theirs") as theirs:
    with spans.sending("adding", "job", {}) as traceparent:
        pass
[send, _] = exporter.get_finished_spans()
assert send.name == "send predict.adding" and send.parent.span_id == theirs.get_span_context().span_id
assert f"{send.context.span_id:016x}" in traceparent
print("fine")
"""
    assert run(program) == "fine\n"


def test_spans_that_can_not_be_made_cost_no_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from workers.tracing import otel

    def broken(*_: Any) -> None:
        raise KeyError("a library's own mistake")

    monkeypatch.setattr(spans, "_started", True)
    monkeypatch.setattr(otel, "batch_ended", broken)
    batch = Batch("adding", "adder", "1", "w@1", 1.0)
    spans.batch_ended(batch, [queued_job()], 1.0, {})
    assert "creating spans failed" in caplog.text
