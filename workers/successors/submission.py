"""Submits successors that are jobs of ours, each under an id that is known before, so that none runs twice.

A job whose queue is full is kept as a note and submitted once there is room: it waits, and never fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Any

from kombu.utils import json as kombu_json

from registry import names
from workers.endpoints import names as endpoint_names
from workers.errors import (
    BulkTooLarge,
    EndpointUnknown,
    InputRejected,
    JobArgumentsWrong,
    JobFailed,
    QueueFull,
    QueueUnavailable,
    SuccessorsTooLong,
    TargetRefused,
    WorkerError,
)
from workers.jobs import accept, transitions
from workers.jobs.endings import canvas, successors
from workers.jobs.endings.successors import SUBMIT_OF, PlanUnreadable
from workers.jobs.job import JobOptions
from workers.queues import arguments, envelopes
from workers.queues.naming import priority_of
from workers.queues.priorities import Priority
from workers.settings import load
from workers.successors import notes
from workers.successors.full_queues import FullQueues, limits_of
from workers.successors.notes import Note

_log = logging.getLogger(__name__)
#: A job to submit: its id, args, kwargs, owner and options.
_Job = tuple[str, Sequence[Any], Mapping[str, Any], str | None, Mapping[str, Any]]

#: The time after which a job is submitted again whose queue is full; it grows with each try, up to the longest one.
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
#: It is looked at when it expires too, but not in between more often than this.
_SHORTEST_RETRY_S = 0.05
#: Options that choose where Celery sends a task; the endpoint decides where a job of ours goes.
_WHERE = ("queue", "exchange", "routing_key", "exchange_type", "task_type", "add_to_parent", "serializer")


def submit(
    job_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], owner: str | None, options: Mapping[str, Any]
) -> None:
    """Submit a job as `apply_async` does with these options, or keep it until its queue has room and can be reached.

    A job that can't be submitted ever, because its arguments or options are wrong, ends as failed. One for an endpoint
    that doesn't exist waits for it as long as a bare program's job does (QUEUECAST_UNKNOWN_ENDPOINT_S).

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    # The body of a chord has this one call: Celery would fail it.
    is_submitted = is_endpoint_unknown = False
    try:
        is_submitted = _submitted(job_id, args, kwargs, owner, options)
    except EndpointUnknown:
        is_endpoint_unknown = True
    except QueueUnavailable as error:
        _log.warning("submitting job %s, which follows another one, failed (%s); retrying", job_id, error)
    if not is_submitted:
        _keep(job_id, args, kwargs, owner, options, is_endpoint_unknown=is_endpoint_unknown)


def submit_kept(note: Note, full_queues: FullQueues) -> float | None:
    """Submit a job that was kept, or fail it; return None, or after how many seconds to try again.

    One whose queue was full just now is not tried.

    Raises:
        PlanUnreadable: the note is unreadable, or not signed with a known key.
        QueueUnavailable: Redis or the broker can't be reached.
    """
    try:
        signed, text = note.job.decode().split("\n", 1)
        successors.check(signed, note.note_id, text)
        said = kombu_json.loads(text)  # type: ignore[no-untyped-call, unused-ignore]
        job = said["job_id"], said["args"], said["kwargs"], said["owner"], said["options"]
    except (ValueError, TypeError, LookupError) as error:
        raise PlanUnreadable(f"{type(error).__name__}: {error}") from error
    retry_s: float = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(note.tries, 10))
    again_in_s = _tried(note, job, retry_s, full_queues)
    expires_at = _expires_at(job[-1])
    if again_in_s is None or expires_at is None:
        return again_in_s
    left_s = expires_at - time.time()
    if left_s > 0:
        return min(again_in_s, max(left_s, _SHORTEST_RETRY_S))
    _expire(job, expires_at)
    return None


def _tried(note: Note, job: _Job, retry_s: float, full_queues: FullQueues) -> float | None:
    """Submit a job that was kept, or fail it; return None, or after how many seconds to try again."""
    job_id, args, kwargs, owner, options = job
    limits = limits_of(endpoint_of(args, kwargs), owner, options)
    if full_queues.have(limits):
        return retry_s
    try:
        is_submitted = _submitted(*job)
    except EndpointUnknown as error:
        left_s = load().unknown_endpoint_s - notes.unknown_for_s(note.note_id)
        if left_s > 0:
            return min(retry_s, max(left_s, FIRST_RETRY_S))
        fail(job_id, args, kwargs, owner, error, options)
        return None
    if is_submitted:
        return None
    full_queues.remember(limits)
    if note.is_endpoint_unknown:
        notes.forget_unknown(note.note_id)
    return retry_s


def _expires_at(options: Mapping[str, Any]) -> float | None:
    """Return when a job expires by the options that are kept with it; None if they don't say."""
    expires = options.get("expires")
    with suppress(TypeError, ValueError, OverflowError):
        return envelopes.seconds(expires.isoformat() if isinstance(expires, datetime) else expires)
    return None


def _expire(job: _Job, expires_at: float) -> None:
    """End a job as expired that has waited for its queue; what follows it is due."""
    job_id, args, kwargs, owner, options = job
    plan = _plan_of_failure(job_id, owner, options)
    if transitions.expire_unborn(job_id, endpoint_of(args, kwargs), owner, expires_at, plan):
        _log.info("job %s, which follows another one, has expired before its queue had room", job_id)
        successors.announce_due()


def _submitted(
    job_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], owner: str | None, options: Mapping[str, Any]
) -> bool:
    """Submit a job, or fail it for good; False if its queue is full. Raises EndpointUnknown."""
    left = dict(options)
    must_exist = left.pop("must_exist", True) and load().unknown_endpoint_s > 0
    try:
        own = JobOptions.taken_from(left)
        if own.priority is None and "priority" not in left and isinstance(queue := left.get("queue"), str):
            priority = priority_of(queue)
            left |= {} if priority is Priority.NORMAL else {"priority": priority.value}
        celery_options = {name: value for name, value in left.items() if name not in _WHERE}
        if must_exist:
            endpoint_names.check(arguments.parse(args, kwargs).endpoint_name)
        accept.submit(tuple(args), dict(kwargs), task_id=job_id, owner=owner, options=own, **celery_options)
    except QueueFull:
        return False
    except (JobArgumentsWrong, TargetRefused, BulkTooLarge) as error:
        reason = error if isinstance(error, JobFailed) else InputRejected(str(error))
        fail(job_id, args, kwargs, owner, reason, options)
    return True


def fail(  # noqa: PLR0913, PLR0917 - what is known of the job
    job_id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    owner: str | None,
    error: WorkerError,
    options: Mapping[str, Any],
) -> None:
    """End a job as failed that was never submitted; what follows it is due."""
    plan = _plan_of_failure(job_id, owner, options)
    name = endpoint_of(args, kwargs)
    if transitions.end_unborn(job_id, name, owner, error, plan):
        _log.warning("job %s, which follows another one, can't be submitted: %s", job_id, error)
        successors.announce_due()


def _plan_of_failure(job_id: str, owner: str | None, options: Mapping[str, Any]) -> bytes:
    """Return the plan of what follows a job that is never submitted, as far as it can be read."""
    try:
        return canvas.plan_of_options(job_id, dict(options), owner)
    except SuccessorsTooLong as error:
        return error.plan_of_failure
    except JobArgumentsWrong:
        return b""


def endpoint_of(args: Any, kwargs: Any) -> str:
    """Return the endpoint that arguments name, "" if they name none."""
    try:
        return arguments.parse(args, kwargs).endpoint_name
    except JobArgumentsWrong:
        named = kwargs.get("endpoint_name") if isinstance(kwargs, Mapping) else None
        first = args[0] if isinstance(args, (list, tuple)) and args else None
        name = named if named is not None else first
        return name if isinstance(name, str) and names.could_exist(name) else ""


def _keep(  # noqa: PLR0913 - what is known of the job
    job_id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    owner: str | None,
    options: Mapping[str, Any],
    *,
    is_endpoint_unknown: bool,
) -> None:
    fixed = _with_fixed_times(options)
    said = {"job_id": job_id, "args": args, "kwargs": kwargs, "owner": owner, "options": fixed}
    note_id = SUBMIT_OF + job_id
    text: str = kombu_json.dumps(said)  # type: ignore[no-untyped-call, unused-ignore]
    signed = f"{successors.signature(note_id, text)}\n{text}".encode()
    notes.keep_job(note_id, signed, FIRST_RETRY_S, is_endpoint_unknown=is_endpoint_unknown)
    _log.info("job %s, which follows another one, waits: its queue takes none now", job_id)


def _with_fixed_times(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose times count from now on, as `apply_async` counts them, however often they are read.

    What is no time stays as it is: the job fails because of it when it is submitted.
    """
    fixed, now = dict(options), datetime.now(UTC)
    # A countdown of 0 is none, as in Celery.
    with suppress(TypeError, ValueError, OverflowError):
        if fixed.get("countdown"):
            fixed["eta"] = (now + timedelta(seconds=fixed["countdown"])).isoformat()
            del fixed["countdown"]
    with suppress(TypeError, ValueError, OverflowError):
        if isinstance(fixed.get("expires"), Real):
            fixed["expires"] = (now + timedelta(seconds=fixed["expires"])).isoformat()
    return fixed
