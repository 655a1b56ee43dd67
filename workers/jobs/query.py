"""Jobs as other programs see them: submit, look, cancel, list."""

from __future__ import annotations

import heapq
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, cast

import redis
from celery import states
from msgspec.structs import replace

from registry import names
from workers import keys
from workers.errors import JobFailed, JobNotCancellable, JobNotFound, JobUnreadable
from workers.jobs import accept, records, transitions
from workers.jobs.accept import Accepted, Idempotency, Limits
from workers.jobs.job import NO_OPTIONS, Job, JobOptions
from workers.measures import paces, positions
from workers.measures.paces import QueuePosition
from workers.platform import fast_json
from workers.platform.ids import pipeline_of
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client, translated_errors
from workers.queues.priorities import Priority
from workers.settings import load

_log = logging.getLogger(__name__)

_PAGE = 200
#: The last one of the year 9,999: there is no date for what is much later.
_LAST_SECOND_S = 253_402_300_799.0
#: Characters; those of our own records are shorter.
_LONGEST_TRACEBACK = 8_192


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
    #: Its record can't be read: another program has written it. The job has no outcome.
    UNREADABLE = "unreadable"

    @property
    def terminal(self) -> bool:
        """Whether nothing can change this state any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


_STATES = {
    records.QUEUED: JobState.QUEUED,
    states.PENDING: JobState.QUEUED,
    states.RECEIVED: JobState.QUEUED,
    states.SUCCESS: JobState.SUCCEEDED,
    states.FAILURE: JobState.FAILED,
    states.REVOKED: JobState.CANCELLED,
}

_PRIORITIES = {priority.value: priority for priority in Priority}


class JobView(Job, frozen=True, kw_only=True, eq=False):
    """A job as its record shows it; times in seconds since the epoch. `not_before` is None once it has begun."""

    state: JobState
    started_at: float | None = None
    finished_at: float | None = None
    outcome: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    #: The last lines of the traceback of the model's code, if it has raised.
    traceback: str | None = None
    #: Whether it has an outcome that was too long to be read with those of others.
    outcome_omitted: bool = False
    #: The length of its record, 0 if none was read.
    record_bytes: int = 0
    #: Where it is in its queue, if it is and it was looked up (`with_positions`).
    queue_position: QueuePosition | None = None
    #: The steps of a pipeline, as its record says them (see `workers.pipelines`); none of another job.
    steps: tuple[dict[str, Any], ...] = ()

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Whether both are the same job in the same state, wherever it is in its queue."""
        return type(other) is JobView and all(getattr(self, name) == getattr(other, name) for name in _COMPARED)

    @property
    def is_delayed(self) -> bool:
        """Whether it is delayed, and so not in its queue."""
        return self.state is JobState.QUEUED and self.not_before is not None and self.not_before > time.time()

    def document(self, *, with_traceback: bool = False) -> dict[str, Any]:
        """Return the job as the HTTP API shows it; times in ISO 8601, UTC.

        The traceback is for the page of one job: lists would be long, and webhooks and links to events leave the house.
        """
        error = self.error
        if with_traceback and error is not None and self.traceback:
            error = {**error, "traceback": self.traceback}
        return {
            "job_id": self.job_id,
            "endpoint_name": self.endpoint_name,
            "status": self.state.value,
            "submitted_at": records.iso(self.submitted_at),
            "started_at": records.iso(self.started_at),
            "finished_at": records.iso(self.finished_at),
            "expires_at": records.iso(self.expires_at),
            "not_before": records.iso(self.not_before),
            "owner": self.owner,
            "priority": self.priority.value,
            "sticky_key": self.sticky_key,
            "queue": None if self.queue_position is None else self.queue_position.document(),
            "attempts": self.attempts,
            "failures": [{**each, "at": records.iso(each["at"])} for each in self.failures],
            "outcome": self.outcome,
            **({"outcome_omitted": True} if self.outcome_omitted else {}),
            "error": error,
            **({"steps": [_step_document(each) for each in self.steps]} if self.steps else {}),
            **({"pipeline_id": pipeline_id} if (pipeline_id := pipeline_of(self.job_id)) else {}),
        }


def _step_document(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step of a pipeline as the HTTP API shows it; whoever reads the step's own record adds what that says."""
    times = {name: records.iso(step.get(name)) for name in ("started_at", "finished_at")}
    known = {"endpoint_name": step["endpoint_name"], "job_id": step["job_id"], "status": step.get("status", "waiting")}
    return {**known, **times, "outcome": step.get("outcome"), "error": step.get("error")}


_COMPARED = [name for name in JobView.__struct_fields__ if name not in {"record_bytes", "queue_position"}]


def submit(  # noqa: PLR0913 - what makes a job
    endpoint_name: str,
    rows: Mapping[str, Any],
    limits: Limits,
    idempotency: Idempotency | None = None,
    job_id: str | None = None,
    *,
    owner: str | None = None,
    options: JobOptions = NO_OPTIONS,
) -> JobView:
    """Submit one job; `rows` is `{"input": …}` for one row, `{"inputs": […]}` for several, `owner` whose it is.

    Under an idempotency key that was used before, return that job as it stands, whatever `job_id` is.

    Raises:
        JobArgumentsWrong: neither or both of them are given, or the list is empty.
        TargetRefused: nothing can be told to the callback URL.
        QueueFull: the endpoint has too many unfinished jobs.
        IdempotencyConflict: the key was used for another request.
        JobUnconfirmed: Redis or the broker was lost on the way; the job may be stored.
        QueueUnavailable: Redis or the broker can't be reached; nothing was stored.
    """
    args, kwargs = arguments_of(endpoint_name, rows)
    accepted = accept.submit(
        args, kwargs, limits=limits, idempotency=idempotency, owner=owner, task_id=job_id, options=options
    )
    return with_positions([get(accepted.job_id)])[0] if accepted.repeated else accepted_view(accepted, owner)


def arguments_of(endpoint_name: str, rows: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of the task for `{"input": …}` or `{"inputs": […]}`."""
    return ((endpoint_name, rows["input"]), {}) if "input" in rows else ((endpoint_name,), dict(rows))


def accepted_view(accepted: Accepted, owner: str | None) -> JobView:
    """Return a job that has just been stored, with its queue position."""
    return JobView(
        accepted.job_id,
        accepted.endpoint_name,
        accepted.submitted_at,
        state=JobState.QUEUED,
        owner=owner,
        priority=accepted.priority,
        queue_position=paces.queue_position(accepted.endpoint_name, accepted.ahead),
    )


def get(job_id: str, owner: str | None = None) -> JobView:
    """Return a job as it stands; with an `owner`, only one of theirs.

    Raises:
        JobNotFound: the id is unknown, or its record has expired, or it is somebody else's.
        JobUnreadable: another program has written its record.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        record = transitions.read_one(job_id)
        job = None if record is None else shown(job_id, record)
        if job is None or not is_of(owner, job):
            raise JobNotFound(job_id)
    if job.state is JobState.UNREADABLE:
        raise JobUnreadable(job_id)
    return job


def is_of(owner: str | None, job: JobView) -> bool:
    """Tell whether a job may be shown to an owner; None may see all jobs.

    A record that can't be read has no owner; then the owner's list of jobs decides.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    if owner is None or job.state is not JobState.UNREADABLE:
        return owner in (None, job.owner)
    return records_client().zscore(keys.jobs_of(owner), job.job_id) is not None


def with_positions(found: Sequence[JobView]) -> list[JobView]:
    """Return jobs with the queue positions of those that are queued, with one look-up for each of their endpoints.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    queued: dict[str, list[str]] = {}
    for job in found:
        if job.state is JobState.QUEUED and not job.is_delayed:
            queued.setdefault(job.endpoint_name, []).append(job.job_id)
    position_of: dict[str, QueuePosition] = {}
    with translated_errors():
        for name, ids in queued.items():
            lines = positions.read(name, ids)
            position_of |= {job_id: paces.queue_position(name, line) for job_id, line in lines.items()}
    return [replace(job, queue_position=position_of[job.job_id]) if job.job_id in position_of else job for job in found]


def cancel(job_id: str, *, force: bool = False, owner: str | None = None, stops_host: bool = True) -> JobView:
    """Cancel a queued job, so that it never runs; with `force` also a running one.

    The host of a running job is stopped at once. But if an `owner` cancels the job, the host is stopped only if all of
    its jobs are cancelled, and not often (see `engine.serving.hosts.host_feed`); otherwise the answer is discarded.
    So it is without `stops_host`.

    Raises:
        JobNotFound: the id is unknown, or with an `owner` somebody else's.
        JobUnreadable: another program has written its record.
        JobNotCancellable: it has ended, or it is running and not to be stopped.
        QueueUnavailable: Redis can't be reached.
    """
    job = get(job_id, owner)
    record = records.revoked(job, records.CANCELLED, time.time(), stops_host=force and stops_host and owner is None)
    with translated_errors():
        status = transitions.withdraw(job, record, force=force)
        if status == records.STARTED and force:
            records_client().publish(keys.CANCEL_CHANNEL, job_id)
    if status is None:
        raise JobNotFound(job_id)
    if not transitions.withdrawn(status, force=force):
        raise JobNotCancellable(job_id, get(job_id).state.value)
    return parse(job_id, record)


def recent(
    endpoint_name: str | None = None, state: JobState | None = None, limit: int = 50, owner: str | None = None
) -> list[JobView]:
    """Return the newest jobs, newest first, of one endpoint or of all, perhaps in one state or of one owner only.

    Long outcomes are left out (`outcome_omitted`).

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    found: list[JobView] = []
    with translated_errors():
        for page in _pages(endpoint_name, owner):
            found += (job for job in page if state in (None, job.state))
            if len(found) >= limit:
                break
    return found[:limit]


def parse(job_id: str, record: bytes) -> JobView:
    """Turn a record, also one that Celery itself wrote, into a job. Raises JobUnreadable."""
    job = shown(job_id, record)
    if job.state is JobState.UNREADABLE:
        raise JobUnreadable(job_id)
    return job


def _parse(job_id: str, record: bytes) -> JobView:
    found = fast_json.loads(record)
    # Celery has more states than these, and programs may make their own: none of those is an end.
    state = _STATES.get(found["status"], JobState.RUNNING)
    if state is JobState.CANCELLED and found.get("reason") == records.EXPIRED:
        state = JobState.EXPIRED
    error = found.get("error")
    if state is JobState.FAILED and error is None:
        error = _celery_error(found.get("result"))
    return JobView(
        job_id,
        _text(found.get("endpoint_name")) or "",
        found.get("submitted_at"),
        state=state,
        started_at=found.get("started_at"),
        finished_at=found.get("finished_at"),
        attempts=found.get("attempts") or 0,
        outcome=found["result"] if state is JobState.SUCCEEDED else None,
        error=error,
        traceback=_last_of(found.get("traceback")) if state is JobState.FAILED else None,
        failures=tuple(found.get("failures") or ()),
        expires_at=found.get("expires_at"),
        not_before=found.get("not_before"),
        owner=_text(found.get("owner")),
        priority=_PRIORITIES.get(str(found.get("priority")), Priority.NORMAL),
        sticky_key=_text(found.get("sticky_key")),
        record_bytes=len(record),
        steps=tuple(found.get("steps") or ()),
    )


def _is_surely_shown(job: JobView) -> bool:
    """Tell whether all that a record may have spoilt is as it should be; a tenth of the work of showing it."""
    times = job.submitted_at, job.started_at, job.finished_at, job.expires_at, job.not_before
    return (
        not job.failures
        and not job.steps
        and all(seconds is None or (type(seconds) is float and 0 <= seconds < _LAST_SECOND_S) for seconds in times)
    )


def _text(value: Any) -> str | None:
    """Return a text of a record; None for anything else, which another program has written."""
    return value if isinstance(value, str) else None


def _last_of(traceback: Any) -> str | None:
    """Return the end of a record's traceback; Celery's own are as long as they are."""
    return traceback[-_LONGEST_TRACEBACK:] if isinstance(traceback, str) and traceback else None


def parse_if_readable(job_id: str, record: bytes | None) -> JobView | None:
    """Return a job; None if it is gone, or its record can't be read, which must not keep others from theirs."""
    job = None if record is None else shown(job_id, record)
    return None if job is None or job.state is JobState.UNREADABLE else job


def shown(job_id: str, record: bytes) -> JobView:
    """Return a job as it is shown among others: one whose record can't be read is UNREADABLE."""
    try:
        job = _parse(job_id, record)
        if not _is_surely_shown(job):
            job.document()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        _log.warning("can't read the record of job %s: %r", job_id, error)
        return JobView(job_id, "", None, state=JobState.UNREADABLE)
    return job


def _celery_error(result: Any) -> dict[str, Any]:
    """What a failed task of Celery's own says of its exception."""
    said = result if isinstance(result, dict) else {"exc_message": result}
    message = said.get("exc_message")
    text = ", ".join(map(str, message)) if isinstance(message, list) else str(message)
    return {"code": JobFailed.code, "type": str(said.get("exc_type")), "message": text}


def _pages(endpoint_name: str | None, owner: str | None) -> Iterator[list[JobView]]:
    """The jobs of an endpoint, of an owner, of both, or all; newest first."""
    if owner is None:
        for _, page in _pages_of(_names_of_lists(endpoint_name)):
            yield page
        return
    _complete(owner)
    for _, page in _pages_of([keys.jobs_of(owner)]):
        theirs = [job for job in page if job.owner == owner or job.state is JobState.UNREADABLE]
        yield [job for job in theirs if endpoint_name in (None, job.endpoint_name)]


def _names_of_lists(endpoint_name: str | None) -> list[str]:
    if endpoint_name:
        return [keys.recent(endpoint_name)]
    members = cast("set[bytes]", records_client().smembers(keys.ENDPOINTS))
    found = sorted(member.decode() for member in members)
    return [keys.recent(name) for name in found if not names.is_replay(name)]


def _complete(owner: str) -> None:
    """Add to an owner's list, once, what processes of a release without such lists have submitted."""
    client = records_client()
    if client.exists(keys.jobs_of_complete(owner)):
        return
    theirs: dict[str, float] = {}
    for at, page in _pages_of(_names_of_lists(None)):
        theirs |= {job.job_id: at[job.job_id] for job in page if job.owner == owner}
    settings = load()
    with suppress(redis.OutOfMemoryError), client.pipeline(transaction=False) as pipeline:
        if theirs:
            pipeline.zadd(keys.jobs_of(owner), theirs)
            pipeline.zremrangebyrank(keys.jobs_of(owner), 0, -1 - settings.recent_jobs)
            pipeline.expire(keys.jobs_of(owner), settings.unfinished_ttl_s)
        pipeline.set(keys.jobs_of_complete(owner), "1", ex=settings.unfinished_ttl_s)
        pipeline.execute()


def _pages_of(names: Sequence[str]) -> Iterator[tuple[dict[str, float], list[JobView]]]:
    """Jobs of some lists, newest first, a page at a time, with the times by which they are in order."""
    newest = heapq.merge(*(_newest(name) for name in names), reverse=True)
    while at := {job_id: submitted_at for submitted_at, job_id in islice(newest, _PAGE)}:
        clipped = read_clipped([keys.record(job_id) for job_id in at])
        yield at, [_view_of_clipped(job_id, each) for job_id, each in zip(at, clipped, strict=True) if each is not None]


def _view_of_clipped(job_id: str, clipped: ClippedRecord) -> JobView:
    job = shown(job_id, clipped.record)
    return replace(job, outcome=None, outcome_omitted=True) if clipped.cut and job.state is JobState.SUCCEEDED else job


def _newest(name: str) -> Iterator[tuple[float, str]]:
    """The jobs of a list, newest first, read page by page as they are needed."""
    client, start = records_client(), 0
    before: set[bytes] = set()
    while True:
        rows = cast("list[tuple[bytes, float]]", client.zrevrange(name, start, start + _PAGE - 1, withscores=True))
        # Jobs that were submitted meanwhile have moved some of the last page into this one.
        yield from ((submitted_at, job_id.decode()) for job_id, submitted_at in rows if job_id not in before)
        before = {job_id for job_id, _ in rows}
        if len(rows) < _PAGE:
            return
        start += _PAGE


#: A longer record is read without its outcome.
LISTED_BYTES = 16_384
_HEAD_BYTES = 64
_STATUS = re.compile(rb'{"status": ?"(\w+)"')
#: What follows the outcome in each record, as Celery writes it too; inside a text its quotes would be escaped.
_AFTER_OUTCOME = b'"traceback":'

_READ_CLIPPED = Lua("workers.jobs", "read_clipped")

#: For `on_loop.reads`.
SOME = Lua("workers.jobs", "read_some")


@dataclass(frozen=True, slots=True)
class ClippedRecord:
    """A record; `cut` if its outcome was left out. Empty if it can't be read."""

    record: bytes
    cut: bool = False


def read_clipped(record_keys: Sequence[str]) -> list[ClippedRecord | None]:
    """Return records without the outcomes of long ones, None for each that there is not. Raises redis.RedisError."""
    if not record_keys:
        return []
    found: list[list[bytes] | None] = script(records_client(), _READ_CLIPPED)(record_keys, [LISTED_BYTES, _HEAD_BYTES])
    return [None if pieces is None else _clipped(pieces) for pieces in found]


def _clipped(pieces: Sequence[bytes]) -> ClippedRecord:
    if len(pieces) < 2:
        return ClippedRecord(pieces[0] if pieces else b"")
    head, tail = pieces
    status, at = _STATUS.match(head), tail.rfind(_AFTER_OUTCOME)
    if status is None or at < 0:
        return ClippedRecord(b"")
    return ClippedRecord(b'{"status": "%b", "result": null, %b' % (status[1], tail[at:]), cut=True)
