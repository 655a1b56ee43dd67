"""Stopping running jobs that were cancelled by force: the record says so first, then the host is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

from redis import RedisError
from redis.asyncio import Redis

from workers import documents, keys
from workers.engine.endpoint import Endpoint

_log = logging.getLogger(__name__)
_PAUSE_S = 0.5


class Cancellation:
    """Looks, whenever it is nudged, which of the running jobs have ended by their records."""

    def __init__(self, records: Redis, endpoints: Mapping[str, Endpoint]) -> None:
        self._records = records
        self._endpoints = endpoints
        self._nudged = asyncio.Event()

    def nudge(self, *_: Any) -> None:
        """Some running job, here or on another worker, was cancelled."""
        self._nudged.set()

    async def run(self) -> None:
        """Look at each nudge until cancelled."""
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            try:
                await self._stop_ended()
            except (RedisError, OSError) as error:
                _log.warning("can't look for cancelled jobs (%s); trying again", error)
                self._nudged.set()
                await asyncio.sleep(_PAUSE_S)

    async def _stop_ended(self) -> None:
        running = [(endpoint, job) for endpoint in self._endpoints.values() for job in endpoint.running_jobs]
        if not running:
            return
        found = await self._records.mget([keys.record(job.job_id) for _, job in running])
        for (endpoint, job), record in zip(running, cast("list[bytes | None]", found), strict=True):
            if record is not None and documents.is_terminal(record):
                endpoint.cancel(job)
