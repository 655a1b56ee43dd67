"""Jobs as other programs see them: submit, look, cancel, list."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, cast

from celery import states

from workers import documents, fast_json, keys, paces, places, records, submission
from workers.errors import JobFailed, JobNotCancellable, JobNotFound
from workers.paces import Place
from workers.priorities import Priority
from workers.redis_client import records_client, translated_errors
from workers.submission import Idempotency, Limits

_log = logging.getLogger(__name__)

_PAGE = 200


class JobState(StrEnum):
    """Where a job stands."""

    #: Accepted; no worker has begun it.
    QUEUED = "queued"
    #: A model host has it.
    RUNNING = "running"
    #: Ended with an outcome.
    SUCCEEDED = "succeeded"
    #: Ended with an error.
    FAILED = "failed"
    #: Taken back before it ran.
    CANCELLED = "cancelled"
    #: Its time was over before it ran.
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """Whether nothing can change this state any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


_STATES = {
    documents.QUEUED: JobState.QUEUED,
    states.PENDING: JobState.QUEUED,
    states.RECEIVED: JobState.QUEUED,
    states.SUCCESS: JobState.SUCCEEDED,
    states.FAILURE: JobState.FAILED,
    states.REVOKED: JobState.CANCELLED,
}

_PRIORITIES = {level.value: level for level in Priority}


@dataclass(frozen=True, slots=True)
class Job:
    """A job's record; times in seconds since the epoch."""

    job_id: str
    endpoint_name: str
    state: JobState
    submitted_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    outcome: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    #: Attempts whose host or worker was lost.
    failures: Sequence[documents.Failure] = ()
    expires_at: float | None = None
    #: The name of the API key that it was submitted with, if there was one.
    owner: str | None = None
    priority: Priority = Priority.NORMAL
    #: Where it is in its queue, if it is and somebody has looked (`placed`).
    place: Place | None = field(default=None, compare=False)

    def document(self) -> dict[str, Any]:
        """Return the job as the HTTP API shows it; times in ISO 8601, UTC."""
        return {
            "job_id": self.job_id,
            "endpoint_name": self.endpoint_name,
            "status": self.state.value,
            "submitted_at": documents.iso(self.submitted_at),
            "started_at": documents.iso(self.started_at),
            "finished_at": documents.iso(self.finished_at),
            "expires_at": documents.iso(self.expires_at),
            "owner": self.owner,
            "priority": self.priority.value,
            "queue": None if self.place is None else self.place.document(),
            "attempts": self.attempts,
            "failures": [{**each, "at": documents.iso(each["at"])} for each in self.failures],
            "outcome": self.outcome,
            "error": self.error,
        }


def submit(  # noqa: PLR0913, PLR0917 - what makes a job
    endpoint_name: str,
    rows: Mapping[str, Any],
    limits: Limits,
    idempotency: Idempotency | None = None,
    job_id: str | None = None,
    owner: str | None = None,
    *,
    priority: Priority = Priority.NORMAL,
    callback_url: str | None = None,
) -> Job:
    """Submit one job; `rows` is `{"input": …}` for one row, `{"inputs": […]}` for several, `owner` whose it is.

    Its end is told to `callback_url` (see `webhooks`).

    Under an idempotency key that was used before, return that job as it stands, whatever `job_id` is.

    Raises:
        JobArgumentsWrong: neither or both of them are given, or the list is empty.
        TargetRefused: nothing can be told to `callback_url`.
        QueueFull: the endpoint has too many unfinished jobs.
        IdempotencyConflict: the key was used for another request.
        QueueUnavailable: Redis or the broker can't be reached; nothing was stored.
    """
    args, kwargs = ((endpoint_name, rows["input"]), {}) if "input" in rows else ((endpoint_name,), dict(rows))
    accepted = submission.submit(
        args,
        kwargs,
        limits=limits,
        idempotency=idempotency,
        owner=owner,
        task_id=job_id,
        priority=priority,
        callback_url=callback_url,
    )
    if accepted.repeated:
        return placed([get(accepted.job_id)])[0]
    return Job(
        accepted.job_id,
        endpoint_name,
        JobState.QUEUED,
        submitted_at=accepted.submitted_at,
        owner=owner,
        priority=priority,
        place=paces.place_of(endpoint_name, accepted.line),
    )


def get(job_id: str, owner: str | None = None) -> Job:
    """Return a job as it stands; with an `owner`, only one of theirs.

    Raises:
        JobNotFound: the id is unknown, or its record has expired, or it is somebody else's.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        [record] = records.read([job_id])
    if record is None:
        raise JobNotFound(job_id)
    job = parse(job_id, record)
    if owner is not None and job.owner != owner:
        raise JobNotFound(job_id)
    return job


def placed(found: Sequence[Job]) -> list[Job]:
    """Return jobs with the places of those that are queued: one more look for each endpoint that has any.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    queued: dict[str, list[str]] = {}
    for job in found:
        if job.state is JobState.QUEUED:
            queued.setdefault(job.endpoint_name, []).append(job.job_id)
    place_of: dict[str, Place] = {}
    with translated_errors():
        for name, ids in queued.items():
            lines = places.read(name, ids)
            place_of |= {job_id: paces.place_of(name, line) for job_id, line in lines.items()}
    return [replace(job, place=place_of[job.job_id]) if job.job_id in place_of else job for job in found]


def cancel(job_id: str, *, force: bool = False, owner: str | None = None) -> Job:
    """Take back a queued job, so that it never runs; with `force` also a running one, whose host is stopped.

    Raises:
        JobNotFound: the id is unknown, or with an `owner` somebody else's.
        JobNotCancellable: it has ended, or it is running and not to be stopped.
        QueueUnavailable: Redis can't be reached.
    """
    job = get(job_id, owner)
    about = job_id, job.endpoint_name, documents.CANCELLED, job.submitted_at, time.time()
    record = documents.revoked(*about, owner=job.owner, priority=job.priority)
    with translated_errors():
        status = records.withdraw(job_id, job.endpoint_name, record, force=force)
        if status == documents.STARTED and force:
            records_client().publish(keys.CANCEL_CHANNEL, job_id)
    if status is None:
        raise JobNotFound(job_id)
    if not records.withdrawn(status, force=force):
        raise JobNotCancellable(job_id, get(job_id).state.value)
    return parse(job_id, record)


def recent(
    endpoint_name: str | None = None, state: JobState | None = None, limit: int = 50, owner: str | None = None
) -> list[Job]:
    """Return the newest jobs, newest first, of one endpoint or of all, perhaps in one state or of one owner only.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    found: list[Job] = []
    with translated_errors():
        for page in _pages(endpoint_name):
            for job_id, record in zip(page, records.read(page), strict=True):
                job = parse(job_id, record) if record is not None else None
                if job is not None and state in (None, job.state) and owner in (None, job.owner):
                    found.append(job)
            if len(found) >= limit:
                break
    return found[:limit]


def parse(job_id: str, record: bytes) -> Job:
    """Turn a record, also one that Celery itself wrote, into a job."""
    found = fast_json.loads(record)
    # Celery has more states than these, and programs may make their own: none of those is an end.
    state = _STATES.get(found["status"], JobState.RUNNING)
    if state is JobState.CANCELLED and found.get("reason") == documents.EXPIRED:
        state = JobState.EXPIRED
    error = found.get("error")
    if state is JobState.FAILED and error is None:
        error = _celerys_error(found.get("result"))
    return Job(
        job_id,
        found.get("endpoint_name", ""),
        state,
        submitted_at=found.get("submitted_at"),
        started_at=found.get("started_at"),
        finished_at=found.get("finished_at"),
        attempts=found.get("attempts") or 0,
        outcome=found["result"] if state is JobState.SUCCEEDED else None,
        error=error,
        failures=tuple(found.get("failures") or ()),
        expires_at=found.get("expires_at"),
        owner=found.get("owner"),
        priority=_PRIORITIES.get(str(found.get("priority")), Priority.NORMAL),
    )


def parse_if_readable(job_id: str, record: bytes | None) -> Job | None:
    """Return a job; None if it is gone, or its record can't be read, which must not keep others from theirs."""
    try:
        return None if record is None else parse(job_id, record)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        _log.warning("can't read the record of job %s: %r", job_id, error)
        return None


def _celerys_error(result: Any) -> dict[str, Any]:
    """What a failed task of Celery's own says of its exception."""
    said = result if isinstance(result, dict) else {"exc_message": result}
    message = said.get("exc_message")
    text = ", ".join(map(str, message)) if isinstance(message, list) else str(message)
    return {"code": JobFailed.code, "type": str(said.get("exc_type")), "message": text}


def _pages(endpoint_name: str | None) -> Iterator[list[str]]:
    client = records_client()
    members = cast("set[bytes]", client.smembers(keys.ENDPOINTS))
    names = [endpoint_name] if endpoint_name else sorted(name.decode() for name in members)
    newest = heapq.merge(*(_newest(name) for name in names), reverse=True)
    page: list[str] = []
    for _, job_id in newest:
        page.append(job_id)
        if len(page) == _PAGE:
            yield page
            page = []
    yield page


def _newest(endpoint_name: str) -> Iterator[tuple[float, str]]:
    """The endpoint's jobs, newest first, read page by page as they are needed."""
    client, start = records_client(), 0
    before: set[bytes] = set()
    while True:
        key, end = keys.recent(endpoint_name), start + _PAGE - 1
        rows = cast("list[tuple[bytes, float]]", client.zrevrange(key, start, end, withscores=True))
        # Jobs that were submitted meanwhile have moved some of the last page into this one.
        yield from ((submitted_at, job_id.decode()) for job_id, submitted_at in rows if job_id not in before)
        before = {job_id for job_id, _ in rows}
        if len(rows) < _PAGE:
            return
        start += _PAGE
