"""Delays jobs that a worker has fetched from a queue, together with those that clients submit directly.

They use none of the endpoint's credit. A message is acknowledged once Redis has its copy; if the worker is lost before,
the message is delivered again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace
from redis import ResponseError
from redis.asyncio import Redis

from workers import keys
from workers.engine.intake.messages import QueuedJob
from workers.engine.intake.protocol import JobSink
from workers.jobs import records
from workers.measures import positions
from workers.platform.lua import Lua, script
from workers.platform.redis.client import in_parts, refuses_for_good
from workers.queues import delayed
from workers.queues.lease_holder import LEASE_HOLDER
from workers.settings import load

_log = logging.getLogger(__name__)
_DELAY = Lua("workers.jobs", "delay")

_DELAYED_AT_ONCE = 200
#: Bytes of messages in one step.
_DELAYED_AT_ONCE_BYTES = 2 * 1024 * 1024


class DelayResult(NamedTuple):
    """Jobs that were to be delayed, by what to do with their messages."""

    #: These are due by Redis's clock and can run.
    due: list[QueuedJob]
    #: These are delayed or have ended: their messages can be acknowledged.
    settled: list[QueuedJob]


def early(sink: JobSink, jobs: Sequence[QueuedJob]) -> set[QueuedJob]:
    """Return the jobs that are not due yet by this machine's clock; none if the endpoint takes early jobs."""
    if sink.takes_early:
        return set()
    return {job for job in jobs if job.not_before is not None and job.not_before > time.time()}


class Delays:
    """Moves jobs from their queue to the delayed jobs of their endpoint.

    With `leases_are_beside_records` (see the intakes) this also ends the leases of settled jobs.
    """

    def __init__(self, records: Redis, *, leases_are_beside_records: bool) -> None:
        self._records = records
        self._beside = leases_are_beside_records

    async def delay_for(self, sink: JobSink, endpoint_name: str, jobs: Sequence[QueuedJob]) -> DelayResult:
        """Delay jobs of an endpoint, as `delay` does, and report to the endpoint whether that worked.

        Raises:
            RedisError, OSError: some jobs could not be delayed.
        """
        try:
            result = await self.delay(endpoint_name, jobs)
        except ResponseError as error:
            if refuses_for_good(error):
                sink.not_delayed(str(error))
            raise
        sink.not_delayed(None)
        return result

    async def delay(self, endpoint_name: str, jobs: Sequence[QueuedJob]) -> DelayResult:
        """Delay jobs of an endpoint. Jobs whose lease was lost are in neither list."""
        result = DelayResult([], [])
        for part in in_parts(jobs, lambda job: len(job.message), _DELAYED_AT_ONCE, _DELAYED_AT_ONCE_BYTES):
            names, values = self._keys(endpoint_name), self._fixed_values(endpoint_name)
            values += [value for job in part for value in self._values(job)]
            *answers, refused = await script(self._records, _DELAY)(names, values)
            if refused:
                why = refused.decode(errors="replace")
                _log.error("jobs of %s are delayed, but their bookkeeping failed: %s", endpoint_name, why)
            for job, answer in zip(part, answers, strict=True):
                if answer == b"due":
                    result.due.append(job)
                elif answer != b"lost":
                    result.settled.append(job)
        return result

    @staticmethod
    def _keys(endpoint_name: str) -> list[str]:
        own = [keys.delayed, keys.unfinished, keys.prioritized, keys.recent]
        return [*(name(endpoint_name) for name in own), keys.ENDPOINTS, keys.EXPIRING, keys.LEASED]

    @staticmethod
    def _fixed_values(endpoint_name: str) -> list[bytes | str | float]:
        return [endpoint_name, LEASE_HOLDER, load().recent_jobs, keys.record(""), keys.message("")]

    def _values(self, job: QueuedJob) -> list[bytes | str | float]:
        not_before, submitted_at = job.not_before or 0.0, job.submitted_at or time.time()
        return [
            job.job_id,
            job.tag if self._beside else "",
            not_before,
            records.queued(job if job.submitted_at else replace(job, submitted_at=submitted_at), not_before),
            b"" if self._beside else job.message,
            delayed.record_ttl_s(not_before),
            submitted_at,
            "" if job.expires_at is None else job.expires_at,
            positions.priority_sign(job.priority),
        ]
