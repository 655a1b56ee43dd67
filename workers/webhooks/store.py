"""Webhook deliveries in Redis: their log, and the steps of an attempt.

A job ends once, so a delivery has the job's id; that of an event has a name that follows from it. Each step (lease what
is due, begin an attempt, end it) is one script. A lease and an attempt last a limited time. If the process is killed or
a message is lost, the delivery is due again: a webhook may be sent twice, and none is forgotten.
"""

from __future__ import annotations

import hashlib
import heapq
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, TypedDict, cast

import redis

from workers import keys
from workers.errors import DeliveryNotFound
from workers.jobs import records
from workers.jobs.endings.outbox import LIST_TTL_S, LISTED_OF_OWNER, callback, without_secrets
from workers.platform import fast_json
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client, translated_errors
from workers.webhooks.settings import load

#: Time between the lease of a delivery and its attempt. If the task's message is only late, the delivery is leased
#: again and gets a second message; an attempt needs a current lease, so a queue behind slow receivers doesn't grow.
LEASE_S = 10.0
#: Time that an attempt may take beyond its time limit.
ATTEMPT_SLACK_S = 5.0
#: Threads of a background process that one receiver may occupy, however slow; a failing receiver may occupy one.
LEASES_PER_RECEIVER = 4
LEASED_AT_ONCE = 100
_RECEIVERS_AT_ONCE = 100
_ATTEMPTS_KEPT = 20

_PAGE_LENGTH = 200
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,120}")
#: How long a client's list counts as complete. Processes of an earlier release do not write to such lists.
_COMPLETE_S = 600
#: The fields that a query filters by. They are short, while `attempts` may be long.
_HEAD = ("endpoint_name", "owner", "status", "asked_by")
_FIELDS = ("endpoint_name", "owner", "url", "status", "created_at", "due_at", "attempts", "asked_by", "event")

#: The value of `asked_by` if the job itself, not the deployment, has the callback URL.
_BY_JOB = b"job"

_OVERDUE = Lua("workers.webhooks", "overdue")

_REDELIVER = Lua("workers.webhooks", "redeliver")

_ADD_EVENT = Lua("workers.webhooks", "add_event")


class DeliveryStatus(StrEnum):
    """The state of a delivery."""

    #: Waits for its first or next attempt.
    PENDING = "pending"
    #: The receiver has accepted it.
    DELIVERED = "delivered"
    #: No more attempts unless an operator requests them.
    FAILED = "failed"


class Attempt(TypedDict):
    """One attempt to send a webhook."""

    #: Seconds since the epoch.
    at: float
    #: The status code of the receiver's answer, if there was one.
    status_code: int | None
    error: str | None
    duration_ms: float
    #: The beginning of its answer.
    answer: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook and its attempts; times in seconds since the epoch."""

    #: The id of the job, or the name of the delivery of an event.
    job_id: str
    endpoint_name: str
    url: str
    status: DeliveryStatus
    created_at: float
    #: Time of the next attempt, while it is pending.
    due_at: float
    attempts: Sequence[Attempt]
    owner: str | None
    #: Whether the job itself has the URL. A client must not see the receiver of a deployment.
    asked_by_job: bool
    #: The kind of the event; None is the end of a job.
    event: str | None = None

    def seen_by(self, owner: str | None) -> bool:
        """Whether a client may see it: it is of the client's job and has the job's own URL. None sees everything."""
        return owner is None or (self.asked_by_job and self.owner == owner)

    def document(self, *, with_answers: bool) -> dict[str, Any]:
        """Return the JSON document of the HTTP API, with the beginnings of the receiver's answers if wanted."""
        hidden = {} if with_answers else {"answer": None}
        pending = self.status is DeliveryStatus.PENDING
        return {
            "id": self.job_id,
            "job_id": None if self.event else self.job_id,
            "event": self.event,
            "webhook_id": message_id(self.job_id),
            "endpoint_name": self.endpoint_name,
            "owner": self.owner,
            "callback_url": without_secrets(self.url),
            "status": self.status.value,
            "created_at": records.iso(self.created_at),
            "next_attempt_at": records.iso(self.due_at) if pending else None,
            "attempts": [{**each, "at": records.iso(each["at"]), **hidden} for each in self.attempts],
        }


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures for metrics."""

    delivered: int
    failed: int
    failed_attempts: int
    pending: int
    #: How long the oldest due webhook has been overdue.
    overdue_s: float


def message_id(job_id: str) -> str:
    """Return the `webhook-id` of a job's webhook: the same at each attempt, and safe in a header."""
    safe = job_id if _SAFE_ID.fullmatch(job_id) else hashlib.sha256(job_id.encode()).hexdigest()
    return f"msg_{safe}"


def get(job_id: str, owner: str | None = None) -> Delivery:
    """Return a job's delivery; with an `owner`, only one that this owner may see (`seen_by`).

    Raises:
        DeliveryNotFound: it doesn't exist (any more), or belongs to another client.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        values = cast("list[bytes | None]", records_client().hmget(keys.delivery(job_id), list(_FIELDS)))
    found = _parsed(job_id, values)
    if found is None or not found.seen_by(owner):
        raise DeliveryNotFound(job_id)
    return found


def newest(
    endpoint_name: str | None = None, status: DeliveryStatus | None = None, limit: int = 50, owner: str | None = None
) -> list[Delivery]:
    """Return deliveries, newest first: pending ones by the end of their jobs, others by their own end.

    With an `owner`, only the deliveries that this owner may see (`seen_by`), ordered by the ends of their jobs.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    ids: list[str] = []
    with translated_errors():
        for page in _pages(status) if owner is None else _pages_of(owner):
            ids += (job_id for job_id, head in page if head.matches(endpoint_name, status, owner))
            if len(ids) >= limit:
                break
        whole = zip(ids[:limit], _read(ids[:limit], _FIELDS), strict=True)
        return [found for job_id, values in whole if (found := _parsed(job_id, values)) is not None]


def figures() -> Figures:
    """Return figures for metrics. Raises QueueUnavailable."""
    client = records_client()
    with translated_errors():
        counts = cast("Mapping[bytes, bytes]", client.hgetall(keys.WEBHOOK_COUNTS))
        pending = client.zcard(keys.WEBHOOKS_PENDING)
        overdue_s = float(script(client, _OVERDUE)([keys.WEBHOOK_RECEIVERS], []))
    delivered, failed, attempts = (int(counts.get(name, 0)) for name in (b"delivered", b"failed", b"failed_attempts"))
    return Figures(delivered, failed, attempts, pending, round(overdue_s, 3))


def redeliver(job_id: str) -> Delivery:
    """Send a finished webhook again, with all its retries, or a pending one at once.

    Raises:
        DeliveryNotFound: it doesn't exist (any more).
        QueueUnavailable: Redis can't be reached.
    """
    names = [keys.delivery(job_id), keys.WEBHOOKS_PENDING, keys.WEBHOOKS_ENDED, keys.WEBHOOK_RECEIVERS]
    with translated_errors():
        script(records_client(), _REDELIVER)(names, [job_id])
    return get(job_id)


def add_event(name: str, endpoint_name: str, kind: str, url: str, body: bytes) -> bool:
    """Store the webhook of an event under a name that no job has; return False if it is stored already.

    Raises:
        TargetRefused: the URL is none.
        redis.RedisError: Redis can't be reached.
    """
    receiver = callback(url).split(" ", 1)[0]
    names = [keys.delivery(name), keys.WEBHOOKS_PENDING, keys.WEBHOOK_RECEIVERS]
    return bool(script(records_client(), _ADD_EVENT)(names, [name, endpoint_name, kind, receiver, url, body]))


@dataclass(frozen=True, slots=True)
class _Head:
    """The fields that a query filters by; all None if the delivery is gone."""

    endpoint_name: bytes | None
    owner: bytes | None
    status: bytes | None
    asked_by: bytes | None

    def matches(self, endpoint_name: str | None, status: DeliveryStatus | None, owner: str | None) -> bool:
        if self.status is None or self.endpoint_name is None or status not in (None, self.status.decode()):
            return False
        if endpoint_name not in (None, self.endpoint_name.decode()):
            return False
        return owner is None or (self.asked_by == _BY_JOB and self.owner == owner.encode())


_Page = Sequence[tuple[str, _Head]]


def _pages(status: DeliveryStatus | None) -> Iterator[_Page]:
    """Yield the deliveries of all clients."""
    lists = {DeliveryStatus.PENDING: [keys.WEBHOOKS_PENDING], None: [keys.WEBHOOKS_PENDING, keys.WEBHOOKS_ENDED]}
    return _paged(lists.get(status, [keys.WEBHOOKS_ENDED]))


def _pages_of(owner: str) -> Iterator[_Page]:
    """Yield the deliveries of an owner; remove expired ones from the list."""
    _complete(owner)
    for page in _paged([keys.webhooks_of(owner)]):
        yield page
        if gone := [job_id for job_id, head in page if head.status is None]:
            records_client().zrem(keys.webhooks_of(owner), *gone)


def _complete(owner: str) -> None:
    """Add to an owner's list, from time to time, the deliveries of a release without such lists."""
    client = records_client()
    if client.exists(keys.webhooks_of_complete(owner)):
        return
    theirs = [job_id for page in _pages(None) for job_id, head in page if head.matches(None, None, owner)]
    with suppress(redis.OutOfMemoryError), client.pipeline(transaction=False) as pipeline:
        if theirs:
            created_at = [float(values[0] or 0) for values in _read(theirs, ["created_at"])]
            pipeline.zadd(keys.webhooks_of(owner), dict(zip(theirs, created_at, strict=True)))
            pipeline.zremrangebyrank(keys.webhooks_of(owner), 0, -1 - LISTED_OF_OWNER)
            pipeline.expire(keys.webhooks_of(owner), LIST_TTL_S)
        pipeline.set(keys.webhooks_of_complete(owner), "1", ex=_COMPLETE_S)
        pipeline.execute()


def _paged(names: Sequence[str]) -> Iterator[_Page]:
    """Yield pages of the deliveries in some lists, newest first."""
    newest = heapq.merge(*map(_newest, names), reverse=True)
    while ids := [job_id for _, job_id in islice(newest, _PAGE_LENGTH)]:
        yield [(job_id, _Head(*values)) for job_id, values in zip(ids, _read(ids, _HEAD), strict=True)]


def _newest(name: str) -> Iterator[tuple[float, str]]:
    client, start, before = records_client(), 0, set[bytes]()
    while True:
        found = client.zrevrange(name, start, start + _PAGE_LENGTH - 1, withscores=True)
        rows = cast("list[tuple[bytes, float]]", found)
        # New entries have moved some of the last page into this one.
        yield from ((at, job_id.decode()) for job_id, at in rows if job_id not in before)
        before = {job_id for job_id, _ in rows}
        if len(rows) < _PAGE_LENGTH:
            return
        start += _PAGE_LENGTH


def _read(job_ids: Sequence[str], fields: Sequence[str]) -> list[list[bytes | None]]:
    with records_client().pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hmget(keys.delivery(job_id), list(fields))
        return cast("list[list[bytes | None]]", pipeline.execute())


def _parsed(job_id: str, values: Sequence[bytes | None]) -> Delivery | None:
    endpoint_name, owner, url, status, created_at, due_at, attempts, asked_by, event = values
    if endpoint_name is None or url is None or status is None:
        return None
    return Delivery(
        job_id=job_id,
        endpoint_name=endpoint_name.decode(),
        url=url.decode(),
        status=DeliveryStatus(status.decode()),
        created_at=float(created_at or 0),
        due_at=float(due_at or 0),
        attempts=tuple(fast_json.loads(attempts)) if attempts else (),
        owner=(owner or b"").decode() or None,
        # A process of an earlier release doesn't record it; clients don't see such deliveries.
        asked_by_job=asked_by == _BY_JOB,
        event=None if event is None else event.decode(),
    )


_TAKE = Lua("workers.webhooks", "take")

_BEGIN = Lua("workers.webhooks", "begin")

_END = Lua("workers.webhooks", "end")


@dataclass(slots=True)
class RunningAttempt:
    """An attempt that this thread alone makes."""

    job_id: str
    name: str
    receiver: str
    url: str
    #: The job's terminal record, until the body is built.
    record: bytes | None
    #: The body, built from the record at the first attempt.
    body: bytes | None
    previous: Sequence[Attempt]
    #: Attempts since the end of the job or since the last redelivery.
    tries: int
    #: Seconds since the epoch.
    at: float


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The result of an attempt, and the next state of the delivery."""

    attempt: Attempt
    status: DeliveryStatus
    next_in_s: float
    #: Whether the receiver itself fails, so that it gets a single attempt at a time.
    receiver_fails: bool


def lease_due() -> list[str]:
    """Lease due deliveries, up to each receiver's share; return ids of jobs. Raises redis.RedisError."""
    names = [keys.WEBHOOK_RECEIVERS, keys.WEBHOOKS_FAILING, keys.WEBHOOKS_PENDING]
    found = script(records_client(), _TAKE)(names, [LEASE_S, LEASED_AT_ONCE, LEASES_PER_RECEIVER, _RECEIVERS_AT_ONCE])
    return [job_id.decode() for job_id in found]


def begin_attempt(job_id: str) -> RunningAttempt | None:
    """Begin an attempt at a leased delivery; None if it isn't due, or is under way. Raises redis.RedisError."""
    name, timeout_s = uuid.uuid4().hex, load().webhook_timeout_s + ATTEMPT_SLACK_S
    found: list[Any] | None = script(records_client(), _BEGIN)([keys.delivery(job_id)], [job_id, name, timeout_s])
    if not found:
        return None
    receiver, url, record, body, previous, tries, now = found
    return RunningAttempt(
        job_id=job_id,
        name=name,
        receiver=receiver.decode(),
        url=url.decode(),
        record=record,
        body=body,
        previous=fast_json.loads(previous) if previous else [],
        tries=int(tries or 0),
        at=float(now),
    )


def end_attempt(running: RunningAttempt, result: AttemptResult) -> bool:
    """End an attempt; False if it took so long that another one has begun. Raises redis.RedisError."""
    settings = load()
    attempts = [*running.previous, result.attempt][-_ATTEMPTS_KEPT:]
    names = [keys.delivery(running.job_id), keys.WEBHOOKS_PENDING, keys.WEBHOOKS_ENDED]
    names += [keys.WEBHOOKS_FAILING, keys.WEBHOOK_COUNTS]
    values: list[bytes | str | float] = [running.job_id, running.name]
    values += [fast_json.dumps_strict(attempts), running.tries + 1]
    values += [result.status.value, result.next_in_s, running.body or b"", int(result.receiver_fails)]
    values += [settings.webhook_log_ttl_s, settings.webhook_log_length]
    return bool(script(records_client(), _END)(names, values))
