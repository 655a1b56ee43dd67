"""The record of a job in each state, in the shape that Celery's result backend reads.

`status` comes first in each: the scripts in `records` find it there without parsing the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypedDict

import msgspec
from celery import states
from msgspec import UNSET, Raw, UnsetType

from workers import fast_json
from workers.errors import JobFailed, WorkerError
from workers.priorities import Priority

#: Celery has no word for "sent, and known to be"; PENDING is what it calls an unknown id.
QUEUED = "QUEUED"
STARTED = states.STARTED
TERMINAL = frozenset({states.SUCCESS, states.FAILURE, states.REVOKED})

#: How a terminal record begins, as this module and Celery write it, or somebody who writes no spaces.
_TERMINAL_BEGINNINGS = tuple(f'{{"status":{space}"{status}"'.encode() for status in TERMINAL for space in (" ", ""))

#: A queued job's record, but for its id, endpoint, time, expiry and owner, and its priority unless that is normal:
#: one is written at each submit.
_QUEUED = (
    b'{"status": "QUEUED", "result": null, "traceback": null, "children": [], "date_done": null, "task_id": %b, '
    b'"endpoint_name": %b, "submitted_at": %b, "finished_at": null, "expires_at": %b, "owner": %b'
)

_encode = msgspec.json.Encoder().encode

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


class Timing(msgspec.Struct):
    """How long a job took, in ms: from its submit to its batch, in the host with its batch, from submit to end."""

    queued_ms: float
    predict_ms: float
    total_ms: float


class Outcome(msgspec.Struct, kw_only=True):
    """The outcome document, as the contract with Celery programs has it; predictions stay the JSON that they are."""

    prediction: Raw | UnsetType = UNSET
    predictions: list[Raw] | UnsetType = UNSET
    endpoint_name: str
    model_name: str
    version: str
    worker: str
    batch_size: int
    timing: Timing
    attempts: int


class _Record(msgspec.Struct, kw_only=True):
    """A record, in its order."""

    status: str
    result: Raw
    traceback: None = None
    children: tuple[()] = ()
    date_done: str | None = None
    task_id: str
    endpoint_name: str
    submitted_at: float | None
    finished_at: float | None = None
    started_at: float | UnsetType | None = UNSET
    attempts: int | UnsetType = UNSET
    failures: Sequence[Failure] | UnsetType = UNSET
    error: dict[str, str] | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    owner: str | None
    priority: Priority | UnsetType = UNSET


def _said(priority: Priority) -> Priority | UnsetType:
    """What a record says of a priority: nothing of the usual one."""
    return UNSET if priority is Priority.NORMAL else priority


def outcome(document: Outcome) -> bytes:
    """Return an outcome document as JSON."""
    return _encode(document)


def _written(record: _Record) -> bytes:
    if record.finished_at:
        record.date_done = datetime.fromtimestamp(record.finished_at, UTC).isoformat()
    try:
        return _encode(record)
    except UnicodeEncodeError:  # half a surrogate pair, in an id or in what an error says
        said = {name: value for name, value in msgspec.structs.asdict(record).items() if value is not UNSET}
        return b'{"status":%b,"result":%b,%b' % (
            fast_json.strict(said.pop("status")),
            bytes(said.pop("result")),
            fast_json.finite(said)[1:],
        )


def queued(  # noqa: PLR0913, PLR0917 - what a record says
    job_id: str,
    endpoint_name: str,
    submitted_at: float | None,
    expires_at: float | None = None,
    owner: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> bytes:
    """The record that is written before the job's message is sent; times in seconds since the epoch."""
    values = (job_id, endpoint_name, submitted_at, expires_at, owner)
    record = _QUEUED % tuple(map(fast_json.finite, values))
    return record + (b"}" if priority is Priority.NORMAL else b', "priority": "%b"}' % priority.encode())


def started(  # noqa: PLR0913 - what a record says, each by name
    job_id: str,
    endpoint_name: str,
    submitted_at: float | None,
    started_at: float,
    *,
    worker: str,
    attempts: int,
    failures: Sequence[Failure] = (),
    owner: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> bytes:
    """The record while a model host has the job; it counts the attempts, also for other workers."""
    return _written(
        _Record(
            status=states.STARTED,
            result=_holder(worker),
            task_id=job_id,
            endpoint_name=endpoint_name,
            submitted_at=submitted_at,
            started_at=started_at,
            attempts=attempts,
            failures=failures,
            owner=owner,
            priority=_said(priority),
        )
    )


@lru_cache(maxsize=64)
def _holder(worker: str) -> Raw:
    return Raw(fast_json.strict({"hostname": worker}))


def succeeded(  # noqa: PLR0913, PLR0917 - as above
    job_id: str,
    endpoint_name: str,
    outcome: bytes,
    submitted_at: float | None,
    started_at: float,
    finished_at: float,
    *,
    attempts: int = 1,
    failures: Sequence[Failure] = (),
    owner: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> bytes:
    """The record of a job with an outcome: a document in JSON, which is what `AsyncResult.get()` returns."""
    return _written(
        _Record(
            status=states.SUCCESS,
            result=Raw(outcome),
            task_id=job_id,
            endpoint_name=endpoint_name,
            submitted_at=submitted_at,
            finished_at=finished_at,
            started_at=started_at,
            attempts=attempts,
            failures=failures,
            owner=owner,
            priority=_said(priority),
        )
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
    owner: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> bytes:
    """The record of a job that failed; `AsyncResult.get()` raises `error`'s class with its message."""
    name = type(error).__name__
    return _written(
        _Record(
            status=states.FAILURE,
            result=_raised(name, str(error), JobFailed.__module__),
            task_id=job_id,
            endpoint_name=endpoint_name,
            submitted_at=submitted_at,
            finished_at=finished_at,
            started_at=started_at,
            attempts=attempts,
            failures=failures,
            owner=owner,
            priority=_said(priority),
            error={"code": error.code, "type": name, "message": str(error)},
        )
    )


def revoked(  # noqa: PLR0913 - as above
    job_id: str,
    endpoint_name: str,
    reason: str,
    submitted_at: float | None,
    finished_at: float,
    *,
    owner: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> bytes:
    """The record of a job that was taken back: `reason` is `CANCELLED` or `EXPIRED`."""
    return _written(
        _Record(
            status=states.REVOKED,
            result=_raised("TaskRevokedError", reason, "celery.exceptions"),
            task_id=job_id,
            endpoint_name=endpoint_name,
            submitted_at=submitted_at,
            finished_at=finished_at,
            reason=reason,
            owner=owner,
            priority=_said(priority),
        )
    )


def _raised(name: str, message: str, module: str) -> Raw:
    return Raw(fast_json.strict({"exc_type": name, "exc_message": [message], "exc_module": module}))
