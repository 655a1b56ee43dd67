"""Ends running jobs that were cancelled with force: the record changes first, then the host may be stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

from redis import RedisError
from redis.asyncio import Redis

from workers import keys
from workers.engine.serving.endpoint import Endpoint
from workers.jobs.records import is_terminal, stops_host

_log = logging.getLogger(__name__)
_PAUSE_S = 0.5
#: Interval of checks while cancelled jobs still run because their host may not be stopped yet.
_CHECK_S = 1.0


class Cancellation:
    """Checks at each nudge which running jobs have terminal records."""

    def __init__(self, records: Redis, endpoints: Mapping[str, Endpoint]) -> None:
        self._records = records
        self._endpoints = endpoints
        self._nudged = asyncio.Event()

    def nudge(self, *_: Any) -> None:
        """Start a check: a running job, here or on another worker, was cancelled."""
        self._nudged.set()

    async def run(self) -> None:
        """Check running jobs at each nudge, and regularly while cancelled jobs still run, until cancelled."""
        some_run_on = False
        while True:
            await self._wait(_CHECK_S if some_run_on else None)
            self._nudged.clear()
            try:
                some_run_on = await self._stop_ended()
            except (RedisError, OSError) as error:
                _log.warning("checking for cancelled jobs failed (%s); retrying", error)
                self._nudged.set()
                await asyncio.sleep(_PAUSE_S)

    async def _wait(self, timeout_s: float | None) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._nudged.wait()
        except TimeoutError:
            return

    async def _stop_ended(self) -> bool:
        """Cancel the running jobs that have terminal records; return whether there are any."""
        running = [(endpoint, job) for endpoint in self._endpoints.values() for job in endpoint.claimed_jobs]
        if not running:
            return False
        found = await self._records.mget([keys.record(job.job_id) for _, job in running])
        looked_at = zip(running, cast("list[bytes | None]", found), strict=True)
        ended = [(*where, record) for where, record in looked_at if record and is_terminal(record)]
        for endpoint, job, record in ended:
            endpoint.cancel(job, at_once=stops_host(record))
        return bool(ended)
