"""Traces: W3C headers that connect processes, and optional spans with OpenTelemetry.

Without an OTLP endpoint in the environment, OpenTelemetry is not imported, but `traceparent` is still passed on. `otel`
contains the code that uses OpenTelemetry.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, Protocol

from workers.keys import TRACEPARENT_HEADER, TRACESTATE_HEADER
from workers.settings import load
from workers.tracing.traced import Batch, TracedJob

_log = logging.getLogger(__name__)

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LONGEST_TRACESTATE = 2_048
_SAMPLED = 1
_NONE: Mapping[str, str] = {}
_NO_TRACE = nullcontext[str | None](None)

#: The trace headers of the current request.
_incoming: ContextVar[Mapping[str, str]] = ContextVar("queuecast_trace_headers")
_started = False


class Headers(Protocol):
    """Headers of a message or of a request."""

    def get(self, name: str, /) -> Any:
        """Return a header's value; None without it."""


def start(service_name: str) -> None:
    """Start to export this process's spans, if the environment sets an OTLP endpoint."""
    global _started  # noqa: PLW0603 - one for each process, like OpenTelemetry's own state
    if _started or not load().traces_wanted:
        return
    if not installed():
        _log.warning("no traces: OpenTelemetry is not installed (pip install 'queuecast[otel]')")
        return
    from workers.tracing import otel

    _started = otel.start(service_name)


def stop() -> None:
    """Export the remaining spans before the process exits."""
    global _started  # noqa: PLW0603 - see above
    if _started:
        from workers.tracing import otel

        _started = False
        otel.stop()


def headers_in(found: Headers) -> dict[str, str] | None:
    """Return the trace headers of a message or request; None without a valid `traceparent`."""
    traceparent, tracestate = found.get(TRACEPARENT_HEADER), found.get(TRACESTATE_HEADER)
    if not isinstance(traceparent, str) or not _TRACEPARENT.fullmatch(traceparent):
        return None
    if isinstance(tracestate, str) and 0 < len(tracestate) <= _LONGEST_TRACESTATE:
        return {TRACEPARENT_HEADER: traceparent, TRACESTATE_HEADER: tracestate}
    return {TRACEPARENT_HEADER: traceparent}


def trace_id(headers: Mapping[str, str] | None) -> str | None:
    """Return the trace id in trace headers."""
    return headers[TRACEPARENT_HEADER].split("-")[1] if headers else None


def started() -> bool:
    """Whether this process exports spans."""
    return _started


def arrive(headers: Mapping[str, str] | None) -> None:
    """Assign the jobs that this thread submits from now on to the trace of these headers, or to none."""
    _incoming.set(headers or _NONE)


def serving(
    headers: Mapping[str, str] | None, name: str, attributes: Mapping[str, str]
) -> AbstractContextManager[Callable[[int], None]]:
    """Create the span of an HTTP request that is answered in the block.

    Yields a function that takes the status code of the answer.
    """
    from workers.tracing import otel

    return otel.serving(headers, name, attributes)


def sending(
    endpoint_name: str, job_id: str | None, options: dict[str, Any], jobs: int = 1
) -> AbstractContextManager[str | None]:
    """Create the span of a submit in the block; yield the `traceparent` for the message, if it belongs to a trace.

    The jobs of one bulk call share a span, without a `job_id`. In a program with traces of its own, the parent is the
    program's current span. A `tracestate` is added to the headers in `options`.
    """
    given = options.get("headers")
    incoming = (headers_in(given) if given else None) or _incoming.get(_NONE)
    if incoming and (tracestate := incoming.get(TRACESTATE_HEADER)):
        options["headers"] = {**(given or {}), TRACESTATE_HEADER: tracestate}
    # Only a program that has imported OpenTelemetry can have a span of its own.
    if not (_started or _program_traces()):
        return nullcontext(incoming.get(TRACEPARENT_HEADER)) if incoming else _NO_TRACE
    from workers.tracing import otel

    return otel.sending(endpoint_name, job_id, jobs, incoming)


def batch_ended(batch: Batch, jobs: Sequence[TracedJob], predict_ms: float, errors: Mapping[int, str]) -> None:
    """Create the spans of jobs that a host has just answered; `errors` has the error types by row."""
    if _started and (traced := _sampled(jobs)):
        from workers.tracing import otel

        failed, start = {}, 0
        for job in jobs:
            rows = range(start, start + len(job.rows))
            start = rows.stop
            bad = next((row for row in rows if row in errors), None) if errors else None
            if bad is not None:
                failed[job.job_id] = errors[bad]
        with _logged_errors():
            otel.batch_ended(batch, traced, len(jobs), predict_ms, failed)


def batch_lost(batch: Batch, jobs: Sequence[TracedJob], reason: str) -> None:
    """Create the spans of jobs whose host was just lost."""
    if _started and (traced := _sampled(jobs)):
        from workers.tracing import otel

        with _logged_errors():
            otel.batch_lost(batch, traced, len(jobs), reason)


@contextmanager
def _logged_errors() -> Iterator[None]:
    """Log errors in the block: a failing span must not fail a job."""
    try:
        yield
    except Exception:  # noqa: BLE001 - any error of a library
        _log.exception("creating spans failed")


def _program_traces() -> bool:
    """Whether this program has set up OpenTelemetry itself."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def installed() -> bool:
    """Whether the packages that export spans are installed."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # the parent package is missing, too
        return False


def _sampled(jobs: Sequence[TracedJob]) -> list[TracedJob]:
    """Return the jobs that are sampled, or have no trace yet; others cost only this check."""
    return [job for job in jobs if job.trace is None or int(job.trace[TRACEPARENT_HEADER][53:55], 16) & _SAMPLED]
