"""The record of a job in each state, in the shape that Celery's result backend reads.

`status` comes first in each: the scripts in `records` find it there without parsing the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from celery import states

from workers import fast_json
from workers.errors import JobFailed, WorkerError

#: Celery has no word for "sent, and known to be"; PENDING is what it calls an unknown id.
QUEUED = "QUEUED"
STARTED = states.STARTED
TERMINAL = frozenset({states.SUCCESS, states.FAILURE, states.REVOKED})

#: How a terminal record begins, as this module and Celery write it, or somebody who writes no spaces.
_TERMINAL_BEGINNINGS = tuple(f'{{"status":{space}"{status}"'.encode() for status in TERMINAL for space in (" ", ""))

#: A queued job's record, but for its id, endpoint, time and expiry: one is written at each submit.
_QUEUED = (
    b'{"status": "QUEUED", "result": null, "traceback": null, "children": [], "date_done": null, "task_id": %b, '
    b'"endpoint_name": %b, "submitted_at": %b, "finished_at": null, "expires_at": %b}'
)

CANCELLED = "cancelled"
EXPIRED = "expired"


class Failure(TypedDict):
    """An attempt that had no answer: its host or its worker was lost."""

    attempt: int
    worker: str
    #: Seconds since the epoch.
    at: float
    reason: str


def is_terminal(record: bytes) -> bool:
    """Tell from the first bytes of a record whether its job has ended; much cheaper than parsing it."""
    return record.startswith(_TERMINAL_BEGINNINGS)


def iso(seconds: float | None) -> str | None:
    """Return a time of a record as people read it: ISO 8601, UTC, to the millisecond."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _record(  # noqa: PLR0913 - what a record says, each by name
    status: str,
    job_id: str,
    endpoint_name: str,
    *,
    result: Any = None,
    submitted_at: float | None,
    finished_at: float | None = None,
    **more: Any,
) -> bytes:
    date_done = datetime.fromtimestamp(finished_at, UTC).isoformat() if finished_at else None
    said = {
        "traceback": None,
        "children": [],
        "date_done": date_done,
        "task_id": job_id,
        "endpoint_name": endpoint_name,
        "submitted_at": submitted_at,
        "finished_at": finished_at,
        **more,
    }
    return b'{"status": "%b", "result": %b, %b' % (
        status.encode(),
        fast_json.strict(result),
        fast_json.finite(said)[1:],
    )


def queued(job_id: str, endpoint_name: str, submitted_at: float | None, expires_at: float | None = None) -> bytes:
    """The record that is written before the job's message is sent; times in seconds since the epoch."""
    values = (job_id, endpoint_name, submitted_at, expires_at)
    return _QUEUED % tuple(map(fast_json.finite, values))


def started(  # noqa: PLR0913 - as above
    job_id: str,
    endpoint_name: str,
    submitted_at: float | None,
    started_at: float,
    *,
    worker: str,
    attempts: int,
    failures: Sequence[Failure] = (),
) -> bytes:
    """The record while a model host has the job; it counts the attempts, also for other workers."""
    return _record(
        states.STARTED,
        job_id,
        endpoint_name,
        result={"hostname": worker},
        submitted_at=submitted_at,
        started_at=started_at,
        attempts=attempts,
        failures=list(failures),
    )


def succeeded(  # noqa: PLR0913 - as above
    job_id: str,
    outcome: dict[str, Any],
    submitted_at: float | None,
    started_at: float,
    finished_at: float,
    *,
    failures: Sequence[Failure] = (),
) -> bytes:
    """The record of a job with an outcome; the outcome document is what `AsyncResult.get()` returns."""
    return _record(
        states.SUCCESS,
        job_id,
        outcome["endpoint_name"],
        result=outcome,
        submitted_at=submitted_at,
        started_at=started_at,
        finished_at=finished_at,
        attempts=outcome["attempts"],
        failures=list(failures),
    )


def failed(  # noqa: PLR0913 - as above
    job_id: str,
    endpoint_name: str,
    error: WorkerError,
    submitted_at: float | None,
    finished_at: float,
    *,
    started_at: float | None = None,
    attempts: int = 0,
    failures: Sequence[Failure] = (),
) -> bytes:
    """The record of a job that failed; `AsyncResult.get()` raises `error`'s class with its message."""
    name = type(error).__name__
    return _record(
        states.FAILURE,
        job_id,
        endpoint_name,
        result={"exc_type": name, "exc_message": [str(error)], "exc_module": JobFailed.__module__},
        error={"code": error.code, "type": name, "message": str(error)},
        submitted_at=submitted_at,
        started_at=started_at,
        finished_at=finished_at,
        attempts=attempts,
        failures=list(failures),
    )


def revoked(job_id: str, endpoint_name: str, reason: str, submitted_at: float | None, finished_at: float) -> bytes:
    """The record of a job that was taken back: `reason` is `CANCELLED` or `EXPIRED`."""
    return _record(
        states.REVOKED,
        job_id,
        endpoint_name,
        result={"exc_type": "TaskRevokedError", "exc_message": [reason], "exc_module": "celery.exceptions"},
        reason=reason,
        submitted_at=submitted_at,
        finished_at=finished_at,
    )
