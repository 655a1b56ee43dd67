"""Creates spans with OpenTelemetry, by its conventions for HTTP and messaging.

A job is a message, so each has its own trace from the submit to the prediction, although a host predicts many together:
the span of a job in a batch is a child of the sender's span, and contains the size of the batch. Only `spans` imports
this module, because it loads OpenTelemetry.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from workers.keys import TRACEPARENT_HEADER
from workers.queues.naming import queue_name
from workers.tracing.traced import Batch, TracedJob

_log = logging.getLogger(__name__)

_W3C = TraceContextTextMapPropagator()
#: Time limit of the export of the last spans when the process exits.
_LAST_SPANS_S = 2.0
_SERVER_ERROR = 500


def start(service_name: str) -> bool:
    """Start to export this process's spans, configured by the standard variables; return whether spans are exported."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        _log.info("using the tracer provider that this program has set up")
        return True
    # The environment takes precedence.
    resource = Resource.create({"service.name": service_name}).merge(OTELResourceDetector().detect())
    # Log an unreachable collector as one error for each batch of spans, not as a warning for each try.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.ERROR)
    # At exit, the library would wait as long for an unreachable collector as for a slow one.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    atexit.register(stop)  # for processes without a `stop`, such as a WSGI server's
    _log.info("exporting traces as %s", resource.attributes.get("service.name"))
    return True


def stop() -> None:
    """Export the remaining spans within the time limit; further calls do nothing."""
    atexit.unregister(stop)
    shut_down = getattr(trace.get_tracer_provider(), "shutdown", None)
    if shut_down is None:
        return
    last = threading.Thread(target=shut_down, name="queuecast-last-spans", daemon=True)
    try:
        last.start()
    except RuntimeError:  # the interpreter is shutting down and starts no threads
        shut_down()
        return
    last.join(_LAST_SPANS_S)


@contextmanager
def serving(
    headers: Mapping[str, str] | None, name: str, attributes: Mapping[str, str]
) -> Iterator[Callable[[int], None]]:
    """Create the SERVER span of a request."""
    span = _tracer().start_span(name, _parent(headers), SpanKind.SERVER, attributes)

    def answered(status: int) -> None:
        span.set_attribute("http.response.status_code", status)
        if status >= _SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))

    with trace.use_span(span, end_on_exit=True):
        yield answered


@contextmanager
def sending(endpoint_name: str, job_id: str | None, jobs: int, incoming: Mapping[str, str]) -> Iterator[str | None]:
    """Create the PRODUCER span of a submit; yield its `traceparent`."""
    queue = queue_name(endpoint_name)
    # The parent is the current span of the process, or that of the caller's headers.
    parent = contexts.get_current() if trace.get_current_span().get_span_context().is_valid else _parent(incoming)
    attributes = {**_messaging(queue, job_id, "send"), "queuecast.endpoint": endpoint_name}
    if job_id is None:
        attributes["messaging.batch.message_count"] = jobs
    with _tracer().start_as_current_span(f"send {queue}", parent, SpanKind.PRODUCER, attributes):
        headers: dict[str, str] = {}
        _W3C.inject(headers)
        yield headers.get(TRACEPARENT_HEADER)


def batch_ended(
    batch: Batch, jobs: Sequence[TracedJob], batch_jobs: int, predict_ms: float, failed: Mapping[str, str]
) -> None:
    """Create the spans of jobs that were just answered: queued, process and predict."""
    now = time.time()
    for job in jobs:
        with _processing(batch, job, batch_jobs, now) as process:
            if process is None:
                continue
            attributes = {"queuecast.model": batch.model_name, "queuecast.version": batch.version}
            # The host measures durations only: its prediction ends when the answer arrives.
            began = max(batch.started_at, now - predict_ms / 1000)
            predict = _tracer().start_span(
                "predict", trace.set_span_in_context(process), attributes=attributes, start_time=_ns(began)
            )
            if job.job_id in failed:
                _fail(predict, failed[job.job_id])
                _fail(process, failed[job.job_id])
            predict.end(_ns(now))


def batch_lost(batch: Batch, jobs: Sequence[TracedJob], batch_jobs: int, reason: str) -> None:
    """Create the spans of jobs whose host was just lost."""
    now = time.time()
    for job in jobs:
        with _processing(batch, job, batch_jobs, now) as process:
            if process is not None:
                _fail(process, "HostGone", reason)


@contextmanager
def _processing(batch: Batch, job: TracedJob, batch_jobs: int, now: float) -> Iterator[Span | None]:
    """Create a job's CONSUMER span, and one for its time in the queue; yield None if it isn't sampled."""
    queue = queue_name(batch.endpoint_name)
    attributes = {
        **_messaging(queue, job.job_id, "process"),
        "messaging.batch.message_count": batch_jobs,
        "queuecast.endpoint": batch.endpoint_name,
        "queuecast.model": batch.model_name,
        "queuecast.version": batch.version,
        "queuecast.worker": batch.worker,
        "queuecast.attempt": job.attempts,
        "queuecast.priority": job.priority.value,
    }
    submitted_at = min(job.submitted_at or batch.started_at, batch.started_at)
    parent = _parent(job.trace)
    span = _tracer().start_span(
        f"process {queue}", parent, SpanKind.CONSUMER, attributes, start_time=_ns(batch.started_at)
    )
    if not span.is_recording():
        yield None
        return
    # For a job without a trace, the CONSUMER span is the root.
    above = parent if job.trace else trace.set_span_in_context(span)
    _tracer().start_span("queued", above, start_time=_ns(submitted_at)).end(_ns(batch.started_at))
    yield span
    span.end(_ns(now))


def _messaging(queue: str, job_id: str | None, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": "celery",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        **({"messaging.message.id": job_id} if job_id else {}),
    }


def _fail(span: Span, kind: str, reason: str | None = None) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, reason or kind))


def _parent(headers: Mapping[str, str] | None) -> Context:
    return _W3C.extract(headers or {}, Context())


def _tracer() -> trace.Tracer:
    return trace.get_tracer("queuecast")


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
