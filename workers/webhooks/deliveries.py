"""What is to be told, or was, and what became of it: the log of deliveries, for people and programs that ask.

A job has one end, so a delivery has the job's id.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypedDict, cast

from workers import documents, fast_json, keys
from workers.errors import DeliveryNotFound
from workers.redis_client import records_client, script, translated_errors
from workers.webhooks.outbox import without_secrets

_PAGE = 200
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,120}")
_FIELDS = ("endpoint_name", "owner", "url", "status", "created_at", "due_at", "attempts")

#: KEYS: receivers. Returns for how long the first that is due has been (s), as text.
_OVERDUE = f"""
local time, first = redis.call('TIME'), nil
for _, receiver in ipairs(redis.call('ZRANGE', KEYS[1], 0, 999)) do
  local at = tonumber(redis.call('ZRANGE', '{keys.webhooks_due("")}' .. receiver, 0, 0, 'WITHSCORES')[2])
  if at and (not first or at < first) then first = at end
end
return string.format('%.3f', math.max(0, time[1] + time[2] / 1e6 - (first or 1e12)))
"""

#: KEYS: the delivery, pending, ended, receivers. ARGV: job id.
#: Returns 1 if it is to be sent now; 0 if there is none.
_REDELIVER = f"""
local status, receiver = unpack(redis.call('HMGET', KEYS[1], 'status', 'receiver'))
if not status then return 0 end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
if tonumber(redis.call('HGET', KEYS[1], 'running_until') or 0) > now then return 1 end
redis.call('HSET', KEYS[1], 'status', 'pending', 'due_at', now, 'tries', 0)
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], 'NX', now, ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', '{keys.webhooks_due("")}' .. receiver, now, ARGV[1])
redis.call('ZADD', KEYS[4], 'LT', now, receiver)
redis.call('PUBLISH', '{keys.WEBHOOKS_CHANNEL}', '')
return 1
"""


class DeliveryStatus(StrEnum):
    """How far a delivery is."""

    #: To be tried, at once or again.
    PENDING = "pending"
    #: The receiver has it.
    DELIVERED = "delivered"
    #: Given up: no more tries unless somebody asks for them.
    FAILED = "failed"


class Attempt(TypedDict):
    """One try."""

    #: Seconds since the epoch.
    at: float
    #: The receiver's answer, if there was one.
    status_code: int | None
    error: str | None
    duration_ms: float
    #: How its answer begins.
    answer: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification; times in seconds since the epoch."""

    job_id: str
    endpoint_name: str
    url: str
    status: DeliveryStatus
    created_at: float
    #: When it is tried next, while it is pending.
    due_at: float
    attempts: Sequence[Attempt]
    owner: str | None

    def document(self) -> dict[str, Any]:
        """Return it as the HTTP API shows it."""
        pending = self.status is DeliveryStatus.PENDING
        return {
            "job_id": self.job_id,
            "webhook_id": message_id(self.job_id),
            "endpoint_name": self.endpoint_name,
            "owner": self.owner,
            "callback_url": without_secrets(self.url),
            "status": self.status.value,
            "created_at": documents.iso(self.created_at),
            "next_attempt_at": documents.iso(self.due_at) if pending else None,
            "attempts": [{**each, "at": documents.iso(each["at"])} for each in self.attempts],
        }


@dataclass(frozen=True, slots=True)
class Figures:
    """What is watched."""

    delivered: int
    failed: int
    failed_attempts: int
    pending: int
    #: For how long the notification that should have been sent first has been waiting to be.
    overdue_s: float


def message_id(job_id: str) -> str:
    """Return the `webhook-id` of a job's notification: the same at each attempt, and safe in a header."""
    safe = job_id if _SAFE_ID.fullmatch(job_id) else hashlib.sha256(job_id.encode()).hexdigest()
    return f"msg_{safe}"


def get(job_id: str, owner: str | None = None) -> Delivery:
    """Return a job's delivery; with an `owner`, only of one of their jobs.

    Raises:
        DeliveryNotFound: there is none, or none any more, or it is somebody else's.
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        values = cast("list[bytes | None]", records_client().hmget(keys.delivery(job_id), list(_FIELDS)))
    found = _parsed(job_id, values)
    if found is None or owner not in (None, found.owner):
        raise DeliveryNotFound(job_id)
    return found


def newest(
    endpoint_name: str | None = None, status: DeliveryStatus | None = None, limit: int = 50, owner: str | None = None
) -> list[Delivery]:
    """Return deliveries, newest first: pending ones by when their jobs ended, others by when they did themselves.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    found: list[Delivery] = []
    with translated_errors():
        for page in _pages(status):
            for job_id, values in zip(page, _read(page), strict=True):
                each = _parsed(job_id, values)
                if each is None or status not in (None, each.status):
                    continue
                if endpoint_name in (None, each.endpoint_name) and owner in (None, each.owner):
                    found.append(each)
            if len(found) >= limit:
                break
    return found[:limit]


def figures() -> Figures:
    """Return what is watched. Raises QueueUnavailable."""
    client = records_client()
    with translated_errors():
        counts = cast("Mapping[bytes, bytes]", client.hgetall(keys.WEBHOOK_COUNTS))
        pending = client.zcard(keys.WEBHOOKS_PENDING)
        overdue_s = float(script(client, _OVERDUE)([keys.WEBHOOK_RECEIVERS], []))
    delivered, failed, attempts = (int(counts.get(name, 0)) for name in (b"delivered", b"failed", b"failed_attempts"))
    return Figures(delivered, failed, attempts, pending, round(overdue_s, 3))


def redeliver(job_id: str) -> Delivery:
    """Send a notification again, with all its tries, or at once what waits for its next try.

    Raises:
        DeliveryNotFound: there is none, or none any more.
        QueueUnavailable: Redis can't be reached.
    """
    names = [keys.delivery(job_id), keys.WEBHOOKS_PENDING, keys.WEBHOOKS_ENDED, keys.WEBHOOK_RECEIVERS]
    with translated_errors():
        script(records_client(), _REDELIVER)(names, [job_id])
    return get(job_id)


def _pages(status: DeliveryStatus | None) -> Iterator[list[str]]:
    lists = {DeliveryStatus.PENDING: [keys.WEBHOOKS_PENDING], None: [keys.WEBHOOKS_PENDING, keys.WEBHOOKS_ENDED]}
    page: list[str] = []
    for _, job_id in heapq.merge(*map(_newest, lists.get(status, [keys.WEBHOOKS_ENDED])), reverse=True):
        page.append(job_id)
        if len(page) == _PAGE:
            yield page
            page = []
    yield page


def _newest(name: str) -> Iterator[tuple[float, str]]:
    client, start, before = records_client(), 0, set[bytes]()
    while True:
        found = client.zrevrange(name, start, start + _PAGE - 1, withscores=True)
        rows = cast("list[tuple[bytes, float]]", found)
        # What was added meanwhile has moved some of the last page into this one.
        yield from ((at, job_id.decode()) for job_id, at in rows if job_id not in before)
        before = {job_id for job_id, _ in rows}
        if len(rows) < _PAGE:
            return
        start += _PAGE


def _read(job_ids: Sequence[str]) -> list[list[bytes | None]]:
    with records_client().pipeline(transaction=False) as pipeline:
        for job_id in job_ids:
            pipeline.hmget(keys.delivery(job_id), list(_FIELDS))
        return cast("list[list[bytes | None]]", pipeline.execute())


def _parsed(job_id: str, values: Sequence[bytes | None]) -> Delivery | None:
    endpoint_name, owner, url, status, created_at, due_at, attempts = values
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
    )
