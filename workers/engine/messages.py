"""Reading a task message into the job that it carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registry.serving_settings import EventsSetting
from workers import arguments, envelopes, queues, signing, tracing
from workers.documents import Failure
from workers.envelopes import Envelope, EnvelopeUnreadable
from workers.errors import JobArgumentsWrong
from workers.keys import SUBMITTED_AT_HEADER
from workers.priorities import Priority
from workers.settings import load
from workers.signing import SignatureWrong

#: The year 10,000, in seconds since the epoch: there is no date after it.
_END_OF_TIME = 253_402_300_800.0


class MessageUnreadable(Exception):
    """A message that is no task message, so that there is no job to fail."""


@dataclass(eq=False, slots=True)
class QueuedJob:
    """A job that this worker holds under a lease; times in seconds since the epoch."""

    tag: str
    job_id: str
    endpoint_name: str
    #: As it stood in the queue.
    message: bytes
    rows: list[Any]
    many: bool
    submitted_at: float | None
    not_before: float | None
    expires_at: float | None
    #: What task-received tells Flower.
    event_fields: dict[str, Any]
    #: The trace headers that it came with.
    trace: dict[str, str] | None = None
    #: The API key's name, if it was submitted with one.
    owner: str | None = None
    priority: Priority = Priority.NORMAL
    #: How often it was given to a host, on any worker.
    attempts: int = 0
    #: Those of the attempts that ended with the loss of the host or the worker.
    failures: list[Failure] = field(default_factory=list)
    #: An attempt was lost: it must not share a batch, so that the blame is its own.
    alone: bool = False
    #: What Flower is told of it.
    events: EventsSetting = "full"
    #: Why it can't be run, if it can't.
    fault: JobArgumentsWrong | None = None

    def failed(self, worker: str, at: float, reason: str) -> None:
        """Note that the last attempt was lost."""
        self.failures.append(Failure(attempt=self.attempts, worker=worker, at=at, reason=reason))
        self.alone = True


def parse(tag: str, endpoint_name: str, message: bytes, envelope: Envelope | None = None) -> QueuedJob:
    """Read one message; a job whose arguments are wrong has a `fault` and no rows.

    `envelope` is what is in the message, if the caller knows it already.

    Raises:
        MessageUnreadable: it is not a `predict` task message, or not signed as the settings ask for.
    """
    try:
        envelope = envelope or envelopes.decode(message)
        job = _job(tag, endpoint_name, message, envelope)
        _check_signature(envelope)
    except (SignatureWrong, EnvelopeUnreadable, ValueError, TypeError, KeyError, OverflowError) as error:
        raise MessageUnreadable(f"not a task message that can be taken: {type(error).__name__}: {error}") from error
    try:
        _read_arguments(job, envelope)
    except JobArgumentsWrong as error:
        job.fault = error
    return job


def _job(tag: str, endpoint_name: str, message: bytes, envelope: Envelope) -> QueuedJob:
    headers = envelope.headers
    task, job_id = headers["task"], headers["id"]
    if task != queues.TASK_NAME:
        raise MessageUnreadable(f"a message of task {str(task)[:100]!r}; only {queues.TASK_NAME!r} runs here")
    if not isinstance(job_id, str) or not job_id:
        raise MessageUnreadable("a task message without an id")
    job_id.encode()  # half a surrogate pair can't be part of a key
    return QueuedJob(
        tag=tag,
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
        trace=tracing.headers_in(headers),
        owner=envelopes.owner(headers),
    )


def _check_signature(envelope: Envelope) -> None:
    if accepted_keys := load().message_keys:
        content = envelope.content()
        signing.check(accepted_keys, envelope.headers, content if isinstance(content, bytes) else content.encode())


def _read_arguments(job: QueuedJob, envelope: Envelope) -> None:
    try:
        args, kwargs = envelope.arguments()
    except EnvelopeUnreadable as error:
        raise JobArgumentsWrong(str(error)) from error
    read = arguments.parse(args, kwargs)
    if read.endpoint_name != job.endpoint_name:
        raise JobArgumentsWrong(f"A job of {read.endpoint_name!r} was sent to the queue of {job.endpoint_name!r}.")
    job.rows, job.many = read.rows, read.many


def _moment(value: Any) -> float | None:
    """A time that can be written down; what a header says instead of one is ignored."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 0 < value < _END_OF_TIME else None


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
