"""The record of a job in each state, in the shape that Celery's result backend reads.

`status` comes first in each: the scripts in `lua/` find it there without parsing the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from celery import states
from msgspec import UNSET, Raw, UnsetType

from workers.errors import JOB_ERRORS_MODULE, WorkerError
from workers.jobs.job import Failure, JobFacts
from workers.platform import fast_json
from workers.queues.priorities import Priority

#: Celery has no word for "sent, and known to be"; PENDING is what it calls an unknown id.
QUEUED = "QUEUED"
STARTED = states.STARTED
TERMINAL = frozenset({states.SUCCESS, states.FAILURE, states.REVOKED})

#: How a terminal record begins, as this module and Celery write it, or somebody who writes no spaces.
_TERMINAL_BEGINNINGS = tuple(f'{{"status":{space}"{status}"'.encode() for status in TERMINAL for space in (" ", ""))

#: The constant part of a queued job's record, which each submit writes. Added are id, endpoint, time, expiry and owner,
#: the priority unless it is normal, and `not_before` if the job has an `eta`.
#: Scripts look for its beginning.
QUEUED_BEGINNING = '{"status": "QUEUED", "result": null'
_QUEUED = QUEUED_BEGINNING.encode() + (
    b', "traceback": null, "children": [], "date_done": null, "task_id": %b, '
    b'"endpoint_name": %b, "submitted_at": %b, "finished_at": null, "expires_at": %b, "owner": %b'
)

_NULL = b"null"
_encode = msgspec.json.Encoder().encode

CANCELLED = "cancelled"
EXPIRED = "expired"


def is_terminal(record: bytes) -> bool:
    """Tell from the first bytes of a record whether its job has ended; much cheaper than parsing it."""
    return record.startswith(_TERMINAL_BEGINNINGS)


def stops_host(record: bytes) -> bool:
    """Tell from the record of a cancelled job whether its model host must be stopped at once."""
    try:
        return fast_json.loads(record).get("stops_host") is True
    except ValueError:
        return False


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
    traceback: str | None = None
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
    stops_host: bool | UnsetType = UNSET
    owner: str | None
    priority: Priority | UnsetType = UNSET
    sticky_key: str | UnsetType = UNSET


def outcome(document: Outcome) -> bytes:
    """Return an outcome document as JSON."""
    return _encode(document)


def _record(job: JobFacts, status: str, result: Raw) -> _Record:
    """Return a record with what each record of a job repeats."""
    return _Record(
        status=status,
        result=result,
        task_id=job.job_id,
        endpoint_name=job.endpoint_name,
        submitted_at=job.submitted_at,
        owner=job.owner,
        priority=UNSET if job.priority is Priority.NORMAL else job.priority,
        sticky_key=UNSET if job.sticky_key is None else job.sticky_key,
    )


def _encoded(record: _Record) -> bytes:
    if record.finished_at:
        record.date_done = datetime.fromtimestamp(record.finished_at, UTC).isoformat()
    try:
        return _encode(record)
    except UnicodeEncodeError:  # half a surrogate pair, in an id or in what an error says
        values = {name: value for name, value in msgspec.structs.asdict(record).items() if value is not UNSET}
        return b'{"status":%b,"result":%b,%b' % (
            fast_json.dumps_strict(values.pop("status")),
            bytes(values.pop("result")),
            fast_json.dumps_finite(values)[1:],
        )


def queued(job: JobFacts, not_before: float | None = None) -> bytes:
    """The record that is written before the job's message is sent; a delayed job runs not before `not_before`."""
    record = _QUEUED % (
        fast_json.dumps_finite(job.job_id),
        fast_json.name_in_json(job.endpoint_name),
        fast_json.dumps_finite(job.submitted_at),
        _NULL if job.expires_at is None else fast_json.dumps_finite(job.expires_at),
        _NULL if job.owner is None else fast_json.name_in_json(job.owner),
    )
    if job.priority is not Priority.NORMAL:
        record += b', "priority": "%b"' % job.priority.encode()
    if job.sticky_key is not None:
        record += b', "sticky_key": %b' % fast_json.dumps_finite(job.sticky_key)
    if not_before is not None:
        record += b', "not_before": %b' % fast_json.dumps_finite(not_before)
    return record + b"}"


def unclaimed(record: bytes, attempt: bytes) -> bytes | None:
    """Return the queued record of which the script that fetches messages made this one; None if it did not.

    `attempt` is what `attempt_of` returned.
    """
    beginning = b'{"status": "STARTED", "result": ' + attempt
    facts, separator, _ = record.removeprefix(beginning).rpartition(b', "started_at": ')
    return QUEUED_BEGINNING.encode() + facts + b"}" if record.startswith(beginning) and separator else None


def started(  # noqa: PLR0913 - what a record says, each by name
    job: JobFacts, started_at: float, *, attempts: int, worker: str, holder: str = "", tag: str = ""
) -> bytes:
    """The record while a model host has the job; it counts the attempts, also for other workers.

    `holder` has the lease of the message with this tag.
    """
    # As most tags are the jobs' own ids, they aren't said twice.
    result = attempt_of(worker, holder) if tag in ("", job.job_id) else attempt_of.__wrapped__(worker, holder, tag)
    record = _record(job, states.STARTED, result)
    record.started_at, record.attempts, record.failures = started_at, attempts, job.failures
    return _encoded(record)


@lru_cache(maxsize=64)
def attempt_of(worker: str, holder: str = "", tag: str = "") -> Raw:
    """Return what the record of a running job has as its `result`: the worker, and its lease."""
    named = {"hostname": worker, "holder": holder, "tag": tag}
    return Raw(fast_json.dumps_strict({name: value for name, value in named.items() if value}))


def succeeded(job: JobFacts, outcome: bytes, started_at: float, finished_at: float) -> bytes:
    """The record of a job with an outcome: a document in JSON, which is what `AsyncResult.get()` returns."""
    record = _record(job, states.SUCCESS, Raw(outcome))
    record.started_at, record.attempts, record.failures = started_at, job.attempts, job.failures
    record.finished_at = finished_at
    return _encoded(record)


def failed(  # noqa: PLR0913 - what such a record says
    job: JobFacts,
    error: WorkerError,
    finished_at: float,
    *,
    started_at: float | None = None,
    traceback: str = "",
    raised: Raw | None = None,
    errors_module: str = JOB_ERRORS_MODULE,
) -> bytes:
    """The record of a job that failed; `AsyncResult.get()` raises `error`'s class with its message, or `raised`.

    `errors_module` is where the sender of the job finds the class.

    `traceback` has the last lines of that of the model's code; `AsyncResult.traceback` returns them.
    """
    raised = raised or _raised(type(error).__name__, str(error), errors_module)
    record = _record(job, states.FAILURE, raised)
    record.started_at, record.attempts, record.failures = started_at, job.attempts, job.failures
    record.finished_at = finished_at
    record.error, record.traceback = _document(error), traceback or None
    return _encoded(record)


def revoked(job: JobFacts, reason: str, finished_at: float, *, stops_host: bool = False) -> bytes:
    """Return the record of a job that was cancelled or has expired: `reason` is `CANCELLED` or `EXPIRED`.

    With `stops_host`, the model host that runs it is stopped even if it runs other jobs.
    """
    record = _revoked(job, reason, finished_at)
    record.reason, record.stops_host = reason, stops_host or UNSET
    return _encoded(record)


def revoked_for(job: JobFacts, error: WorkerError, finished_at: float) -> bytes:
    """Return the record of a job that the service has cancelled; `AsyncResult.get()` raises TaskRevokedError.

    It has the error, so that programs find its code where they find that of a failed job.
    """
    record = _revoked(job, str(error), finished_at)
    record.reason, record.error = error.code, _document(error)
    return _encoded(record)


def _revoked(job: JobFacts, message: str, finished_at: float) -> _Record:
    record = _record(job, states.REVOKED, _raised("TaskRevokedError", message, "celery.exceptions"))
    record.finished_at = finished_at
    return record


def _document(error: WorkerError) -> dict[str, str]:
    return {"code": error.code, "type": type(error).__name__, "message": str(error)}


def _raised(name: str, message: str, module: str) -> Raw:
    return Raw(fast_json.dumps_strict({"exc_type": name, "exc_message": [message], "exc_module": module}))
