"""Accepting a job: its record, a copy of its message, and the message itself, stored in one step.

Where the queues are in the same Redis as the records, one script does it all, and refuses what must
not be accepted: a full queue, or an idempotency key that was used before. With another broker the
record is written first and taken back if the broker refuses the message.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers import (
    arguments,
    broker,
    documents,
    fast_json,
    keys,
    places,
    prepared_messages,
    priorities,
    records,
    tracing,
)
from workers.errors import IdempotencyConflict, JobArgumentsWrong, QueueFull, QueueUnavailable
from workers.job_ids import new_id
from workers.places import LEVELS_OF, Line
from workers.prepared_messages import Call
from workers.priorities import Priority
from workers.queues import queue_name
from workers.redis_client import records_client, script, translated_errors
from workers.settings import load
from workers.webhooks import outbox

#: A job's id is its message's tag, which scripts in Redis find in the JSON as it stands.
_TASK_ID = re.compile(r"[!#-\[\]-~]{1,255}")
#: Longer than sending to another broker takes before it fails.
SENDING_S = 5
STILL_SENDING = "The first request with this Idempotency-Key is still being stored. Try again shortly."

#: KEYS: record, copy of the message, unfinished, recent, endpoints, expiring, limits, idempotency key
#: ("" for none), queue ("" for one that is in another broker), what tells that the message of the first
#: request under the idempotency key is being sent to such a broker ("" for none), callbacks, levels.
#: ARGV: job id, record, submitted at, seconds to live, length of `recent`, endpoint, message, the most
#: unfinished jobs ("" for what `limits` says), expires at ("" for never), digest of the request and
#: seconds to live of the idempotency key, seconds that sending may take, how the keys of records begin, where its end
#: is to be told ("" for nowhere of its own), the score in `levels` ("" for a normal job).
#: Returns what became of it, and a job id or a number that says more; of an accepted job also how many are unfinished
#: beside it, and of them high and low. An idempotency key is forgotten with
#: the record of its job.
_ACCEPT = (
    LEVELS_OF
    + """
if KEYS[8] ~= '' then
  local known = redis.call('GET', KEYS[8])
  if known then
    local digest, job_id = string.match(known, '^(%S+) (.+)$')
    if redis.call('EXISTS', ARGV[13] .. job_id) == 1 then
      if digest ~= ARGV[10] then return {'conflict', job_id} end
      if KEYS[10] ~= '' and redis.call('EXISTS', KEYS[10]) == 1 then return {'sending', job_id} end
      return {'repeated', job_id}
    end
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'repeated', ARGV[1]} end
local most = tonumber(ARGV[8]) or tonumber(redis.call('HGET', KEYS[7], ARGV[6]))
local unfinished = redis.call('ZCARD', KEYS[3])
if most and unfinished >= most then return {'full', tostring(unfinished)} end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[7], 'EX', ARGV[4])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - tonumber(ARGV[5]))
redis.call('EXPIRE', KEYS[4], ARGV[4])
redis.call('SADD', KEYS[5], ARGV[6])
if ARGV[9] ~= '' then redis.call('ZADD', KEYS[6], ARGV[9], ARGV[1]) end
if KEYS[8] ~= '' then redis.call('SET', KEYS[8], ARGV[10] .. ' ' .. ARGV[1], 'EX', ARGV[11]) end
if ARGV[14] ~= '' then redis.call('HSET', KEYS[11], ARGV[1], ARGV[14]) end
if KEYS[9] ~= '' then redis.call('LPUSH', KEYS[9], ARGV[7]) end
if KEYS[10] ~= '' then redis.call('SET', KEYS[10], ARGV[1], 'EX', ARGV[12]) end
local highs, lows = levels_of(KEYS[12])
if ARGV[15] ~= '' then redis.call('ZADD', KEYS[12], ARGV[15], ARGV[1]) end
return {'accepted', ARGV[1], unfinished, highs, lows}
"""
)


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A key under which a request is made once, whatever is sent again; `request` is all that must be equal."""

    key: str
    request: bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a job; None is what the deployment, or nothing, says."""

    max_queue_length: int | None = None
    expires_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is stored; `repeated` if it was before."""

    job_id: str
    endpoint_name: str
    submitted_at: float
    repeated: bool
    level: Priority = Priority.NORMAL
    #: How many other jobs were unfinished when it was stored, and of them high and low; nothing of a repeated one.
    counts: Sequence[int] = ()

    @property
    def line(self) -> Line:
        """What is before a job that has just been stored."""
        unfinished, highs, lows = self.counts
        of_level = {Priority.HIGH: highs, Priority.NORMAL: unfinished - highs - lows, Priority.LOW: lows}
        return Line.of(self.level, of_level[self.level], unfinished, highs, lows)


_NO_LIMITS = Limits()


def submit(  # noqa: PLR0913 - what makes a job, each by name
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    limits: Limits = _NO_LIMITS,
    idempotency: Idempotency | None = None,
    owner: str | None = None,
    task_id: str | None = None,
    callback_url: str | None = None,
    **options: Any,
) -> Accepted:
    """Store a job and send its message; `options` are those of Celery's `apply_async`, `owner` see `jobs.submit`.

    Of them, `priority` is a level (`workers.priorities`) or a number as the broker counts. The job's end is told to
    `callback_url` (see `webhooks`).

    Raises:
        JobArgumentsWrong: the arguments are not (endpoint_name, input) or inputs=[…], or can't be said in
            JSON, or the options ask for Celery's callbacks or for a `task_id` or a `priority` that can't be one.
        TargetRefused: nothing can be told to `callback_url`.
        QueueFull: the endpoint has too many unfinished jobs.
        IdempotencyConflict: the idempotency key was used for another request.
        QueueUnavailable: Redis or the broker can't be reached; nothing was stored.
    """
    endpoint_name = arguments.parse(args, kwargs).endpoint_name
    job_id = task_id or new_id()
    if not _TASK_ID.fullmatch(job_id):
        raise JobArgumentsWrong("A task_id is up to 255 printable ASCII characters without quotes and backslashes.")
    callback = "" if callback_url is None else outbox.callback(callback_url)
    content = said(args), said(kwargs) if kwargs else b"{}"
    level = priorities.of_option(options.get("priority"), amqp=load().broker_is_amqp)
    with tracing.sending(endpoint_name, job_id, options) as traceparent, translated_errors():
        prepared = prepared_messages.prepare(
            options, expires=limits.expires_in_s is not None, traced=traceparent is not None
        )
        call = Call(job_id, endpoint_name, *content, time.time(), limits.expires_in_s, traceparent, owner, level)
        envelope, expires_at = prepared.envelope(call)
        queue = queue_name(endpoint_name, level)
        job = _Job(job_id, endpoint_name, queue, call.submitted_at, expires_at, envelope, owner, level, callback)
        return _accept(job, limits.max_queue_length, idempotency)


def said(value: Any) -> bytes:
    """Return arguments in JSON. Raises JobArgumentsWrong if they can't be said so."""
    from kombu.exceptions import EncodeError

    try:
        return fast_json.as_celery(value)
    except (EncodeError, TypeError, ValueError, RecursionError) as error:
        raise JobArgumentsWrong(f"The input can't be said in JSON: {error}.") from error


@dataclass(frozen=True, slots=True)
class _Job:
    job_id: str
    endpoint_name: str
    queue: str
    submitted_at: float
    expires_at: float | None
    envelope: bytes
    owner: str | None
    level: Priority
    #: As `outbox.callback` has it, "" for none.
    callback: str


def _accept(job: _Job, max_queue_length: int | None, idempotency: Idempotency | None) -> Accepted:
    settings = load()
    scope = None if idempotency is None else digest(idempotency.key.encode())
    names = [
        keys.record(job.job_id),
        keys.message(job.job_id),
        keys.unfinished(job.endpoint_name),
        keys.recent(job.endpoint_name),
        keys.ENDPOINTS,
        keys.EXPIRING,
        keys.LIMITS,
        "" if scope is None else keys.idempotency(scope),
        job.queue if settings.queues_beside_records else "",
        "" if scope is None or settings.queues_beside_records else keys.sending(scope),
        keys.CALLBACKS,
        keys.levels(job.endpoint_name),
    ]
    values: list[bytes | str | float] = [
        job.job_id,
        documents.queued(job.job_id, job.endpoint_name, job.submitted_at, job.expires_at, job.owner, job.level),
        job.submitted_at,
        settings.unfinished_ttl_s,
        settings.recent_jobs,
        job.endpoint_name,
        job.envelope,
        "" if max_queue_length is None else max_queue_length,
        "" if job.expires_at is None else job.expires_at,
        "" if idempotency is None else digest(idempotency.request),
        settings.result_ttl_s,
        SENDING_S,
        keys.record(""),
        job.callback,
        places.level_score(job.level, job.submitted_at),
    ]
    first, second, *counts = script(records_client(), _ACCEPT)(names, values)
    what, more = first.decode(), second.decode()
    if what == "full":
        raise QueueFull(job.endpoint_name, int(more))
    if what == "conflict":
        raise IdempotencyConflict(more)
    if what == "sending":
        raise QueueUnavailable(STILL_SENDING)
    if what == "accepted" and not settings.queues_beside_records:
        _send(job, scope)
    return Accepted(more, job.endpoint_name, job.submitted_at, what == "repeated", job.level, counts)


def _send(job: _Job, scope: str | None) -> None:
    try:
        broker.send(job.queue, job.envelope)
    except Exception:
        records.forget_queued(job.job_id, job.endpoint_name, scope)
        raise
    if scope is not None:
        records_client().delete(keys.sending(scope))


def digest(content: bytes) -> str:
    """Return what tells contents apart."""
    return hashlib.sha256(content).hexdigest()
