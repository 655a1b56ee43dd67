"""Reading a task message as it stands in a queue: kombu's envelope around Celery's protocol 2."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kombu.compression import decompress

from workers import arguments, queues
from workers.errors import JobArgumentsWrong
from workers.keys import SUBMITTED_AT_HEADER


class MessageUnreadable(Exception):
    """A message that is no task message, so that there is no job to fail."""


@dataclass(eq=False, slots=True)
class QueuedJob:
    """A job that this worker holds under a lease; times in seconds since the epoch."""

    tag: str
    job_id: str
    endpoint_name: str
    rows: list[Any]
    many: bool
    submitted_at: float | None
    not_before: float | None
    expires_at: float | None
    #: How often a run of it was lost with a worker or a host.
    lost_runs: int
    #: What task-received tells Flower.
    event_fields: dict[str, Any]
    #: A run of it was lost: it must not share a batch, so that the blame is its own.
    alone: bool = False
    #: Why it can't be run, if it can't.
    fault: JobArgumentsWrong | None = field(default=None)


def parse(tag: str, endpoint_name: str, message: bytes, lost_runs: int) -> QueuedJob:
    """Read one message; a job whose arguments are wrong has a `fault` and no rows.

    Raises:
        MessageUnreadable: it is not a `predict` task message.
    """
    try:
        envelope = json.loads(message)
        headers, properties = envelope["headers"], envelope["properties"]
        task, job_id = headers["task"], headers["id"]
        job = QueuedJob(
            tag=tag,
            job_id=job_id,
            endpoint_name=endpoint_name,
            rows=[],
            many=False,
            submitted_at=headers.get(SUBMITTED_AT_HEADER),
            not_before=_seconds(headers.get("eta")),
            expires_at=_seconds(headers.get("expires")),
            lost_runs=lost_runs,
            event_fields=_event_fields(headers),
            alone=lost_runs > 0,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MessageUnreadable(f"not a task message: {type(error).__name__}: {error}") from error
    if task != queues.TASK_NAME or not isinstance(job_id, str):
        raise MessageUnreadable(f"a message of task {task!r}; only {queues.TASK_NAME!r} runs here")
    try:
        _read_arguments(job, envelope, properties)
    except JobArgumentsWrong as error:
        job.fault = error
    return job


def _read_arguments(job: QueuedJob, envelope: dict[str, Any], properties: dict[str, Any]) -> None:
    if envelope.get("content-type") != "application/json":
        raise JobArgumentsWrong(f"The message is {envelope.get('content-type')}; only JSON is read here.")
    try:
        body: Any = envelope["body"]
        if properties.get("body_encoding") == "base64":
            body = base64.b64decode(body)
        if compression := envelope["headers"].get("compression"):
            body = decompress(body, compression)  # type: ignore[no-untyped-call]
        args, kwargs, _ = json.loads(body)
    except (ValueError, TypeError, KeyError, LookupError, RecursionError) as error:
        raise JobArgumentsWrong("The message's body can't be read as [args, kwargs, options] in JSON.") from error
    read = arguments.parse(args, kwargs)
    if read.endpoint_name != job.endpoint_name:
        raise JobArgumentsWrong(f"A job of {read.endpoint_name!r} was sent to the queue of {job.endpoint_name!r}.")
    job.rows, job.many = read.rows, read.many


def _seconds(moment: str | None) -> float | None:
    if not moment:
        return None
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


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
