"""The last safeguard against lost jobs: sends lost jobs again and expires late ones.

An unfinished job must be queued, leased or delayed. Queues are ordered, so a job that is older, by the clock of Redis,
than a queue's oldest message is not in the queue. If the age of that message is unknown, as with bare Celery programs,
the sweeper searches the queue for the oldest jobs, one after the other, until it finds one. A job that is in none of
these places was lost, e.g. with a queue that was emptied by hand, and is sent again from the copy of its message. The
sweeper also releases due jobs that no worker of their endpoint has released. One worker at a time sweeps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, cast

from redis import RedisError
from redis.asyncio import Redis

from workers import keys
from workers.engine.intake.protocol import Source
from workers.engine.upkeep.recount import recount
from workers.engine.upkeep.releasing import Release
from workers.jobs import query, records, transitions
from workers.platform.lua import Lua, script
from workers.platform.redis.client import refuses_for_good
from workers.queues.priorities import Priority
from workers.settings import WorkerSettings

_log = logging.getLogger(__name__)

#: A job's recorded time may differ by this much from the order of its queue: with RabbitMQ it is recorded before the
#: message is sent, and earlier releases record the submitter's clock.
_SLACK_S = 10.0
_READ_AT_ONCE = 200


_FORGET_NAME = Lua("workers.engine.upkeep", "forget_name")

_BEGIN_ROUND = Lua("workers.engine.upkeep", "begin_round")


class Queued:
    """Searches an endpoint's queues for jobs, oldest first, if the age of the next message is unknown.

    Once it finds a job, it assumes that all later jobs of that priority are queued too.
    """

    def __init__(self, records: Redis, source: Source, endpoint_name: str) -> None:
        self._records = records
        self._source = source
        self._endpoint_name = endpoint_name
        self._found = set[Priority]()
        self._has_priorities = True

    @property
    def all_others_are(self) -> bool:
        """Whether all jobs that were not searched for can be assumed to be queued."""
        return len(self._found) == len(Priority) if self._has_priorities else Priority.NORMAL in self._found

    async def without(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that are in no queue."""
        prioritized = keys.prioritized(self._endpoint_name)
        self._has_priorities = bool(await self._records.exists(prioritized))
        known = job_ids and self._has_priorities
        scores = await self._records.zmscore(prioritized, list(job_ids)) if known else [None] * len(job_ids)
        return [job_id for job_id, score in zip(job_ids, scores, strict=True) if not await self._has(job_id, score)]

    async def _has(self, job_id: str, score: float | None) -> bool:
        priority = Priority.NORMAL if score is None else Priority.HIGH if score < 0 else Priority.LOW
        if priority in self._found:
            return True
        message = cast("bytes | None", await self._records.get(keys.message(job_id)))
        # Without a copy there is nothing to send again: the message is leased.
        if message is None or not await self._source.is_queued(self._endpoint_name, message):
            return False
        self._found.add(priority)
        return True


class Sweeper:
    """Checks the unfinished jobs of all endpoints until cancelled."""

    def __init__(self, records: Redis, source: Source, settings: WorkerSettings) -> None:
        self._records = records
        self._source = source
        self._release = Release(records, source, beside_records=settings.queues_beside_records)
        self._settings = settings
        #: Time that a job may take from its record to its queue, or from a dead worker back to its queue.
        self._grace_s = 2 * settings.lease_s + _SLACK_S

    async def run(self) -> None:
        """Sweep regularly; a round of one worker counts for all workers."""
        interval_s = self._settings.sweep_interval_s
        while True:
            await asyncio.sleep(interval_s)
            try:
                if await script(self._records, _BEGIN_ROUND)([keys.SWEPT], [int(interval_s * 900)]):
                    await self.sweep()
            except (RedisError, OSError) as error:
                _log.warning("the search for lost jobs failed (%s); retrying", error)
            except Exception:  # noqa: BLE001 - the next round may succeed
                _log.exception("unexpected error in the search for lost jobs")

    async def sweep(self) -> None:
        """Make one round."""
        await self._expire()
        for endpoint in cast("set[bytes]", await self._records.smembers(keys.ENDPOINTS)):
            name = endpoint.decode(errors="replace")
            await self._unless_refused(f"delayed jobs of {name}", self._release.due(name))
            await self._unless_refused(f"lost jobs of {name}", self._send_lost_again(name))
            await self._unless_refused(f"the weights of jobs of {name}", self._recount(name))
            await self._unless_refused(f"jobs of {name}", self._forget_name(name))

    async def _recount(self, endpoint_name: str) -> None:
        """Correct the byte counts, in case workers of an earlier release have ended some jobs."""
        if ended := await recount(self._records, endpoint_name):
            _log.info("corrected the byte count of %d ended jobs of %s", ended, endpoint_name)

    async def _forget_name(self, endpoint_name: str) -> None:
        """Forget an endpoint without any jobs, so that names don't accumulate."""
        names = [keys.ENDPOINTS, keys.unfinished(endpoint_name), keys.recent(endpoint_name)]
        await script(self._records, _FORGET_NAME)(names, [endpoint_name, keys.record("")])

    async def _unless_refused(self, what: str, step: Coroutine[Any, Any, None]) -> None:
        """Await a step, and log an error that concerns only one endpoint or job, e.g. a key of the wrong type.

        Raises:
            RedisError, OSError: Redis can't be reached.
        """
        try:
            await step
        except (RedisError, OSError) as error:
            if not refuses_for_good(error):
                raise
            _log.error("failed to sweep %s: %s", what, error)
        except Exception:  # noqa: BLE001 - the other endpoints can be swept
            _log.exception("unexpected error while sweeping %s", what)

    async def _expire(self) -> None:
        """Expire late queued jobs; a worker drops their messages later."""
        now = time.time()
        while await self._expire_some(now):
            pass

    async def _expire_some(self, now: float) -> bool:
        """Expire the jobs of one step; return whether there may be more."""
        ids = await self._up_to(keys.EXPIRING, now)
        found = await self._records.mget([keys.record(job_id) for job_id in ids]) if ids else []
        for job_id, record in zip(ids, cast("list[bytes | None]", found), strict=True):
            if record is not None and not records.is_terminal(record):
                job = query.parse_if_readable(job_id, record)
                if job is not None:
                    await self._unless_refused(
                        f"the end of late job {job_id}", transitions.expire(self._records, job, now)
                    )
        if ids:
            # Running jobs have begun in time; ended jobs don't expire.
            await self._records.zrem(keys.EXPIRING, *ids)
        return len(ids) == _READ_AT_ONCE

    async def _send_lost_again(self, endpoint_name: str) -> None:
        seconds, microseconds = await self._records.time()
        now = seconds + microseconds / 1e6
        oldest_at = await self._source.oldest_at(endpoint_name)
        cutoff = (now if oldest_at is None else min(now, oldest_at or now)) - self._grace_s
        queued = Queued(self._records, self._source, endpoint_name) if oldest_at == 0 else None
        name, start, more = keys.unfinished(endpoint_name), 0, True
        while more:
            old = await self._up_to(name, cutoff, start)
            lost = await self._nowhere(endpoint_name, old)
            if queued is not None:
                lost = await queued.without(lost)
            for job_id in lost:
                await self._send_again(endpoint_name, job_id, now)
            start += len(old) - len(lost)
            more = len(old) == _READ_AT_ONCE and not (queued and queued.all_others_are)

    async def _nowhere(self, endpoint_name: str, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that are neither held by a worker nor delayed."""
        free = await self._source.without_lease(job_ids)
        due_at = await self._records.zmscore(keys.delayed(endpoint_name), free) if free else []
        return [job_id for job_id, at in zip(free, due_at, strict=True) if at is None]

    async def _up_to(self, name: str, score: float, start: int = 0) -> list[str]:
        found = await self._records.zrangebyscore(name, "-inf", score, start=start, num=_READ_AT_ONCE)
        return [job_id.decode() for job_id in cast("list[bytes]", found)]

    async def _send_again(self, endpoint_name: str, job_id: str, now: float) -> None:
        message = await transitions.message_of_lost(self._records, endpoint_name, job_id, now)
        if message:
            fields = {"job_id": job_id, "endpoint_name": endpoint_name}
            _log.warning("sending lost job %s of %s again: it was in no queue", job_id, endpoint_name, extra=fields)
            await self._source.send(endpoint_name, message)
