"""The last line of "nothing accepted is lost": jobs that stand nowhere are sent again, late ones expire.

A job that is recorded as unfinished must be in its queue or under a lease. Queues are in order, so what
is older than a queue's oldest message is not in it; what has no lease either was lost, e.g. with a queue
that somebody emptied, and is sent again from the copy of its message. One worker at a time looks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol, cast

from redis import RedisError
from redis.asyncio import Redis

from workers import documents, jobs, keys
from workers.records import STATUS_OF, WITHDRAW, withdrawal_keys, withdrawal_values
from workers.redis_client import EVEN_IF_FULL, script
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)

#: Clocks of submitters may differ by this much, and so may a job's time and its place in the queue.
_CLOCK_SLACK_S = 10.0
_LOOKED_AT_ONCE = 200

#: KEYS: the record, the copy of its message, unfinished, callbacks. ARGV: job id, now (s).
#: Dates the job anew if it is unfinished, and returns its message; forgets a job that has ended or has no record, and
#: where its end was to be told if there is none to tell.
#: (There is no copy of a message that came straight from a Celery program. Its lease keeps it, under a tag of
#: its own.)
_LOST = (
    EVEN_IF_FULL
    + STATUS_OF
    + """
local status = status_of(redis.call('GET', KEYS[1]))
if not status or terminal(status) then
  redis.call('ZREM', KEYS[3], ARGV[1])
  if not status then redis.call('HDEL', KEYS[4], ARGV[1]) end
  return false
end
redis.call('ZADD', KEYS[3], 'XX', ARGV[2], ARGV[1])
return redis.call('GET', KEYS[2])
"""
)

#: KEYS: swept. ARGV: for how many ms nobody else begins a round. Returns whether this worker is to make it.
_BEGIN_ROUND = EVEN_IF_FULL + "return redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1])"


class Source(Protocol):
    """Where messages wait, as the sweeper sees it."""

    async def oldest_at(self, endpoint_name: str) -> float | None:
        """Return when the next message of a queue was submitted (s); None if the queue is empty."""

    async def without_lease(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that no worker holds."""

    async def send(self, endpoint_name: str, message: bytes) -> None:
        """Put a message into its queue."""


class Sweeper:
    """Looks through the unfinished jobs of every endpoint until cancelled."""

    def __init__(self, records: Redis, source: Source, settings: WorkerSettings) -> None:
        self._records = records
        self._source = source
        self._settings = settings
        #: A job is given this long to get from its record into its queue, and from a dead worker back.
        self._grace_s = 2 * settings.lease_s + _CLOCK_SLACK_S

    async def run(self) -> None:
        """Sweep regularly; the others skip a round that one worker has made."""
        interval_s = self._settings.sweep_interval_s
        while True:
            await asyncio.sleep(interval_s)
            try:
                if await script(self._records, _BEGIN_ROUND)([keys.SWEPT], [int(interval_s * 900)]):
                    await self.sweep()
            except (RedisError, OSError) as error:
                _log.warning("can't look for lost jobs (%s); trying again", error)
            except Exception:  # noqa: BLE001 - the next round may do what this one could not
                _log.exception("lost jobs could not be looked for")

    async def sweep(self) -> None:
        """Look once."""
        await self._expire()
        for endpoint in cast("set[bytes]", await self._records.smembers(keys.ENDPOINTS)):
            await self._send_lost_again(endpoint.decode())

    async def _expire(self) -> None:
        """End the queued jobs whose time is over; a worker drops their messages when it meets them."""
        now = time.time()
        ids = await self._up_to(keys.EXPIRING, now)
        found = await self._records.mget([keys.record(job_id) for job_id in ids]) if ids else []
        for job_id, record in zip(ids, cast("list[bytes | None]", found), strict=True):
            if record is not None and not documents.is_terminal(record):
                job = jobs.parse_if_readable(job_id, record)
                if job is not None:
                    await self._withdraw(job, now)
        if ids:
            # Those that run have begun in time; those that ended are not late any more.
            await self._records.zrem(keys.EXPIRING, *ids)

    async def _withdraw(self, job: jobs.Job, now: float) -> None:
        about = job.job_id, job.endpoint_name, documents.EXPIRED, job.submitted_at, now
        record = documents.revoked(*about, owner=job.owner, priority=job.priority)
        values = withdrawal_values(job.job_id, job.endpoint_name, record, force=False)
        await script(self._records, WITHDRAW)(withdrawal_keys(job.job_id, job.endpoint_name), values)

    async def _send_lost_again(self, endpoint_name: str) -> None:
        now = time.time()
        oldest_at = await self._source.oldest_at(endpoint_name)
        cutoff = (now if oldest_at is None else min(now, oldest_at)) - self._grace_s
        name, start, more = keys.unfinished(endpoint_name), 0, True
        while more:
            old = await self._up_to(name, cutoff, start)
            lost = await self._source.without_lease(old)
            for job_id in lost:
                await self._send_again(endpoint_name, job_id, now)
            start += len(old) - len(lost)
            more = len(old) == _LOOKED_AT_ONCE

    async def _up_to(self, name: str, score: float, start: int = 0) -> list[str]:
        found = await self._records.zrangebyscore(name, "-inf", score, start=start, num=_LOOKED_AT_ONCE)
        return [job_id.decode() for job_id in cast("list[bytes]", found)]

    async def _send_again(self, endpoint_name: str, job_id: str, now: float) -> None:
        names = [keys.record(job_id), keys.message(job_id), keys.unfinished(endpoint_name), keys.CALLBACKS]
        message = await script(self._records, _LOST)(names, [job_id, now])
        if message:
            about = {"job_id": job_id, "endpoint_name": endpoint_name}
            _log.warning("job %s of %s stood in no queue; it is sent again", job_id, endpoint_name, extra=about)
            await self._source.send(endpoint_name, message)
