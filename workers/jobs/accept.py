"""Accepts jobs: stores the record of each, a copy of its message, and the message itself, in one step.

If the queues are in the Redis of the records, one script does all of it and refuses what must not be accepted: a full
queue, or an idempotency key that was used before. With another broker, the record is written first and removed if the
broker refuses the message. One job is accepted as a batch of one; `bulk` accepts many with the same script.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import msgspec
import redis

from workers import keys
from workers.broker import broker_client
from workers.errors import IdempotencyConflict, JobArgumentsWrong, JobUnconfirmed, QueueUnavailable
from workers.jobs import prepared_messages, records, replication, transitions, weights
from workers.jobs.endings import canvas, outbox
from workers.jobs.job import NO_OPTIONS, Job, JobOptions
from workers.measures import positions
from workers.measures.positions import JobsAhead
from workers.platform import fast_json
from workers.platform.ids import new_id
from workers.platform.lua import Lua, script
from workers.platform.redis.client import may_have_arrived, records_client, translated_errors
from workers.queues import arguments, delayed, priorities
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority
from workers.settings import load
from workers.tracing import spans

#: A job's id is its message's tag, which scripts in Redis find in the JSON as it stands.
_TASK_ID = re.compile(r"[!#-\[\]-~]{1,255}")

#: Longer than sending to another broker takes before it fails.
SENDING_S = 5
_STILL_SENDING = "The first request with this Idempotency-Key is still being stored. Try again shortly."

ACCEPT = Lua("workers.jobs", "accept")
_Value = bytes | str | float


class Idempotency(msgspec.Struct, frozen=True):
    """A key under which a request is made once, whatever is sent again; `request` is all that must be equal."""

    key: str
    request: bytes
    #: Of the request, if it was computed where it is no trouble.
    request_digest: str = ""


class Limits(msgspec.Struct, frozen=True):
    """What bounds a job; None is what the deployment, or nothing, says."""

    max_queue_length: int | None = None
    expires_in_s: float | None = None
    max_queue_bytes: int | None = None


class Accepted(msgspec.Struct, frozen=True):
    """A job that is stored; `repeated` if it was before."""

    job_id: str
    endpoint_name: str
    submitted_at: float
    repeated: bool
    priority: Priority = Priority.NORMAL
    #: How many other jobs were unfinished when it was stored, and of them high and low; nothing of a repeated one.
    counts: Sequence[int] = ()

    @property
    def ahead(self) -> JobsAhead:
        """What is before a job that has just been stored."""
        unfinished, highs, lows = self.counts
        before = unfinished - highs - lows
        if self.priority is not Priority.NORMAL:
            before = highs if self.priority is Priority.HIGH else lows
        return JobsAhead.of(self.priority, before, unfinished, highs, lows)


_NO_LIMITS = Limits()
_NO_OPTIONS: Mapping[str, Any] = {}


def submit(  # noqa: PLR0913 - what makes a job, each by name
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    limits: Limits = _NO_LIMITS,
    idempotency: Idempotency | None = None,
    owner: str | None = None,
    task_id: str | None = None,
    options: JobOptions = NO_OPTIONS,
    successors: bytes = b"",
    **celery_options: Any,
) -> Accepted:
    """Store a job and send its message; `owner` see `query.submit`.

    `celery_options` are those of Celery's `apply_async`. Of them, `priority` is a name (`workers.queues.priorities`)
    or a number as the broker counts. `successors` is a plan (`endings.successors`); Celery's `link`, `link_error`,
    `chain` and `chord` make one too.

    Raises:
        JobArgumentsWrong: the arguments are not (endpoint_name, input) or inputs=[…], or are not JSON-serializable, or
            the options ask for successors, a `task_id` or a `priority` that can't be one.
        TargetRefused: nothing can be told to `callback_url`.
        QueueFull: the endpoint has no room for another unfinished job, or for another one of this owner.
        IdempotencyConflict: the idempotency key was used for another request.
        JobUnconfirmed: Redis or the broker was lost on the way, or too few replicas have the job; it may be stored.
        QueueUnavailable: Redis or the broker can't be reached; nothing was stored.
    """
    endpoint_name = arguments.parse(args, kwargs).endpoint_name
    args, kwargs = arguments.in_plain_form(args, kwargs)
    job_id = task_id or new_id()
    if not _TASK_ID.fullmatch(job_id):
        raise JobArgumentsWrong("A task_id is up to 255 printable ASCII characters without quotes and backslashes.")
    options = options.over(default_options(celery_options, limits))
    successors = successors or canvas.plan_of_options(job_id, celery_options, owner)
    with spans.sending(endpoint_name, job_id, celery_options) as traceparent, translated_errors():
        call = args, kwargs
        new = prepare(job_id, endpoint_name, call, owner, options, celery_options, traceparent, successors)
        return _submit(new, limits, idempotency)


def prepare(  # noqa: PLR0913, PLR0917 - what makes a job
    job_id: str,
    endpoint_name: str,
    call: tuple[Sequence[Any], Mapping[str, Any]],
    owner: str | None,
    options: JobOptions,
    celery_options: Mapping[str, Any] = _NO_OPTIONS,
    traceparent: str | None = None,
    successors: bytes = b"",
) -> PreparedJob:
    """Return a job of these arguments (args and kwargs) with its message and its successors, as it is stored.

    Raises:
        JobArgumentsWrong: an argument is not JSON-serializable, or an option means nothing.
        TargetRefused: nothing can be told to the callback URL.
    """
    args, kwargs = call
    callback = "" if options.callback_url is None else outbox.callback(options.callback_url)
    content = encode_arguments(args), encode_arguments(kwargs) if kwargs else b"{}"
    prepared = prepared_messages.prepare(
        celery_options, expires=options.expires_in_s is not None, traced=traceparent is not None
    )
    submitted_at = time.time()
    expires_at = prepared.expires_at(submitted_at, options.expires_in_s)
    not_before = delayed.waits_until(prepared.not_before)
    job = Job.accepted(job_id, endpoint_name, submitted_at, expires_at, not_before, owner, options)
    return PreparedJob(job, prepared.envelope(job, *content, traceparent), callback, successors)


def default_options(celery_options: Mapping[str, Any], limits: Limits) -> JobOptions:
    """Return the options of a job that has none of its own.

    Raises:
        JobArgumentsWrong: Celery's `priority` can't be one.
    """
    priority = priorities.of_option(celery_options.get("priority"), amqp=load().broker_is_amqp)
    return JobOptions(limits.expires_in_s, priority)


def is_used(idempotency_key: str) -> bool:
    """Tell whether a job was submitted under this idempotency key. Raises QueueUnavailable."""
    with translated_errors():
        return bool(records_client().exists(keys.idempotency(digest(idempotency_key.encode()))))


def encode_arguments(value: Any) -> bytes:
    """Return arguments in JSON. Raises JobArgumentsWrong if they are not JSON-serializable."""
    try:
        return fast_json.dumps_celery(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise JobArgumentsWrong(f"The input is not JSON-serializable: {error}.") from error


class PreparedJob(NamedTuple):
    """A job that is being accepted, with its message as it stands in Redis."""

    job: Job
    envelope: bytes
    #: As `outbox.callback` returns it, "" for none.
    callback: str = ""
    #: The plan of its successors, empty for none.
    successors: bytes = b""


class Request(NamedTuple):
    """What the jobs of one call share while they are stored.

    Attributes:
        call_id: another one for each call, also of one that repeats the request.
        first_id: the id of the first job of the call.
        room: what the whole call needs, as `weights.asked` returns it.
        scope: the digest of the idempotency key, None if the call has none; `digest` is that of the request.
        repeats: what a repeat of the request is: the same `job`, or the same `call`, whose missing jobs are stored.
    """

    endpoint_name: str
    owner: str | None
    not_before: float | None
    call_id: str
    first_id: str
    room: bytes
    max_queue_length: int | None
    scope: str | None
    digest: str
    repeats: str


def store(request: Request, new: Sequence[PreparedJob], *, asks_for_room: bool = True) -> list[Any]:
    """Store some jobs of a call with their messages, all in one step; return the answer of `accept.lua`.

    Raises:
        NotReplicated: too few replicas have them; they may be lost in a failover.
        redis.RedisError: Redis can't be reached, or refuses.
    """
    names, values = script_arguments(request, new, asks_for_room=asks_for_room)
    waiting = replication.wait_command()
    if waiting is not None:
        return replication.run(records_client(), ACCEPT, (names, values), waiting)
    answer: list[Any] = script(records_client(), ACCEPT)(names, values)
    return answer


def script_arguments(
    request: Request, new: Sequence[PreparedJob], *, asks_for_room: bool = True
) -> tuple[list[str], list[_Value]]:
    """Return the keys and the arguments of `accept.lua` for some jobs of a call."""
    name, beside = request.endpoint_name, load().queues_beside_records
    names = _shared_keys(request, beside=beside)
    values = _shared_values(request, new[0].job.submitted_at or 0.0, asks_for_room=asks_for_room)
    for each in new:
        job = each.job
        names += keys.record(job.job_id), keys.message(job.job_id)
        values += (
            job.job_id,
            records.queued(job, job.not_before),
            each.envelope,
            job.submitted_at or 0.0,
            "" if job.expires_at is None else job.expires_at,
            queue_name(name, job.priority) if beside else "",
            positions.priority_sign(job.priority),
            each.callback,
            each.successors,
        )
    return names, values


def _shared_keys(request: Request, *, beside: bool) -> list[str]:
    name, scope = request.endpoint_name, request.scope
    return [
        keys.unfinished(name),
        keys.prioritized(name),
        keys.recent(name),
        keys.ENDPOINTS,
        keys.EXPIRING,
        keys.LIMITS,
        keys.CALLBACKS,
        keys.delayed(name),
        keys.weights(name),
        "" if request.owner is None else keys.jobs_of(request.owner),
        "" if scope is None else keys.idempotency(scope),
        "" if scope is None or beside else keys.sending(scope),
    ]


def _shared_values(request: Request, submitted_at: float, *, asks_for_room: bool) -> list[_Value]:
    settings = load()
    return [
        request.endpoint_name,
        delayed.record_ttl_s(request.not_before),
        settings.recent_jobs,
        "" if request.max_queue_length is None else request.max_queue_length,
        int(asks_for_room),
        request.digest,
        settings.result_ttl_s,
        request.first_id,
        request.call_id,
        SENDING_S,
        "" if request.not_before is None else request.not_before,
        submitted_at,
        time.time() + positions.CLOCK_SLACK_S,
        request.room,
        request.repeats,
        int(settings.redis_replicas > 0),
    ]


def refuse_if_not_first(what: str, more: Sequence[bytes]) -> None:
    """Raise the error for an answer that names the job of another request under the idempotency key."""
    if what == "conflict":
        raise IdempotencyConflict(more[0].decode())
    if what == "sending":
        raise QueueUnavailable(_STILL_SENDING)


def _submit(new: PreparedJob, limits: Limits, idempotency: Idempotency | None) -> Accepted:
    request = request_of([new], limits, idempotency)
    with _confirmed(new.job.job_id):
        answer = store(request, [new])
    accepted = accepted_of(new, answer)
    if not accepted.repeated and new.job.not_before is None and not load().queues_beside_records:
        _send(new, request.scope)
    return accepted


def request_of(new: Sequence[PreparedJob], limits: Limits, idempotency: Idempotency | None = None) -> Request:
    """Return what single submits of one owner to one endpoint share while they are stored together.

    Only one alone can have an idempotency key, or be delayed.
    """
    first = new[0].job
    size_bytes = sum(len(each.envelope) for each in new)
    high = sum(each.job.priority is Priority.HIGH for each in new)
    return Request(
        endpoint_name=first.endpoint_name,
        owner=first.owner,
        not_before=first.not_before,
        call_id=first.job_id,
        first_id=first.job_id,
        room=weights.asked(len(new), size_bytes, high, owner=first.owner, max_queue_bytes=limits.max_queue_bytes),
        max_queue_length=limits.max_queue_length,
        scope=None if idempotency is None else digest(idempotency.key.encode()),
        digest="" if idempotency is None else idempotency.request_digest or digest(idempotency.request),
        repeats="job",
    )


def accepted_of(new: PreparedJob, answer: Sequence[Any]) -> Accepted:
    """Return what the answer of `accept.lua` says of a single submit.

    Raises:
        QueueFull, IdempotencyConflict, QueueUnavailable: as `submit`.
    """
    job = new.job
    what, more = answer[0].decode(), answer[1:]
    refuse_if_not_first(what, more)
    if what == "repeated":
        return Accepted(
            more[0].decode(), job.endpoint_name, job.submitted_at or 0.0, repeated=True, priority=job.priority
        )
    if what != "accepted":
        weights.refuse_if_full(job.endpoint_name, what, [int(more[0])])
    return Accepted(
        job.job_id, job.endpoint_name, job.submitted_at or 0.0, repeated=False, priority=job.priority, counts=more[:3]
    )


def _send(new: PreparedJob, scope: str | None) -> None:
    """Send the message of a job that is recorded; take the record back if the broker surely doesn't have it.

    What the broker may have keeps its record, and so its id: a repeat is this job, and if the message isn't there, the
    sweeper sends it again.
    """
    job = new.job
    try:
        broker_client.send(queue_name(job.endpoint_name, job.priority), new.envelope)
    except broker_client.SendUnconfirmed as error:
        with suppress(redis.RedisError):  # it ends by itself
            end_sending(scope)
        raise JobUnconfirmed(job.job_id) from error
    except Exception:
        with _confirmed(job.job_id):
            transitions.forget_queued(job.job_id, job.endpoint_name, scope)
        raise
    with suppress(redis.RedisError):  # the job is stored and sent, whatever becomes of this
        end_sending(scope)


def end_sending(scope: str | None) -> None:
    """Let repeats of a request under an idempotency key see its jobs: their messages are sent."""
    if scope is not None:
        records_client().delete(keys.sending(scope))


@contextmanager
def _confirmed(job_id: str) -> Iterator[None]:
    """Turn the loss of Redis in the middle of what is done here to a job into JobUnconfirmed."""
    try:
        yield
    except redis.RedisError as error:
        if may_have_arrived(error):
            raise JobUnconfirmed(job_id) from error
        raise


def digest(content: bytes) -> str:
    """Return what tells contents apart."""
    return hashlib.sha256(content).hexdigest()
