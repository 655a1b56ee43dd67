"""Traces: the W3C headers that tie processes together, and what OpenTelemetry is told, if somebody wants it.

Without an OTLP endpoint in the environment nothing of OpenTelemetry is imported; a `traceparent` is passed
on all the same. What uses OpenTelemetry is in `otel`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from workers.keys import TRACEPARENT_HEADER, TRACESTATE_HEADER
from workers.priorities import Priority
from workers.settings import load

_log = logging.getLogger(__name__)

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LONGEST_TRACESTATE = 2_048
_SAMPLED = 1
_NONE: Mapping[str, str] = {}

#: The trace headers of the request that is being answered.
_incoming: ContextVar[Mapping[str, str]] = ContextVar("queuecast_trace_headers")
_started = False


class Headers(Protocol):
    """Headers of a message or of a request."""

    def get(self, name: str, /) -> Any:
        """Return one, None if there is none."""


class TracedJob(Protocol):
    """A job, as its spans show it; times in seconds since the epoch."""

    job_id: str
    submitted_at: float | None
    #: The headers of the span that sent it.
    trace: dict[str, str] | None
    rows: list[Any]
    priority: Priority
    attempts: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Where and when jobs ran together (`started_at`: s since the epoch)."""

    endpoint_name: str
    model_name: str
    version: str
    worker: str
    started_at: float


def start(service_name: str) -> None:
    """Have this process's spans exported, if the environment says where to."""
    global _started  # noqa: PLW0603 - like OpenTelemetry's own, there is one for each process
    if _started or not load().traces_wanted:
        return
    if not installed():
        _log.warning("no traces: OpenTelemetry is not installed; pip install 'queuecast[otel]'")
        return
    from workers import otel

    _started = otel.start(service_name)


def stop() -> None:
    """Export what is left; the process is about to end."""
    global _started  # noqa: PLW0603 - see above
    if _started:
        from workers import otel

        _started = False
        otel.stop()


def headers_in(found: Headers) -> dict[str, str] | None:
    """Return the trace headers among the headers of a message or request; None if they name no trace."""
    traceparent, tracestate = found.get(TRACEPARENT_HEADER), found.get(TRACESTATE_HEADER)
    if not isinstance(traceparent, str) or not _TRACEPARENT.fullmatch(traceparent):
        return None
    if isinstance(tracestate, str) and 0 < len(tracestate) <= _LONGEST_TRACESTATE:
        return {TRACEPARENT_HEADER: traceparent, TRACESTATE_HEADER: tracestate}
    return {TRACEPARENT_HEADER: traceparent}


def trace_id(headers: Mapping[str, str] | None) -> str | None:
    """Return the id of the trace that headers name."""
    return headers[TRACEPARENT_HEADER].split("-")[1] if headers else None


def started() -> bool:
    """Tell whether this process exports spans."""
    return _started


def arrive(headers: Mapping[str, str] | None) -> None:
    """From now on, jobs that this thread submits belong to the trace that these headers name, or to none."""
    _incoming.set(headers or _NONE)


def serving(
    headers: Mapping[str, str] | None, name: str, attributes: Mapping[str, str]
) -> AbstractContextManager[Callable[[int], None]]:
    """Make a span of the HTTP request that is answered in the block, where spans are exported.

    Yields what takes the answer's status.
    """
    from workers import otel

    return otel.serving(headers, name, attributes)


def sending(
    endpoint_name: str, job_id: str | None, options: dict[str, Any], jobs: int = 1
) -> AbstractContextManager[str | None]:
    """Make a span of the submit in the block; yields the `traceparent` for the message, if it belongs to a trace.

    Many jobs of one call share it, and have no `job_id`.
    A program that traces itself needs no more than that: its span is the parent. The rest of what a message
    says of a trace is added to `options`.
    """
    given = options.get("headers")
    before = (headers_in(given) if given else None) or _incoming.get(_NONE)
    if before and (tracestate := before.get(TRACESTATE_HEADER)):
        options["headers"] = {**(given or {}), TRACESTATE_HEADER: tracestate}
    # Only a program that has imported it can have a span of its own.
    if not (_started or _program_traces()):
        return nullcontext(before.get(TRACEPARENT_HEADER))
    from workers import otel

    return otel.sending(endpoint_name, job_id, jobs, before)


def batch_ended(batch: Batch, jobs: Sequence[TracedJob], predict_ms: float, errors: Mapping[int, str]) -> None:
    """Make the spans of jobs that a host has answered just now; `errors` has what was raised, by row."""
    if _started and (traced := _sampled(jobs)):
        from workers import otel

        failed, start = {}, 0
        for job in jobs:
            rows = range(start, start + len(job.rows))
            start = rows.stop
            bad = next((row for row in rows if row in errors), None) if errors else None
            if bad is not None:
                failed[job.job_id] = errors[bad]
        with _harmless():
            otel.batch_ended(batch, traced, len(jobs), predict_ms, failed)


def batch_lost(batch: Batch, jobs: Sequence[TracedJob], reason: str) -> None:
    """Make the spans of jobs whose host was lost just now."""
    if _started and (traced := _sampled(jobs)):
        from workers import otel

        with _harmless():
            otel.batch_lost(batch, traced, len(jobs), reason)


@contextmanager
def _harmless() -> Iterator[None]:
    """Log what goes wrong in the block: a span is not worth a job."""
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever a library raises
        _log.exception("spans could not be made")


def _program_traces() -> bool:
    """Tell whether this is somebody else's program that has set up OpenTelemetry for itself."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def installed() -> bool:
    """Tell whether spans could be exported."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def _sampled(jobs: Sequence[TracedJob]) -> list[TracedJob]:
    """Leave out those whose sender has decided against a trace: they cost no more than this look."""
    return [job for job in jobs if job.trace is None or int(job.trace[TRACEPARENT_HEADER][53:55], 16) & _SAMPLED]
