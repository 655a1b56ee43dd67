"""Parses task messages into jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace
from redis.asyncio import Redis

from registry.serving.settings import EventsSetting
from workers.errors import EARLIER_JOB_ERRORS_MODULE, JOB_ERRORS_MODULE, JobArgumentsWrong, SuccessorsTooLong
from workers.jobs import transitions
from workers.jobs.endings import canvas
from workers.jobs.job import Failure, is_sticky_key
from workers.keys import ERRORS_HEADER, STICKY_KEY_HEADER, SUBMITTED_AT_HEADER
from workers.measures.arms import Arm
from workers.platform import fast_json
from workers.platform.texts import short_repr
from workers.queues import arguments, envelopes, naming, signing
from workers.queues.envelopes import Envelope, EnvelopeUnreadable
from workers.queues.priorities import Priority
from workers.settings import load
from workers.tracing import spans

#: The year 10,000, in seconds since the epoch: there is no date after it.
_END_OF_TIME = 253_402_300_800.0
#: The id in a message, found without parsing it. (Quotes within strings have a backslash before them.)
_ID = re.compile(rb'"id": ?"([!#-\[\]-~]{1,255})"')


class MessageUnreadable(Exception):
    """The message is not a task message, so there is no job to fail."""


@dataclass(eq=False, slots=True)
class Dealt:
    """The version of a trial that a job was dealt to, and why that has not answered it."""

    trial_id: str
    arm: Arm
    #: One of `arms.FAILURES`, `arms.UNJUDGED` or `arms.UNSERVED`; "" as long as there is no reason.
    failure: str = ""
    #: Whether it runs on the stable version instead.
    fell_back: bool = False
    predict_ms: float | None = None


class QueuedJob(msgspec.Struct, eq=False):
    """A job that this worker holds under a lease; times in seconds since the epoch."""

    tag: str
    job_id: str
    endpoint_name: str
    #: The original message.
    message: bytes
    #: As the message has them.
    rows: list[Raw]
    many: bool
    submitted_at: float | None
    not_before: float | None
    expires_at: float | None
    #: The fields of the event task-received.
    event_fields: dict[str, Any]
    #: The trace headers of the message.
    trace: dict[str, str] | None = None
    #: The API key's name, if it was submitted with one.
    owner: str | None = None
    priority: Priority = Priority.NORMAL
    #: The key by which a rollout deals it; None is its id.
    sticky_key: str | None = None
    #: To which version of a trial it was dealt; None without a trial.
    dealt: Dealt | None = None
    #: When it was claimed in the step that fetched it, for a host that waits; None if it has to be claimed.
    claimed_at: float | None = None
    #: The number of attempts, on any worker.
    attempts: int = 0
    #: Attempts that ended with the loss of the host or worker.
    failures: list[Failure] = []
    #: An attempt was lost, so it must run in a batch of its own.
    alone: bool = False
    #: It was cancelled while it waited to run again.
    withdrawn: bool = False
    #: Its host was stopped because of another job; the next run belongs to the same attempt.
    interrupted: bool = False
    #: Which events are sent for it.
    events: EventsSetting = "full"
    #: The plan of what follows it by its message, which a worker keeps when it receives it; empty for nothing. What
    #: follows a job that was accepted is kept since then.
    successors: bytes = b""
    #: Where its sender finds the class of its error, if it fails.
    errors_module: str = JOB_ERRORS_MODULE
    #: The error in its arguments, if any.
    fault: JobArgumentsWrong | None = None

    @property
    def waits_since(self) -> float | None:
        """The time when it could first run: when it was submitted, or when it is due. None if unknown."""
        return None if self.submitted_at is None else max(self.submitted_at, self.not_before or 0.0)

    def failed(self, worker: str, at: float, reason: str) -> None:
        """Record that the last attempt was lost."""
        self.failures.append(Failure(attempt=self.attempts, worker=worker, at=at, reason=reason))
        self.alone = True


def parse(tag: str, endpoint_name: str, message: bytes, envelope: Envelope | None = None) -> QueuedJob:
    """Parse one message; a job with invalid arguments has a `fault` and no rows.

    `tag` is "" if the job's id is its tag. `envelope` is the decoded message, if the caller has it.

    Raises:
        MessageUnreadable: it is not a `predict` task message, or lacks a signature that the settings require.
    """
    try:
        envelope = envelope or envelopes.decode(message)
        signing.check_envelope(load().message_keys, envelope)
        if "task" not in envelope.headers:
            return _of_protocol_1(tag, endpoint_name, message, envelope)
        job = _job(tag, endpoint_name, message, envelope)
    except MessageUnreadable:
        raise
    except Exception as error:  # any error: other messages were fetched with this one
        raise MessageUnreadable(f"not a valid task message: {type(error).__name__}: {error}") from error
    try:
        _read_arguments(job, envelope)
    except SuccessorsTooLong as error:
        job.fault, job.successors = error, error.plan_of_failure
    except JobArgumentsWrong as error:
        job.fault = error
    except Exception as error:  # noqa: BLE001 - as above
        job.fault = JobArgumentsWrong(f"The message can't be read: {short_repr(error)}.")
    return job


def _of_protocol_1(tag: str, endpoint_name: str, message: bytes, envelope: Envelope) -> QueuedJob:
    """Parse a message of Celery's protocol 1 into a job that fails, so that its sender gets an error."""
    body = fast_json.loads(envelope.content()) if envelope.content_type == "application/json" else None
    if not isinstance(body, dict):
        raise MessageUnreadable("a message without the headers of a task")
    job = _job(tag, endpoint_name, message, envelope._replace(headers={"task": body["task"], "id": body["id"]}))
    job.fault = JobArgumentsWrong(
        "The message uses Celery's protocol 1, which is not supported. "
        "Send it with protocol 2, Celery's default: app.conf.task_protocol = 2."
    )
    return job


def unread(tag: str, endpoint_name: str, message: bytes, why: str) -> QueuedJob:
    """Return the job of a message that is given up, so that the job can fail.

    Raises:
        MessageUnreadable: the message has no id, or messages must be signed, so the id can't be trusted.
    """
    found = _ID.search(message)
    if found is None or load().message_keys:
        raise MessageUnreadable(why)
    headers = {"id": found[1].decode(), "task": naming.TASK_NAME}
    return replace(_job(tag, endpoint_name, message, Envelope("", None, headers, {})), fault=JobArgumentsWrong(why))


def _job(tag: str, endpoint_name: str, message: bytes, envelope: Envelope) -> QueuedJob:
    headers = envelope.headers
    task, job_id = headers["task"], headers["id"]
    if task != naming.TASK_NAME:
        raise MessageUnreadable(f"a message of task {str(task)[:100]!r}; only {naming.TASK_NAME!r} runs here")
    if not isinstance(job_id, str) or not job_id:
        raise MessageUnreadable("a task message without an id")
    job_id.encode()  # half of a surrogate pair can't be part of a key
    return QueuedJob(
        tag=tag or job_id,
        job_id=job_id,
        endpoint_name=endpoint_name,
        message=message,
        rows=[],
        many=False,
        submitted_at=_moment(headers.get(SUBMITTED_AT_HEADER)),
        not_before=envelopes.seconds(headers.get("eta")),
        expires_at=envelopes.seconds(headers.get("expires")),
        priority=envelope.priority,
        event_fields=_event_fields(headers),
        trace=spans.headers_in(headers),
        owner=envelopes.owner(headers),
        sticky_key=_sticky_key(headers.get(STICKY_KEY_HEADER)),
        errors_module=_errors_module(headers),
    )


def _errors_module(headers: Mapping[str, Any]) -> str:
    """Return the name that programs of the release before know, for their jobs alone."""
    is_earlier = SUBMITTED_AT_HEADER in headers and ERRORS_HEADER not in headers
    return EARLIER_JOB_ERRORS_MODULE if is_earlier else JOB_ERRORS_MODULE


def _read_arguments(job: QueuedJob, envelope: Envelope) -> None:
    try:
        body = envelope.json()
        job.successors = canvas.plan_of_message(job.job_id, envelope.headers, body, job.owner)
        read = arguments.parse_quickly(body)
        if read is None:
            values = arguments.parse(*envelopes.arguments_in(body))
            read = arguments.Arguments(values.endpoint_name, arguments.as_json(values.rows), values.many)
    except EnvelopeUnreadable as error:
        raise JobArgumentsWrong(str(error)) from error
    if read.endpoint_name != job.endpoint_name:
        raise JobArgumentsWrong(f"A job of {read.endpoint_name!r} was sent to the queue of {job.endpoint_name!r}.")
    job.rows, job.many = read.rows, read.many


def _moment(value: Any) -> float | None:
    """Return a valid time; None for any other value of a header."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 0 < value < _END_OF_TIME else None


def _sticky_key(value: Any) -> str | None:
    """Return a valid key; None for any other value of a header, which another program has written."""
    return value if is_sticky_key(value) else None


def _event_fields(headers: dict[str, Any]) -> dict[str, Any]:
    return {
        "uuid": headers["id"],
        "name": headers["task"],
        "args": headers.get("argsrepr", ""),
        "kwargs": headers.get("kwargsrepr", ""),
        "root_id": headers.get("root_id"),
        "parent_id": headers.get("parent_id"),
        "retries": headers.get("retries", 0),
        "eta": headers.get("eta"),
        "expires": headers.get("expires"),
    }


async def release_claims(client: Redis, worker_name: str, jobs: Sequence[QueuedJob]) -> None:
    """Take back the claims that were made when jobs were fetched: they are queued again and have no attempt.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    if claimed := [job for job in jobs if job.claimed_at is not None]:
        await transitions.requeue(client, worker_name, claimed)
    for job in claimed:
        job.claimed_at = None


async def keep_successors(client: Redis, jobs: Sequence[QueuedJob]) -> None:
    """Keep what follows received jobs by their messages, before any step can end the jobs.

    Raises:
        redis.RedisError: Redis can't be reached.
    """
    if plans := [(job.job_id, job.successors) for job in jobs if job.successors]:
        await transitions.keep_successors(client, plans)
